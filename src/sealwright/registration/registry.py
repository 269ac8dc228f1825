"""``Registry``: the database, the signer's socket and the installed folder, for the acts of this room.

Each act has a module of its own and takes a ``Registry`` first. What all of them need is here: the time, the roster in
force as the ledger has it, and the policy that it pins.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sealwright.channel import SignerChannel
from sealwright.errors import NotReady
from sealwright.installed import Installed, load_installed
from sealwright.ledger.tree import MerkleTree
from sealwright.registration.config import RegistryConfig
from sealwright.registration.counts import Counts
from sealwright.statements.pinned import PinnedPolicy, read_policy
from sealwright.statements.roster import VerifiedRoster, check_roster
from sealwright.statements.signed import SignedStatement, parse_signed
from sealwright.statements.suspensions import suspend
from sealwright.store.models import RosterRow, SuspensionRow
from sealwright.store.registry import RegistryDB, RegistryTransaction, open_registry

Clock = Callable[[], datetime]


def system_clock() -> datetime:
    """Now, in UTC and whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


@dataclass(slots=True)
class Registry:
    config: RegistryConfig
    installed: Installed
    database: RegistryDB
    signer: SignerChannel
    clock: Clock = system_clock
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while the ledger is projected: two threads that read the same entries would only wait for each other.
    Taken before a transaction begins, never in one: who projects holds it and waits for the database."""
    tree: MerkleTree = field(default_factory=MerkleTree)
    """Of the ledger entries that were read. Only who holds ``lock`` touches it."""
    sending: set[str] = field(default_factory=set)
    """Requests whose order is with the signer now: nobody sends it a second time meanwhile."""
    counts: Counts = field(default_factory=Counts)
    rosters: tuple[tuple[str, VerifiedRoster], ...] = ()
    """After each roster and suspension so far, by its digest, the oldest first: a chain is verified once."""

    @classmethod
    def open(cls, config: RegistryConfig, *, clock: Clock = system_clock) -> "Registry":
        """Raises ``NotReady`` before the database was migrated, ``StorageError`` for a folder that is none."""
        installed = load_installed(config.folder)
        return cls(config, installed, open_registry(config.database), SignerChannel(config.socket), clock)

    def verified_rosters(self, tx: RegistryTransaction) -> tuple[VerifiedRoster, ...]:
        """What officers signed, from the anchor on, each verified for the moment when the ledger recorded it."""
        rows: list[RosterRow | SuspensionRow] = [*tx.rosters(), *tx.suspensions()]
        rows.sort(key=lambda row: row.entry_index or 0)
        known = self.rosters
        if [sha256 for sha256, _ in known] != [row.sha256 for row in rows[: len(known)]]:  # projected again
            known = ()
        for row in rows[len(known) :]:
            signed, at = load_document(row.document), row.at or self.clock()
            previous = known[-1][1] if known else None
            if previous is not None and isinstance(row, SuspensionRow):
                roster = suspend(signed, roster=previous, now=at)
            else:
                roster = check_roster(signed, anchor=self.installed.anchor, previous=previous, now=at)
            known = (*known, (row.sha256, roster))
        self.rosters = known
        return tuple(roster for _, roster in known)

    def last_roster(self) -> VerifiedRoster:
        """The newest roster of the ledger, expired or not. Raises ``NotReady`` before the first."""
        with self.database.reading() as tx:
            known = self.verified_rosters(tx)
        if not known:
            raise NotReady(
                "this PKI has no roster yet, so nobody may ask for anything",
                hint="officers: `sealwright roster edit`, `sign`, and `publish`",
            )
        return known[-1]

    def roster_in_force(self) -> VerifiedRoster:
        """Raises ``PolicyViolation`` (ROSTER-EXPIRED) when the last roster is over."""
        roster = self.last_roster()
        roster.check_in_force(self.clock())
        return roster

    def policy(self, roster: VerifiedRoster) -> PinnedPolicy:
        """Raises ``PolicyViolation`` (ROSTER-PIN) naming a file under ``ca/`` that was edited after it was pinned."""
        return read_policy(self.installed.pinned_files(), roster)


def load_document(text: str) -> SignedStatement:
    """A signed statement as the database keeps it."""
    return parse_signed(text.encode())
