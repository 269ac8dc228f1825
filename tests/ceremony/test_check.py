"""``check`` refuses what cannot succeed, and names the step; what it lets pass can be performed to its end."""

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ceremonies import CHECKOUT, NEXT_KEY, Domain
from sealwright.ceremony.artefacts import Drafted
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.check import check, still_wanted
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.conduct import Ceremony, conduct
from sealwright.ceremony.folder import read_inputs
from sealwright.ceremony.holders import Holders
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.people import NobodyPresent
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.prepared import parse_prepared
from sealwright.ceremony.register import parse_register
from sealwright.ceremony.room import NewToken, Room, TokenDescription
from sealwright.ceremony.rules import check_order
from sealwright.ceremony.script import Kind, Script, parse_script
from sealwright.errors import Conflict, IntegrityError, NotFound, PolicyViolation, SealwrightError, TokenError
from sealwright.pki.keys import KeyKind, PrivateKey, PublicKey
from sealwright.pki.signatures import SignatureScheme

pytestmark = pytest.mark.xdist_group("ceremony")


@pytest.fixture
def genesis(domain: Domain, tmp_path: Path) -> Path:
    """Prepared, and nothing wrong with it."""
    folder = tmp_path / "genesis"
    new_folder(Kind.ROOT_GENESIS, folder, ca=domain.ca, inputs=domain.officers)
    prepare(folder, at=utc_now())
    check(folder)
    return folder


def refused(folder: Path, error: type[SealwrightError]) -> str:
    before = sorted(folder.rglob("*"))
    with pytest.raises(error) as raised:
        check(folder)
    assert sorted(folder.rglob("*")) == before
    return str(raised.value)


