"""Certificates that are wrong on purpose: a good draft, built again with something changed, for the lint to refuse."""

import dataclasses
from collections.abc import Callable, Mapping
from datetime import datetime

import asn1crypto.x509
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.pki.certificates import CertificateDraft
from sealwright.pki.keys import key_kind, throwaway_key
from sealwright.pki.signatures import assemble_signed, hash_algorithm, rsa_padding, sign_bytes

TBS = asn1crypto.x509.TbsCertificate


def rebuild(
    draft: CertificateDraft,
    *,
    issuer: x509.Name | None = None,
    subject: x509.Name | None = None,
    not_before: datetime | None = None,
    not_after: datetime | None = None,
    replace: tuple[x509.ExtensionType, ...] = (),
    drop: tuple[type[x509.ExtensionType], ...] = (),
    add: tuple[x509.ExtensionType, ...] = (),
    critical: Mapping[type[x509.ExtensionType], bool] | None = None,
) -> CertificateDraft:
    """The draft with other fields or extensions, by pyca's builder."""
    old = draft.copy
    values = {value.oid: value for value in replace}
    flips = {kind.oid: flag for kind, flag in (critical or {}).items()}
    dropped = {kind.oid for kind in drop}
    extensions = [
        x509.Extension(each.oid, flips.get(each.oid, each.critical), values.get(each.oid, each.value))
        for each in old.extensions
        if each.oid not in dropped
    ]
    extensions += [x509.Extension(value.oid, False, value) for value in add]
    copy = x509.CertificateBuilder(
        issuer_name=issuer or old.issuer,
        subject_name=subject or old.subject,
        public_key=old.public_key(),
        serial_number=old.serial_number,
        not_valid_before=not_before or old.not_valid_before_utc,
        not_valid_after=not_after or old.not_valid_after_utc,
        extensions=extensions,
    ).sign(
        throwaway_key(key_kind(draft.signing_key)),
        hash_algorithm(draft.scheme),
        rsa_padding=rsa_padding(draft.scheme),
    )
    return dataclasses.replace(draft, copy=copy)


def alter(draft: CertificateDraft, change: Callable[[TBS], object]) -> CertificateDraft:
    """The draft with its TBS changed below what pyca would build, by asn1crypto."""
    tbs = asn1crypto.x509.Certificate.load(draft.copy.public_bytes(Encoding.DER))["tbs_certificate"]
    change(tbs)
    return _sign_again(draft, tbs.dump(force=True))


def patch(draft: CertificateDraft, old: str, new: str) -> CertificateDraft:
    """The draft with octets of its TBS (hex, as many) exchanged, which need not be DER afterwards."""
    assert len(old) == len(new)
    assert draft.tbs.count(bytes.fromhex(old)) == 1
    return _sign_again(draft, draft.tbs.replace(bytes.fromhex(old), bytes.fromhex(new)))


def _sign_again(draft: CertificateDraft, der: bytes) -> CertificateDraft:
    signature = sign_bytes(throwaway_key(key_kind(draft.signing_key)), draft.scheme, der)
    return dataclasses.replace(
        draft, copy=x509.load_der_x509_certificate(assemble_signed(der, draft.scheme, signature))
    )


def field(name: str, value: object) -> Callable[[TBS], object]:
    """A change of one field of the TBS."""

    def change(tbs: TBS) -> None:
        tbs[name] = value

    return change
