"""The root's OCSP delegate: a key for one ceremony, and answers that say what the root's CRL says, to the second."""

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import ExtendedKeyUsageOID

from ceremonies import CHECKOUT, Cast, Domain, copy_record, read_entries
from sealwright.ceremony import tokens
from sealwright.ceremony.answers import draft_delegate, join_messages, parse_answers, take_answers_apart
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.calendar import make_calendar
from sealwright.ceremony.check import check
from sealwright.ceremony.clock import format_time, parse_time, utc_now
from sealwright.ceremony.folder import load_folder
from sealwright.ceremony.materials import HeldKey, Materials
from sealwright.ceremony.paper import print_record, print_script
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.record import CeremonyRecord
from sealwright.ceremony.register import parse_register
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.room import Question
from sealwright.ceremony.rules import check_order
from sealwright.ceremony.script import Kind, parse_script
from sealwright.ceremony.second import OtherTools
from sealwright.ceremony.sitting import rehearse, rehearse_new, resume
from sealwright.errors import InputError, IntegrityError, PolicyViolation
from sealwright.hsm.destruction import destroy_key
from sealwright.pki.keys import spki_sha256
from sealwright.pki.ocsp import CertIDForm, cert_id
from sealwright.pki.serials import parse_serial
from softpki import software_key
from verifiers import run

pytestmark = pytest.mark.xdist_group("ceremony")

CAS = {Kind.ROOT_GENESIS: "root.pem", Kind.ISSUING_CA: "issuing.pem"}
SECOND, DAY = timedelta(seconds=1), timedelta(days=1)


def new_delegate(domain: Domain, folder: Path, *kinds: Kind) -> Path:
    """A folder of this kind, with what these records and ``ca/`` give."""
    records = [domain.record(each) for each in kinds]
    new_folder(Kind.OCSP_DELEGATE, folder, ca=domain.ca, records=records, site=domain.site)
    return folder


GOOD, DEAD = (Kind.ROOT_GENESIS, Kind.ROOT_CRL), (Kind.ROOT_GENESIS, Kind.REVOKE_ISSUING_CA)


@pytest.fixture(scope="module")
def good(domain: Domain, people: Cast, tmp_path_factory: pytest.TempPathFactory) -> CeremonyRecord:
    """Held after root-crl, when the issuing CA was alive; by people."""
    folder = new_delegate(domain, tmp_path_factory.mktemp("good") / "delegate", *GOOD)
    prepare(folder, at=utc_now(), previous=domain.record(Kind.ROOT_CRL))
    return rehearse(folder, people=people)


@pytest.fixture(scope="module")
def people() -> Cast:
    """Those of ``good``."""
    return Cast()


@pytest.fixture
def revoked(domain: Domain) -> CeremonyRecord:
    """Held after revoke-issuing-ca."""
    return domain.records[Kind.OCSP_DELEGATE]


def root_of(domain: Domain) -> x509.Certificate:
    return x509.load_pem_x509_certificate(domain.records[Kind.ROOT_GENESIS].read("root.pem"))


def crl_of(record: CeremonyRecord) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl((record.path / "inputs/root.crl").read_bytes())


def delegate_of(record: CeremonyRecord) -> x509.Certificate:
    return x509.load_pem_x509_certificate(record.read("delegate.pem"))


# What it makes


def test_the_delegate_is_the_root_s_for_ocsp_alone_and_no_longer_than_its_answers(
    domain: Domain, good: CeremonyRecord, revoked: CeremonyRecord
) -> None:
    for record in (good, revoked):
        delegate, end = delegate_of(record), crl_of(record).next_update_utc
        delegate.verify_directly_issued_by(root_of(domain))
        extensions = delegate.extensions
        purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        assert list(purposes) == [ExtendedKeyUsageOID.OCSP_SIGNING]
        assert not extensions.get_extension_for_class(x509.OCSPNoCheck).critical
        assert not extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        assert "REHEARSAL Example Code Signing Root 1 OCSP" in delegate.subject.rfc4514_string()
        assert end is not None
        assert end <= delegate.not_valid_after_utc < end + DAY


