"""``IssuingAuthority``: the issuing CA's key, its ledger, and the index of that ledger, under one lock.

It is the only place that writes the ledger and the only holder of the key. It decides nothing: each act has a module
of its own (``issuance``, ``revocation``, ``crl``, ``responder``, ``rosters``, ``recovery``) that is read top to bottom.
"""

import base64
import hashlib
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from cryptography.hazmat.primitives import hashes

from sealwright.errors import IntegrityError, NotReady, PolicyViolation
from sealwright.installed import Installed
from sealwright.issuing.clock import Clock, Reading, Steady, Watch, boot_time
from sealwright.issuing.crl_books import CRLBooks
from sealwright.issuing.fence import Fence
from sealwright.issuing.files import FileDigests
from sealwright.issuing.index import INDEX, LedgerIndex
from sealwright.issuing.line import Line, Lint, LintHere, Linting
from sealwright.issuing.refusals import RefusalGate
from sealwright.issuing.setback import load_witness, set_back_error
from sealwright.ledger.entries import (
    CertificateEntry,
    CRLEntry,
    CRLIntentEntry,
    Entry,
    IntentEntry,
    RefusalEntry,
    RosterEntry,
    parse_entry,
)
from sealwright.ledger.log import Ledger
from sealwright.pki.certificates import lint_draft
from sealwright.pki.keys import PrivateKey, spki_der, spki_sha256
from sealwright.pki.settings import PKISettings
from sealwright.points import Point, reached
from sealwright.statements.pinned import PinnedPolicy, read_policy
from sealwright.statements.roster import VerifiedRoster, check_roster
from sealwright.statements.suspensions import suspend

SIGNATURES = max(2, min(4, len(os.sched_getaffinity(0))))
"""At a time, each in a session of its own: of a token in software, each on a core of its own."""

_QUICK = 0.0005
"""Seconds. What takes no longer is done where it is: to wake another thread would take as long."""

T = TypeVar("T")


