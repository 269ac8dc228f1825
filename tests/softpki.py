"""A whole PKI of software keys for tests, by the real code from the real ``ca/``: root, issuing CA, what it issues.

RSA keys are made once per process and label. ``NOW`` is when everything here happens, unless a verifier that reads
the machine's clock is to look at it: then ``today()``.
"""

import dataclasses
import functools
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from sealwright.pki.certificates import (
    CertificateDraft,
    IssuerRecord,
    draft_certificate,
    draft_root,
    lint_draft,
    sign_certificate,
)
from sealwright.pki.keys import KeyKind, PrivateKey, key_kind
from sealwright.pki.names import ca_subject, responder_subject
from sealwright.pki.profiles import CertificateProfile, load_profiles
from sealwright.pki.serials import new_serial
from sealwright.pki.settings import PKISettings, load_settings
from sealwright.pki.signatures import SignatureScheme

CA_FOLDER = Path(__file__).parents[1] / "ca"
NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)


@functools.cache
def today() -> datetime:
    """An hour before this process first asked, for verifiers that cannot be told another time."""
    return datetime.now(UTC).replace(microsecond=0) - timedelta(hours=1)


@functools.cache
def software_key(kind: KeyKind = KeyKind.P256, label: str = "") -> PrivateKey:
    """The key of this process that goes by this kind and label."""
    match kind:
        case KeyKind.RSA_3072:
            return rsa.generate_private_key(65537, 3072)
        case KeyKind.RSA_4096:
            return rsa.generate_private_key(65537, 4096)
        case KeyKind.P256:
            return ec.generate_private_key(ec.SECP256R1())
        case KeyKind.P384:
            return ec.generate_private_key(ec.SECP384R1())
        case KeyKind.P521:
            return ec.generate_private_key(ec.SECP521R1())
        case KeyKind.ED25519:
            return ed25519.Ed25519PrivateKey.generate()


def another_exponent(key: PrivateKey) -> rsa.RSAPrivateKey:
    """Whoever has the factors has a private key for every exponent; the SubjectPublicKeyInfo has other octets."""
    assert isinstance(key, rsa.RSAPrivateKey)
    own, e = key.private_numbers(), 65539
    d = pow(e, -1, (own.p - 1) * (own.q - 1))
    public = rsa.RSAPublicNumbers(e, own.public_numbers.n)
    crt = (rsa.rsa_crt_dmp1(d, own.p), rsa.rsa_crt_dmq1(d, own.q), own.iqmp)
    return rsa.RSAPrivateNumbers(own.p, own.q, d, *crt, public).private_key()


@functools.cache
def settings() -> PKISettings:
    """The repository's ca/pki.toml."""
    return load_settings((CA_FOLDER / "pki.toml").read_bytes(), source="ca/pki.toml")


@functools.cache
def profiles() -> dict[str, CertificateProfile]:
    """The repository's ca/profiles."""
    return load_profiles({path.name: path.read_bytes() for path in (CA_FOLDER / "profiles").glob("*.toml")})