def test_every_ca_certificate_has_two_answers_that_say_what_the_crl_says_as_long_as_it_does(
    domain: Domain, good: CeremonyRecord, revoked: CeremonyRecord
) -> None:
    root = root_of(domain)
    for record, status in ((good, "good"), (revoked, "revoked")):
        crl = crl_of(record)
        registered = parse_register(record.read("register.json")).certificates
        answers = parse_answers(record.read("answers.json"))
        assert [(each.serial, each.form) for each in answers] == [
            (each.serial, form) for each in registered for form in CertIDForm
        ]
        at = json.loads((record.path / "prepared.json").read_bytes())["plan"]["at"]
        for each in answers:
            read = ocsp.load_der_ocsp_response(each.data)
            entry = crl.get_revoked_certificate_by_serial_number(parse_serial(each.serial))
            assert (each.status, read.certificate_status.name) == (status, status.upper())
            assert read.revocation_time_utc == (entry and entry.revocation_date_utc)
            if entry is not None:
                reason = entry.extensions.get_extension_for_class(x509.CRLReason).value.reason
                assert read.revocation_reason is reason is x509.ReasonFlags.ca_compromise
            assert (read.this_update_utc, read.produced_at_utc) == (parse_time(at, ""), parse_time(at, ""))
            assert read.next_update_utc == crl.next_update_utc
            assert (read.issuer_name_hash, read.issuer_key_hash) == cert_id(each.form, root)
            assert list(read.certificates) == [delegate_of(record)]


def test_its_key_is_new_each_time_and_gone_before_anything_is_promoted(
    good: CeremonyRecord, revoked: CeremonyRecord
) -> None:
    assert delegate_of(good).public_key() != delegate_of(revoked).public_key()
    for record in (good, revoked):
        results = [each for each in read_entries(record.path) if each["entry"] in ("result", "verified")]
        done = [(each.get("operation"), each.get("token", each.get("output"))) for each in results]
        order = [(None, "answers.json"), ("destroy-key", "delegate"), ("prove-destroyed", "delegate")]
        places = [done.index(each) for each in order]
        assert places == sorted(places)
        assert places[-1] < done.index(("promote", None))
        (destroyed,) = [each for each in results if each.get("operation") == "destroy-key"]
        (proven,) = [each for each in results if each.get("operation") == "prove-destroyed"]
        assert (destroyed["destroyed"], proven["keys"]) == (True, 0)
        assert parse_register(record.read("register.json")).destroyed is None  # that is the root's


