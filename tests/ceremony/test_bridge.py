"""What a later root ceremony made enters an installed PKI once, forward, whole, and only after its record replays."""

import dataclasses
import fcntl
import json
import os
import re
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from ceremonies import CHECKOUT, Domain
from sealwright.ceremony.record import CeremonyRecord, load_record
from sealwright.ceremony.register import parse_register
from sealwright.ceremony.script import Kind
from sealwright.ceremony.sitting import rehearse_new
from sealwright.errors import Conflict, InputError, IntegrityError, PolicyViolation, SealwrightError
from sealwright.installation import bridge, root_answers
from sealwright.installation.bridge import import_record
from sealwright.installation.check import _root_answers
from sealwright.installation.install import Installation, install, newest_root_crl
from sealwright.installed import load_installed
from sealwright.pki.crl import read_crl
from sealwright.pki.issuers import check_one_ca
from sealwright.pki.revocation import RevocationEntry, RevocationReason
from sealwright.pki.serials import SerialNumber
from sealwright.pki.settings import load_settings
from softpki import soft_pki
from world import World, make_world

pytestmark = pytest.mark.xdist_group("ceremony")

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture
def pki(domain: Domain, tmp_path: Path) -> Path:
    """Installed from the first three ceremonies: its root CRL is number 1."""
    kinds = (Kind.ISSUING_KEY, Kind.ISSUING_CA)
    folder = tmp_path / "pki"
    install(
        Installation(
            genesis=domain.record(Kind.ROOT_GENESIS),
            records=[domain.record(kind) for kind in kinds],
            ca=domain.ca,
            folder=folder,
            module=domain.softhsm.module_path,
            environment={},
            pins={name: domain.pin_file(name) for name in ("issuing", "ocsp", "ledger")},
            registry_listen="127.0.0.1:1",
            registry_url="http://127.0.0.1:1",
            validation_listen="127.0.0.1:2",
            rehearsal=True,
        )
    )
    return folder


def number_in(folder: Path) -> int:
    return read_crl((folder / "crl/root-1.crl").read_bytes(), load_installed(folder).root)[1]


def refused(folder: Path, record: CeremonyRecord, error: type[SealwrightError], said: str, now: datetime = NOW) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(error, match=said):
        import_record(folder, record, now)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_later_root_crl_is_taken_once_and_none_goes_back(pki: Path, domain: Domain) -> None:
    assert number_in(pki) == 1
    (done,) = import_record(pki, domain.records[Kind.ROOT_CRL], NOW)
    assert (done.file, done.restart) == ("crl/root-1.crl", ())
    assert done.what.startswith("root CRL number 2 in place of 1")
    assert (pki / "crl/root-1.crl").read_bytes() == domain.records[Kind.ROOT_CRL].read("root.crl")
    assert [path.name for path in (pki / "crl").iterdir()] == ["root-1.crl"]
    refused(pki, domain.records[Kind.ROOT_CRL], Conflict, "number 2 is installed already")
    refused(pki, domain.records[Kind.ROOT_GENESIS], Conflict, "number 1 is not newer: installed is 2")


def test_a_record_that_does_not_replay_changes_nothing(pki: Path, domain: Domain, tmp_path: Path) -> None:
    spoiled = tmp_path / "spoiled"
    shutil.copytree(domain.record(Kind.ROOT_CRL), spoiled)
    crl = bytearray((spoiled / "outputs/root.crl").read_bytes())
    crl[-1] ^= 1
    (spoiled / "outputs/root.crl").write_bytes(crl)
    with pytest.raises(IntegrityError):
        import_record(pki, load_record(spoiled), NOW)
    assert number_in(pki) == 1


def test_a_rehearsal_stays_out_of_production(pki: Path, domain: Domain) -> None:
    anchor = json.loads((pki / "anchor.json").read_bytes())
    (pki / "anchor.json").write_text(
        json.dumps({**anchor, "mode": "PRODUCTION"}, sort_keys=True, separators=(",", ":"))
    )
    refused(pki, domain.records[Kind.ROOT_CRL], PolicyViolation, "IMPORT-MODE")


