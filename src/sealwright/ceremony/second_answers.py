"""OpenSSL reads every answer of ``answers.json`` by itself: signature, delegate, CertID, status, date and reason.

At the ceremony's own time, as ``second`` asks for a chain; whether the answers are still in force is not asked here.
"""

import re
import subprocess
import tempfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from sealwright.ceremony.answers import ANSWERS, RootAnswer, parse_answers
from sealwright.ceremony.clock import parse_time
from sealwright.errors import IntegrityError

Run = Callable[[list[str], Path], subprocess.CompletedProcess[str]]


def verify_answers(data: bytes, root: bytes, at: datetime, run: Run) -> None:
    """Raises ``IntegrityError`` for the first answer of which OpenSSL does not say what the list does."""
    with tempfile.TemporaryDirectory(prefix="sealwright-") as text:
        folder = Path(text)
        (folder / "trusted-root.pem").write_bytes(root)
        for answer in parse_answers(data):
            (folder / "answer.der").write_bytes(answer.data)
            done = run(_command(answer, at), folder)
            said = f"{done.stdout}\n{done.stderr}"
            if done.returncode != 0 or "Response verify OK" not in said or not _says(answer, done.stdout):
                last = next((line for line in reversed(said.splitlines()) if line.strip()), "nothing")
                raise IntegrityError(
                    f"openssl does not verify {ANSWERS}: of the {answer.form} answer for {answer.serial}, "
                    f"{answer.status}, it said {last[:200]!r}",
                    hint="the file stays in quarantine; nothing was promoted",
                )


def _command(answer: RootAnswer, at: datetime) -> list[str]:
    return [
        *("openssl", "ocsp", f"-{answer.form}", "-issuer", "trusted-root.pem", "-serial", f"0x{answer.serial}"),
        *("-respin", "answer.der", "-no_nonce", "-attime", str(int(at.timestamp()))),
        *("-no-CApath", "-no-CAstore", "-CAfile", "trusted-root.pem"),
    ]


def _says(answer: RootAnswer, said: str) -> bool:
    """Whether OpenSSL's lines are this answer's, all of them."""
    lines = [f"0x{answer.serial}: {answer.status}", f"This Update: {_moment(answer.this_update)}"]
    lines.append(f"Next Update: {_moment(answer.next_update)}")
    if answer.reason is not None:
        lines.append(f"Reason: {answer.reason}")
    if answer.revocation_date is not None:
        lines.append(f"Revocation Time: {_moment(answer.revocation_date)}")
    read = [re.sub(r"\s+", " ", line).strip() for line in said.splitlines() if line.strip()]
    wanted = [re.sub(r"\s+", " ", line) for line in lines]
    return sorted(line for line in read if not line.startswith("WARNING: Status times")) == sorted(wanted)


def _moment(text: str) -> str:
    """As OpenSSL prints it: Nov 29 01:02:03 2026 GMT."""
    moment = parse_time(text, ANSWERS)
    return f"{moment:%b} {moment.day} {moment:%H:%M:%S %Y} GMT"