def test_a_token_that_destroys_no_key_ends_it_with_nothing_promoted(
    domain: Domain, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(folder, at=utc_now())
    monkeypatch.setattr(tokens, "destroy_key", lambda session, key_id: destroy_key(session, key_id) and False)
    with pytest.raises(PolicyViolation, match="destroys no single key") as refused:
        rehearse(folder, unattended=True)
    assert refused.value.rule == "CER-DESTROY"
    assert not (folder / "rehearsal-1/outputs").exists()


def test_the_register_knows_the_delegate_and_counts_it_as_no_ca(domain: Domain, revoked: CeremonyRecord) -> None:
    before = parse_register(domain.records[Kind.REVOKE_ISSUING_CA].read("register.json"))
    after = parse_register(revoked.read("register.json"))
    assert (after.version, after.certificates, after.crl) == (before.version + 1, before.certificates, before.crl)
    (entry,) = after.delegates
    assert parse_serial(entry.serial) == delegate_of(revoked).serial_number
    assert entry.serial in after.serials()
    assert entry.spki_sha256 in after.certified_keys()


def test_a_register_without_delegates_is_written_as_it_always_was(domain: Domain) -> None:
    assert b"delegates" not in domain.records[Kind.REVOKE_ISSUING_CA].read("register.json")


# What is reviewed is what is signed


def test_every_answer_s_bytes_are_among_what_was_read_aloud_agreed_to_and_signed(good: CeremonyRecord) -> None:
    messages = [message for message, _ in take_answers_apart(good.read("answers.json"))]
    entries = read_entries(good.path)
    shown = [entry[f"{form}_tbs_sha256"] for entry in entries if entry["entry"] == "status" for form in CertIDForm]
    assert shown == [hashlib.sha256(message).hexdigest() for message in messages]
    whole = hashlib.sha256(join_messages(messages)).hexdigest()
    (drafted,) = [each for each in entries if each["entry"] == "drafted" and each["output"] == "answers.json"]
    (intent,) = [each for each in entries if each.get("operation") == "sign-answers" and each["entry"] == "intent"]
    announced = [each for each in entries if each.get("what") == "to-be-signed bytes of answers.json"]
    assert {drafted["sha256"], intent["tbs_sha256"], *(each["sha256"] for each in announced)} == {whole}


def test_people_hear_what_will_be_said_of_each_certificate(
    good: CeremonyRecord, revoked: CeremonyRecord, people: Cast
) -> None:
    told = "\n".join(people.told)
    (entry,) = parse_register(good.read("register.json")).certificates
    assert f"THE ROOT WILL SAY from {parse_answers(good.read('answers.json'))[0].this_update}" in told
    assert f"{entry.serial}  {entry.subject}\n    good" in told
    (said,) = [each for each in read_entries(revoked.path) if each["entry"] == "status"]
    assert (said["serial"], said["status"], said["reason"]) == (entry.serial, "revoked", "cACompromise")


def test_what_is_prepared_is_what_comes_but_for_the_key(good: CeremonyRecord) -> None:
    """The announced digest is of the bytes with the key's octets as zeros: another key, the same digest."""
    prepared = json.loads((good.path / "prepared.json").read_bytes())["digests"]["REHEARSAL"]
    drafted = {each["output"]: each for each in read_entries(good.path) if each["entry"] == "drafted"}
    for name in ("delegate.pem", "answers.json"):
        assert drafted[name]["template_sha256"] == prepared[name] != drafted[name]["sha256"]


# What it refuses


def refuse(folder: Path, at: datetime, rule: str, said: str) -> None:
    with pytest.raises(PolicyViolation, match=said) as refused:
        prepare(folder, at=at)
    assert refused.value.rule == rule


@pytest.fixture
def folder(domain: Domain, tmp_path: Path) -> Path:
    return new_delegate(domain, tmp_path / "delegate", *GOOD)


def test_the_crl_is_the_register_s_last(domain: Domain, folder: Path) -> None:
    (folder / "inputs/root.crl").write_bytes(domain.records[Kind.ROOT_GENESIS].read("root.crl"))
    refuse(folder, utc_now(), "CER-CRL-LAST", "is number 1; the register's last one is number 2")


def test_register_and_crl_are_of_one_mind_about_every_date(domain: Domain, tmp_path: Path) -> None:
    folder = new_delegate(domain, tmp_path / "delegate", *DEAD)
    prepare(folder, at=utc_now())
    path = folder / "inputs/register.json"
    register = parse_register(path.read_bytes())
    (entry,) = register.certificates
    assert entry.revoked is not None
    for other in (None, entry.revoked.model_copy(update={"date": "2026-01-01T00:00:00Z"})):
        changed = (entry.model_copy(update={"revoked": other}),)
        path.write_bytes(register.model_copy(update={"certificates": changed}).to_bytes())
        refuse(folder, utc_now(), "CER-CRL-REGISTER", "the last CRL lists .* since")


def test_answers_begin_and_end_within_the_crl_s_life(domain: Domain, folder: Path) -> None:
    crl = x509.load_der_x509_crl(domain.records[Kind.ROOT_CRL].read("root.crl"))
    begin, end = crl.last_update_utc, crl.next_update_utc
    assert end is not None
    for at in (begin, end - SECOND):
        prepare(folder, at=at)
    for at in (begin - SECOND, end):
        refuse(folder, at, "CER-OCSP-TIME", "the root's CRL from")


def test_a_preparation_that_lets_answers_outlive_the_crl_is_refused(domain: Domain, folder: Path) -> None:
    prepare(folder, at=utc_now())
    path = folder / "prepared.json"
    value = json.loads(path.read_bytes())
    value["plan"]["next_update"] = format_time(parse_time(value["plan"]["next_update"], "") + SECOND)
    path.write_text(json.dumps(value, sort_keys=True, separators=(",", ":")))
    with pytest.raises(PolicyViolation, match="CER-OCSP-TIME"):
        check(folder)


def test_a_root_that_issued_nothing_has_nothing_to_say(domain: Domain, tmp_path: Path) -> None:
    folder = new_delegate(domain, tmp_path / "delegate", Kind.ROOT_GENESIS)
    refuse(folder, utc_now(), "CER-OCSP-EMPTY", "no CA certificate")


def test_a_profile_shorter_than_the_crl_s_life_is_never_stretched(domain: Domain, folder: Path) -> None:
    profile = folder / "inputs/root-ocsp.toml"
    text = profile.read_text()
    crl = x509.load_der_x509_crl(domain.records[Kind.ROOT_CRL].read("root.crl"))
    assert "validity_days = 366" in text
    prepare(folder, at=crl.last_update_utc)  # the CRL lasts for 365 days: its last second needs one more
    profile.write_text(text.replace("validity_days = 366", "validity_days = 365"))
    refuse(folder, crl.last_update_utc, "PKI-VALIDITY-PROFILE", "at most 365 days")
    profile.write_text((domain.ca / "profiles/ocsp-responder.toml").read_text())
    with pytest.raises(InputError, match="wanted root-ocsp"):
        prepare(folder, at=utc_now())


@pytest.mark.parametrize(("field", "rule"), [("serial", "CER-SERIAL-USED"), ("spki_sha256", "CER-KEY-REUSED")])
def test_neither_serial_nor_key_was_certified_before(domain: Domain, folder: Path, field: str, rule: str) -> None:
    prepare(folder, at=utc_now())
    loaded, key = load_folder(folder), software_key(label="delegate").public_key()
    register = parse_register(loaded.inputs["register.json"])
    used = {"serial": loaded.prepared.plan.serial, "spki_sha256": spki_sha256(key)}[field]
    entry = register.certificates[0].model_copy(update={field: used})
    for register_before, refused in ((register, False), (register.model_copy(update={"delegates": (entry,)}), True)):
        inputs = {**loaded.inputs, "register.json": register_before.to_bytes()}
        materials = Materials(loaded.script, loaded.prepared.plan, inputs, "REHEARSAL")
        materials.keys["delegate"] = HeldKey(key, "0" * 32, "1")
        if not refused:
            draft_delegate(materials)
            continue
        with pytest.raises(PolicyViolation) as refusal:
            draft_delegate(materials)
        assert refusal.value.rule == rule


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('output = "answers.json"\ntool = "openssl"', 'output = "answers.json"\ntool = "certtool"', "CER-SCOPE"),
        ('output = "answers.json"\ntoken = "delegate"', 'output = "answers.json"\ntoken = "root"', "CER-SCOPE"),
        ('action = "draft-answers"', 'action = "draft-certificate"', "CER-SCOPE"),
        ('profile = "root-ocsp.toml"\n', 'kind = "p-256"\n', "CER-SCOPE"),
        ('action = "find-key"\ntoken = "root"', 'action = "find-key"\ntoken = "delegate"', "CER-SCOPE"),
        ('action = "lint-with-software-key"\noutput = "delegate.pem"', 'action = "promote"', "CER-ORDER"),
        ('action = "destroy-key"\ntoken = "delegate"', 'action = "destroy-key"\ntoken = "root"', "CER-SCOPE"),
        ('action = "prove-destroyed"\ntoken = "delegate"', 'action = "erase-token"\ntoken = "delegate"', "CER-SCOPE"),
    ],
)
def test_a_script_that_could_not_be_trusted_is_refused_by_rule(old: str, new: str, rule: str) -> None:
    text = (CHECKOUT / "ceremonies/ocsp-delegate/script.toml").read_text()
    assert old in text
    with pytest.raises((PolicyViolation, InputError)) as refused:
        check_order(parse_script(text.replace(old, new, 1).encode()))
    assert rule in str(refused.value)


