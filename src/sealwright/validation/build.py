"""A snapshot made from nothing: everything in the publication database, checked, into a new generation.

The one that is served stays until this one is whole, and what it knows is kept: no answer of the new one is older than
its own, nor good where it says revoked, and where a row is refused its own stays. One that is damaged is not read
again: it is believed in nothing.
"""

import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import Final

from sealwright.errors import IntegrityError, PolicyViolation, SealwrightError
from sealwright.pki.ocsp_query import CertIDForm
from sealwright.pki.serials import parse_serial
from sealwright.store.publication import AnswerRow, Publication, PublishedObject
from sealwright.validation.acceptance import Acceptance, NotYet
from sealwright.validation.checking import Judged, judge_all
from sealwright.validation.generations import check_file, find_current, make_current, new_generation
from sealwright.validation.records import object_record, step_back
from sealwright.validation.snapshot import (
    Freshness,
    Progress,
    SnapshotReader,
    SnapshotTransaction,
    SnapshotWriter,
    pack,
    unpack,
)
from sealwright.validation.withdrawn import withdraw_good

log = logging.getLogger("sealwright.sync")

_BATCH: Final = 500
_ALONE: Final = 5000
"""Answers up to which no helpers are started: that takes a second."""
_SAY_SECONDS: Final = 2.0

Go = Callable[[], None]
"""Called now and then; raises to give up."""


class Builder:
    """Builds one. ``refused``: rows that were not let in."""

    def __init__(
        self,
        publication: Publication,
        folder: Path,
        installed: Path,
        acceptance: Acceptance,
        pki: str,
        *,
        believe_old: bool = True,
    ) -> None:
        self._publication, self._folder = publication, folder
        self._installed, self._acceptance, self._pki = installed, acceptance, pki
        self._believe_old = believe_old
        self._before: SnapshotReader | None = None
        self._mark = 0
        self.refused = 0

    def build(self, now: datetime, go: Go) -> Path:
        """Returns the generation, which is current now. Raises what the database and the disk raise."""
        begun = time.monotonic()
        identity, self._mark = self._publication.state()  # first: what comes later is followed later
        total = self._publication.count_answers()
        with ExitStack() as resources:
            self._before = self._open_before(resources)
            generation = new_generation(self._folder)
            writer = SnapshotWriter(generation, self._pki, durable=False)
            resources.callback(writer.close)
            count = self._take_answers(writer, total, now, go)
            with writer.write() as transaction:
                self._take_objects(transaction, now)
                for what in withdraw_good(transaction, self._acceptance):
                    self._refuse(what, "it says good of what the root's CRL lists")
                    count -= 1
                transaction.put_freshness(Freshness(count, 0, 0))
                transaction.put_progress(Progress(identity, self._mark, int(now.timestamp())))
            writer.sync()
        make_current(self._folder, generation)
        log.info("built %s: %d answers in %.1f s", generation.name, count, time.monotonic() - begun)
        return generation

    def _open_before(self, resources: ExitStack) -> SnapshotReader | None:
        current = find_current(self._folder)
        if current is None or not self._believe_old:
            return None
        try:
            check_file(current)
            before = SnapshotReader.open(current, self._pki)
        except IntegrityError:
            return None
        resources.callback(before.close)
        return before

    def _take_answers(self, writer: SnapshotWriter, total: int, now: datetime, go: Go) -> int:
        helpers = 0 if total <= _ALONE else (os.cpu_count() or 1) + 1  # one more: reading and writing take turns too
        begun = said = time.monotonic()
        count = done = 0
        for judged in judge_all(self._installed, self._going(go), now, helpers=helpers):
            with writer.write() as transaction:
                count += sum(self._take(transaction, each) for each in judged)
            done += len(judged)
            if time.monotonic() - said > _SAY_SECONDS:
                said = time.monotonic()
                share = 100 * done // max(total, 1)
                log.info("building: %d of %d answers (%d %%), %.0f/s", done, total, share, done / (said - begun))
        return count

    def _going(self, go: Go) -> Iterator[Sequence[AnswerRow]]:
        for batch in self._publication.all_answers(_BATCH):
            go()
            yield batch

    def _take(self, transaction: SnapshotTransaction, judged: Judged) -> int:
        row, packed, place = judged.row, judged.packed, self._place(judged.row)
        before = None if self._before is None or place is None else self._before.find(*place)
        wrong = judged.refused or (step_back(before, unpack(packed)) if before is not None else "")
        if wrong:
            self._refuse(f"answer for {row.ca_id} {row.serial} {row.form}", wrong)
            packed = b"" if before is None else pack(before)
        if judged.is_early:
            self._look_again(row)
        if place is None or not packed:
            return 0
        transaction.put_packed(*place, packed)
        return 1

    def _place(self, row: AnswerRow) -> tuple[CertIDForm, tuple[bytes, bytes], int] | None:
        """Where an answer stands in a snapshot; None when its row names no such place."""
        try:
            form = CertIDForm(row.form)
            return form, self._acceptance.hashes(row.ca_id, form), parse_serial(row.serial)
        except (ValueError, SealwrightError):
            return None

    def _take_objects(self, transaction: SnapshotTransaction, now: datetime) -> None:
        for row in self._publication.objects_since(0):
            before = None if self._before is None else self._before.find_object(row.path)
            before_number = 0 if self._before is None or before is None else self._before.number(row.path)
            wrong, record, number = "", before, before_number
            try:
                self._acceptance.check_object(row, now)
            except (IntegrityError, PolicyViolation) as error:
                wrong = str(error)
                if isinstance(error, NotYet):
                    self._look_again(row)
            else:
                record, number = object_record(row), int(row.number or "0", 16)
                if before is not None and (step_back(before, record) or number < before_number):
                    wrong, record, number = "it is older than the one that is served", before, before_number
            if wrong:
                self._refuse(row.path, wrong)
            if record is not None:
                transaction.put_object(row.path, record, number or None)

    def _look_again(self, row: AnswerRow | PublishedObject) -> None:
        """``sync`` does, when it follows from before this row's change."""
        self._mark = min(self._mark, row.change - 1)

    def _refuse(self, what: str, why: str) -> None:
        self.refused += 1
        log.error("refused %s: %s", what, why)
