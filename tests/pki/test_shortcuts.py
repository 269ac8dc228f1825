"""Where lint asks a question once for many certificates, the answers are those of asking every time."""

import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta

import asn1crypto.x509
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint import loader
from pkilint.document import PDUNode
from pkilint.pkix.certificate import create_pkix_certificate_validator_container
from pkilint.validation import (
    DecodingValidator,
    ValidationFinding,
    ValidationFindingEncountered,
    ValidationFindingSeverity,
    Validator,
    ValidatorContainer,
)

from forgery import rebuild
from sealwright.pki import lint, pkilint_parts, pkilint_walk
from sealwright.pki.candidate import Candidate
from sealwright.pki.certificate_parts import cut_certificate
from sealwright.pki.certificates import sign_certificate
from sealwright.pki.drafts import draft_root
from sealwright.pki.keys import KeyKind
from sealwright.pki.names import ca_subject
from sealwright.pki.pkilint_parts import PartByPart
from sealwright.pki.rules_opinion import _asn1crypto, _is_der
from sealwright.pki.serials import new_serial
from sealwright.pki.unsigned import NO_SIGNATURE
from softpki import SoftPKI, profiles, soft_pki, software_key


@pytest.fixture(scope="module")
def soft() -> SoftPKI:
    return soft_pki(KeyKind.P384)


def copies(soft: SoftPKI) -> list[bytes]:
    """A copy of every kind."""
    rsa = software_key(KeyKind.RSA_3072, "leaf")
    ec = software_key(KeyKind.P256, "leaf")
    root = draft_root(
        profiles()["root"],
        settings=soft.settings,
        subject=ca_subject(soft.settings, "root", rehearsal=True),
        public_key=soft.root.public_key(),  # type: ignore[arg-type]  # one of our kinds
        serial=new_serial(),
        not_before=soft.moment,
    )
    drafts = [soft.draft(rsa), soft.draft(ec), soft.draft_responder(ec), root]
    made = [draft.copy.public_bytes(Encoding.DER) for draft in drafts]
    return [*made, soft.issuing.public_bytes(Encoding.DER)]


def mutants(der: bytes, step: int) -> Iterator[bytes]:
    """One octet changed at a time."""
    for place, change in itertools.product(range(0, len(der), step), (0x01, 0x20, 0x80)):
        yield der[:place] + bytes([der[place] ^ change]) + der[place + 1 :]


def is_der_as_a_whole(der: bytes) -> bool:
    second = asn1crypto.x509.Certificate.load(der, strict=True)
    return bool(second.copy().dump(force=True) == der)


def candidate(soft: SoftPKI, der: bytes) -> Candidate:
    """For rules that look at nothing but the octets."""
    made = Candidate(soft.draft(software_key(KeyKind.P256, "leaf")))
    made.der = der
    return made


def test_a_certificate_is_der_when_its_parts_are(soft: SoftPKI) -> None:
    seen = {True: 0, False: 0}
    for der in copies(soft):
        assert _is_der(candidate(soft, der))
    for der in mutants(copies(soft)[1], 4):
        try:
            whole = is_der_as_a_whole(der)
        except (ValueError, TypeError, KeyError):
            continue  # refused before it comes to this
        try:
            parts = _is_der(candidate(soft, der))
        except (ValueError, TypeError, KeyError):
            parts = False
        assert parts == whole, der.hex()
        seen[whole] += 1
    assert min(seen.values()) > 10