# A second implementation, and replay


def spoil(record: CeremonyRecord, number: int, change: Callable[[bytearray], None]) -> bytes:
    """``answers.json`` with one answer's DER changed, and written as ours is."""
    file = json.loads(record.read("answers.json"))
    data = bytearray(base64.b64decode(file["answers"][number]["der"]))
    change(data)
    file["answers"][number]["der"] = base64.b64encode(bytes(data)).decode()
    return json.dumps(file, sort_keys=True, separators=(",", ":")).encode()


def flip_signature(data: bytearray) -> None:
    signature = ocsp.load_der_ocsp_response(bytes(data)).signature
    data[data.index(signature) + len(signature) - 1] ^= 1


def test_openssl_verifies_every_answer_and_refuses_any_that_was_spoiled(
    domain: Domain, good: CeremonyRecord, revoked: CeremonyRecord
) -> None:
    root, other = (domain.records[kind].read(name) for kind, name in CAS.items())
    for record in (good, revoked):
        at = parse_time(json.loads((record.path / "prepared.json").read_bytes())["plan"]["at"], "")
        data = record.read("answers.json")
        assert OtherTools().verify("openssl", "answers.json", data, root, at).startswith("OpenSSL")
        for number in range(2):
            with pytest.raises(IntegrityError, match="openssl does not verify"):
                OtherTools().verify("openssl", "answers.json", spoil(record, number, flip_signature), root, at)
        with pytest.raises(IntegrityError, match="openssl does not verify"):  # another root never said this
            OtherTools().verify("openssl", "answers.json", data, other, at)
        with pytest.raises(IntegrityError, match="openssl does not verify"):  # after the delegate's end
            OtherTools().verify("openssl", "answers.json", data, root, at + 370 * DAY)


