"""From the publication database to the snapshot: what is new, checked, and never a step back.

A process of its own, run as ``python -m sealwright.validation.sync`` by ``service``. It builds the snapshot when there
is none that can be used (``build``), follows what changes, and reads what is there again and again (``scrub``). With
the database away it goes on trying while the workers go on answering; when it last looked stands in the snapshot.
"""

import logging
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from sealwright.errors import IntegrityError, PolicyViolation, SealwrightError
from sealwright.installed import load_installed
from sealwright.logs import log_to_stderr
from sealwright.pki.ocsp_query import CertIDForm
from sealwright.pki.serials import parse_serial
from sealwright.store.notices import Notices
from sealwright.store.publication import Publication, PublishedAnswer, PublishedObject, open_publication
from sealwright.validation.acceptance import Acceptance, NotYet
from sealwright.validation.build import Builder
from sealwright.validation.checking import load_acceptance
from sealwright.validation.config import SyncConfig
from sealwright.validation.generations import find_current, remove_others
from sealwright.validation.records import answer_record, object_record, step_back
from sealwright.validation.scrub import Scrubber
from sealwright.validation.snapshot import Progress, SnapshotTransaction, SnapshotWriter
from sealwright.validation.withdrawn import withdraw_good

log = logging.getLogger("sealwright.sync")

_BATCH: Final = 1000
_HEARTBEAT_SECONDS: Final = 2
_SWEEP_SECONDS: Final = 60.0
_SET_BACK_SECONDS: Final = 3600
"""A clock that is set back by so much was wrong, and what was over by it is looked at again. Answers are refreshed long
before they are over: by less nothing was refused that is not."""

Clock = Callable[[], datetime]


class Stopped(Exception):
    """The parent wants us to end, or is gone."""


class _Later(NamedTuple):
    """Rows that are not yet let in: of which change, and from when they may be."""

    change: int
    at: datetime


class _Held(NamedTuple):
    """Some rows are not yet let in. All up to ``change`` was looked at, and before ``until`` need not be again."""

    change: int
    until: datetime


class Synchroniser:
    """One pass is ``follow``.

    The progress in the snapshot stays before what is not yet let in, so that it is looked at again when its time has
    come, also by who comes after us.
    """

    def __init__(
        self, publication: Publication, snapshot: SnapshotWriter, acceptance: Acceptance, clock: Clock
    ) -> None:
        self._publication, self._snapshot, self._acceptance = publication, snapshot, acceptance
        self._clock = clock
        self._later: set[_Later] = set()
        self._held: _Held | None = None
        self.refused = 0
        """Rows that were not let in, since the start."""

    def follow(self) -> int:
        """Take in all that changed. Returns how many records are new in the snapshot."""
        identity, change = self._publication.state()
        now = self._clock()
        looked = int(now.timestamp())
        before, held = self._snapshot.progress(), self._held
        if before is not None and (
            before.identity != identity or before.change > change or before.looked > looked + _SET_BACK_SECONDS
        ):
            before = held = None
        mark = 0 if before is None else before.change
        if held is not None and (held.change > change or held.until <= now):
            held = None
        seen = mark if held is None else held.change
        if seen == change and before is not None:
            if looked - before.looked >= _HEARTBEAT_SECONDS:
                with self._snapshot.write() as transaction:
                    transaction.put_progress(Progress(identity, mark, looked))
            return 0
        self._later = set() if held is None else {_Later(mark + 1, held.until)}
        taken = 0
        # CRLs and answers of one change are written by one transaction each; the mark moves when both are in.
        objects = self._publication.objects_since(seen)
        with self._snapshot.write() as transaction:
            taken += sum(self._take_object(transaction, row, now) for row in objects)
            if objects:
                self._withdraw(transaction)
        for _, answers in self._publication.batches(seen, _BATCH):
            taken += self._take_answers(answers, now)
        mark = min([change, *(each.change - 1 for each in self._later)])
        with self._snapshot.write() as transaction:
            transaction.put_progress(Progress(identity, mark, looked))
        self._held = _Held(change, min(each.at for each in self._later)) if self._later else None
        return taken

    def _take_answers(self, rows: Sequence[PublishedAnswer], now: datetime) -> int:
        good = [row for row in rows if self._is_accepted(row, now)]
        with self._snapshot.write() as transaction:
            taken = sum(self._take_answer(transaction, row) for row in good)
            if any(row.ca_id == self._acceptance.root_id for row in good):
                self._withdraw(transaction)
            return taken

    def _is_accepted(self, row: PublishedAnswer, now: datetime) -> bool:
        try:
            self._acceptance.check_answer(row, now)
        except (IntegrityError, PolicyViolation) as error:
            self._turn_away(row, f"answer for {row.ca_id} {row.serial} {row.form}", error)
            return False
        return True

    def _take_answer(self, transaction: SnapshotTransaction, row: PublishedAnswer) -> int:
        form, serial, record = CertIDForm(row.form), parse_serial(row.serial), answer_record(row)
        hashes = self._acceptance.hashes(row.ca_id, form)
        wrong = step_back(transaction.answer(form, hashes, serial), record)
        if wrong:
            self._refuse(f"answer for {row.ca_id} {row.serial} {row.form}", wrong)
            return 0
        transaction.put_answer(form, hashes, serial, record)
        return 1

    def _take_object(self, transaction: SnapshotTransaction, row: PublishedObject, now: datetime) -> int:
        try:
            self._acceptance.check_object(row, now)
        except (IntegrityError, PolicyViolation) as error:
            self._turn_away(row, row.path, error)
            return 0
        record, number = object_record(row), None if row.number is None else int(row.number, 16)
        wrong = step_back(transaction.object(row.path), record)
        if number is not None and number < transaction.number(row.path):
            wrong = "its CRLNumber is lower than that of the one that is served"
        if wrong:
            self._refuse(row.path, wrong)
            return 0
        transaction.put_object(row.path, record, number)
        return 1

    def _withdraw(self, transaction: SnapshotTransaction) -> None:
        for what in withdraw_good(transaction, self._acceptance):
            self._refuse(what, "it says good of what the root's CRL lists")

    def _turn_away(self, row: PublishedAnswer | PublishedObject, what: str, error: SealwrightError) -> None:
        if isinstance(error, NotYet):
            self._later.add(_Later(row.change, error.at))
        self._refuse(what, str(error))

    def _refuse(self, what: str, why: str) -> None:
        self.refused += 1
        log.error("refused %s: %s", what, why)


