"""One presign at a time: two would sign every answer twice, and overwrite each other's status.

The lock is on the file of the OCSP token's PIN, which presign alone reads, so nothing has to be made or be writable.
The kernel gives it back when the process ends, however it ends.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sealwright.errors import Conflict, InputError


@contextmanager
def only_presign(pin_file: Path) -> Iterator[None]:
    """Raises ``Conflict`` while another process holds it."""
    try:
        descriptor = os.open(pin_file, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InputError(f"PIN file {pin_file}: {error.strerror}", hint="is [presign.ocsp] right?") from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"another process works as presign with the PIN file {pin_file}",
                hint="one presign, or one `sealwrightd rebuild`, at a time: stop the other",
            ) from None
        yield
    finally:
        os.close(descriptor)
