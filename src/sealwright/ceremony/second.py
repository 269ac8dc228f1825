"""The second implementation: OpenSSL and GnuTLS, as programs, on files in quarantine. Never the library that made them.

OpenSSL checks at the ceremony's own time, so that a record verifies ten years later; GnuTLS 3.7 knows only now, so it
serves in the ceremony and not in a replay. Their defaults are kept out: no system trust store, no configuration file.
"""

import base64
import os
import re
import shutil
import subprocess
import tempfile
from datetime import datetime
from pathlib import Path

from sealwright.ceremony.answers import ANSWERS
from sealwright.ceremony.second_answers import verify_answers
from sealwright.errors import IntegrityError, NotFound

_TIMEOUT = 30


class OtherTools:
    """Implements ``room.SecondOpinion``."""

    def verify(self, tool: str, name: str, data: bytes, root: bytes | None, at: datetime) -> str:
        """Raise ``IntegrityError`` unless ``tool`` verifies the signature on ``data``. Gives the tool's version."""
        check_tool(tool, needed_by=f"verifying {name}")
        if name == ANSWERS:
            verify_answers(data, root or b"", at, _run)
            return tool_version(tool)
        with tempfile.TemporaryDirectory(prefix="sealwright-") as text:
            folder = Path(text)
            (folder / name).write_bytes(_as_pem(data) if tool == "certtool" and name.endswith(".crl") else data)
            if root is not None:
                (folder / "trusted-root.pem").write_bytes(root)
            arguments, wanted = _command(tool, name, at)
            return _ask(tool, arguments, folder, wanted, f"does not verify {name}")

    def build_path(self, tool: str, anchor: bytes, through: bytes, end: bytes, at: datetime) -> str:
        """Raise ``IntegrityError`` unless ``tool`` builds the path with nothing else trusted. Gives its version."""
        check_tool(tool, needed_by="building a path")
        with tempfile.TemporaryDirectory(prefix="sealwright-") as text:
            folder = Path(text)
            files = {"trusted-root.pem": anchor, "through.pem": through, "end.pem": end, "path.pem": end + through}
            for name, data in files.items():
                (folder / name).write_bytes(data)
            if tool == "openssl":
                arguments, wanted = _command(tool, "end.pem", at)
                arguments[-1:] = ["-untrusted", "through.pem", "end.pem"]
            else:
                arguments, wanted = _command(tool, "path.pem", at)
            return _ask(tool, arguments, folder, wanted, "builds no path with this root alone")


def _ask(tool: str, arguments: list[str], folder: Path, wanted: str, refused: str) -> str:
    done = _run([tool, *arguments], folder)
    said = f"{done.stdout}\n{done.stderr}".strip()
    if done.returncode != 0 or not re.search(wanted, said):
        last = next((line for line in reversed(said.splitlines()) if line.strip()), "nothing")
        raise IntegrityError(
            f"{tool} {refused}: it ended with {done.returncode} and said {last[:200]!r}",
            hint="the file stays in quarantine; nothing was promoted",
        )
    return tool_version(tool)


def _as_pem(der: bytes) -> bytes:
    """GnuTLS takes trust and CRL in one form only, and the root is PEM."""
    return b"-----BEGIN X509 CRL-----\n" + base64.encodebytes(der) + b"-----END X509 CRL-----\n"


def check_tool(tool: str, *, needed_by: str) -> None:
    """Raises ``NotFound`` with what to install."""
    if shutil.which(tool) is None:
        package = {"certtool": "gnutls-bin"}.get(tool, tool)
        raise NotFound(f"{needed_by} needs {tool}, which is not installed", hint=f"apt install {package}")


def tool_version(tool: str) -> str:
    arguments = ["version"] if tool == "openssl" else ["--version"]
    return _run([tool, *arguments], None).stdout.split("\n")[0].strip()[:80]


def _command(tool: str, name: str, at: datetime) -> tuple[list[str], str]:
    """Arguments, and what the tool must say: some of them end with 0 whatever they found."""
    suffix = name.rpartition(".")[2]
    trust = ["-no-CApath", "-no-CAstore", "-CAfile", "trusted-root.pem"]
    match tool, suffix:
        case "openssl", "pem":
            seconds = str(int(at.timestamp()))
            return ["verify", "-x509_strict", "-check_ss_sig", "-attime", seconds, *trust, name], rf"{name}: OK"
        case "openssl", "crl":
            return ["crl", "-inform", "DER", "-in", name, "-noout", *trust], "verify OK"
        case "openssl", _:
            return ["req", "-in", name, "-noout", "-verify"], "verify OK"
        case _, "pem":
            arguments = ["--verify", "--load-ca-certificate", "trusted-root.pem", "--infile", name]
            return arguments, "(?i)chain verification output: verified"
        case _, "crl":
            arguments = ["--verify-crl", "--load-ca-certificate", "trusted-root.pem", "--infile", name]
            return arguments, "(?i)verification output: verified"
        case _:
            return ["--crq-info", "--infile", name], "(?i)self signature: verified"


def _run(command: list[str], folder: Path | None) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C", "OPENSSL_CONF": os.devnull}
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise IntegrityError(f"{command[0]} did not answer within {_TIMEOUT} s") from None
