"""Two roots certify each other: octet for octet what they are, with both officers' consent, and a path from either."""

import shutil
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from ceremonies import NEW_CA, NEW_KEY, NEW_ROOT, Cast, Domain, copy_record, officer_line, read_entries
from hierarchy import issuing_key, write_files
from sealwright.ceremony.attendance import _who_officers
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.calendar import make_calendar
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.officers import Officers, parse_officers
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.register import Revocation, parse_register
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.rollover import check_same
from sealwright.ceremony.script import Kind
from sealwright.ceremony.second import OtherTools
from sealwright.ceremony.sitting import rehearse
from sealwright.errors import InputError, IntegrityError, PolicyViolation
from sealwright.pki.keys import key_identifier, spki_der
from sealwright.pki.serials import format_serial
from sealwright.pki.settings import load_settings
from softpki import soft_pki
from verifiers import GOOD, JAVA, Said, run

pytestmark = pytest.mark.xdist_group("ceremony")

BOTH = (Kind.ROOT_GENESIS, Kind.ISSUING_CA, Kind.ROOT_CRL, NEW_ROOT, NEW_CA)
SIDES = (("new-with-old.pem", Kind.ROOT_GENESIS, NEW_ROOT), ("old-with-new.pem", NEW_ROOT, Kind.ROOT_GENESIS))
"""The certificate, who signs it, and whose key it is."""


def certificate(domain: Domain, record: str, name: str = "root.pem") -> x509.Certificate:
    return x509.load_pem_x509_certificate(domain.records[record].read(name))


@pytest.fixture
def folder(domain: Domain, tmp_path: Path) -> Path:
    """Not yet prepared."""
    records = [domain.record(each) for each in BOTH]
    new_folder(Kind.ROOT_ROLLOVER, tmp_path / "rollover", ca=domain.ca, records=records, site=domain.site)
    return tmp_path / "rollover"


def refused(folder: Path, at: datetime | None = None) -> str:
    with pytest.raises(PolicyViolation) as violation:
        prepare(folder, at=at or utc_now())
    assert not (folder / "prepared.json").exists()
    return violation.value.rule


# What comes out


@pytest.mark.parametrize(("name", "signer", "subject"), SIDES)
def test_each_says_of_the_other_root_what_its_own_certificate_says(
    domain: Domain, name: str, signer: str, subject: str
) -> None:
    cross = certificate(domain, Kind.ROOT_ROLLOVER, name)
    above, own = certificate(domain, signer), certificate(domain, subject)
    assert cross.subject.public_bytes() == own.subject.public_bytes()
    assert spki_der(cross.public_key()) == spki_der(own.public_key())  # type: ignore[arg-type]  # of a root's kinds
    kind = x509.SubjectKeyIdentifier
    assert cross.extensions.get_extension_for_class(kind) == own.extensions.get_extension_for_class(kind)
    assert cross.issuer.public_bytes() == above.subject.public_bytes() != cross.subject.public_bytes()
    cross.verify_directly_issued_by(above)
    assert above.not_valid_before_utc <= cross.not_valid_before_utc
    assert cross.not_valid_after_utc <= min(above.not_valid_after_utc, own.not_valid_after_utc)
    assert min(above.not_valid_after_utc, own.not_valid_after_utc) - cross.not_valid_after_utc < timedelta(days=1)
    settings = load_settings(
        ((domain.ca if signer is Kind.ROOT_GENESIS else domain.new_ca) / "pki.toml").read_bytes(), source="pki.toml"
    )
    (point,) = cross.extensions.get_extension_for_class(x509.CRLDistributionPoints).value
    assert [each.value for each in point.full_name or ()] == [settings.crl_url(settings.root.id)]


def test_each_root_s_register_has_its_own_and_the_calendars_go_on(domain: Domain) -> None:
    done = domain.records[Kind.ROOT_ROLLOVER]
    for register, name, before in (
        ("register.json", "new-with-old.pem", Kind.ROOT_CRL),
        ("new-register.json", "old-with-new.pem", NEW_CA),
    ):
        cross = certificate(domain, Kind.ROOT_ROLLOVER, name)
        found, last = parse_register(done.read(register)), parse_register(domain.records[before].read("register.json"))
        assert found.version == last.version + 1
        assert found.certificates[:-1] == last.certificates
        entry = found.certificates[-1]
        assert (entry.kind, entry.serial) == ("cross-root", format_serial(cross.serial_number))
        assert found.crl == last.crl
    old = make_calendar([domain.records[each] for each in (*BOTH[:3], Kind.ROOT_ROLLOVER)])
    new = make_calendar([domain.records[each] for each in (NEW_ROOT, NEW_CA, Kind.ROOT_ROLLOVER)])
    for calendar in (old, new):
        keys = [each.key for each in calendar.duties]
        assert sum(key.startswith("cross-root-ends-") for key in keys) == 1
        assert sum(key.startswith("issuing-ca-ends-") for key in keys) == 1
    assert next(each for each in old.duties if each.key == "root").ceremonies == ("root-genesis", "root-rollover")
    with pytest.raises(InputError, match="two roots"):
        make_calendar([domain.records[each] for each in (NEW_ROOT, Kind.ROOT_CRL)])


