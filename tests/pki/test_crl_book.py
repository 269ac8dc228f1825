"""CRLs that are assembled around kept entries: octet for octet what would have been built anew, and never another."""

import hashlib
import io
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509

import sealwright.pki.crl_book as module
from sealwright.errors import IntegrityError, PolicyViolation
from sealwright.pki.crl import draft_crl
from sealwright.pki.crl_book import CRLBook, CRLFields, lint_book, sign_book
from sealwright.pki.crl_scope import all_scopes, crl_scope, scope_of_url
from sealwright.pki.keys import KeyKind, PrivateKey
from sealwright.pki.revocation import END_ENTITY_REASONS, RevocationEntry, RevocationReason
from sealwright.pki.serials import SerialNumber, new_serial
from softpki import NOW, SoftPKI, soft_pki, software_key

LATER = NOW + timedelta(days=30)
URL = "http://pki.example.org/crl/issuing-1.p128-5.crl"


@pytest.fixture(scope="module")
def pki() -> SoftPKI:
    return soft_pki()


def entries(count: int) -> list[RevocationEntry]:
    reasons = [None, *sorted(END_ENTITY_REASONS)]
    return [
        RevocationEntry(
            SerialNumber(number + 1) if number % 50 == 0 else new_serial(),
            NOW + timedelta(minutes=number),
            reasons[number % len(reasons)],
        )
        for number in range(count)
    ]


def fields(pki: SoftPKI, **changes: object) -> CRLFields:
    own: dict[str, object] = {
        "issuer": pki.issuing_record,
        "number": 7,
        "this_update": LATER,
        "next_update": LATER + timedelta(days=7),
        "expired_certs_since": NOW,
    }
    return CRLFields(**(own | changes))  # type: ignore[arg-type]  # the fields above, by name


def book_of(listed: list[RevocationEntry]) -> CRLBook:
    book = CRLBook(io.BytesIO())
    book.add(listed[:3])
    book.add(listed[3:])
    return book


def signed(
    pki: SoftPKI, book: CRLBook, key: PrivateKey | None = None, **changes: object
) -> x509.CertificateRevocationList:
    out = io.BytesIO()
    made = sign_book(lint_book(book, fields(pki, **changes)), key or pki.issuing_key, out)
    data = out.getvalue()
    assert (hashlib.sha256(data).hexdigest(), len(data)) == (made.sha256, made.size)
    crl = x509.load_der_x509_crl(data)
    assert crl.is_signature_valid(pki.issuing.public_key())
    return crl


@pytest.mark.parametrize("count", [0, 1, 2, 700])
@pytest.mark.parametrize("url", [None, URL])
@pytest.mark.parametrize("chunk", [1 << 20, 100])
def test_it_is_octet_for_octet_the_list_that_would_be_built(
    pki: SoftPKI, monkeypatch: pytest.MonkeyPatch, count: int, url: str | None, chunk: int
) -> None:
    monkeypatch.setattr(module, "_CHUNK", chunk)  # 100: everything is digested as it is written
    listed = entries(count)
    options = {"number": 7, "this_update": LATER, "next_update": LATER + timedelta(days=7), "expired_certs_since": NOW}
    built = draft_crl(issuer=pki.issuing_record, entries=listed, distribution_point=url, **options)  # type: ignore[arg-type]
    crl = signed(pki, book_of(listed), distribution_point=url)
    assert crl.tbs_certlist_bytes == built.tbs
    assert len(crl) == count


def test_dates_from_2050_on_have_another_form(pki: SoftPKI) -> None:
    late = datetime(2050, 1, 1, tzinfo=UTC)
    book = CRLBook(io.BytesIO())
    for moment in (late - timedelta(seconds=1), late, late + timedelta(seconds=5)):
        for reason in (None, RevocationReason.SUPERSEDED):
            one = RevocationEntry(new_serial(), moment, reason)
            book.add([one])
    for shape, (form, _) in book._forms.items():
        assert len(form) == {True: 79, False: 81}[shape[2]] - (0 if shape[1] else 12)


