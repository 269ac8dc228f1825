"""``sealwrightd takeover``: this machine's signer becomes the one that may sign, and no other can any more.

  (1) the copy goes on to the source's end, and the standby ends        so that little is left for the time of the wait
  (2) the epoch on the issuing token is raised, in this machine's name  ``fence``: from now on the old one refuses
  (3) wait for as long as the longest call of a token                   what the old one had begun before (2) is over
  (4) the copy goes on to the source's end again                        what the old one recorded before (2) is here
  (5) the signer may be started; it records its start under the new epoch

Nothing is signed here. Cut off after (2), nobody may sign: run it again, the epoch is then raised once more.
"""

import time
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Final

from sealwright.channel import SignerChannel
from sealwright.errors import Conflict, Unavailable
from sealwright.hsm.epoch import read_epoch, write_epoch
from sealwright.hsm.session import TokenSession
from sealwright.installed import Installed
from sealwright.issuing.fence import new_claim, write_holder
from sealwright.issuing.index import INDEX, LedgerIndex
from sealwright.issuing.standby import OpenSource, Standby
from sealwright.ledger.copy import LedgerCopy
from sealwright.ledger.restore import hold_lock

_END_SECONDS: Final = 20.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is shown before the exact confirmation."""

    entries: int
    epoch: int
    """The new one."""
    before: int
    """On the token now; 0: nobody held it."""
    source: str
    """What the source said last; empty when it was followed to its end."""

    @property
    def confirmation(self) -> str:
        return f"epoch {self.epoch} with {self.entries} entries"


class Takeover:
    def __init__(
        self,
        installed: Installed,
        session: TokenSession,
        open_source: OpenSource | None,
        *,
        wait_seconds: float,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """``open_source``: None when the source is lost, and what it had beyond the copy with it."""
        self._installed, self._session, self._open_source = installed, session, open_source
        self._wait, self._tell = wait_seconds, tell

    def plan(self, channel: SignerChannel | None = None) -> Plan:
        """(1). Raises ``Conflict`` when a signer runs on this ledger, and what the source raises."""
        if channel is not None:
            self._end_standby(channel)
        entries, last = self._go_on()
        found = read_epoch(self._session)
        before = found.epoch if found else 0
        said = "" if self._open_source else "its source is lost: what that had beyond these entries is not here"
        return Plan(entries, max(before, last) + 1, before, said)

    def run(self, plan: Plan) -> int:
        """(2) to (4). Returns how many entries the ledger has. Raises as ``plan``."""
        claim = new_claim(plan.epoch)
        write_holder(self._installed.ledger, claim)
        write_epoch(self._session, claim)  # (2)
        self._tell(f"the token is held since epoch {claim.epoch}; waiting {self._wait:.0f} s for what was under way")
        time.sleep(self._wait)  # (3)
        entries, _ = self._go_on()  # (4)
        return entries

    def _go_on(self) -> tuple[int, int]:
        installed = self._installed
        with (
            LedgerCopy.open(installed.ledger, installed.anchor.ledger_origin, installed.ledger_key) as copy,
            closing(LedgerIndex.open(installed.ledger / INDEX, copy)) as index,
        ):
            if self._open_source is not None:
                try:
                    with self._open_source() as source:
                        Standby(installed, copy, index).catch_up(source)
                except Unavailable as error:
                    raise Unavailable(
                        f"the source cannot be followed to its end: {error.message}",
                        hint="bring it back; or, when it is lost with all it had, say --source-is-lost",
                    ) from None
            return copy.size, index.epoch

    def _end_standby(self, channel: SignerChannel) -> None:
        try:
            role = channel.call("status")["role"]
        except Unavailable:
            return  # nobody is there
        if role != "standby":
            raise Conflict("the signer of this folder runs, and holds its token", hint="there is nothing to take over")
        channel.call("stand-down")
        deadline = time.monotonic() + _END_SECONDS
        while time.monotonic() < deadline:
            with suppress(Conflict), hold_lock(self._installed.ledger):
                return
            time.sleep(0.1)
        raise Unavailable("the standby does not end", hint="stop its unit, then run this again")