def test_each_root_s_officers_consent_to_the_use_of_their_own_key_and_no_other(domain: Domain) -> None:
    asked = [
        entry["question"].partition(":")[0] + ":" + entry["question"].partition("to ")[2].partition(",")[0]
        for entry in read_entries(domain.record(Kind.ROOT_ROLLOVER))
        if "type exactly" in str(entry.get("question"))
    ]
    assert asked == [
        *(f"{name}:use the token root" for name in ("ada", "grace")),
        *(f"{name}:sign new-with-old.pem" for name in ("ada", "grace")),
        *(f"{name}:use the token new-root" for name in ("grace", "joan")),
        *(f"{name}:sign old-with-new.pem" for name in ("grace", "joan")),
    ]


def test_a_quorum_of_each_is_there_and_counts_by_itself(domain: Domain) -> None:
    old, new = (parse_officers(each["officers.toml"].read_bytes()) for each in (domain.officers, domain.new_officers))
    both = Officers.of_both(old, new)
    question = _who_officers(both, frozenset())
    assert [question.accepts(text) for text in ("ada, grace", "grace, joan", "ada, grace, joan", "grace, lin")] == [
        False,
        False,
        True,
        True,
    ]
    assert question.accepts(question.rehearsed)
    assert both.lacking(["ada", "grace"]) == 1
    assert both.lacking(["grace", "lin"]) == 0


@pytest.mark.parametrize(("name", "whose_key"), [("ada", "joan"), ("eve", "ada")])
def test_one_officer_has_one_name_and_one_key_at_both_roots(domain: Domain, name: str, whose_key: str) -> None:
    old = parse_officers(domain.officers["officers.toml"].read_bytes())
    line = officer_line(whose_key).replace(f'"{whose_key}"', f'"{name}"')
    new = parse_officers(f"threshold = 2\n{officer_line('grace')}{line}".encode())
    with pytest.raises(PolicyViolation, match="at the new root") as refused:
        Officers.of_both(old, new)
    assert refused.value.rule == "CER-QUORUM"


def test_no_root_is_signed_for_before_its_own_officers_say_so(folder: Path) -> None:
    prepare(folder, at=utc_now())
    with pytest.raises(PolicyViolation, match="CER-ANSWER"):
        rehearse(folder, people=Cast(("joan: to use the token new-root", ["no"] * 3)))
    entries = read_entries(folder / "rehearsal-1")
    assert sum(entry.get("operation") == "sign-certificate" for entry in entries) == 2  # intent and result of the old
    assert not (folder / "rehearsal-1/outputs").exists()


# What is refused


def test_inputs_find_their_root_in_whatever_order_a_root_s_records_come(domain: Domain, folder: Path) -> None:
    for name, ca in (("pki.toml", domain.ca), ("new-pki.toml", domain.new_ca)):
        assert (folder / "inputs" / name).read_bytes() == (ca / "pki.toml").read_bytes()
    assert (folder / "inputs/register.json").read_bytes() == domain.records[Kind.ROOT_CRL].read("register.json")
    assert (folder / "inputs/new-root.pem").read_bytes() == domain.records[NEW_ROOT].read("root.pem")
    with pytest.raises(InputError, match="does not say of which root"):
        new_folder(Kind.ROOT_ROLLOVER, folder.parent / "x", records=[domain.record(Kind.ISSUING_KEY)])
    assert not (folder.parent / "x").exists()


def test_one_root_twice_is_no_two(domain: Domain, folder: Path) -> None:
    for path in (folder / "inputs").glob("new-*"):
        shutil.copyfile(folder / "inputs" / path.name.removeprefix("new-"), path)
    assert refused(folder) == "CER-ROLLOVER-ROOTS"


def test_the_old_root_does_not_take_over_from_the_new_one(folder: Path, domain: Domain) -> None:
    """Named the other way round: the one that ends first is the old one."""
    records = [domain.record(each) for each in (NEW_ROOT, NEW_CA, Kind.ROOT_GENESIS, Kind.ISSUING_CA)]
    new_folder(Kind.ROOT_ROLLOVER, folder.parent / "turned", ca=domain.ca, records=records, site=domain.site)
    assert refused(folder.parent / "turned") == "CER-ROLLOVER-ROOTS"


