"""What this client believes, and why: PKI id -> anchor -> rosters -> pins -> settings and profiles.

All of it is verified here; the registry only carries it. The rosters seen are kept, so that a registry that shows an
older one than before is refused.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.client.files import write_file, write_new_files
from sealwright.client.transport import RegistryClient, utc_now
from sealwright.client.windows import registry_file, registry_policy
from sealwright.durable import read_file
from sealwright.errors import InputError, IntegrityError, NotReady, SealwrightError
from sealwright.pki.certificates import IssuerRecord
from sealwright.pki.issuers import check_one_ca
from sealwright.statements.anchor import Anchor, load_anchor
from sealwright.statements.canonical import canonical_bytes
from sealwright.statements.pinned import PinnedPolicy, read_policy
from sealwright.statements.roster import VerifiedRoster, check_roster
from sealwright.statements.signed import SignedStatement
from sealwright.statements.suspensions import suspend
from sealwright.statements.wire import parse_time

ANCHOR, ROOT, ISSUING, ROSTERS = "anchor.json", "root.pem", "issuing.pem", "rosters.json"


@dataclass(frozen=True, slots=True)
class Identity:
    """What follows from the PKI id alone, apart from the issuing CA, which the roster has to name too."""

    anchor: Anchor
    root: x509.Certificate
    issuing: x509.Certificate
    earlier: tuple[x509.Certificate, ...] = ()
    """Certificates that the same CA had before this one."""

    @property
    def rehearsal(self) -> bool:
        return self.anchor.mode == "REHEARSAL"


def check_identity(anchor: bytes, root: bytes, issuing: bytes, pki_id: str) -> Identity:
    """Raises ``IntegrityError`` unless anchor, root and issuing CA are those of ``pki_id``."""
    loaded = load_anchor(anchor)
    if loaded.pki_id != pki_id:
        raise IntegrityError(
            f"this is the PKI {loaded.pki_id}; wanted {pki_id}",
            hint="the server is not the one that you were told of, or the PKI id was mistyped: ask an officer",
        )
    try:
        newest, *earlier = x509.load_pem_x509_certificates(issuing)
        identity = Identity(loaded, x509.load_pem_x509_certificate(root), newest, tuple(earlier))
        loaded.check_root(identity.root)
        check_one_ca((newest, *earlier), identity.root)
    except (InvalidSignature, ValueError, TypeError, x509.InvalidVersion) as error:
        raise IntegrityError(f"the CA certificates do not belong to this PKI: {error}") from error
    return identity


def fetch_identity(client: RegistryClient, pki_id: str, folder: Path) -> Identity:
    """For ``init``: ask, compare with the PKI id, keep."""
    answer = client.get_public("/v1/pki")
    try:
        parts = canonical_bytes(answer["anchor"]), answer["root"].encode(), answer["issuing"].encode()
    except (KeyError, AttributeError):
        raise InputError(f"{client.server} does not answer as a Sealwright registry") from None
    identity = check_identity(*parts, pki_id)
    for name, data in zip((ANCHOR, ROOT, ISSUING), parts, strict=True):
        write_file(folder / name, data, replace=True)
    return identity


def load_identity(folder: Path, pki_id: str) -> Identity:
    anchor, root, issuing = (read_file(folder / name) for name in (ANCHOR, ROOT, ISSUING))
    return check_identity(anchor, root, issuing, pki_id)


def write_root(identity: Identity, folder: Path) -> tuple[Path, ...]:
    """The root as new files for OpenSSL and Java, for Windows by group policy or by hand, and their digests."""
    root = identity.root
    files = {
        "root.pem": root.public_bytes(Encoding.PEM),
        "root.cer": root.public_bytes(Encoding.DER),
        "Registry.pol": registry_policy(root),
        "root.reg": registry_file(root),
    }
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    return write_new_files(folder, {**files, "SHA256SUMS": sums.encode()})


@dataclass(frozen=True, slots=True)
class Trust:
    """An identity with its newest roster, which may have expired: ``in_force`` says."""

    identity: Identity
    roster: VerifiedRoster

    def in_force(self, now: datetime) -> VerifiedRoster:
        self.roster.check_in_force(now)
        return self.roster

    def issuer(self, policy: PinnedPolicy) -> IssuerRecord:
        return IssuerRecord.of(self.identity.issuing, policy.settings, policy.settings.issuing.id)


def seen_rosters(folder: Path, identity: Identity) -> tuple[VerifiedRoster, ...]:
    """Those that this client has kept, verified again from the anchor on."""
    path = folder / ROSTERS
    if not path.exists():
        return ()
    try:
        kept = json.loads(read_file(path, limit=64 << 20))
    except (ValueError, RecursionError) as error:
        raise IntegrityError(f"{path} cannot be read: {error}", hint="set this client up again") from error
    return verify_chain((), [SignedStatement.parse(each) for each in kept], identity.anchor)


def verify_chain(
    known: tuple[VerifiedRoster, ...], chain: list[SignedStatement], anchor: Anchor
) -> tuple[VerifiedRoster, ...]:
    """``known`` and what follows. Each is judged at the moment it was issued: those before the last have ended."""
    now = utc_now()
    for signed in chain:
        when = min(now, signed.content.issued_at)
        known = (*known, check_roster(signed, anchor=anchor, previous=known[-1] if known else None, now=when))
    return known


def refresh_trust(client: RegistryClient, folder: Path, identity: Identity) -> Trust:
    """The newest roster that the registry has, never one older than this client has seen."""
    known = seen_rosters(folder, identity)
    answer = client.get("/v1/roster", after=len(known))
    try:
        latest, chain = int(answer["latest"]), [SignedStatement.parse(each) for each in answer["rosters"]]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the registry's rosters cannot be read: {error}") from error
    if latest < len(known):
        raise IntegrityError(
            f"the registry shows roster {latest}; this client has already seen {len(known)}",
            hint="a roster never goes back: the registry was set back, or somebody plays an old one; tell an officer",
        )
    rosters = verify_chain(known, chain, identity.anchor)
    if not rosters:
        raise NotReady("this PKI has no roster yet", hint="officers: `sealwright roster edit`, `sign`, `publish`")
    if chain:
        keep_rosters(folder, rosters)
    check_authority(identity, rosters[-1])
    return Trust(identity, _apply_suspensions(rosters, answer.get("suspensions", ()), identity.anchor))


def _apply_suspensions(rosters: tuple[VerifiedRoster, ...], said: Any, anchor: Anchor) -> VerifiedRoster:
    """The last roster without those whom officers have suspended: each by an officer of the roster of its time.

    A registry can withhold a suspension from this client, never from the signer.
    """
    if not said:
        return rosters[-1]
    try:
        acts = [
            (int(each["roster"]), parse_time(each["at"]), SignedStatement.parse(each["suspension"])) for each in said
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the registry's suspensions cannot be read: {error}") from error
    current: VerifiedRoster | None = None
    for roster in rosters:
        current = check_roster(roster.signed, anchor=anchor, previous=current, now=roster.issued_at)
        for version, at, signed in acts:
            if version == current.version:
                current = suspend(signed, roster=current, now=at)
    return current or rosters[-1]


def keep_rosters(folder: Path, rosters: tuple[VerifiedRoster, ...]) -> None:
    data = canonical_bytes([roster.signed.to_wire() for roster in rosters])
    write_file(folder / ROSTERS, data, mode=0o600, replace=True)


def check_authority(identity: Identity, roster: VerifiedRoster) -> None:
    """The officers signed for this very issuing CA, by a certificate that it has or had."""
    known = {each.fingerprint(hashes.SHA256()).hex() for each in (identity.issuing, *identity.earlier)}
    if roster.authority.issuing_sha256 not in known:
        raise IntegrityError(
            f"roster {roster.version} names another issuing CA than the one this client knows",
            hint="was the issuing CA renewed? run `sealwright init --replace`, with the PKI id that you have",
        )


def fetch_policy(client: RegistryClient, folder: Path, roster: VerifiedRoster) -> PinnedPolicy:
    """Settings and profiles; files are kept by their digest and fetched once."""
    files: dict[str, bytes] = {}
    for name, digest in roster.statement.pins.items():
        kept = folder / "pinned" / digest
        data = read_file(kept) if kept.exists() else b""
        if hashlib.sha256(data).hexdigest() != digest:
            data = _fetch(client, name)
            if hashlib.sha256(data).hexdigest() == digest:  # otherwise read_policy says which file it is
                write_file(kept, data, replace=True)
        files[name] = data
    return read_policy(files, roster)


def _fetch(client: RegistryClient, name: str) -> bytes:
    answer: Mapping[str, Any] = client.get(f"/v1/pinned/{name}")
    return str(answer.get("text", "")).encode()


def forget_rosters(folder: Path, identity: Identity) -> None:
    """For ``init``: rosters of another PKI mean nothing here; those of this one stay, so that none goes back."""
    try:
        seen_rosters(folder, identity)
    except SealwrightError:
        (folder / ROSTERS).unlink(missing_ok=True)
