"""The signed outputs, as functions of script, plan, inputs and public keys: no clock, no token, no people.

``draft_output`` gives the exact bytes that will be signed, linted. Because they depend on nothing else, ``prepare`` can
announce them, the ceremony can only repeat them, and a replay comes to the same bytes ten years later. The checks on
foreign inputs are in ``acceptance``.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.ceremony.acceptance import accept_previous_crl, accept_request, revoked_entries
from sealwright.ceremony.answers import (
    DELEGATE,
    draft_answers,
    draft_delegate,
    join_messages,
    list_messages,
    sign_answers,
    take_answers_apart,
)
from sealwright.ceremony.clock import parse_time
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.materials import HeldKey, Materials, key_kind_on
from sealwright.ceremony.renewal import find_renewal
from sealwright.ceremony.rollover import check_cross, draft_cross
from sealwright.errors import IntegrityError
from sealwright.pki import der
from sealwright.pki.certificates import IssuerRecord, draft_certificate, draft_root, lint_draft, sign_certificate
from sealwright.pki.crl import RevocationEntry, draft_crl, lint_crl, sign_crl
from sealwright.pki.issuers import scheme_for
from sealwright.pki.keys import (
    PrivateKey,
    PublicKey,
    key_identifier,
    key_kind,
    spki_der,
    throwaway_key,
)
from sealwright.pki.names import ca_subject
from sealwright.pki.requests import parse_csr
from sealwright.pki.serials import parse_serial
from sealwright.pki.signatures import SignatureScheme, assemble_signed, sign_bytes, verify_bytes


@dataclass(frozen=True, slots=True)
class Drafted:
    """Bytes that were linted and may be signed. ``template`` has the octets that depend on a new key zeroed."""

    name: str
    tbs: bytes
    template: bytes
    scheme: SignatureScheme
    signer: PublicKey
    sign: Callable[[PrivateKey], bytes]
    take_apart: Callable[[bytes], tuple[tuple[bytes, bytes], ...]]
    """A file into what was signed, and its signature: one pair, or one for each of ``messages``."""
    messages: tuple[bytes, ...] = ()
    """Of an output with several signatures: what each is over. ``tbs`` is then all of them together."""

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.tbs).hexdigest()

    @property
    def template_sha256(self) -> str:
        return hashlib.sha256(self.template).hexdigest()

    def check_file(self, data: bytes) -> None:
        """Raises ``IntegrityError`` unless ``data`` is these bytes, signed by the right key."""
        try:
            signed = self.take_apart(data)
        except ValueError as error:
            raise IntegrityError(f"{self.name} cannot be parsed: {error}") from error
        if tuple(message for message, _ in signed) != (self.messages or (self.tbs,)):
            raise IntegrityError(f"{self.name} is not what was drafted: its to-be-signed bytes differ")
        for message, signature in signed:
            verify_bytes(self.signer, self.scheme, message, signature)


def draft_output(name: str, materials: Materials) -> Drafted:
    """Draft and lint one signed output. Raises ``PolicyViolation`` when a rule refuses it."""
    match KINDS[materials.script.kind].outputs[name].made:
        case "certificate":
            drafts = {"root.pem": _draft_root, "issuing.pem": _draft_issuing, DELEGATE: _draft_delegate}
            drafted = drafts.get(name, _draft_cross)(name, materials)
        case "answers":
            drafted = _draft_answers(name, materials)
        case "crl":
            drafted = _draft_crl(name, materials)
        case _:
            drafted = _draft_request(name, materials)
    return drafted


def draft_with_software_keys(materials: Materials) -> dict[str, Drafted]:
    """Every signed output, linted, under software keys where the ceremony makes the keys.

    This is the lint before any key exists, and where the announced digests come from.
    """
    rule = KINDS[materials.script.kind]
    trial = Materials(materials.script, materials.plan, materials.inputs, materials.mode)
    for token in rule.new_keys:
        public = throwaway_key(key_kind_on(token, trial)).public_key()
        trial.keys[token] = HeldKey(public, trial.plan.key_ids[token], "0" * 16)
    drafts: dict[str, Drafted] = {}
    for name in rule.signed():
        drafts[name] = drafted = draft_output(name, trial)
        if rule.outputs[name].token in rule.new_keys:
            trial.outputs[name] = drafted.sign(throwaway_key(key_kind(drafted.signer)))
    return drafts


def _draft_root(name: str, materials: Materials) -> Drafted:
    settings, plan, key = materials.settings(), materials.plan, materials.keys["root"].public
    draft = draft_root(
        materials.profile("root.toml"),
        settings=settings,
        subject=ca_subject(settings, "root", rehearsal=materials.rehearsal),
        public_key=key,
        serial=parse_serial(plan.serial or ""),
        not_before=parse_time(plan.at, "prepared.json"),
    )
    linted = lint_draft(draft)
    return Drafted(
        name=name,
        tbs=draft.tbs,
        template=_zeroed(draft.tbs, key),
        scheme=draft.scheme,
        signer=key,
        sign=lambda private: sign_certificate(linted, private).public_bytes(Encoding.PEM),
        take_apart=_certificate_parts,
    )


def _draft_issuing(name: str, materials: Materials) -> Drafted:
    settings, plan, profile = materials.settings(), materials.plan, materials.profile("issuing-ca.toml")
    issuer = materials.root_record()
    serial = parse_serial(plan.serial or "")
    subject = ca_subject(settings, "issuing", rehearsal=materials.rehearsal)
    renewal = find_renewal(materials)
    request = accept_request(
        materials.inputs["issuing.csr"],
        subject=subject,
        profile=profile,
        root=issuer.certificate,
        register=materials.register(),
        serial=serial,
        renewed=renewal.kept_key if renewal else None,
    )
    draft = draft_certificate(
        profile,
        issuer=issuer,
        subject=subject,
        public_key=request.public_key,
        serial=serial,
        not_before=parse_time(plan.at, "prepared.json"),
    )
    linted = lint_draft(draft)
    if renewal is not None:
        renewal.check(draft.copy)
    return Drafted(
        name=name,
        tbs=draft.tbs,
        template=draft.tbs,
        scheme=draft.scheme,
        signer=issuer.public_key,
        sign=lambda private: sign_certificate(linted, private).public_bytes(Encoding.PEM),
        take_apart=_certificate_parts,
    )


def _draft_cross(name: str, materials: Materials) -> Drafted:
    draft = draft_cross(name, materials)
    linted = lint_draft(draft)
    check_cross(name, draft.copy, materials)
    return Drafted(
        name=name,
        tbs=draft.tbs,
        template=draft.tbs,
        scheme=draft.scheme,
        signer=draft.signing_key,
        sign=lambda private: sign_certificate(linted, private).public_bytes(Encoding.PEM),
        take_apart=_certificate_parts,
    )


def _draft_delegate(name: str, materials: Materials) -> Drafted:
    linted = draft_delegate(materials)
    draft, issuer = linted.draft, materials.root_record()
    return Drafted(
        name=name,
        tbs=draft.tbs,
        template=_zeroed(draft.tbs, draft.public_key),
        scheme=draft.scheme,
        signer=issuer.public_key,
        sign=lambda private: sign_certificate(linted, private).public_bytes(Encoding.PEM),
        take_apart=_certificate_parts,
    )


def _draft_answers(name: str, materials: Materials) -> Drafted:
    linted = draft_answers(materials)
    messages, template = list_messages(linted), linted[0].draft.template
    tbs = join_messages(messages)
    return Drafted(
        name=name,
        tbs=tbs,
        template=_zeroed(tbs, template.public_key),
        scheme=template.scheme,
        signer=template.public_key,
        sign=lambda private: sign_answers(linted, private),
        take_apart=take_answers_apart,
        messages=messages,
    )


def _draft_crl(name: str, materials: Materials) -> Drafted:
    plan, issuer = materials.plan, materials.root_record()
    decision = materials.decision()
    number, entries = plan.crl_number or 0, _carried_entries(materials, issuer)
    if decision is not None:
        entries = (*entries, *decision.entries(materials.register()))
    draft = draft_crl(
        issuer=issuer,
        number=number,
        this_update=parse_time(plan.at, "prepared.json"),
        next_update=parse_time(plan.next_update or "", "prepared.json"),
        entries=entries,
        expired_certs_since=None,
    )
    linted = lint_crl(draft)
    new_key = "root" in KINDS[materials.script.kind].new_keys
    return Drafted(
        name=name,
        tbs=draft.tbs,
        template=_zeroed(draft.tbs, issuer.public_key) if new_key else draft.tbs,
        scheme=issuer.scheme,
        signer=issuer.public_key,
        sign=lambda private: sign_crl(linted, private).public_bytes(Encoding.DER),
        take_apart=_crl_parts,
    )


def _carried_entries(materials: Materials, issuer: IssuerRecord) -> tuple[RevocationEntry, ...]:
    if "root.crl" not in materials.inputs:
        return ()
    previous = accept_previous_crl(
        materials.inputs["root.crl"],
        root=issuer,
        register=materials.register(),
        number=materials.plan.crl_number or 0,
        this_update=parse_time(materials.plan.at, "prepared.json"),
    )
    return revoked_entries(previous)


def _draft_request(name: str, materials: Materials) -> Drafted:
    settings, key = materials.settings(), materials.keys["issuing"].public
    subject = ca_subject(settings, "issuing", rehearsal=materials.rehearsal)
    # RFC 2986 4.1: version 0, subject, key, and no attributes: names and extensions are the issuer's to give.
    tbs = der.sequence(der.integer(0), subject.public_bytes(), spki_der(key), der.encode(der.context(0)))
    scheme = scheme_for(key_kind(key), settings.issuing.scheme)

    def sign(private: PrivateKey) -> bytes:
        signed = assemble_signed(tbs, scheme, sign_bytes(private, scheme, tbs))
        return x509.load_der_x509_csr(parse_csr(signed).der).public_bytes(Encoding.PEM)

    return Drafted(
        name=name,
        tbs=tbs,
        template=_zeroed(tbs, key),
        scheme=scheme,
        signer=key,
        sign=sign,
        take_apart=_request_parts,
    )


def _zeroed(tbs: bytes, key: PublicKey) -> bytes:
    """The bytes with the key's SPKI and key identifier (SKI, AKI) as zeros: lengths and all else stay."""
    spki, identifier = spki_der(key), key_identifier(key)
    return tbs.replace(spki, bytes(len(spki))).replace(identifier, bytes(len(identifier)))


def _certificate_parts(data: bytes) -> tuple[tuple[bytes, bytes]]:
    certificate = x509.load_pem_x509_certificate(data)
    _check_only(data, certificate.public_bytes(Encoding.PEM))
    return ((certificate.tbs_certificate_bytes, certificate.signature),)


def _crl_parts(data: bytes) -> tuple[tuple[bytes, bytes]]:
    crl = x509.load_der_x509_crl(data)
    _check_only(data, crl.public_bytes(Encoding.DER))
    return ((crl.tbs_certlist_bytes, crl.signature),)


def _request_parts(data: bytes) -> tuple[tuple[bytes, bytes]]:
    request = x509.load_pem_x509_csr(data)
    _check_only(data, request.public_bytes(Encoding.PEM))
    return ((request.tbs_certrequest_bytes, request.signature),)


def _check_only(data: bytes, encoded: bytes) -> None:
    if data != encoded:
        raise ValueError("there is more in the file than the object, or it is encoded in another way")