def edit(folder: Path, name: str, old: str, new: str) -> None:
    path = folder / "inputs" / name
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def drop_certificates(folder: Path) -> None:
    path = folder / "inputs/new-register.json"
    path.write_bytes(parse_register(path.read_bytes()).model_copy(update={"certificates": ()}).to_bytes())


def revoke_old_issuing(folder: Path) -> None:
    path = folder / "inputs/register.json"
    register = parse_register(path.read_bytes())
    dead = register.certificates[0].model_copy(update={"revoked": Revocation(date="2026-01-01T00:00:00Z", reason=None)})
    path.write_bytes(register.model_copy(update={"certificates": (dead,)}).to_bytes())


def put(folder: Path, name: str, other: str) -> None:
    shutil.copyfile(folder / "inputs" / other, folder / "inputs" / name)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda folder: edit(folder, "new-pki.toml", "32473.1.1", "32473.1.2"), "CER-ROLLOVER-ROOTS"),
        (lambda folder: edit(folder, "new-pki.toml", "Root 2", "Root 4"), "CER-ROOT"),
        (lambda folder: put(folder, "new-anchor.json", "anchor.json"), "CER-ROOT"),
        (
            lambda folder: put(folder, "new-register.json", "register.json"),
            "CER-REGISTER",
        ),
        (
            lambda folder: put(folder, "new-issuing.pem", "issuing.pem"),
            "CER-ROLLOVER-PATH",
        ),
        (drop_certificates, "CER-ROLLOVER-PATH"),
        (revoke_old_issuing, "CER-ROLLOVER-PATH"),
        (lambda folder: edit(folder, "cross-root.toml", '"p-384", ', ""), "PKI-KEY-PROFILE"),
    ],
)
def test_inputs_that_are_not_of_two_such_roots_are_refused(
    folder: Path, change: Callable[[Path], object], rule: str
) -> None:
    change(folder)
    assert refused(folder) == rule


def test_it_takes_place_while_both_roots_are_valid(domain: Domain, folder: Path) -> None:
    begin, end = certificate(domain, NEW_ROOT).not_valid_before_utc, certificate(domain, Kind.ROOT_GENESIS)
    last = end.not_valid_after_utc + timedelta(seconds=1) - timedelta(days=1)
    assert refused(folder, begin - timedelta(seconds=1)) == "CER-ROLLOVER-VALIDITY"
    assert refused(folder, last + timedelta(seconds=1)) == "CER-ROLLOVER-VALIDITY"
    for at in (begin, last):
        prepare(folder, at=at)


def test_another_subject_key_or_identifier_is_no_certificate_of_that_root() -> None:
    """The one failure that our own drafts cannot have: of a root that somebody else made by other rules."""
    pki, other = soft_pki(), soft_pki(label="other ")

    def built(subject: x509.Name, key: object, identifier: bytes) -> x509.Certificate:
        builder = x509.CertificateBuilder(
            issuer_name=other.root.subject,
            subject_name=subject,
            public_key=key,  # type: ignore[arg-type]  # a public key of a root
            serial_number=1,
            not_valid_before=pki.moment,
            not_valid_after=pki.moment + timedelta(days=1),
        )
        return builder.add_extension(x509.SubjectKeyIdentifier(identifier), critical=False).sign(
            other.root_key, hashes.SHA384()
        )

    own = (pki.root.subject, pki.root_key.public_key(), key_identifier(pki.root_key.public_key()))
    check_same(built(*own), pki.root)
    for place, what in ((0, "subject"), (1, "key"), (2, "subjectKeyIdentifier")):
        strange = (pki.issuing.subject, other.root_key.public_key(), b"\0" * 20)
        fields = (*own[:place], strange[place], *own[place + 1 :])
        with pytest.raises(PolicyViolation, match=f"the {what} is") as violation:
            check_same(built(*fields), pki.root)
        assert violation.value.rule == "CER-ROLLOVER-BYTES"


# Paths