@pytest.mark.parametrize(
    ("field", "value"),
    [("status", "good"), ("revocation_date", "2026-01-01T00:00:00Z"), ("reason", "superseded"), ("serial", "7")],
)
def test_what_the_list_says_beside_an_answer_is_what_the_answer_says(
    revoked: CeremonyRecord, field: str, value: str
) -> None:
    file = json.loads(revoked.read("answers.json"))
    assert file["answers"][0][field] != value
    file["answers"][0][field] = value
    with pytest.raises(IntegrityError, match="what its DER does not say"):
        parse_answers(json.dumps(file, sort_keys=True, separators=(",", ":")).encode())


@pytest.mark.parametrize("data", [b"", b"{}", b'{"answers":[]}', b"\xff", b'{"answers":[{}, {}]}', b"[" * 5000])
def test_garbage_for_a_list_is_an_error_and_not_a_crash(data: bytes) -> None:
    with pytest.raises(InputError, match=r"answers\.json"):
        parse_answers(data)


def test_an_answer_cannot_be_left_out_doubled_or_taken_from_another_ceremony(
    good: CeremonyRecord, revoked: CeremonyRecord, tmp_path: Path
) -> None:
    record = copy_record(revoked.path, tmp_path / "record")
    own, other = (json.loads(each.read("answers.json"))["answers"] for each in (revoked, good))
    for changed in ([own[1], own[0]], [own[0], own[0]], [own[0], other[1]], other, [*own, own[0]]):
        data = json.dumps({"answers": changed}, sort_keys=True, separators=(",", ":")).encode()
        (record / "outputs/answers.json").write_bytes(data)
        with pytest.raises(IntegrityError, match=r"answers\.json"):
            verify_folder(record)


@pytest.mark.slow
def test_a_rehearsal_that_is_gone_on_with_takes_the_token_that_it_began_with(domain: Domain, tmp_path: Path) -> None:
    folder = new_delegate(domain, tmp_path / "delegate", *GOOD)
    prepare(folder, at=utc_now())

    class Stops(Cast):
        def ask(self, question: Question) -> str:
            if "to sign delegate.pem" in question.prompt:
                raise KeyboardInterrupt
            return super().ask(question)

    with pytest.raises(KeyboardInterrupt):
        rehearse(folder, people=Stops())
    record = resume(folder / "rehearsal-1", people=Cast())
    again = [each["token"] for each in read_entries(record.path) if each.get("operation") == "open-again"]
    assert again == ["delegate", "delegate", "root", "root"]
    assert verify_folder(record.path).interruptions == 1


