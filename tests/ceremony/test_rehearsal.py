"""The four ceremonies, rehearsed in order as one trust domain: what comes out, and what does not."""

import base64
import hashlib
import json
import re
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key
from typer.testing import CliRunner

from ceremonies import BEFORE, CHECKOUT, Domain, read_entries
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.register import parse_register
from sealwright.ceremony.script import Kind
from sealwright.ceremony.second import OtherTools
from sealwright.cli.ceremony import app
from sealwright.errors import IntegrityError
from sealwright.statements.anchor import load_anchor

pytestmark = pytest.mark.xdist_group("ceremony")

OUTPUTS = {
    Kind.TOKEN_INIT: {"token.json", "officers.toml"},
    Kind.ROOT_GENESIS: {"root.pem", "root.crl", "anchor.json", "register.json"},
    Kind.ISSUING_KEY: {"issuing.csr", "keys.json"},
    Kind.ISSUING_CA: {"issuing.pem", "register.json"},
    Kind.ISSUING_CA_RENEWAL: {"issuing.pem", "register.json"},
    Kind.ROOT_CRL: {"root.crl", "register.json"},
    Kind.REVOKE_ISSUING_CA: {"root.crl", "register.json"},
    Kind.BACKUP: {"custody.json", "register.json"},
    Kind.RESTORE: {"custody.json", "register.json"},
    Kind.ROOT_ROLLOVER: {"new-with-old.pem", "old-with-new.pem", "register.json", "new-register.json"},
    Kind.OCSP_DELEGATE: {"delegate.pem", "answers.json", "register.json"},
    Kind.OFFICERS_CHANGE: {"token.json"},
    Kind.INVENTORY: {"census.json"},
    Kind.KEY_DESTRUCTION: {"destruction.json", "register.json"},
}


@pytest.mark.parametrize("kind", list(Kind))
def test_a_rehearsal_gives_its_outputs_and_leaves_no_quarantine(domain: Domain, kind: Kind) -> None:
    record = domain.record(kind)
    assert {path.name for path in (record / "outputs").iterdir()} == OUTPUTS[kind]
    assert set(domain.records[kind].outputs) == OUTPUTS[kind]
    assert not (record / "quarantine").exists()
    assert domain.records[kind].mode == "REHEARSAL"


LAST = {Kind.ISSUING_CA: Kind.BACKUP, Kind.ROOT_CRL: Kind.ISSUING_CA}


@pytest.mark.parametrize("kind", [Kind.ROOT_GENESIS, Kind.ISSUING_KEY, Kind.ISSUING_CA, Kind.ROOT_CRL])
def test_the_recipe_s_first_command_makes_a_folder_with_every_input(domain: Domain, kind: Kind, tmp_path: Path) -> None:
    recipe = (CHECKOUT / "ceremonies" / kind / "README.md").read_text()
    (line,) = re.findall(r"(?m)^    sealwright-ceremony (new .*)$", recipe)
    places = {
        "FOLDER": tmp_path / "made",
        "ca": domain.ca,
        "officers.toml=officers.toml": f"officers.toml={domain.officers['officers.toml']}",
        "genesis/production-1": domain.record(Kind.ROOT_GENESIS),
        "issuing-key/production-1": domain.record(Kind.ISSUING_KEY),
        "LAST-RECORD": domain.record(LAST.get(kind, kind)),
    }
    made = CliRunner().invoke(app, [str(places.get(word, word)) for word in line.split()])
    assert made.exit_code == 0, made.output
    assert {each.name for each in (tmp_path / "made/inputs").iterdir()} == set(KINDS[kind].inputs)


def test_what_came_out_verifies_with_openssl_strictly_and_with_the_root_s_crl(domain: Domain, tmp_path: Path) -> None:
    root = domain.record(Kind.ROOT_GENESIS) / "outputs/root.pem"
    crl = tmp_path / "root-crl.pem"
    der = domain.record(Kind.ROOT_CRL) / "outputs/root.crl"
    subprocess.run(["openssl", "crl", "-inform", "DER", "-in", der, "-out", crl], check=True)
    issuing = domain.record(Kind.ISSUING_CA) / "outputs/issuing.pem"
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", "-crl_check_all", "-CAfile", root, "-CRLfile", crl, issuing],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, f"{issuing}: OK")


@pytest.mark.parametrize("tool", ["openssl", "certtool"])
def test_what_came_out_verifies_with_each_second_implementation(domain: Domain, tool: str) -> None:
    root = domain.records[Kind.ROOT_GENESIS].read("root.pem")
    for kind, name in (
        (Kind.ROOT_GENESIS, "root.pem"),
        (Kind.ROOT_GENESIS, "root.crl"),
        (Kind.ISSUING_KEY, "issuing.csr"),
        (Kind.ISSUING_CA, "issuing.pem"),
        (Kind.ROOT_CRL, "root.crl"),
    ):
        assert OtherTools().verify(tool, name, domain.records[kind].read(name), root, utc_now())