def test_another_root_s_record_is_refused(pki: Path, domain: Domain) -> None:
    record = domain.records[Kind.ROOT_CRL]
    register = parse_register(record.read("register.json"))
    other = register.model_copy(update={"root": register.root.model_copy(update={"sha256": "0" * 64})})
    foreign = dataclasses.replace(record, outputs={**record.outputs, "register.json": other.to_bytes()})
    refused(pki, foreign, IntegrityError, "this record is of the root 0000")


def test_a_record_with_nothing_for_a_running_pki_says_so(pki: Path, domain: Domain) -> None:
    refused(pki, domain.records[Kind.ISSUING_KEY], InputError, "nothing for a PKI that is installed")
    refused(pki, domain.records[Kind.ISSUING_CA], Conflict, "installed already")


def test_cross_certificates_go_to_verifiers_and_not_into_either_root_s_pki(pki: Path, domain: Domain) -> None:
    """The installed root is the old one of this record; and, its registers exchanged, the new one."""
    record = domain.records[Kind.ROOT_ROLLOVER]
    registers = {"register.json": record.read("new-register.json"), "new-register.json": record.read("register.json")}
    for each in (record, dataclasses.replace(record, outputs={**record.outputs, **registers})):
        refused(pki, each, InputError, "nothing for a PKI that is installed")
    foreign = dict.fromkeys(registers, registers["register.json"])
    refused(pki, dataclasses.replace(record, outputs=foreign), IntegrityError, "this record is of the root")


def test_a_crl_that_has_ended_is_not_published(pki: Path, domain: Domain) -> None:
    refused(pki, domain.records[Kind.ROOT_CRL], PolicyViolation, "IMPORT-ENDED", NOW + timedelta(days=366))


# The root's OCSP answers


@pytest.fixture(scope="module")
def good(domain: Domain, tmp_path_factory: pytest.TempPathFactory) -> CeremonyRecord:
    """An ocsp-delegate record of when the issuing CA was alive."""
    records = [domain.record(each) for each in (Kind.ROOT_GENESIS, Kind.ROOT_CRL)]
    folder = tmp_path_factory.mktemp("answers") / "delegate"
    return rehearse_new(Kind.OCSP_DELEGATE, folder, ca=domain.ca, records=records, site=domain.site)


def answers_in(folder: Path) -> dict[str, str]:
    """What lies there: serial and form, and the status."""
    found = [parse_answer(path) for path in sorted((folder / "answers").glob("*.der"))]
    return {f"{each.serial_number:x}-{each.hash_algorithm.name}": each.certificate_status.name for each in found}


def parse_answer(path: Path) -> ocsp.OCSPResponse:
    return ocsp.load_der_ocsp_response(path.read_bytes())


def test_the_root_s_answers_are_taken_once(pki: Path, good: CeremonyRecord) -> None:
    (done,) = import_record(pki, good, NOW)
    serial = f"{load_installed(pki).issuing.serial_number:x}"
    assert (done.file, done.restart) == ("answers", ())
    assert done.what.startswith("2 OCSP answers of the root, 2 good, 0 revoked, valid until 20")
    assert answers_in(pki) == {f"{serial}-sha1": "GOOD", f"{serial}-sha256": "GOOD"}
    refused(pki, good, Conflict, "installed already")
    (pki / f"answers/{serial}-sha1.der").unlink()  # an import that was cut off is finished by the next
    import_record(pki, good, NOW)
    assert len(answers_in(pki)) == 2


