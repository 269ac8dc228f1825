"""The token's process dies in the middle of a ceremony: it stops with a word on what to do, and is taken up again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ceremonies import Domain, read_entries
from debian import need
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.script import Kind
from softhsm import TokenFactory
from tokendouble import TokenServer, find_client

pytestmark = [pytest.mark.xdist_group("ceremony"), pytest.mark.slow]

CHILD = """
import json, os, signal, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from ceremonies import Cast
from sealwright.ceremony import sitting
from sealwright.errors import SealwrightError
from sealwright.hsm.pin import Pin

folder, rehearsal, pin, server = Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4], int(sys.argv[5])

class Hand(Cast):
    def ask(self, question):
        if "sign root.pem" in question.prompt and server:
            os.killpg(server, signal.SIGKILL)
        return super().ask(question)

try:
    if server:
        sitting.run(folder, people=Hand(), rehearsals=(rehearsal,), pin_of=lambda _: Pin(pin))
    else:
        sitting.resume(folder / "production-1", people=Cast(), pin_of=lambda _: Pin(pin))
    print(json.dumps(["done", "", ""]))
except SealwrightError as error:
    print(json.dumps([type(error).__name__, error.message, error.hint]))
"""


def test_p11_kit_server_dies_before_the_root_is_signed(domain: Domain, softhsm: TokenFactory, tmp_path: Path) -> None:
    need("p11-kit", "p11-kit-modules")
    serial, pin = softhsm.new_token("vault root behind p11-kit")
    server = TokenServer(softhsm.module_path, tmp_path / "socket", softhsm.config)
    server.start()
    (tmp_path / "site.toml").write_text(f'module = "{find_client()}"\n[tokens.root]\nserial = "{serial}"\n')
    folder = tmp_path / "genesis"
    new_folder(Kind.ROOT_GENESIS, folder, ca=domain.ca, inputs=domain.officers, site=tmp_path / "site.toml")
    prepare(folder, at=utc_now())

    def perform(group: int) -> list[str]:
        tests = Path(__file__).parents[1]
        rehearsal = domain.record(Kind.ROOT_GENESIS)
        done = subprocess.run(
            [sys.executable, "-c", CHILD, tests, folder, rehearsal, pin.reveal().decode(), str(group)],
            env={**os.environ, "P11_KIT_SERVER_ADDRESS": server.address},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        said: list[str] = json.loads(done.stdout.splitlines()[-1])
        return said

    try:
        assert server._process is not None
        name, message, hint = perform(server._process.pid)
        assert name in ("TokenError", "TokenNotFound"), (name, message, hint)
        assert hint
        last = read_entries(folder / "production-1")[-1]
        assert (last["entry"], last["error"]) == ("stopped", name)
        assert not (folder / "production-1/outputs").exists()
        server.kill()
        server.start()
        assert perform(0)[0] == "done"
    finally:
        server.kill()
    findings = verify_folder(folder / "production-1")
    assert findings.mode == "PRODUCTION"
    operations = [entry.get("operation") for entry in read_entries(folder / "production-1")]
    assert operations.count("generate-key") == 2, "one intent and one result: one key"