def test_pkilint_says_the_same_as_when_every_validator_is_asked_everywhere(
    soft: SoftPKI, monkeypatch: pytest.MonkeyPatch
) -> None:
    validators = lint._certificate_validators()
    monkeypatch.setattr(pkilint_walk, "with_memory", list)
    plain = lint._certificate_validators.__wrapped__()
    by_parts, found, passed = PartByPart(validators), 0, 0
    for der in (*copies(soft), *mutants(copies(soft)[1], 17), *copies(soft)):
        try:
            ours = lint.pkilint_findings(validators, loader.load_der_certificate(der, "copy"))
            theirs = plain.validate(loader.load_der_certificate(der, "copy").root)
        except ValueError:
            assert not passes(by_parts, der)
            continue
        assert ours == tuple(
            lint.Finding(each.finding.code, each.finding.severity.name, str(result.node.path), each.message or "")
            for result in theirs
            for each in result.finding_descriptions
            if each.finding.severity <= ValidationFindingSeverity.WARNING
        )
        found += bool(ours)
        # The memory is full of the good ones' parts when a bad one comes.
        assert passes(by_parts, der) <= (not ours), der.hex()
        passed += passes(by_parts, der)
    assert found > 5
    assert passed > 5 + 2 * (len(copies(soft)) - 1)  # all but the root, of which pkilint has something to say


def passes(by_parts: PartByPart, der: bytes) -> bool:
    parts = cut_certificate(der)
    return parts is not None and by_parts.passes(der, parts)


class _Objects(Validator):  # type: ignore[misc]  # pkilint has no types
    """Has something against one certificate, which it recognises by ``looks``."""

    def __init__(self, path: str, looks: Callable[[PDUNode], object]) -> None:
        finding = ValidationFinding(ValidationFindingSeverity.ERROR, "test.objection")
        super().__init__(validations=[finding], path=path)
        self.looks, self.bad = looks, object()

    def validate(self, node: PDUNode) -> None:
        if self.looks(node) == self.bad:
            raise ValidationFindingEncountered(self.validations[0])


_BELOW = "certificate.tbsCertificate"


def seventh(node: PDUNode) -> bytes:
    """The key identifier, from another extension, through the root, an extension and a decoded value."""
    return bytes(node.navigate(":certificate.tbsCertificate.extensions.7.extnValue.subjectKeyIdentifier").pdu)


@pytest.mark.parametrize(
    ("path", "looks"),
    [
        (f"{_BELOW}.serialNumber", lambda node: int(node.pdu)),
        (f"{_BELOW}.version", lambda node: int(node.navigate(":certificate.tbsCertificate.serialNumber").pdu)),
        (f"{_BELOW}.subject", lambda node: node.parent.children["serialNumber"].pdu),
        (f"{_BELOW}.extensions", lambda node: int(node.parent.children["serialNumber"].pdu)),
        ("certificate", lambda node: int(node.children["tbsCertificate"].children["serialNumber"].pdu)),
        (f"{_BELOW}.extensions.1", seventh),
        (f"{_BELOW}.extensions.1.extnValue.keyUsage", seventh),
        (f"{_BELOW}.extensions.1", lambda node: node.document.substrate),
        (f"{_BELOW}.extensions.1", lambda node: node.document.cryptography_object.serial_number),
        (f"{_BELOW}.issuer", lambda node: node.document.public_key_object.public_numbers().x),
        (f"{_BELOW}.subjectPublicKeyInfo.algorithm", lambda node: bytes(node.parent.children["subjectPublicKey"].pdu)),
    ],
)
def test_a_validator_is_asked_again_when_anything_that_it_looks_at_is_new(
    soft: SoftPKI, path: str, looks: Callable[[PDUNode], object]
) -> None:
    first, second = (
        soft.draft(key).copy.public_bytes(Encoding.DER)
        for key in (software_key(KeyKind.P256, "leaf"), software_key(KeyKind.P256, "another leaf"))
    )
    validator = _Objects(path, looks)
    container = create_pkix_certificate_validator_container([], [validator])
    container.validators[0] = lint._certificate_validators().validators[0]
    by_parts = PartByPart(container)
    assert passes(by_parts, first)
    assert passes(by_parts, second)
    document = loader.load_der_certificate(second, "copy")
    container.validate(document.root)  # decodes what the validator is about to look at
    validator.bad = looks(
        document.root.navigate(path.removeprefix("certificate").lstrip(".")) if "." in path else document.root
    )
    fresh = PartByPart(container)
    assert passes(fresh, first)
    assert not passes(fresh, second)


