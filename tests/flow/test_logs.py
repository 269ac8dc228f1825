"""The logs of a whole run, from first order to revocation: JSON on every line, and no secret on any."""

import base64
import json
import re
import subprocess
import sys
from pathlib import Path

from rehearsal import Rehearsal

SERVERS = ("signer", "presign", "registry", "validation")


def logs(rehearsal: Rehearsal) -> dict[str, str]:
    return {name: (rehearsal.pki / "log" / f"{name}.log").read_text() for name in SERVERS}


def test_each_line_of_each_server_is_a_json_object_that_says_who_and_when(rehearsal: Rehearsal) -> None:
    for name, text in logs(rehearsal).items():
        assert text.strip(), name
        for line in text.splitlines():
            record = json.loads(line)
            assert {"at", "process", "level", "logger", "message"} <= set(record), line


def test_no_pin_no_private_key_and_no_bearer_token_is_in_any_log(rehearsal: Rehearsal) -> None:
    secrets: dict[str, str] = {}
    for path in (rehearsal.folder / "pins").glob("*.pin"):
        pin = path.read_text().strip()
        secrets |= {path.name: pin, f"{path.name} hex": pin.encode().hex()}
        secrets[f"{path.name} base64"] = base64.b64encode(pin.encode()).decode().rstrip("=")
    for path in (rehearsal.folder / "people").glob("*.pub"):
        secrets[path.stem] = path.with_suffix("").read_text().splitlines()[3]  # a line of the key's own octets
    assert len(secrets) > 15
    every = [*(rehearsal.pki / "log").iterdir(), *rehearsal.folder.glob("*.log")]
    for path in every:
        text = path.read_text()
        for what, secret in secrets.items():
            assert secret not in text, f"{what} is in {path.name}"
        assert "bearer" not in text.lower(), path.name
        # A session's token is 43 characters of base64url; so is the end of an SSH fingerprint, which is public.
        tokens = re.findall(r"(?<![\w:/+-])[A-Za-z0-9_-]{43}(?![\w/+=-])", text)
        assert tokens == [], path.name


def test_a_library_that_logs_what_it_asks_for_is_not_heard(tmp_path: Path) -> None:
    program = (
        "from sealwright.logs import log_to_stderr; log_to_stderr('registry')\n"
        "import httpx, logging; logging.getLogger('sealwright').info('it works')\n"
        "transport = httpx.MockTransport(lambda request: httpx.Response(200))\n"
        "httpx.Client(transport=transport).post('http://hook.example.org/s3cret')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert "it works" in done.stderr
    assert "s3cret" not in done.stderr
