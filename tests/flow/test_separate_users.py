"""One uid for each process, for real: what the kernel lets each do, and what it refuses.

The uids are numbers without accounts; the processes are started by ``setpriv`` as their units would start them.
"""

import contextlib
import json
import os
import shutil
import site
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rehearsal import CHECKOUT, Rehearsal
from sealwright.hsm.module import find_softhsm

UIDS = {"signer": 61001, "presign": 61002, "registry": 61003, "validation": 61004, "metrics": 61005}
CLIENTS, STRANGER = 61010, 61099
GROUPED = ("signer", "presign", "registry", "metrics")

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def python() -> str:
    """An interpreter that every uid may run: this one, or the system's of the same version."""
    for path in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        if shutil.which(path) and _runs(path):
            return path
    pytest.fail("no Python that another uid may run: install Debian's python3")


def _runs(path: str) -> bool:
    # Through a shell: setpriv itself still finds what only root may.
    done = subprocess.run(as_user(STRANGER, (), "sh", "-c", f"{path} -c ''"), capture_output=True, check=False)
    return done.returncode == 0


def as_user(uid: int, groups: tuple[int, ...], *command: str) -> list[str]:
    extra = [f"--groups={','.join(map(str, groups))}"] if groups else ["--clear-groups"]
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", *extra, "--no-new-privs", *command]