def test_an_rsa_ca_signs_one_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_CHUNK", 100)
    own = soft_pki(KeyKind.RSA_4096)
    assert len(signed(own, book_of(entries(20)))) == 20


def test_a_correction_stands_where_its_serial_stood(pki: SoftPKI) -> None:
    listed = entries(300)
    book = book_of(listed)
    for place in (0, 150, 299):
        listed[place] = RevocationEntry(listed[place].serial, NOW - timedelta(days=1), RevocationReason.KEY_COMPROMISE)
        book = book.replace(listed[place], io.BytesIO())
    read = signed(pki, book)
    assert [(each.serial_number, each.revocation_date_utc) for each in read] == [
        (each.serial, each.revocation_date) for each in listed
    ]
    with pytest.raises(LookupError):
        book.replace(RevocationEntry(new_serial(), NOW, None), io.BytesIO())


def test_what_was_kept_and_what_is_read_back_must_be_the_same(pki: SoftPKI) -> None:
    file = io.BytesIO()
    book = CRLBook(file)
    book.add(entries(50))
    linted = lint_book(book, fields(pki))
    file.getbuffer()[1000] ^= 1
    with pytest.raises(IntegrityError, match="not those that were added"):
        sign_book(linted, pki.issuing_key, io.BytesIO())


def test_entries_that_come_after_the_linter_are_not_signed(pki: SoftPKI) -> None:
    book = book_of(entries(5))
    linted = lint_book(book, fields(pki))
    book.add([RevocationEntry(new_serial(), NOW, None)])
    with pytest.raises(IntegrityError, match="others than those"):
        sign_book(linted, pki.issuing_key, io.BytesIO())
    with pytest.raises(TypeError):
        sign_book(book, pki.issuing_key, io.BytesIO())  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize(
    ("entry", "rule"),
    [
        (RevocationEntry(SerialNumber(0), NOW, None), "CRL-SERIAL"),
        (RevocationEntry(SerialNumber(2**159), NOW, None), "CRL-SERIAL"),
        (RevocationEntry(new_serial(), NOW.replace(microsecond=1), None), "CRL-TIME"),
        (RevocationEntry(new_serial(), LATER + timedelta(seconds=1), None), "CRL-REVOCATION-DATE"),
        (RevocationEntry(new_serial(), NOW, RevocationReason.CA_COMPROMISE), "CRL-REASON"),
    ],
)
def test_refuses_an_entry_wherever_it_stands(pki: SoftPKI, entry: RevocationEntry, rule: str) -> None:
    book = book_of(entries(200))

    def make() -> None:
        book.add([entry])
        book.add(entries(20))
        lint_book(book, fields(pki))

    with pytest.raises(PolicyViolation, match=rule):
        make()


def test_refuses_a_key_that_is_not_the_cas(pki: SoftPKI, monkeypatch: pytest.MonkeyPatch) -> None:
    for chunk in (1 << 20, 100):
        monkeypatch.setattr(module, "_CHUNK", chunk)
        with pytest.raises(IntegrityError, match="does not verify"):
            signed(pki, book_of(entries(5)), key=software_key(KeyKind.P384, "leaf"))


def test_the_issuing_distribution_point_is_the_certificates_own_octets(pki: SoftPKI) -> None:
    crl = signed(pki, book_of([]), distribution_point=URL)
    idp = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint)
    assert idp.critical
    assert idp.value.only_contains_user_certs
    point = x509.DistributionPoint([x509.UniformResourceIdentifier(URL)], None, None, None)
    cdp = x509.CRLDistributionPoints([point]).public_bytes()
    # IDP ::= SEQUENCE { [0] name, [1] BOOLEAN }, CDP ::= SEQUENCE { SEQUENCE { [0] name } }
    assert idp.value.public_bytes()[2:-3] == cdp[4:]


def test_scopes_have_names_that_say_how_many_there_are() -> None:
    assert crl_scope(0, 77) == ""
    assert crl_scope(128, 128 * 9 + 5) == "p128-5"
    assert all_scopes(3) == ("p3-0", "p3-1", "p3-2")
    assert scope_of_url(URL) == "p128-5"
    assert scope_of_url("http://pki.example.org/crl/issuing-1.crl") is None
