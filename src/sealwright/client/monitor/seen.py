"""What was seen at earlier looks, in ``seen.json``: without it, nobody notices that something went back.

It is advanced only by what was verified, and never goes back itself: after an alarm of a roll-back it still has the
newer one, so that the alarm stays until the newer one is back.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

from pydantic import Field

from sealwright.client.files import write_file
from sealwright.durable import read_file
from sealwright.errors import Conflict, InputError, StorageError
from sealwright.statements.wire import Digest, Serial, Time, WireModel, parse_model

NAME = "seen.json"
ANSWERS_KEPT = 10_000
_LIMIT = 64 << 20


class SeenCRL(WireModel):
    number: Annotated[str, Field(pattern=r"^[0-9a-f]{1,40}$")]
    sha256: Digest
    this_update: Time


class SeenAnswer(WireModel):
    status: Annotated[str, Field(pattern=r"^(good|revoked|unknown)$")]
    this_update: Time


class Seen(WireModel):
    """``checkpoint``: size and root of the ledger. CRLs by path, answers by serial, the last asked for last."""

    ledger_size: Annotated[int, Field(ge=0)] = 0
    ledger_root: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    crls: dict[str, SeenCRL] = Field(default_factory=dict)
    answers: dict[Serial, SeenAnswer] = Field(default_factory=dict)


def load_seen(folder: Path) -> Seen:
    """Raises ``InputError`` for a file that cannot be read: forgetting it would hide a roll-back."""
    path = folder / NAME
    if not path.exists():
        return Seen()
    try:
        value = json.loads(read_file(path, limit=_LIMIT))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read: {error}", hint="move it away; the next look begins anew") from None
    return parse_model(Seen, value, str(path))


def save_seen(folder: Path, seen: Seen) -> None:
    kept = dict(list(seen.answers.items())[-ANSWERS_KEPT:])
    data = seen.model_copy(update={"answers": kept}).model_dump_json()
    write_file(folder / NAME, data.encode(), mode=0o600, replace=True)


@contextmanager
def only_look(folder: Path) -> Iterator[None]:
    """One look at a time at this state. Raises ``Conflict`` while another goes on."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise StorageError.of(error, f"cannot use {folder}") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"another `sealwright monitor` uses {folder}", hint="wait for it, or name another folder with --state"
            ) from None
        yield
    finally:
        os.close(descriptor)
