"""Revocation orders on this side: finding the certificates, drafting, countersigning, files, and sending.

Each certificate is verified here to be this PKI's. Which ones there are, and who approved them, is the registry's word:
it can hide one. An audit of the ledger (`sealwright audit`) finds what it hid.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    load_der_public_key,
    load_pem_private_key,
    load_pem_public_key,
)

from sealwright.client.certificates import check_issued, fetch_by_serial
from sealwright.client.files import write_file
from sealwright.client.session import Sitting
from sealwright.client.trust import Identity
from sealwright.durable import read_file
from sealwright.errors import InputError, IntegrityError, NotFound, Unavailable
from sealwright.pki.keys import PrivateKey, key_kind, spki_sha256
from sealwright.pki.requests import parse_csr
from sealwright.pki.serials import format_serial
from sealwright.statements.kinds import SERIALS_LIMIT, KeyRevocationStatement
from sealwright.statements.revocations import ORDER_LIMIT, RevocationOrder, parse_order
from sealwright.statements.signed import SignedStatement
from sealwright.statements.wire import decode_base64, parse_time


@dataclass(frozen=True, slots=True)
class Victim:
    """A certificate that an order names, and what the registry says of it (nothing, when it does not answer)."""

    certificate: x509.Certificate
    said: Mapping[str, Any]

    @property
    def serial(self) -> str:
        return format_serial(self.certificate.serial_number)

    @property
    def key(self) -> str:
        """SHA-256 of its key's SubjectPublicKeyInfo."""
        return spki_sha256(self.certificate.public_key())  # type: ignore[arg-type]  # the CA certifies only our kinds

    @property
    def revocation(self) -> Mapping[str, Any]:
        return self.said.get("revocation") or {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which certificates: all that meet every condition that is given."""

    key: str | None = None
    team: str | None = None
    issued_from: datetime | None = None
    issued_until: datetime | None = None
    approved_by: str | None = None

    def takes(self, victim: Victim) -> bool:
        issued = victim.certificate.not_valid_before_utc
        return (
            (self.key is None or victim.key == self.key)
            and (self.team is None or victim.said.get("team") == self.team)
            and (self.issued_from is None or issued >= self.issued_from)
            and (self.issued_until is None or issued <= self.issued_until)
            and (self.approved_by is None or self.approved_by in victim.said.get("approvers", ()))
        )


def all_certificates(sitting: Sitting) -> Iterator[Victim]:
    """Every certificate of a team that the registry shows, page by page, each verified."""
    before: int | None = None
    while True:
        page = sitting.registry.get("/v1/certificates", detail="true", before=before).get("certificates", ())
        for said in page:
            certificate = check_issued(decode_base64(str(said.get("certificate", ""))), sitting.identity)
            if format_serial(certificate.serial_number) != said.get("serial"):
                raise IntegrityError(f"the registry gave another certificate than {said.get('serial')}")
            yield Victim(certificate, said)
        if not page:
            return
        last = int(page[-1]["intent_index"])
        if before is not None and last >= before:
            raise IntegrityError("the registry's pages do not go on")
        before = last


def select(sitting: Sitting, selection: Selection) -> tuple[Victim, ...]:
    """Those that are taken and not revoked yet. ``NotFound`` when there is none."""
    found = tuple(each for each in all_certificates(sitting) if selection.takes(each) and not each.revocation)
    if not found:
        raise NotFound("no certificate that is not revoked is meant by this", hint="`sealwright certificates`")
    return found


def find(sitting: Sitting, serial: str) -> Victim:
    """By serial number, or by the file of the certificate, which needs no registry."""
    path = Path(serial)
    if "." in serial and path.is_file():
        return Victim(load_certificate(path, sitting.identity), {})
    return Victim(*fetch_by_serial(sitting, serial))


def find_named(sitting: Sitting, serials: Sequence[str]) -> tuple[Victim, ...]:
    """The certificates that an order names, in its order."""
    if len(serials) == 1:
        return (find(sitting, serials[0]),)
    wanted = dict.fromkeys(serials)
    known = {each.serial: each for each in all_certificates(sitting) if each.serial in wanted}
    missing = [serial for serial in serials if serial not in known]
    if missing:
        raise NotFound(f"the registry shows no certificate {missing[0]}", hint="it may hide it: tell an officer")
    return tuple(known[serial] for serial in serials)


def with_key(sitting: Sitting, victims: tuple[Victim, ...]) -> tuple[Victim, ...]:
    """And what else is certified for their keys and not revoked: a compromised key takes it along.

    Without the registry nobody can say what that is; the signer knows.
    """
    keys, named = {each.key for each in victims}, {each.serial for each in victims}
    try:
        shown = tuple(all_certificates(sitting)) if victims else ()
    except Unavailable:
        return victims
    kin = (each for each in shown if each.key in keys and not each.revocation)
    return (*victims, *(each for each in kin if each.serial not in named))


def load_certificate(path: Path, identity: Identity) -> x509.Certificate:
    """From PEM or DER. ``IntegrityError`` unless this PKI's issuing CA signed it."""
    data = read_file(path)
    if b"-----BEGIN" in data:
        try:
            data = x509.load_pem_x509_certificate(data).public_bytes(Encoding.DER)
        except (ValueError, x509.InvalidVersion) as error:
            raise InputError(f"{path} is not a certificate: {error}", hint="PEM or DER; or name its serial") from error
    return check_issued(data, identity)


@dataclass(frozen=True, slots=True)
class NamedKey:
    """What ``--key`` named: a key by its digest, and its private half where the file had that."""

    sha256: str
    private: PrivateKey | None


def load_key(text: str) -> NamedKey:
    """A SHA-256 of a SubjectPublicKeyInfo, or a file: private key, public key, certificate or CSR."""
    path = Path(text).expanduser()
    if not path.is_file():
        digest = text.lower().replace(":", "")
        if len(digest) != 64 or any(each not in "0123456789abcdef" for each in digest):
            raise InputError(
                f"--key {text[:80]!r} is neither a file nor a SHA-256 in hex",
                hint="a private key, public key, certificate or CSR; or the SHA-256 of its SubjectPublicKeyInfo",
            )
        return NamedKey(digest, None)
    data = read_file(path)
    loaders: tuple[Callable[[bytes], Any], ...] = (
        lambda data: load_pem_private_key(data, None),
        load_pem_public_key,
        load_der_public_key,
        lambda data: x509.load_pem_x509_certificate(data).public_key(),
        lambda data: x509.load_der_x509_certificate(data).public_key(),
        lambda data: parse_csr(data).public_key,
    )
    for load in loaders:
        try:
            key = load(data)
        except (ValueError, TypeError, InputError):
            continue
        public = key.public_key() if hasattr(key, "private_bytes") else key
        key_kind(public)
        return NamedKey(spki_sha256(public), key if public is not key else None)
    raise InputError(
        f"{path} holds no key that can be read", hint="is it encrypted? decrypt it first, or name its certificate"
    )


def parse_moment(text: str) -> datetime:
    """ "2026-11-23" or "2026-11-23T13:30:00Z", in UTC. Raises ``InputError``."""
    try:
        if len(text) == 10:
            return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
        return parse_time(text)
    except ValueError:
        raise InputError(f"{text[:40]!r} is no moment; wanted 2026-11-23 or 2026-11-23T13:30:00Z (UTC)") from None


def split(serials: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """As few orders as hold them."""
    return tuple(tuple(serials[start : start + SERIALS_LIMIT]) for start in range(0, len(serials), SERIALS_LIMIT))


def order_paths(out: Path, count: int) -> tuple[Path, ...]:
    """FILE for one order; FILE-1, FILE-2 … for more, before the ending."""
    if count == 1:
        return (out,)
    return tuple(out.with_name(f"{out.stem}-{number}{out.suffix}") for number in range(1, count + 1))


def save_orders(out: Path, orders: Sequence[RevocationOrder]) -> tuple[Path, ...]:
    paths = order_paths(out, len(orders))
    for path in paths:
        if path.exists():
            raise InputError(f"{path} exists", hint="nothing is overwritten: name another file with --out")
    for path, order in zip(paths, orders, strict=True):
        write_file(path, order.to_bytes())
    return paths


def load_order(path: Path) -> RevocationOrder:
    order = parse_order(read_file(path, limit=ORDER_LIMIT, hint="`sealwright revoke --out FILE` makes such a file"))
    if isinstance(order.statement, KeyRevocationStatement):
        raise InputError("a key's own revocation needs no second person", hint="`sealwrightd revoke` takes it as it is")
    if order.countersignature is not None:
        raise InputError(f"{path} is countersigned already", hint="an operator sends it: `sealwrightd revoke FILE`")
    return order


def countersign(sitting: Sitting, order: RevocationOrder, comment: str) -> RevocationOrder:
    said: SignedStatement = sitting.pen.countersignature(order.revocation.sha256, comment)
    return RevocationOrder(revocation=order.revocation, countersignature=said)


def send(sitting: Sitting, order: RevocationOrder) -> dict[str, Any]:
    """The signer's answer, by way of the registry."""
    return sitting.registry.post("/v1/revocations", order)