def main() -> int:
    log_to_stderr("validation-sync")
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us in order
    stop_read, stop_write = os.pipe()
    signal.signal(signal.SIGTERM, lambda _number, _frame: os.write(stop_write, b"."))
    config = SyncConfig.from_json(sys.stdin.buffer.readline())
    try:
        _Process(config, stop_read).run()
    except Stopped:
        return 0
    except SealwrightError as error:
        log.error("%s", error)  # noqa: TRY400  # one line for a person, no trace
        return error.exit_code
    return 0


class _Process:
    """What ``main`` does, from the configuration to the end."""

    def __init__(self, config: SyncConfig, stop: int) -> None:
        self._config, self._stop = config, stop
        self._folder, self._snapshot_folder = Path(config.folder), Path(config.snapshot)
        self._pki = load_installed(self._folder).anchor.pki_id
        self._acceptance = load_acceptance(self._folder)
        self._believe_old = config.believe_old
        self._said = ""

    def run(self) -> None:
        """Until it is stopped."""
        with ExitStack() as resources:
            publication = open_publication(self._config.publication, read_only=True)
            resources.callback(publication.close)
            notices = Notices(self._config.publication)
            resources.callback(notices.close)
            writer = None if self._config.rebuild else self._open_current()
            while True:
                try:
                    if writer is None:
                        writer = self._build(publication)
                    self._follow(publication, writer, notices)
                except IntegrityError as error:
                    log.error("%s", error)  # noqa: TRY400  # one line for a person
                    if writer is not None:
                        writer.close()
                    writer, self._believe_old = None, False
                    self._wait([], self._config.poll_seconds)

    def _open_current(self) -> SnapshotWriter | None:
        current = find_current(self._snapshot_folder)
        if current is None:
            return None
        try:
            writer = SnapshotWriter(current, self._pki)
        except IntegrityError as error:
            log.error("%s", error)  # noqa: TRY400  # one line for a person
            self._believe_old = False
            return None
        remove_others(self._snapshot_folder, current)
        return writer

    def _build(self, publication: Publication) -> SnapshotWriter:
        while True:
            try:
                builder = Builder(
                    publication,
                    self._snapshot_folder,
                    self._folder,
                    self._acceptance,
                    self._pki,
                    believe_old=self._believe_old,
                )
                return SnapshotWriter(builder.build(_now(), lambda: self._wait([], 0)), self._pki)
            except IntegrityError as error:
                self._believe_old = False
                self._say(error, "it is tried again")
            except SealwrightError as error:
                self._say(error, "it is tried again")
            self._wait([], 1.0)

    def _follow(self, publication: Publication, writer: SnapshotWriter, notices: Notices) -> None:
        """For ever. Raises ``IntegrityError`` when the snapshot is found damaged."""
        synchroniser = Synchroniser(publication, writer, self._acceptance, _now)
        scrubber = Scrubber(writer)
        swept = 0.0
        while True:
            try:
                taken = synchroniser.follow()
                if taken:
                    log.info("took %d records", taken)
                self._said = ""
            except IntegrityError:
                raise
            except SealwrightError as error:
                self._say(error, "the snapshot stays as it is")
            scrubber.step(int(_now().timestamp()))
            if time.monotonic() - swept > _SWEEP_SECONDS:
                writer.clear_readers()
                swept = time.monotonic()
            # Standard input ends when the parent does.
            self._wait(notices.listen(), self._config.poll_seconds)
            notices.clear()

    def _wait(self, also: Sequence[int], seconds: float) -> None:
        """Until ``also`` has something, at most so long. ``Stopped`` when that is wanted."""
        ready = select.select([self._stop, sys.stdin, *also], [], [], seconds)[0]
        if self._stop in ready or sys.stdin in ready:
            raise Stopped

    def _say(self, error: SealwrightError, then: str) -> None:
        if str(error) != self._said:
            log.warning("%s; %s", error, then)
        self._said = str(error)


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


if __name__ == "__main__":
    sys.exit(main())
