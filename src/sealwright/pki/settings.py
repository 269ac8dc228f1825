"""``ca/pki.toml``: who this PKI is, where it publishes, and what the machine makes by itself.

The officers' roster pins the file's SHA-256, so what stands in it is policy, and its bounds are checked here once.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from sealwright.errors import InputError, PolicyViolation
from sealwright.pki.crl_scope import crl_public_path
from sealwright.pki.signatures import SignatureScheme
from sealwright.pki.tomlfile import Table, parse_toml

Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}\z")]
Text = Annotated[str, Field(min_length=1, max_length=128)]
Count = Annotated[int, Field(ge=1, le=10_000)]


class Organisation(Table):
    """Whose PKI it is; becomes C, ST, L and O of every subject."""

    name: Text
    country: Annotated[str, Field(pattern=r"^[A-Z]{2}\z")]
    locality: Text | None = None
    state: Text | None = None


class Policy(Table):
    """The policy that certificates are issued under."""

    oid: Annotated[str, Field(pattern=r"^[0-2](\.(0|[1-9][0-9]{0,17})){2,18}\z")]


class Urls(Table):
    """Where verifiers ask, by plain HTTP."""

    base: Annotated[str, Field(max_length=128)]


class CA(Table):
    """One of the two tiers. ``id`` names its files on the public URLs; ``scheme`` overrides the key's default."""

    id: Identifier
    common_name: Text
    scheme: SignatureScheme | None = None


class StandingOrder(Table):
    """What is made without a person's order, and how often."""

    crl_interval_hours: Count
    crl_validity_days: Count
    ocsp_refresh_hours: Count
    ocsp_validity_hours: Count
    responder_validity_days: Count
    responder_renew_before_days: Count


class Names(Table):
    """How a team's project is named inside certificates."""

    san_uri: Annotated[str, Field(max_length=255)]


class _SettingsFile(Table):
    organisation: Organisation
    policy: Policy
    urls: Urls
    root: CA
    issuing: CA
    standing: StandingOrder
    names: Names


@dataclass(frozen=True, slots=True, kw_only=True)
class PKISettings:
    """The file, checked. ``sha256`` is the digest of its bytes, as the roster pins it."""

    organisation: Organisation
    policy: Policy
    urls: Urls
    root: CA
    issuing: CA
    standing: StandingOrder
    names: Names
    sha256: str

    def crl_url(self, ca_id: str, scope: str = "") -> str:
        """Where the CRL of this CA is (DER), or one partition of it (``crl_scope``)."""
        return f"{self.urls.base}{crl_public_path(ca_id, scope)}"

    def issuer_url(self, ca_id: str) -> str:
        """Where the certificate of this CA is (DER; RFC 5280 4.2.2.1)."""
        return f"{self.urls.base}/ca/{ca_id}.cer"

    @property
    def ocsp_url(self) -> str:
        """Where OCSP is answered, for every CA of this PKI."""
        return f"{self.urls.base}/ocsp"

    def san_uri(self, team: str, project: str) -> str:
        """The URI that names a team's project; cosign's certificate identity."""
        return self.names.san_uri.replace("{team}", team).replace("{project}", project)

    def ca(self, ca_id: str) -> CA:
        """The tier of this id; InputError for another."""
        for tier in (self.root, self.issuing):
            if tier.id == ca_id:
                return tier
        raise InputError(f"CA {ca_id!r} is not in ca/pki.toml; wanted {self.root.id} or {self.issuing.id}")


def load_settings(data: bytes, *, source: str) -> PKISettings:
    """Read ``ca/pki.toml``. InputError: not the right fields; PolicyViolation: fields that this PKI refuses."""
    file = parse_toml(data, _SettingsFile, source=source)
    _check_organisation(file.organisation, source)
    check_policy_oid(file.policy.oid, source)
    _check_urls(file, source)
    _check_tiers(file.root, file.issuing, source)
    _check_standing(file.standing, source)
    return PKISettings(
        organisation=file.organisation,
        policy=file.policy,
        urls=file.urls,
        root=file.root,
        issuing=file.issuing,
        standing=file.standing,
        names=file.names,
        sha256=hashlib.sha256(data).hexdigest(),
    )