def edit_json(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    value = json.loads(path.read_bytes())
    change(value)
    path.write_text(json.dumps(value, sort_keys=True, separators=(",", ":")))


# What it refuses


def test_a_step_whose_precondition_no_earlier_step_establishes(genesis: Path) -> None:
    script = genesis / "script.toml"
    text = re.sub(r'\[\[steps\]\]\naction = "read-back"\n.*\n.*\n.*\n', "", script.read_text())
    script.write_text(text)
    assert "step 9 (draft-certificate) needs, and no earlier step gives: the key on root is read back" in refused(
        genesis, PolicyViolation
    )


def test_an_input_that_is_not_pinned(genesis: Path) -> None:
    edit_json(genesis / "prepared.json", lambda file: file["inputs"].pop("root.toml"))
    assert "step 2 (verify-inputs): the input root.toml is not pinned" in refused(genesis, IntegrityError)


def test_a_pin_for_what_is_no_input(genesis: Path) -> None:
    edit_json(genesis / "prepared.json", lambda file: file["inputs"].update({"extra.toml": "0" * 64}))
    assert "step 2 (verify-inputs): prepared.json pins extra.toml" in refused(genesis, IntegrityError)


@pytest.mark.parametrize("name", ["pki.toml", "root.toml", "officers.toml"])
def test_an_input_with_one_octet_changed(genesis: Path, name: str) -> None:
    path = genesis / "inputs" / name
    data = bytearray(path.read_bytes())
    data[-2] ^= 1
    path.write_bytes(data)
    assert f"step 2 (verify-inputs): input {name} was changed" in refused(genesis, IntegrityError)


def test_an_output_that_exists(genesis: Path) -> None:
    (genesis / "production-1/outputs").mkdir(parents=True)
    assert "step 23 (promote): the outputs exist" in refused(genesis, Conflict)


def test_a_quorum_that_the_roles_cannot_reach(genesis: Path) -> None:
    """Three of two officers; and a consent that is asked of somebody who is no officer."""
    officers = genesis / "inputs/officers.toml"
    text = officers.read_text()
    officers.write_text(text.replace("threshold = 2", "threshold = 4"))
    import hashlib

    digest = hashlib.sha256(officers.read_bytes()).hexdigest()
    edit_json(genesis / "prepared.json", lambda file: file["inputs"].update({"officers.toml": digest}))
    assert "step 1 (attendance): threshold is 4 of 3 officers" in refused(genesis, PolicyViolation)
    script = genesis / "script.toml"
    script.write_text(script.read_text().replace('role = "officer"\nto = "use', 'role = "witness"\nto = "use', 1))
    assert "step 7 (open-token) needs, and no earlier step gives: the officers consent to use root" in refused(
        genesis, PolicyViolation
    )


def test_bytes_that_are_not_those_that_were_announced(genesis: Path) -> None:
    edit_json(genesis / "prepared.json", lambda file: file["digests"]["PRODUCTION"].update({"root.crl": "0" * 64}))
    assert re.search(r"step 14 \(draft-crl\): root.crl is not what was prepared", refused(genesis, IntegrityError))


def test_one_token_under_two_names(domain: Domain, tmp_path: Path) -> None:
    folder = tmp_path / "keys"
    new_folder(Kind.ISSUING_KEY, folder, ca=domain.ca, records=[domain.record(Kind.ROOT_GENESIS)])
    prepare(folder, at=utc_now())
    (folder / "site.toml").write_text('[tokens.issuing]\nserial = "77"\n[tokens.ledger]\nserial = "77"\n')
    said = refused(folder, PolicyViolation)
    assert re.search(r"step \d+ \(inspect-token\): site.toml has the serial 77 for ledger, and for issuing", said)
    assert "[CER-TOKEN-TWICE]" in said


def test_a_second_implementation_that_is_not_here(
    genesis: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert "step 21 (verify-with-second-implementation) needs openssl" in refused(genesis, NotFound)


def test_what_run_will_want_besides_is_said_and_not_held_against_it(genesis: Path, domain: Domain) -> None:
    folder, _ = check(genesis)
    wanted = still_wanted(folder, utc_now() + timedelta(days=40))
    assert [line.split()[0] for line in wanted] == ["site.toml:", "site.toml:", "no", "it"]
    (genesis / "site.toml").write_text('module = "absent.so"\n[tokens.root]\nserial = "1"\npin_file = "absent"\n')
    shutil.copytree(domain.record(Kind.ROOT_GENESIS), genesis / "rehearsal-1")
    folder, _ = check(genesis)
    assert [line.split(",")[0].split("/")[0].strip() for line in still_wanted(folder, utc_now())] == [
        "the PKCS#11 library",
        "the PIN file of root",
    ]
    (genesis / "site.toml").write_text(f'module = "{domain.softhsm.module_path}"\n[tokens.root]\nserial = "1"\n')
    folder, _ = check(genesis)
    assert still_wanted(folder, utc_now()) == ()


# What it lets pass


MAKE: dict[KeyKind, Callable[[], PrivateKey]] = {
    KeyKind.P256: lambda: ec.generate_private_key(ec.SECP256R1()),
    KeyKind.P384: lambda: ec.generate_private_key(ec.SECP384R1()),
    KeyKind.ED25519: Ed25519PrivateKey.generate,
}


@dataclass
class SoftTokens:
    """Tokens in memory, as strict as those on a desk: what is open is not opened, what is shut does nothing."""

    keys: dict[str, PrivateKey] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)
    initialised: set[str] = field(default_factory=set)
    split_pins: dict[tuple[str, str], int] = field(default_factory=dict)
    typed: int = 0

    def inspect(self, token: str) -> TokenDescription:
        serial = "serial-new" if token == "token" else f"serial-{token}"  # it is the one that token-init made
        return TokenDescription(serial, f"REHEARSAL {token}", "soft", "test")

    def open(self, token: str) -> int:
        if token in self.opened:
            raise TokenError(f"{token} is open")
        self.opened.add(token)
        return int(token in self.keys)

    def generate(self, token: str, kind: KeyKind, key_id: bytes, label: str) -> PublicKey:
        self._check(token)
        if token in self.keys:
            raise TokenError(f"{token} has a key")
        self.keys[token] = MAKE[kind]()
        return self.keys[token].public_key()

    def find(self, token: str, key_id: bytes) -> PublicKey:
        self._check(token)
        return self.keys[token].public_key()

    def prove(self, token: str, key_id: bytes, scheme: SignatureScheme, published: bytes) -> None:
        self._check(token)

    def sign(self, token: str, key_id: bytes, drafted: Drafted) -> bytes:
        self._check(token)
        return drafted.sign(self.keys[token])

    def close(self, token: str) -> None:
        self._check(token)
        self.opened.remove(token)

    def destroy(self, token: str, key_id: bytes) -> bool:
        self._check(token)
        del self.keys[token]
        return True

    def erase(self, token: str, serial: str) -> bool:
        if token in self.opened:
            raise TokenError(f"{token} is open")
        return True

    def clone(self, token: str, source: str) -> None:
        if source in self.opened or token in self.keys:
            raise TokenError(f"{source} is open, or {token} has a key")
        self.keys[token] = self.keys[source]

    def inspect_new(self, token: str, label: str) -> NewToken:
        if token in self.initialised:
            raise TokenError(f"{token} is initialised")
        return NewToken("soft", "test", 0, 4, 255)

    def split(self, token: str, which: str, holders: Holders) -> None:
        if (token, which) in self.split_pins:
            raise TokenError(f"{which} PIN of {token} is shared")
        self.split_pins[token, which] = holders.divisions[which].threshold  # type: ignore[index]  # "user" or "so"

    def share(self, token: str, which: str, number: int) -> str:
        return f"share {number}"

    def is_share(self, token: str, which: str, number: int, typed: str) -> bool:
        return True

    def has_pin(self, token: str, which: str) -> bool:
        return (token, which) in self.split_pins or token.startswith("old-")

    def initialise(self, token: str, label: str) -> str:
        self.inspect_new(token, label)
        self.initialised.add(token)
        return f"serial-{token}"

    def refuse_default_pin(self, serial: str) -> None:
        """It has none."""

    def forget_shares(self, token: str, which: str) -> None:
        self.typed = 0

    def rehearsed_share(self, name: str, which: str, holder: str) -> str:
        return holder

    def take_share(self, token: str, which: str, typed: str) -> tuple[int, int]:
        self.typed += 1
        return self.typed, self.split_pins.get((token, which), 2) - self.typed  # who had it before: two of three

    def try_quorum(self, token: str, serial: str, which: str) -> int:
        if token not in {*self.initialised, "token", "old-token"}:
            raise TokenError(f"{token} is not initialised")
        return 0

    def change_pin(self, token: str, serial: str, which: str) -> None:
        if not self.has_pin(token, which):
            raise TokenError(f"there is no new {which} PIN of {token}")

    def is_useless(self, token: str, serial: str, which: str) -> bool:
        return True

    def list_serials(self) -> list[str]:
        return ["serial-other", "serial-root"]

    def count(self, serial: str, token: str | None) -> dict[str, Any]:
        return {"serial": serial, "label": "", "objects": None if token is None else [], "findings": []}

    def keep_new_papers(self, old: str, new: str) -> None:
        """They are nowhere."""

    def _check(self, token: str) -> None:
        if token not in self.opened:
            raise TokenError(f"{token} is not open")


@dataclass
class SoftBench:
    files: dict[str, bytes] = field(default_factory=dict)
    promoted: bool = False

    def lay_down(self, name: str, data: bytes) -> None:
        if self.promoted or name in self.files:
            raise Conflict(name)
        self.files[name] = data

    def promote(self, names: tuple[str, ...]) -> None:
        if self.promoted or sorted(names) != sorted(self.files):
            raise Conflict("promote")
        self.promoted = True


class SilentJournal:
    head = ""

    def record(self, entry: str, fields: Mapping[str, Any], observed: Mapping[str, Any] | None = None) -> None:
        pass

    def interrupted(self) -> bool:
        return False

    def when_interrupted(self, take_up: Callable[[], None]) -> None:
        pass


class Agrees:
    def verify(self, tool: str, name: str, data: bytes, root: bytes | None, at: datetime) -> str:
        return "test"

    def build_path(self, tool: str, anchor: bytes, through: bytes, end: bytes, at: datetime) -> str:
        return "test"


def perform(script: Script, folder: Path, keys: Mapping[str, PrivateKey]) -> dict[str, bytes]:
    """The script in a room of software, to its end."""
    prepared = parse_prepared((folder / "prepared.json").read_bytes())
    pinned = parse_prepared(prepared.file.model_copy(update={"script": script.sha256}).to_bytes())
    room = Room(SilentJournal(), NobodyPresent(), SoftTokens(dict(keys)), SoftBench(), Agrees())
    inputs = read_inputs(folder, script)
    return conduct(
        Ceremony(
            script=script,
            prepared=pinned,
            inputs=inputs,
            site_sha256="",
            mode="REHEARSAL",
            software={},
            rehearsal=None,
            attended=False,
        ),
        room,
    )


@dataclass
class SoftDomain:
    """Ceremonies one after another in rooms of software, each with what those before it made."""

    domain: Domain
    base: Path
    ca: Path
    now: datetime
    made: dict[str, bytes] = field(default_factory=dict)
    root: dict[str, PrivateKey] = field(default_factory=dict)

    def perform(
        self,
        kind: Kind,
        inputs: dict[str, Path],
        *,
        ca: Path | None = None,
        tokens: dict[str, PrivateKey] | None = None,
    ) -> tuple[Path, dict[str, PrivateKey]]:
        """Its prepared folder, and the keys that were on its tokens when it began."""
        folder = self.base / kind
        self.now += timedelta(minutes=1)
        new_folder(kind, folder, ca=ca or self.ca, inputs=inputs)
        script = parse_script((folder / "script.toml").read_bytes())
        for name in script.inputs:
            if name in self.made and name not in inputs:
                (folder / "inputs" / name).write_bytes(self.made[name])
        prepare(folder, at=self.now + (self.domain.time_of(kind) - utc_now()))
        before = tokens or {name: self.root["root"] for name in held(kind) if self.root}
        soft = SoftTokens(dict(before))
        prepared = parse_prepared((folder / "prepared.json").read_bytes())
        ceremony = Ceremony(
            script=script,
            prepared=prepared,
            inputs=read_inputs(folder, script),
            site_sha256="",
            mode="REHEARSAL",
            software={},
            rehearsal=None,
            attended=False,
        )
        outputs = conduct(ceremony, Room(SilentJournal(), NobodyPresent(), soft, SoftBench(), Agrees()))
        self.made |= {} if KINDS[kind].destroys else outputs
        if kind is Kind.ROOT_GENESIS:
            self.root = {"root": soft.keys["root"]}
        return folder, before


@pytest.fixture(scope="module")
def soft(domain: Domain, tmp_path_factory: pytest.TempPathFactory) -> dict[Kind, tuple[Path, dict[str, PrivateKey]]]:
    """A prepared folder of every kind, and the keys that are on its tokens when it begins."""
    base, now = tmp_path_factory.mktemp("soft"), datetime.now(UTC).replace(microsecond=0)
    old = SoftDomain(domain, base / "old", domain.ca, now)
    new = SoftDomain(domain, base / "new", domain.new_ca, now + timedelta(minutes=5))
    for kind in (Kind.ROOT_GENESIS, Kind.ISSUING_KEY, Kind.ISSUING_CA):
        new.perform(kind, domain.new_officers if kind is Kind.ROOT_GENESIS else {})
    rooms: dict[Kind, tuple[Path, dict[str, PrivateKey]]] = {}
    for kind in Kind:
        match kind:
            case Kind.REVOKE_ISSUING_CA:
                rooms[kind] = old.perform(kind, decision(domain, old.made["issuing.pem"], base))
            case Kind.ISSUING_CA_RENEWAL:
                request = {"issuing.csr": domain.record(NEXT_KEY) / "outputs/issuing.csr"}
                first = old.made["issuing.pem"]
                rooms[kind] = old.perform(kind, request, ca=domain.next_ca)
                renewed, old.made["issuing.pem"] = old.made["issuing.pem"], first
            case Kind.ROOT_ROLLOVER:
                folder = base / "of the new root"
                folder.mkdir()
                for name in ("anchor.json", "root.pem", "register.json", "issuing.pem"):
                    (folder / f"new-{name}").write_bytes(new.made[name])
                (folder / "new-pki.toml").write_bytes((domain.new_ca / "pki.toml").read_bytes())
                # Of the first issuing CA the CRL says that it is revoked; the one that renewed it lives.
                (folder / "issuing.pem").write_bytes(renewed)
                tokens = {"root": old.root["root"], "new-root": new.root["root"]}
                rooms[kind] = old.perform(kind, {path.name: path for path in folder.iterdir()}, tokens=tokens)
            case Kind.KEY_DESTRUCTION:
                inputs = domain.destruction(base, old.made["root.pem"], lost_but_one(old.made["register.json"]))
                rooms[kind] = old.perform(kind, inputs)
            case _:
                rooms[kind] = old.perform(kind, domain.inputs_of(kind))
    return rooms


def lost_but_one(register: bytes) -> str:
    """The reviewed script has the original and one copy: every other copy is declared lost."""
    return "".join(
        f'[[lost]]\nwhat = "copy"\nseal = "{copy.custody.seal}"\nsince = "{copy.made}"\nwhy = "it fell into a lake"\n'
        for copy in parse_register(register).copies[1:]
    )


def held(kind: Kind) -> frozenset[str]:
    """The tokens that have the root's key when this ceremony begins."""
    rule = KINDS[kind]
    return frozenset(rule.tokens) - rule.copies.keys() - rule.new_keys.keys() - rule.fresh()


def decision(domain: Domain, issuing: bytes, folder: Path) -> dict[str, Path]:
    certificate = x509.load_pem_x509_certificate(issuing)
    began = f'"{certificate.not_valid_before_utc:%Y-%m-%dT%H:%M:%SZ}"'
    return domain.decision(
        folder,
        serial=f'"{certificate.serial_number:x}"',
        certificate_sha256=f'"{certificate.fingerprint(hashes.SHA256()).hex()}"',
        revocation_date=began,
        known_since=began,
    )


EDITS = st.lists(
    st.tuples(st.sampled_from(["omit", "double", "move", "swap"]), st.integers(0, 98), st.integers(0, 98)),
    min_size=1,
    max_size=3,
)


@pytest.mark.parametrize("kind", list(Kind))
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=EDITS)
def test_a_script_with_steps_left_out_doubled_or_moved_is_refused_by_name_or_performed(
    soft: dict[Kind, tuple[Path, dict[str, PrivateKey]]], kind: Kind, edits: list[tuple[str, int, int]]
) -> None:
    head, *steps = re.split(r"(?m)^\[\[steps\]\]\n", (CHECKOUT / "ceremonies" / kind / "script.toml").read_text())
    for edit, one, other in edits:
        here, there = one % len(steps), other % len(steps)
        match edit:
            case "omit" if len(steps) > 1:
                steps.pop(here)
            case "double":
                steps.insert(there, steps[here])
            case "move":
                steps.insert(there, steps.pop(here))
            case _:
                neighbour = (here + 1) % len(steps)
                steps[here], steps[neighbour] = steps[neighbour], steps[here]
    script = parse_script("".join([head, *(f"[[steps]]\n{step}" for step in steps)]).encode())
    refusal = why_not(script)
    if refusal is None:
        folder, keys = soft[kind]
        assert sorted(perform(script, folder, keys)) == sorted(script.outputs)
    else:
        assert re.match(r"step \d+ \([a-z-]+\) ", refusal)


def why_not(script: Script) -> str | None:
    try:
        check_order(script)
    except PolicyViolation as violation:
        return violation.message
    return None