@dataclass(slots=True)
class IssuingAuthority:
    installed: Installed
    key: PrivateKey
    ledger: Ledger
    index: LedgerIndex
    watch: Watch
    roster: VerifiedRoster | None = None
    lock: threading.RLock = field(default_factory=threading.RLock)
    refusals: RefusalGate = field(default_factory=RefusalGate)
    lint: Lint = lint_draft
    """Asked only where ``linting`` is done here."""
    set_back: str | None = None
    """Why nothing may be recorded: see ``setback``."""
    crl_books: CRLBooks | None = None
    crl_files: FileDigests = field(default_factory=FileDigests)
    fence: Fence | None = None
    """None for keys that are on no token."""
    linting: Linting = field(init=False)
    """Where the ``line`` has drafts linted: here, by ``lint``, unless ``linters`` do it."""
    line: "Line[Any]" = field(default_factory=Line)
    """Orders on their way: see ``issuance``."""
    standing: threading.Lock = field(default_factory=threading.Lock)
    """Held while the standing order is carried out: once at a time."""
    _parsed: tuple[tuple[str, tuple[tuple[str, bytes], ...]], PinnedPolicy] | None = None
    _signing: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(SIGNATURES, "sign"))
    _signature_seconds: float = 0.0
    """Of the last one."""

    def __post_init__(self) -> None:
        self.linting = LintHere(lambda draft: self.lint(draft))  # noqa: PLW0108  # what ``lint`` is then

    @classmethod
    def open(
        cls, installed: Installed, *, key: PrivateKey, ledger: Ledger, clock: Clock, steady: Steady = boot_time
    ) -> "IssuingAuthority":
        """Read the whole ledger and stand where it ended.

        Raises ``IntegrityError`` when the key is not the certificate's, or the ledger is not this PKI's.
        """
        if spki_sha256(key.public_key()) != spki_sha256(installed.issuing.public_key()):  # type: ignore[arg-type]  # lint let only our kinds become CAs
            raise IntegrityError(
                "the key on the issuing token is not the key of issuing.pem",
                hint="is [signer.issuing] in sealwrightd.toml the token of this PKI?",
            )
        index = LedgerIndex.open(installed.ledger / INDEX, ledger)
        authority = cls(installed, key, ledger, index, Watch(clock, steady, index.last_seen))
        try:
            authority._replay_rosters()
            authority.set_back = load_witness(authority)
        except BaseException:
            index.close()
            raise
        reached(Point.LEDGER_REPLAYED)
        return authority

    def close(self) -> None:
        """Finish what is in the line, and write the index, so that the next start need not read what this one read."""
        self.line.close()
        with self.lock:
            self.index.close()

    def _replay_rosters(self) -> None:
        """Walk what officers signed from the anchor on. Each was in force when it was recorded."""
        for entry in self.index.officers:
            if isinstance(entry, RosterEntry):
                self.roster = check_roster(
                    entry.roster, anchor=self.installed.anchor, previous=self.roster, now=entry.at
                )
            else:
                self.roster = suspend(entry.suspension, roster=self.last_roster(), now=entry.at)

    def record(self, *entries: Entry) -> int:
        """Append, fsynced, and return the first entry's place. The caller holds the lock."""
        if self.set_back is not None:
            raise set_back_error(self.set_back)
        self.index.check_usable()
        # After a signature too: what was signed while another took over is not recorded, and so never given out.
        signed = any(isinstance(entry, CertificateEntry | CRLEntry) for entry in entries)
        self.check_fence(signing=signed or any(isinstance(entry, IntentEntry | CRLIntentEntry) for entry in entries))
        self.ledger.check_unchanged()
        places = self.ledger.append(*(entry.to_bytes() for entry in entries))
        for entry in entries:
            self.index.apply(entry)
        if signed:
            self.check_fence(signing=True)
        return places[0]

    def in_parallel(self, act: Callable[[T], None], items: Sequence[T]) -> None:
        """``act``, which signs, on each: several at a time, unless that takes no time. It may not raise, and not ask
        for the lock."""

        def each_of(some: Sequence[T]) -> None:
            for item in some:
                begun = time.perf_counter()
                act(item)
                self._signature_seconds = time.perf_counter() - begun

        if self._signature_seconds < _QUICK:
            each_of(items)
            return
        signed = [self._signing.submit(each_of, items[n::SIGNATURES]) for n in range(min(SIGNATURES, len(items)))]
        wait(signed)

    @property
    def problem(self) -> str:
        """Why nothing is recorded, or nothing issued, although the process runs; empty when it is well."""
        if self.set_back is not None:
            return set_back_error(self.set_back).message
        broken = self.ledger.broken or self.index.broken
        if broken:
            return f"nothing is recorded until the signer is started again: {broken}"
        state = self.read_clock().state
        return "" if state == "well" else f"the clock is {state}, and nothing is issued"

    def check_fence(self, *, signing: bool) -> None:
        """Raises ``Fenced`` once another signer took over. See ``fence``."""
        if self.fence is not None:
            self.fence.check(signing=signing)

    def record_refusal(self, call: str, refused: bytes, error: PolicyViolation) -> None:
        """A refusal is part of the record: what was asked (by digest), and the rule that refused it.

        The same thing refused again by the same rule is not recorded again, and no flood of refusals fills the disk:
        ``refusals`` says how many are taken; how many were left out stands in the next that is.
        """
        digest = hashlib.sha256(refused).hexdigest()
        with self.lock:
            left_out = self.refusals.admit((digest, error.rule), self.time_for_revocation())
            if left_out is None:
                return
            self.record(
                RefusalEntry.of(
                    at=self.time_for_revocation(),
                    call=call,
                    rule=error.rule,
                    message=error.message,
                    left_out=left_out,
                    sha256=digest,
                )
            )
            reached(Point.REFUSAL_DURABLE)

    def roster_in_force(self, now: datetime) -> VerifiedRoster:
        """Raises ``NotReady`` before the first roster and ``PolicyViolation`` (ROSTER-EXPIRED) after the last."""
        roster = self.last_roster()
        roster.check_in_force(now)
        return roster

    def last_roster(self) -> VerifiedRoster:
        """The roster in force or, when it has expired, the last there was: enough to revoke and to publish."""
        if self.roster is None:
            raise NotReady(
                "this PKI has no roster yet, so nobody may ask for anything",
                hint="officers: `sealwright roster edit`, `sign`, and `publish`",
            )
        return self.roster

    @property
    def settings(self) -> PKISettings:
        """The settings that the last roster pins."""
        return self.policy(self.last_roster()).settings

    def policy(self, roster: VerifiedRoster) -> PinnedPolicy:
        """Settings and profiles as ``roster`` pins them, refused (ROSTER-PIN) when a file of ``ca/`` is another."""
        files = self.installed.pinned_files()
        roster.check_pins(files)
        key = (roster.sha256, tuple(files.items()))
        known = self._parsed
        if known is None or known[0] != key:  # the same bytes are parsed once, and compared every time
            known = self._parsed = (key, read_policy(files, roster))
        return known[1]

    def policy_in_memory(self, roster: VerifiedRoster) -> PinnedPolicy:
        """What ``policy`` found for this roster when it was asked last: to judge by. Before anything is signed for it,
        ``issuance`` looks at the files again."""
        known = self._parsed
        return known[1] if known is not None and known[0][0] == roster.sha256 else self.policy(roster)

    @property
    def began(self) -> datetime:
        """Before this moment the CA issued nothing: its certificate's beginning, or the ledger's where that is earlier,
        because the certificate is a later one of the same CA (IMPORT-KEY)."""
        began = self.installed.issuing.not_valid_before_utc
        return min(began, parse_entry(self.ledger.read(0)).at) if self.ledger.size else began

    def read_clock(self) -> Reading:
        """The clock, held against the ledger and the steady clock."""
        return self.watch.read(self.index.last_seen)

    def time_for_issuance(self) -> datetime:
        """Now. Raises ``PolicyViolation`` (CLOCK-BACK, CLOCK-AHEAD) while the clock cannot be believed."""
        return self.read_clock().check()

    def time_for_revocation(self) -> datetime:
        """Now, or what is known of it while the clock cannot be believed: removal never waits for a clock."""
        return self.read_clock().now

    def authority_pins(self) -> dict[str, str]:
        """What a roster has to say of this CA, as on the wire: its certificate's digest, its ledger and OCSP keys."""
        return {
            "issuing_sha256": self.installed.issuing.fingerprint(hashes.SHA256()).hex(),
            "ledger_key": base64.b64encode(spki_der(self.ledger.public_key)).decode(),
            "ocsp_key": base64.b64encode(spki_der(self.installed.ocsp_key)).decode(),
        }