@pytest.mark.parametrize(
    "looks",
    [
        lambda node: node.pdu["serialNumber"],
        lambda node: len(node.pdu),
        lambda node: node.pdu == node.pdu.clone(),
        lambda node: str(node.pdu),
        lambda node: tuple(node.pdu.items()),
    ],
)
def test_a_validator_that_looks_past_the_parts_is_asked_of_the_whole(
    soft: SoftPKI, looks: Callable[[PDUNode], object]
) -> None:
    container = create_pkix_certificate_validator_container([], [_Objects(_BELOW, looks)])
    der = copies(soft)[1]
    assert not passes(PartByPart(container), der)


def test_what_is_decoded_by_another_part_is_asked_of_the_whole(soft: SoftPKI) -> None:
    def decode(node: PDUNode) -> object:
        return node.navigate(":certificate.tbsCertificate.serialNumber").pdu

    decoders = [DecodingValidator(decode_func=decode, path=f"{_BELOW}.issuer")]
    assert not passes(PartByPart(create_pkix_certificate_validator_container(decoders, [])), copies(soft)[1])


def test_refuses_a_container_that_does_not_decode_first() -> None:
    container = create_pkix_certificate_validator_container([], [])
    with pytest.raises(TypeError, match="that which decodes"):
        PartByPart(ValidatorContainer(validators=container.validators[1:]))


def test_a_memory_that_is_full_forgets(soft: SoftPKI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pkilint_parts, "_KEPT", 1)
    monkeypatch.setattr(pkilint_parts, "_WAYS", 1)
    by_parts = PartByPart(lint._certificate_validators())
    made = copies(soft)
    for number, der in enumerate((*made, *made)):
        assert passes(by_parts, der) == (number % len(made) != 3)  # of the root pkilint has something to say


def test_a_validator_may_look_elsewhere_in_another_certificate(soft: SoftPKI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pkilint_parts, "_WAYS", 1)

    def looks(node: PDUNode) -> object:
        second = int(str(node.navigate(":certificate.tbsCertificate.validity.notBefore.utcTime").pdu)[-2])
        return node.navigate(f":certificate.tbsCertificate.{'issuer' if second % 2 else 'subject'}").pdu

    container = create_pkix_certificate_validator_container([], [_Objects(f"{_BELOW}.version", looks)])
    by_parts = PartByPart(container)
    draft = soft.draft(software_key(KeyKind.P256, "leaf"))
    for seconds in (0, 1, 0):
        again = rebuild(draft, not_before=soft.moment + timedelta(seconds=seconds))
        assert passes(by_parts, again.copy.public_bytes(Encoding.DER))


def test_our_rules_read_the_same_in_parts_and_in_the_whole(soft: SoftPKI) -> None:
    for der in copies(soft):
        made = candidate(soft, der)
        in_parts = _asn1crypto(made)
        made.parts = None
        assert _asn1crypto(made) == in_parts
        assert _is_der(made)


def test_a_certificate_s_parts_are_all_of_its_octets(soft: SoftPKI) -> None:
    for der in copies(soft):
        parts = cut_certificate(der)
        assert parts is not None
        assert all(octets in der for octets in parts.octets.values())
        headers = len(der) - sum(map(len, parts.octets.values()))
        assert headers <= 4 * (5 + parts.extensions)  # tag and length of what holds parts together
        assert set().union(*(section.parts for section in parts.sections)) == set(parts.octets)


@pytest.mark.parametrize("kind", [KeyKind.RSA_3072, KeyKind.P256, KeyKind.P384])
def test_a_copy_has_the_issuer_s_algorithm_and_nobody_s_signature(kind: KeyKind) -> None:
    soft = soft_pki(kind)
    draft = soft.draft(software_key(KeyKind.P256, "leaf"))
    signed = sign_certificate(lint.lint_draft(draft), soft.issuing_key)
    assert draft.copy.signature == NO_SIGNATURE
    assert draft.copy.signature_algorithm_oid == signed.signature_algorithm_oid
    assert x509.load_der_x509_certificate(signed.public_bytes(Encoding.DER)).tbs_certificate_bytes == draft.tbs