@pytest.fixture(scope="module")
def paths(domain: Domain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``old`` and ``new``: a leaf of each issuing CA, by its own key, and all that a verifier may be shown."""
    base, now = tmp_path_factory.mktemp("paths"), utc_now()
    for name, root, made, ca, issued, pin, crl in (
        ("old", Kind.ROOT_GENESIS, Kind.ISSUING_KEY, domain.ca, Kind.ISSUING_CA, "issuing", Kind.ROOT_CRL),
        ("new", NEW_ROOT, NEW_KEY, domain.new_ca, NEW_CA, "issuing-3", NEW_ROOT),
    ):
        settings = load_settings((ca / "pki.toml").read_bytes(), source="pki.toml")
        issuing = certificate(domain, issued, "issuing.pem")
        with issuing_key(domain.softhsm.module_path, domain.records[made], domain.pin_file(pin), settings) as key:
            leaf, lists = key.issue(issuing, now), key.crl(issuing, now)
        files = {"root": certificate(domain, root), "issuing": issuing, "leaf": leaf}
        write_files(base, **{f"{name}-{each}": value for each, value in files.items()})
        write_files(base, **{f"{name}-issuing": lists, f"{name}-root": domain.records[crl].read("root.crl")})
    for name, _, _ in SIDES:
        (base / name).write_bytes(domain.records[Kind.ROOT_ROLLOVER].read(name))
    crls = [path.read_bytes() for path in sorted(base.glob("*.crl.pem"))]
    assert len(crls) == 4
    (base / "crls.pem").write_bytes(b"".join(crls))
    return base


CROSSED = (("old", "new", "new-with-old"), ("new", "old", "old-with-new"))
"""The root that is trusted alone, whose leaf it is, and what leads there."""


@pytest.mark.parametrize(("trusted", "other", "cross"), CROSSED)
def test_openssl_builds_a_path_to_either_leaf_from_one_root_alone(
    paths: Path, trusted: str, other: str, cross: str
) -> None:
    def verify(*untrusted: str) -> str:
        named = [part for each in untrusted for part in ("-untrusted", f"{each}.pem")]
        strict = ("openssl", "verify", "-x509_strict", "-crl_check_all", "-CRLfile", "crls.pem")
        alone = ("-no-CApath", "-no-CAstore", "-CAfile", f"{trusted}-root.pem")
        return run(*strict, *alone, *named, f"{other}-leaf.pem", folder=paths)

    assert f"{other}-leaf.pem: OK" in verify(f"{other}-issuing", cross)
    assert "unable to get local issuer certificate" in verify(f"{other}-issuing")
    # Shown the other root's own certificate too, it takes that one and goes no further: README.md says to leave it out.
    assert "self-signed certificate in certificate chain" in verify(f"{other}-issuing", f"{other}-root", cross)


@pytest.mark.parametrize(("trusted", "other", "cross"), CROSSED)
def test_gnutls_builds_a_path_to_either_leaf_from_one_root_alone(
    paths: Path, trusted: str, other: str, cross: str
) -> None:
    def verify(*names: str) -> str:
        (paths / "path.pem").write_bytes(b"".join((paths / f"{each}.pem").read_bytes() for each in names))
        trust = ("--load-ca-certificate", f"{trusted}-root.pem", "--load-crl", "crls.pem")
        return run("certtool", "--verify", *trust, "--infile", "path.pem", folder=paths)

    assert "Chain verification output: Verified." in verify(f"{other}-leaf", f"{other}-issuing", cross)
    assert "Chain verification output: Not verified." in verify(f"{other}-leaf", f"{other}-issuing")


@pytest.mark.parametrize(("trusted", "other", "cross"), CROSSED)
def test_java_validates_a_path_to_either_leaf_from_one_root_alone(
    paths: Path, trusted: str, other: str, cross: str
) -> None:
    lists = [f"{name}.crl" for name in (f"{trusted}-root", f"{other}-root", f"{other}-issuing")]

    def verify(above: str) -> Said:
        text = run("java", JAVA, "crl", f"{other}-leaf.pem", above, f"{trusted}-root.pem", *lists, folder=paths)
        return Said(GOOD if "PATH VALID" in text else "", text)

    crossed = verify(f"{other}-issuing.pem,{cross}.pem")
    assert crossed.verdict == GOOD, crossed.text
    assert verify(f"{other}-issuing.pem").verdict != GOOD


@pytest.mark.parametrize("tool", ["openssl", "certtool"])
def test_the_second_implementation_refuses_a_path_that_is_none(domain: Domain, tool: str) -> None:
    old, new = (domain.records[each].read("root.pem") for each in (Kind.ROOT_GENESIS, NEW_ROOT))
    crosses = domain.records[Kind.ROOT_ROLLOVER]
    end, now = domain.records[NEW_CA].read("issuing.pem"), utc_now()
    assert OtherTools().build_path(tool, old, crosses.read("new-with-old.pem"), end, now)
    for anchor, through, last in (
        (old, crosses.read("old-with-new.pem"), end),
        (old, new, end),
        (old, crosses.read("new-with-old.pem"), domain.records[NEW_KEY].read("issuing.csr")),
    ):
        with pytest.raises(IntegrityError, match="builds no path with this root alone"):
            OtherTools().build_path(tool, anchor, through, last, now)


def test_a_record_whose_path_leads_nowhere_is_found(domain: Domain, tmp_path: Path) -> None:
    record = copy_record(domain.record(Kind.ROOT_ROLLOVER), tmp_path / "record")
    shutil.copyfile(record / "outputs/old-with-new.pem", record / "outputs/new-with-old.pem")
    with pytest.raises(IntegrityError, match=r"new-with-old\.pem"):
        verify_folder(record)