@dataclass(frozen=True)
class SoftPKI:
    """Both tiers, with their keys."""

    settings: PKISettings
    root_key: PrivateKey
    root: x509.Certificate
    issuing_key: PrivateKey
    issuing: x509.Certificate
    rehearsal: bool
    moment: datetime

    @property
    def root_record(self) -> IssuerRecord:
        return IssuerRecord.of(self.root, self.settings, self.settings.root.id)

    @property
    def issuing_record(self) -> IssuerRecord:
        return IssuerRecord.of(self.issuing, self.settings, self.settings.issuing.id)

    def draft(
        self,
        key: PrivateKey,
        *,
        profile: str = "code-signing",
        team: str = "web",
        project: str = "shop",
        not_before: datetime | None = None,
    ) -> CertificateDraft:
        """A code-signing draft, not linted yet."""
        chosen = profiles()[profile]
        return draft_certificate(
            chosen,
            issuer=self.issuing_record,
            subject=chosen.subject(self.settings, team, project, rehearsal=self.rehearsal),
            san_uri=chosen.san_uri(self.settings, team, project),
            public_key=key.public_key(),
            serial=new_serial(),
            not_before=not_before or self.moment,
        )

    def draft_responder(
        self, key: PrivateKey, *, not_before: datetime | None = None, issuer: IssuerRecord | None = None
    ) -> CertificateDraft:
        """A responder's draft, not linted yet."""
        return draft_certificate(
            profiles()["ocsp-responder"],
            issuer=issuer or self.issuing_record,
            subject=responder_subject(self.settings, rehearsal=self.rehearsal),
            public_key=key.public_key(),
            serial=new_serial(),
            not_before=not_before or self.moment,
        )

    def draft_delegate(
        self,
        key: PrivateKey,
        *,
        not_before: datetime | None = None,
        not_after: datetime | None = None,
        issuer: IssuerRecord | None = None,
    ) -> CertificateDraft:
        """That of the root's OCSP delegate, not linted yet."""
        return draft_certificate(
            profiles()["root-ocsp"],
            issuer=issuer or self.root_record,
            subject=responder_subject(self.settings, "root", rehearsal=self.rehearsal),
            public_key=key.public_key(),
            serial=new_serial(),
            not_before=not_before or self.moment,
            not_after=not_after,
        )

    def issue(self, key: PrivateKey, **options: str) -> x509.Certificate:
        """A code-signing certificate; the options are those of ``draft``."""
        return sign_certificate(lint_draft(self.draft(key, **options)), self.issuing_key)  # type: ignore[arg-type]  # all str here

    def issue_delegate(self, key: PrivateKey) -> x509.Certificate:
        """The root's OCSP delegate's certificate."""
        return sign_certificate(lint_draft(self.draft_delegate(key)), self.root_key)

    def issue_responder(self, key: PrivateKey, *, not_before: datetime | None = None) -> x509.Certificate:
        """An OCSP responder's certificate."""
        return sign_certificate(lint_draft(self.draft_responder(key, not_before=not_before)), self.issuing_key)


@functools.cache
def soft_pki(
    kind: KeyKind = KeyKind.P384,
    scheme: SignatureScheme | None = None,
    *,
    rehearsal: bool = True,
    label: str = "",
    moment: datetime = NOW,
    base: str | None = None,
    issuing_key: PrivateKey | None = None,
) -> SoftPKI:
    """A PKI whose two CA keys are of this kind; EC by default, because it is fast. ``base``: its public URL.
    ``issuing_key``: one on a token, of the same kind."""
    own = settings()
    if base is not None:
        own = dataclasses.replace(own, urls=own.urls.model_copy(update={"base": base}))
    own = dataclasses.replace(
        own,
        root=own.root.model_copy(update={"scheme": scheme}),
        issuing=own.issuing.model_copy(update={"scheme": scheme}),
    )
    root_key, issuing_key = software_key(kind, f"{label}root"), issuing_key or software_key(kind, f"{label}issuing")
    kinds = (key_kind(root_key.public_key()),)
    root = sign_certificate(
        lint_draft(
            draft_root(
                dataclasses.replace(profiles()["root"], keys=kinds),
                settings=own,
                subject=ca_subject(own, "root", rehearsal=rehearsal),
                public_key=root_key.public_key(),
                serial=new_serial(),
                not_before=moment,
            )
        ),
        root_key,
    )
    issuing = sign_certificate(
        lint_draft(
            draft_certificate(
                dataclasses.replace(profiles()["issuing-ca"], keys=kinds),
                issuer=IssuerRecord.of(root, own, own.root.id),
                subject=ca_subject(own, "issuing", rehearsal=rehearsal),
                public_key=issuing_key.public_key(),
                serial=new_serial(),
                not_before=moment,
            )
        ),
        root_key,
    )
    return SoftPKI(own, root_key, root, issuing_key, issuing, rehearsal, moment)
