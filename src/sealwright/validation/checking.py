"""Judges many answers at once, on all processors: a signature costs a tenth of a millisecond.

A helper is this module, started anew by ``multiprocessing``; it ends with its pipe. It gets rows and gives back, for
each, the packed record or why it is refused. One batch is with a helper at a time, so that no two wait for each other.
"""

import contextlib
import multiprocessing
import signal
from collections.abc import Iterator, Sequence
from datetime import datetime
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import NamedTuple

from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.installed import load_installed
from sealwright.pki.settings import load_settings
from sealwright.store.publication import AnswerRow
from sealwright.validation.acceptance import Acceptance, NotYet
from sealwright.validation.records import answer_record
from sealwright.validation.snapshot import pack


class Judged(NamedTuple):
    """``packed`` is the record; empty when ``refused`` says why there is none. ``is_early``: later it may be let in."""

    row: AnswerRow
    packed: bytes
    refused: str
    is_early: bool = False


def load_acceptance(folder: Path) -> Acceptance:
    """For what an installed PKI publishes."""
    installed = load_installed(folder)
    return Acceptance(installed, load_settings(installed.pinned_files()["pki.toml"], source="ca/pki.toml"))


def judge(acceptance: Acceptance, rows: Sequence[AnswerRow], now: datetime) -> list[Judged]:
    """In this process."""
    judged = []
    for row in rows:
        try:
            acceptance.check_answer(row, now)
        except (IntegrityError, PolicyViolation) as error:
            judged.append(Judged(row, b"", str(error), isinstance(error, NotYet)))
        else:
            judged.append(Judged(row, pack(answer_record(row)), ""))
    return judged


def judge_all(
    folder: Path, batches: Iterator[Sequence[AnswerRow]], now: datetime, *, helpers: int
) -> Iterator[list[Judged]]:
    """Every batch, in any order. ``helpers`` 0: in this process. ``IntegrityError`` when a helper dies."""
    if helpers == 0:
        acceptance = load_acceptance(folder)
        yield from (judge(acceptance, batch, now) for batch in batches)
        return
    with contextlib.ExitStack() as resources:
        idle = [_start_helper(folder, now, resources) for _ in range(helpers)]
        busy: set[Connection] = set()
        try:
            for batch in batches:
                while not idle:
                    for pipe in _ready(busy):
                        yield pipe.recv()
                        idle.append(pipe)
                pipe = idle.pop()
                pipe.send(batch)
                busy.add(pipe)
            while busy:
                for pipe in _ready(busy):
                    yield pipe.recv()
        except (EOFError, OSError) as error:
            raise IntegrityError("a process that checks answers has died; it is done again") from error


def _ready(busy: set[Connection]) -> list[Connection]:
    """Those that have an answer; they are busy no more."""
    ready = [each for each in wait(list(busy)) if isinstance(each, Connection)]
    busy.difference_update(ready)
    return ready


def _start_helper(folder: Path, now: datetime, resources: contextlib.ExitStack) -> Connection:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_help, args=(theirs, folder, now), daemon=True)
    process.start()
    theirs.close()
    resources.callback(process.join, 10)
    resources.callback(ours.close)  # first: that is its end
    return ours


def _help(pipe: Connection, folder: Path, now: datetime) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    acceptance = load_acceptance(folder)
    with contextlib.suppress(EOFError, OSError):
        while True:
            pipe.send(judge(acceptance, pipe.recv(), now))