@pytest.mark.parametrize("tool", ["openssl", "certtool"])
@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (Kind.ROOT_GENESIS, "root.pem"),
        (Kind.ISSUING_CA, "issuing.pem"),
        (Kind.ROOT_CRL, "root.crl"),
        (Kind.ISSUING_KEY, "issuing.csr"),
    ],
)
def test_each_second_implementation_refuses_a_signature_that_was_spoiled(
    domain: Domain, tool: str, kind: Kind, name: str
) -> None:
    with pytest.raises(IntegrityError, match=f"{tool} does not verify {name}"):
        OtherTools().verify(
            tool,
            name,
            spoil_signature(domain.records[kind].read(name)),
            domain.records[Kind.ROOT_GENESIS].read("root.pem"),
            utc_now(),
        )


def spoil_signature(data: bytes) -> bytes:
    """Flip a bit in the last octets of the DER, which are the signature's."""
    if not data.startswith(b"-----"):
        return data[:-8] + bytes([data[-8] ^ 1]) + data[-7:]
    begin, *lines, end = data.decode().strip().splitlines()
    der = spoil_signature(base64.b64decode("".join(lines)))
    return f"{begin}\n{base64.encodebytes(der).decode()}{end}\n".encode()


def test_rehearsal_stands_in_every_subject(domain: Domain) -> None:
    root = x509.load_pem_x509_certificate(domain.records[Kind.ROOT_GENESIS].read("root.pem"))
    issuing = x509.load_pem_x509_certificate(domain.records[Kind.ISSUING_CA].read("issuing.pem"))
    request = x509.load_pem_x509_csr(domain.records[Kind.ISSUING_KEY].read("issuing.csr"))
    for name in (root.subject, issuing.subject, issuing.issuer, request.subject):
        assert "CN=REHEARSAL Example Code Signing" in name.rfc4514_string()


def test_the_anchor_names_root_officers_threshold_and_mode(domain: Domain) -> None:
    anchor = load_anchor(domain.records[Kind.ROOT_GENESIS].read("anchor.json"))
    root = x509.load_pem_x509_certificate(domain.records[Kind.ROOT_GENESIS].read("root.pem"))
    anchor.check_root(root)
    assert anchor.mode == "REHEARSAL"
    assert anchor.threshold == 2
    assert [officer.name for officer in anchor.officers] == ["ada", "grace", "lin"]


def test_four_keys_are_on_four_tokens(domain: Domain) -> None:
    keys = json.loads(domain.records[Kind.ISSUING_KEY].read("keys.json"))
    root = parse_register(domain.records[Kind.ROOT_GENESIS].read("register.json")).root
    assert list(keys) == ["issuing", "ledger", "ocsp"]
    assert len({root.token_serial, *(key["token_serial"] for key in keys.values())}) == 4
    assert keys["ledger"]["kind"] == "ed25519"
    assert keys["ocsp"]["kind"] == "p-256"


def test_the_root_crls_count_on_and_the_register_keeps_up(domain: Domain) -> None:
    first = x509.load_der_x509_crl(domain.records[Kind.ROOT_GENESIS].read("root.crl"))
    second = x509.load_der_x509_crl(domain.records[Kind.ROOT_CRL].read("root.crl"))
    numbers = [crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for crl in (first, second)]
    assert numbers == [1, 2]
    register = parse_register(domain.records[Kind.ROOT_CRL].read("register.json"))
    issuing = x509.load_pem_x509_certificate(domain.records[Kind.ISSUING_CA].read("issuing.pem"))
    assert register.version == 3
    assert [entry.sha256 for entry in register.certificates] == [issuing.fingerprint(hashes.SHA256()).hex()]
    assert register.crl.number == 2


@pytest.mark.parametrize("kind", list(Kind))
def test_no_pin_and_no_hash_of_one_is_anywhere_in_a_record(domain: Domain, kind: Kind) -> None:
    pins = [domain.pin_file(name).read_text().strip() for name in ("root", "issuing", "ocsp", "ledger", "delegate")]
    assert all(len(pin) >= 8 for pin in pins)
    for path in domain.record(kind).rglob("*"):
        if path.is_file():
            text = path.read_bytes()
            for pin in pins:
                assert pin.encode() not in text
                assert hashlib.sha256(pin.encode()).hexdigest().encode() not in text


def test_every_token_operation_has_its_intent_before_it_and_its_result_after(domain: Domain) -> None:
    for kind in Kind:
        entries = read_entries(domain.record(kind))
        for place, entry in enumerate(entries):
            if entry["entry"] == "intent":
                after = next(each for each in entries[place + 1 :] if each["entry"] in ("intent", "result", "step"))
                assert (after["entry"], after["operation"]) == ("result", entry["operation"])


def test_each_header_names_the_ceremony_before(domain: Domain) -> None:
    for kind, before in BEFORE.items():
        last = domain.records[before[-1]] if before else None
        previous = read_entries(domain.record(kind))[0]["previous"]
        assert previous == (last and {"kind": last.kind, "head": last.head})


def test_pin_files_are_the_owner_s_alone(domain: Domain) -> None:
    assert {domain.pin_file(name).stat().st_mode & 0o777 for name in ("root", "issuing", "ocsp", "ledger")} == {0o600}


def test_the_ledger_s_key_can_sign_the_ledger(domain: Domain) -> None:
    keys = json.loads(domain.records[Kind.ISSUING_KEY].read("keys.json"))
    assert isinstance(load_der_public_key(base64.b64decode(keys["ledger"]["spki"])), Ed25519PublicKey)