def test_check_says_when_the_root_s_answers_end(pki: Path, good: CeremonyRecord) -> None:
    installed = load_installed(pki)
    settings = load_settings((pki / "ca/pki.toml").read_bytes(), source="ca/pki.toml")
    assert list(_root_answers(installed, settings, NOW)) == []  # who has none wants none
    import_record(pki, good, NOW)
    end = parse_answer(next((pki / "answers").glob("*.der"))).next_update_utc
    assert end is not None
    for before, state in ((timedelta(days=31), "ok"), (timedelta(days=30), "warning"), (timedelta(0), "problem")):
        (finding,) = _root_answers(installed, settings, end - before)
        assert (finding.area, finding.state) == ("ocsp", state)


def test_answers_wait_for_the_crl_that_says_the_same(pki: Path, domain: Domain, good: CeremonyRecord) -> None:
    import_record(pki, good, NOW)
    refused(pki, domain.records[Kind.OCSP_DELEGATE], PolicyViolation, "IMPORT-STATUS")
    import_record(pki, domain.records[Kind.ROOT_CRL], NOW)
    refused(pki, domain.records[Kind.OCSP_DELEGATE], PolicyViolation, "number 2 does not list it")
    (done,) = import_record(pki, domain.records[Kind.REVOKE_ISSUING_CA], NOW)
    assert "2 OCSP answers that said good are withdrawn" in done.what
    assert answers_in(pki) == {}
    refused(pki, good, PolicyViolation, "number 3 has it revoked since")
    import_record(pki, domain.records[Kind.OCSP_DELEGATE], NOW)
    assert set(answers_in(pki).values()) == {"REVOKED"}


def test_answers_are_never_replaced_by_older_ones(pki: Path, domain: Domain, good: CeremonyRecord) -> None:
    before = [domain.record(each) for each in (Kind.ROOT_GENESIS, Kind.ROOT_CRL)]
    import_record(pki, good, NOW)
    newer = rehearse_new(Kind.OCSP_DELEGATE, pki.parent / "newer", ca=domain.ca, records=before, site=domain.site)
    import_record(pki, newer, NOW)
    refused(pki, good, Conflict, "installed is one of")


def test_answers_that_have_ended_are_not_published(pki: Path, good: CeremonyRecord) -> None:
    refused(pki, good, PolicyViolation, "IMPORT-ENDED", NOW + timedelta(days=366))


def test_answers_of_another_root_are_refused(world: World, good: CeremonyRecord) -> None:
    outputs = {name: data for name, data in good.outputs.items() if name != "register.json"}
    refused(world.installed.folder, dataclasses.replace(good, outputs=outputs), PolicyViolation, "OCSP-RESPONDER")