@dataclass
class Machine:
    folder: Path
    pki: Path
    ports: dict[str, int]
    interpreter: str
    children: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        packages = [str(CHECKOUT / "src"), str(CHECKOUT / "tests"), *site.getsitepackages()]
        return {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(packages), "PYTHONDONTWRITEBYTECODE": "1"}

    def command(self, *arguments: str) -> list[str]:
        return [self.interpreter, "-m", "sealwright.cli.daemon", *arguments, "--dir", str(self.pki)]

    def start(self, role: str) -> None:
        groups = (CLIENTS,) if role in GROUPED else ()
        log = (self.folder / f"{role}.log").open("wb")
        with log:
            self.children[role] = subprocess.Popen(
                as_user(UIDS[role], groups, *self.command(role)), env=self.environment, stdout=log, stderr=log
            )

    def run(self, uid: int, groups: tuple[int, ...], *command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            as_user(uid, groups, *command),
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def call(self, uid: int, groups: tuple[int, ...], name: str) -> str:
        """What the signer says to that uid: "answered", or the error's class."""
        program = (
            "import sys; from pathlib import Path; from sealwright.channel import SignerChannel\n"
            "arguments = {'start': 0, 'count': 1} if sys.argv[2] == 'entries' else {}\n"
            "try: SignerChannel(Path(sys.argv[1])).call(sys.argv[2], **arguments); print('answered')\n"
            "except Exception as error: print(type(error).__name__)"
        )
        done = self.run(uid, groups, self.interpreter, "-c", program, str(self.pki / "run/signer.sock"), name)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def log(self, role: str) -> str:
        return (self.folder / f"{role}.log").read_text()


@pytest.fixture(scope="module")
def machine(rehearsal: Rehearsal) -> Iterator[Machine]:
    assert os.geteuid() == 0, "this proof needs root, to become other users"
    folder = Path(tempfile.mkdtemp(prefix="sealwright-users-"))
    folder.chmod(0o755)
    made = Machine(
        folder, folder / "pki", {name: free_port() for name in ("registry", "validation", "metrics")}, python()
    )
    try:
        _install(made, rehearsal)
        for role in ("signer", "presign", "registry", "validation", "metrics"):
            database = {"presign": "publication", "registry": "registry"}.get(role)
            if database:
                done = made.run(UIDS[role], (CLIENTS,), *made.command("migrate", "--only", database))
                assert done.returncode == 0, done.stderr
            made.start(role)
        _wait(made)
        yield made
    finally:
        for child in reversed(tuple(made.children.values())):
            with contextlib.suppress(ProcessLookupError):
                child.terminate()
        for child in made.children.values():
            child.wait(20)
        shutil.rmtree(folder)


def _install(machine: Machine, rehearsal: Rehearsal) -> None:
    """The tokens of signer and presign in directories of their own, then ``sealwrightd install`` as root."""
    keys = json.loads((rehearsal.folder / "pki/keys.json").read_text())
    confs = {}
    for role, names in (("signer", ("issuing", "ledger")), ("presign", ("ocsp",))):
        tokens = machine.folder / f"{role}-tokens"
        tokens.mkdir(mode=0o700)
        for name in names:
            serial = keys[name]["token_serial"]
            source = next(
                p for p in (rehearsal.folder / "tokens").iterdir() if p.name.replace("-", "").endswith(serial)
            )
            shutil.copytree(source, tokens / source.name)
        confs[role] = machine.folder / f"{role}.conf"
        confs[role].write_text(f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n")
        for each in (tokens, *tokens.rglob("*")):
            os.chown(each, UIDS[role], UIDS[role])
    pins = machine.folder / "pins"
    shutil.copytree(rehearsal.folder / "pins", pins)
    pins.chmod(0o755)
    kinds = ("root-genesis", "issuing-key", "issuing-ca", "root-crl")
    genesis, *records = (rehearsal.folder / "ceremonies" / kind / "record" for kind in kinds)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "sealwright.cli.daemon", "install", "--rehearsal", "--dir", machine.pki),
            *("--genesis", genesis, "--ca", rehearsal.folder / "ca"),
            *(f"--record={record}" for record in records),
            *("--module", find_softhsm(), "--environment", f"SOFTHSM2_CONF={confs['signer']}"),
            *(f"--{name}-pin={pins / name}.pin" for name in ("issuing", "ocsp", "ledger")),
            *(f"--{name}-listen=127.0.0.1:{port}" for name, port in machine.ports.items()),
            *(f"--user={role}={uid}" for role, uid in UIDS.items()),
            f"--group={CLIENTS}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    config = machine.pki / "sealwrightd.toml"
    config.write_text(
        f'{config.read_text()}\n[presign.environment]\nSOFTHSM2_CONF = "{confs["presign"]}"\n'
        '[standby]\nsource = "/nonexistent"\nwait_seconds = 0\n'
    )
    _take_over(machine)


def _take_over(machine: Machine) -> None:
    """The copied token still says that the signer of the rehearsal holds it."""
    command = as_user(UIDS["signer"], (CLIENTS,), *machine.command("takeover", "--source-is-lost"))
    said = ""
    for _ in ("asked", "confirmed"):
        done = subprocess.run(
            command, env=machine.environment, input=f"{said}\n", capture_output=True, text=True, check=False
        )
        said = next((line.split("'")[1] for line in done.stderr.splitlines() if line.startswith("Type '")), "")
    assert done.returncode == 0, done.stderr


def _wait(machine: Machine) -> None:
    page = ""
    for _ in range(150):
        for role, child in machine.children.items():
            assert child.poll() is None, f"{role} ended: {machine.log(role)}"
        done = machine.run(0, (), *machine.command("check", "--json"))
        page = done.stdout + done.stderr
        if (
            done.returncode in (0, 1)
            and '"validation: well"' in page
            and '"presign: ' in page
            and "has said nothing" not in page
        ):
            return
        time.sleep(0.2)
    pytest.fail(page)


def test_every_process_runs_under_its_own_uid(machine: Machine) -> None:
    for role, child in machine.children.items():
        status = Path(f"/proc/{child.pid}/status").read_text()
        assert f"Uid:\t{UIDS[role]}\t{UIDS[role]}\t{UIDS[role]}" in status, role


@pytest.mark.parametrize(
    ("who", "uid", "groups", "name", "wanted"),
    [
        ("registry", UIDS["registry"], (CLIENTS,), "entries", "answered"),
        ("registry", UIDS["registry"], (CLIENTS,), "status", "answered"),
        ("registry", UIDS["registry"], (CLIENTS,), "responder-certificate", "PolicyViolation"),
        ("presign", UIDS["presign"], (CLIENTS,), "entries", "AccessDenied"),
        ("presign", UIDS["presign"], (CLIENTS,), "status", "answered"),
        ("metrics", UIDS["metrics"], (CLIENTS,), "status", "answered"),
        ("metrics", UIDS["metrics"], (CLIENTS,), "entries", "AccessDenied"),
        ("a stranger in the group", STRANGER, (CLIENTS,), "status", "AccessDenied"),
        ("a stranger", STRANGER, (), "status", "PermissionError"),
        ("validation", UIDS["validation"], (), "status", "PermissionError"),
    ],
)
def test_the_signer_hears_each_uid_for_what_is_its_own(
    machine: Machine, who: str, uid: int, groups: tuple[int, ...], name: str, wanted: str
) -> None:
    got = machine.call(uid, groups, name)
    assert got == wanted or (wanted == "PermissionError" and got == "Unavailable"), who


@pytest.mark.parametrize(
    ("role", "test", "path"),
    [
        ("registry", "-r", "pki/ledger/checkpoint"),
        ("registry", "-x", "pki/ledger"),
        ("registry", "-r", "pins/issuing.pin"),
        ("registry", "-r", "pins/ledger.pin"),
        ("registry", "-r", "pins/ocsp.pin"),
        ("registry", "-w", "pki/crl"),
        ("registry", "-w", "pki/ca/pki.toml"),
        ("registry", "-w", "pki/sealwrightd.toml"),
        ("registry", "-x", "signer-tokens"),
        ("registry", "-x", "pki/publication"),
        ("presign", "-w", "pki/ledger"),
        ("presign", "-w", "pki/crl"),
        ("presign", "-r", "pins/issuing.pin"),
        ("presign", "-x", "signer-tokens"),
        ("presign", "-x", "pki/registry"),
        ("validation", "-w", "pki/publication/publication.db"),
        ("validation", "-x", "pki/ledger"),
        ("validation", "-r", "pins/ocsp.pin"),
        ("metrics", "-x", "pki/ledger"),
        ("signer", "-x", "pki/registry"),
        ("signer", "-x", "presign-tokens"),
        ("signer", "-r", "pins/ocsp.pin"),
    ],
)
def test_no_process_reaches_what_is_anothers(machine: Machine, role: str, test: str, path: str) -> None:
    place = machine.folder / path
    assert place.exists()
    assert machine.run(0, (), "test", test, str(place)).returncode == 0  # the way is right: root may
    groups = (CLIENTS,) if role in GROUPED else ()
    assert machine.run(UIDS[role], groups, "test", test, str(place)).returncode != 0, f"{role} {test} {path}"


def test_check_and_metrics_say_how_all_of_them_are(machine: Machine) -> None:
    import urllib.request

    done = machine.run(0, (), *machine.command("check", "--json"))
    findings = json.loads(done.stdout)["findings"]
    assert {each["area"] for each in findings} >= {
        "process",
        "token",
        "key",
        "roster",
        "crl",
        "ocsp",
        "ledger",
        "files",
    }
    states = {each["text"]: each["state"] for each in findings}
    assert states["signer: well"] == "ok"
    assert [each["state"] for each in findings if each["area"] in ("token", "files", "ledger")] == ["ok"] * 5, findings
    # There is no roster in this PKI yet, and so no CRL of the issuing CA: a problem, and the exit code says so.
    assert done.returncode == 1
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://127.0.0.1:{machine.ports['metrics']}/metrics") as answer:
        page = answer.read().decode()
    for process in ("signer", "presign", "registry", "sync", "validation"):
        assert f'sealwright_up{{process="{process}"}}' in page
    assert page.count("sealwright_token_up{") == 3
    assert "sealwright_ledger_entries " in page


def test_the_units_are_sound_and_hardened(machine: Machine, tmp_path: Path) -> None:
    assert shutil.which("systemd-analyze"), "apt install systemd"
    executable = Path(sys.executable)
    done = machine.run(0, (), *machine.command("units", "--out", str(tmp_path), "--command", str(executable)))
    assert done.returncode == 0, done.stderr
    made = sorted(tmp_path.glob("*.service"))
    assert [path.stem.removeprefix("sealwright-") for path in made] == sorted([*UIDS, "standby"])
    verified = subprocess.run(["systemd-analyze", "verify", *made], capture_output=True, text=True, check=False)
    complaints = [line for line in verified.stderr.splitlines() if "sealwright" in line]
    assert (verified.returncode, complaints) == (0, []), verified.stderr
    for path in made:
        exposure = subprocess.run(
            ["systemd-analyze", "security", "--offline=true", "--threshold=30", path],
            capture_output=True,
            text=True,
            check=False,
        )
        assert exposure.returncode == 0, exposure.stdout[-2000:]
        role = path.stem.removeprefix("sealwright-").replace("standby", "signer")  # it writes the signer's ledger
        assert f"User={UIDS[role]}" in path.read_text()
        wanted = "12" if path.stem.endswith("standby") else "13 14"
        assert f"RestartPreventExitStatus={wanted}\n" in path.read_text()