def check_policy_oid(oid: str, subject: str) -> None:
    """PKI-OID-RESERVED: an OID of the CA/B Forum asserts public compliance; anyPolicy asserts everything."""
    if oid.startswith("2.23.140.") or oid == "2.5.29.32.0":
        raise PolicyViolation(
            f"{subject}: policy OID {oid} is reserved; wanted one of the organisation's own arc",
            rule="PKI-OID-RESERVED",
            hint="an IANA private enterprise number is free; 1.3.6.1.4.1.32473 is the one for examples (RFC 5612)",
        )


def _check_organisation(own: Organisation, source: str) -> None:
    if own.locality is None and own.state is None:
        raise InputError(f"{source}: [organisation] has neither locality nor state; wanted one at least")


_BASE = re.compile(r"http://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[1-9][0-9]{0,4})?(/[A-Za-z0-9._~-]+)*")
_SAN = re.compile(r"(https?://[a-z0-9][a-z0-9.-]*(:[0-9]+)?/|urn:[a-z0-9]+:)[A-Za-z0-9._~/:{}-]*")


def _check_urls(file: _SettingsFile, source: str) -> None:
    if not _BASE.fullmatch(file.urls.base):
        # Plain HTTP: a verifier that checks the TLS certificate of a CRL server would ask for its CRL first.
        raise PolicyViolation(
            f"{source}: urls.base is {file.urls.base!r}; wanted http://HOST[:PORT][/PATH], no slash at the end",
            rule="PKI-URL-HTTP",
        )
    template = file.names.san_uri
    bare = template.replace("{team}", "t", 1).replace("{project}", "p", 1)
    if "{team}" not in template or "{project}" not in template or "{" in bare or not _SAN.fullmatch(bare):
        raise PolicyViolation(
            f"{source}: names.san_uri is {template!r}; wanted a URI with {{team}} and {{project}} once each",
            rule="PKI-SAN-TEMPLATE",
            hint='for example "https://pki.example.org/id/{team}/{project}"',
        )


def _check_tiers(root: CA, issuing: CA, source: str) -> None:
    if root.id == issuing.id or root.common_name == issuing.common_name:
        # A subject equal to its issuer's would make the issuing CA look self-issued (RFC 5280 6.1).
        raise PolicyViolation(
            f"{source}: [root] and [issuing] share an id or a common_name; wanted different ones",
            rule="PKI-CA-NAMES",
        )
    for tier in (root, issuing):
        if tier.common_name.startswith("REHEARSAL"):
            raise PolicyViolation(
                f"{source}: common_name {tier.common_name!r} begins with the mark of rehearsals",
                rule="PKI-CA-NAMES",
                hint="leave it out: a rehearsal puts it there by itself",
            )


def _check_standing(order: StandingOrder, source: str) -> None:
    # CSBR 4.9.7: a CRL for code signing at least every 24 h here, nextUpdate at most 10 days after thisUpdate.
    if order.crl_interval_hours > 24 or order.crl_validity_days > 10:
        raise PolicyViolation(
            f"{source}: a CRL every {order.crl_interval_hours} h, valid {order.crl_validity_days} d; "
            "wanted every 24 h at least, valid at most 10 d",
            rule="STANDING-CRL",
        )
    if order.crl_interval_hours >= order.crl_validity_days * 24:
        raise PolicyViolation(f"{source}: the CRL expires before the next one is made", rule="STANDING-CRL")
    # CSBR 4.9.10: valid for 10 days at most; fresh at half of that, so that one missed run is not an outage.
    if order.ocsp_validity_hours > 240 or order.ocsp_refresh_hours * 2 > order.ocsp_validity_hours:
        raise PolicyViolation(
            f"{source}: OCSP answers every {order.ocsp_refresh_hours} h, valid {order.ocsp_validity_hours} h; "
            "wanted valid at most 240 h and made again after half of it",
            rule="STANDING-OCSP",
        )
    # An answer must not outlive the certificate of who signed it.
    short = order.responder_renew_before_days * 24 < order.ocsp_validity_hours
    if order.responder_validity_days > 14 or short:
        raise PolicyViolation(
            f"{source}: responder certificate of {order.responder_validity_days} d, "
            f"renewed {order.responder_renew_before_days} d before its end; "
            "wanted at most 14 d, renewed before an answer could outlive it",
            rule="STANDING-RESPONDER",
        )
    if order.responder_renew_before_days >= order.responder_validity_days:
        raise PolicyViolation(
            f"{source}: responder_renew_before_days is not less than responder_validity_days",
            rule="STANDING-RESPONDER",
        )