def test_two_imports_at_once_are_one_and_a_refusal(pki: Path, domain: Domain) -> None:
    handle = os.open(pki, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    refused(pki, domain.records[Kind.ROOT_CRL], Conflict, "another import")
    os.close(handle)
    import_record(pki, domain.records[Kind.ROOT_CRL], NOW)


def test_a_disk_that_fails_keeps_the_old_crl(pki: Path, domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    refused(pki, domain.records[Kind.ROOT_CRL], SealwrightError, "No space left")


def test_install_takes_the_newest_crl_in_whatever_order_the_records_come(domain: Domain) -> None:
    records = [domain.records[Kind.ROOT_CRL], domain.records[Kind.ROOT_GENESIS]]
    root = domain.records[Kind.ROOT_GENESIS].read("root.pem")
    for order in (records, records[::-1]):
        assert newest_root_crl(order, root) == domain.records[Kind.ROOT_CRL].read("root.crl")


# With a root in software: what no ceremony makes


@pytest.fixture
def world(tmp_path: Path) -> World:
    """An installed PKI whose root CRL is number 3 and revokes the serial 77."""
    world = make_world(tmp_path / "world")
    (world.installed.folder / "crl/root-1.crl").write_bytes(soft_crl(3, 77))
    return world


def soft_crl(number: int, *serials: int) -> bytes:
    from sealwright.pki.crl import draft_crl, lint_crl, sign_crl

    soft = soft_pki()
    entries = [RevocationEntry(SerialNumber(each), NOW, RevocationReason.CESSATION_OF_OPERATION) for each in serials]
    draft = draft_crl(
        issuer=soft.root_record,
        number=number,
        this_update=NOW,
        next_update=NOW + timedelta(days=90),
        entries=entries,
        expired_certs_since=None,
    )
    return sign_crl(lint_crl(draft), soft.root_key).public_bytes(Encoding.DER)


def record_of(**outputs: Any) -> CeremonyRecord:
    named = {name.replace("_", "."): data for name, data in outputs.items()}
    return CeremonyRecord(Path("record"), Kind.ROOT_CRL, "REHEARSAL", "0" * 64, "0" * 64, named)


def test_nothing_is_un_revoked(world: World) -> None:
    folder = world.installed.folder
    refused(folder, record_of(root_crl=soft_crl(4)), IntegrityError, "no longer lists 4d")
    refused(folder, record_of(root_crl=soft_crl(3)), Conflict, "not newer")
    (done,) = import_record(folder, record_of(root_crl=soft_crl(4, 77, 78)), NOW)
    assert done.what.endswith("2 revoked")


def issuing(*, key: ec.EllipticCurvePrivateKey | None = None, days: int = 1, signer: Any = None) -> bytes:
    """A certificate like the installed issuing CA's, some days later."""
    soft = soft_pki()
    builder = x509.CertificateBuilder(
        issuer_name=soft.root.subject,
        subject_name=soft.issuing.subject,
        public_key=key.public_key() if key else soft.issuing_key.public_key(),  # type: ignore[arg-type]  # P-384
        serial_number=5,
        not_valid_before=soft.issuing.not_valid_before_utc + timedelta(days=days),
        not_valid_after=soft.issuing.not_valid_after_utc,
    )
    return builder.sign(signer or soft.root_key, hashes.SHA384()).public_bytes(Encoding.PEM)  # type: ignore[arg-type]


def test_a_later_certificate_of_the_same_issuing_ca_is_taken(world: World) -> None:
    folder = world.installed.folder
    refused(folder, record_of(issuing_pem=issuing(days=-1)), Conflict, "older than the installed one")
    other = ec.generate_private_key(ec.SECP384R1())
    refused(folder, record_of(issuing_pem=issuing(key=other)), PolicyViolation, "IMPORT-KEY")
    refused(folder, record_of(issuing_pem=issuing(signer=other)), IntegrityError, "not signed by the installed root")
    (done,) = import_record(folder, record_of(issuing_pem=issuing()), NOW)
    assert done.restart == ("signer", "presign", "registry", "validation")
    assert load_installed(folder).issuing.serial_number == 5
    import_record(folder, record_of(issuing_pem=issuing(days=2)), NOW)  # what rosters and audits know stays behind it
    chain = x509.load_pem_x509_certificates((folder / "issuing.pem").read_bytes())
    began = soft_pki().issuing.not_valid_before_utc
    assert [(each.not_valid_before_utc - began).days for each in chain] == [2, 1, 0]
    check_one_ca(chain, soft_pki().root)
    theirs = x509.load_pem_x509_certificate(issuing(key=other))
    for wrong, said in (
        ([], "no certificate"),
        ([*chain, theirs], "not all of one CA"),
        ([chain[0], x509.load_pem_x509_certificate(issuing(signer=other))], "not issued by the root"),
        (chain[::-1], "the newest first"),
        ([chain[0], chain[0]], "the newest first"),
    ):
        with pytest.raises(IntegrityError, match=said):
            check_one_ca(wrong, soft_pki().root)


def test_every_rule_of_an_import_is_in_the_policy() -> None:
    source = "".join(Path(str(each.__file__)).read_text() for each in (bridge, root_answers))
    raised = set(re.findall(r'rule="([A-Z-]+)"', source))
    assert raised == set(re.findall(r"^\| (IMPORT-[A-Z]+) \|", (CHECKOUT / "ca/policy.md").read_text(), re.MULTILINE))