# What must happen when


def test_the_calendar_says_when_answers_and_delegate_end(domain: Domain, good: CeremonyRecord) -> None:
    before = [domain.records[each] for each in (Kind.ROOT_GENESIS, Kind.ISSUING_CA, Kind.ROOT_CRL)]
    found = make_calendar([*before, good])
    answers = next(each for each in found.duties if each.key == "root-answers")
    assert answers.last == crl_of(good).next_update_utc
    assert answers.ceremonies == ("root-crl", "ocsp-delegate")
    delegate = delegate_of(good)
    ends = next(each for each in found.duties if each.key == f"ocsp-delegate-ends-{delegate.serial_number:x}")
    assert ends.last == delegate.not_valid_after_utc
    assert not [each for each in make_calendar(before).duties if "answers" in each.key]


def test_after_a_revocation_answers_that_say_good_are_due_within_a_day(
    domain: Domain, good: CeremonyRecord, revoked: CeremonyRecord
) -> None:
    kinds = (Kind.ROOT_GENESIS, Kind.ISSUING_CA, Kind.ROOT_CRL, Kind.REVOKE_ISSUING_CA)
    records = [*(domain.records[each] for each in kinds), good]
    answers = next(each for each in make_calendar(records).duties if each.key == "root-answers")
    crl = x509.load_der_x509_crl(domain.records[Kind.REVOKE_ISSUING_CA].read("root.crl"))
    assert (answers.begin, answers.last) == (crl.last_update_utc, crl.last_update_utc + DAY)
    assert answers.ceremonies == ("ocsp-delegate",)
    answers = next(each for each in make_calendar([*records, revoked]).duties if each.key == "root-answers")
    assert answers.last == crl.next_update_utc
    unsaid = [domain.records[Kind.ROOT_GENESIS], revoked]
    assert not [line for line in make_calendar(unsaid).unknown if "OCSP answers" in line]


@pytest.mark.slow
def test_the_calendar_says_that_it_was_not_shown_the_answers(domain: Domain, tmp_path: Path) -> None:
    """After the next root CRL, whose register knows of a delegate."""
    revoked = domain.record(Kind.OCSP_DELEGATE)
    records = [domain.record(Kind.ROOT_GENESIS), domain.record(Kind.REVOKE_ISSUING_CA), revoked]
    crl = rehearse_new(Kind.ROOT_CRL, tmp_path / "crl", ca=domain.ca, records=records, site=domain.site)
    assert parse_register(crl.read("register.json")).delegates
    found = make_calendar([domain.records[Kind.ROOT_GENESIS], crl])
    assert "when the root's OCSP answers end: name the newest ocsp-delegate record" in found.unknown


def test_the_paper_lists_what_will_be_said(domain: Domain, revoked: CeremonyRecord) -> None:
    (entry,) = parse_register(revoked.read("register.json")).certificates
    paper = print_script(revoked.path).decode()
    assert "What the root will say, until" in paper
    assert f"<td>{entry.serial}</td>" in paper
    assert "REVOKED since" in paper
    assert "What the root will say" not in print_script(domain.record(Kind.ROOT_CRL)).decode()
    assert "sha256 tbs sha256" in print_record(revoked.path).decode()


def test_openssl_builds_the_path_to_the_delegate(domain: Domain, good: CeremonyRecord, tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_bytes(root_of(domain).public_bytes(Encoding.PEM))
    (tmp_path / "delegate.pem").write_bytes(good.read("delegate.pem"))
    command = ("openssl", "verify", "-x509_strict", "-purpose", "ocsphelper", "-CAfile", "root.pem", "delegate.pem")
    assert "delegate.pem: OK\n" in run(*command, folder=tmp_path)
