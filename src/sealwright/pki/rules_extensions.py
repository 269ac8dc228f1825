"""Rules about what for: every extension of the kind's column, and no other (``table``)."""

import re

from cryptography import x509
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID, ObjectIdentifier

from sealwright.pki.candidate import BELOW_THE_ROOT, CODE_SIGNING, EVERY, Candidate, Rule
from sealwright.pki.crl_scope import crl_scope
from sealwright.pki.keys import key_identifier
from sealwright.pki.settings import check_policy_oid


def _name(oid: ObjectIdentifier) -> str:
    return getattr(oid, "_name", oid.dotted_string)


def _presence(candidate: Candidate) -> str | None:
    # pyca raises for a duplicate (RFC 5280 4.2) and for a value it cannot decode: refused under this id too.
    given = {extension.oid for extension in candidate.certificate.extensions}
    wanted = set(candidate.table.extensions)
    if given == wanted:
        return None
    missing = ", ".join(sorted(map(_name, wanted - given))) or "none"
    extra = ", ".join(sorted(map(_name, given - wanted))) or "none"
    return f"extensions missing: {missing}; not wanted: {extra}"


def _criticality(candidate: Candidate) -> str | None:
    for extension in candidate.certificate.extensions:
        wanted = candidate.table.extensions.get(extension.oid)
        if wanted is not None and extension.critical is not wanted:
            return f"extension {_name(extension.oid)} is {_critical(extension.critical)}; wanted {_critical(wanted)}"
    return None


def _critical(critical: bool) -> str:
    return "critical" if critical else "non-critical"


def _basic_constraints(candidate: Candidate) -> str | None:
    value, table = candidate.extension(x509.BasicConstraints), candidate.table
    if value == x509.BasicConstraints(ca=table.is_ca, path_length=table.path_length):
        return None
    return f"basicConstraints are {value}; wanted CA={table.is_ca}, pathLen {table.path_length}"


_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
)  # encipher_only and decipher_only mean something with key_agreement only, which is refused


def _key_usage(candidate: Candidate) -> str | None:
    value, wanted = candidate.extension(x509.KeyUsage), candidate.table.key_usage
    given = {usage for usage in _USAGES if value is not None and getattr(value, usage)}
    if given == wanted:
        return None
    return f"keyUsage is {', '.join(sorted(given))}; wanted {', '.join(sorted(wanted))}"


def _extended_key_usage(candidate: Candidate) -> str | None:
    value, wanted = candidate.extension(x509.ExtendedKeyUsage), candidate.table.extended_key_usage
    given = [] if value is None else list(value)
    if given == ([] if wanted is None else [wanted]):
        return None
    shown = "none" if wanted is None else _name(wanted)
    return f"extendedKeyUsage is {', '.join(map(_name, given)) or 'none'}; wanted {shown} and no other"


def _policies(candidate: Candidate) -> list[x509.PolicyInformation]:
    value = candidate.extension(x509.CertificatePolicies)
    return [] if value is None else list(value)


def _reserved(candidate: Candidate) -> str | None:
    for policy in _policies(candidate):
        check_policy_oid(policy.policy_identifier.dotted_string, f"certificate of {candidate.draft.profile.name}")
    return None


def _own_policy(candidate: Candidate) -> str | None:
    if ExtensionOID.CERTIFICATE_POLICIES not in candidate.table.extensions:
        return None
    own = candidate.draft.settings.policy.oid
    given = [policy.policy_identifier.dotted_string for policy in _policies(candidate)]
    qualified = any(policy.policy_qualifiers for policy in _policies(candidate))
    if given == [own] and not qualified:
        return None
    return f"certificatePolicies are {', '.join(given)}{' with qualifiers' if qualified else ''}; wanted {own} alone"


def _crl_distribution(candidate: Candidate) -> str | None:
    issuer = candidate.draft.issuer
    if issuer is None or ExtensionOID.CRL_DISTRIBUTION_POINTS not in candidate.table.extensions:
        return None
    value = candidate.extension(x509.CRLDistributionPoints)
    scope = crl_scope(candidate.draft.profile.crl_partitions, candidate.certificate.serial_number)
    url = issuer.crl_url(scope)
    wanted = x509.DistributionPoint([x509.UniformResourceIdentifier(url)], None, None, None)
    if value is not None and list(value) == [wanted]:
        return None
    return f"CRL distribution point is {_uris(value)}; wanted {url} alone, all reasons, no CRL issuer"


def _uris(value: x509.CRLDistributionPoints | None) -> str:
    names = [name for point in value or () for name in point.full_name or ()]
    return ", ".join(str(name.value) for name in names) or "none"


def _authority_access(candidate: Candidate) -> str | None:
    issuer = candidate.draft.issuer
    if issuer is None:
        return None
    value = candidate.extension(x509.AuthorityInformationAccess)
    given = [] if value is None else [(each.access_method, each.access_location) for each in value]
    wanted = [(AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier(issuer.issuer_url))]
    if candidate.table.ocsp_url:
        wanted.append((AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier(issuer.ocsp_url)))
    if given == wanted:
        return None
    shown = ", ".join(f"{_name(method)} {location.value}" for method, location in wanted)
    return f"authorityInfoAccess has {len(given)} entries; wanted exactly {shown}"


def _subject_key_identifier(candidate: Candidate) -> str | None:
    value = candidate.extension(x509.SubjectKeyIdentifier)
    if value is not None and value.digest == key_identifier(candidate.draft.public_key):
        return None
    return "subjectKeyIdentifier is not the SHA-1 of the key's bits"


def _authority_key_identifier(candidate: Candidate) -> str | None:
    issuer = candidate.draft.issuer
    if issuer is None:
        return None
    value = candidate.extension(x509.AuthorityKeyIdentifier)
    if value == x509.AuthorityKeyIdentifier(issuer.key_identifier, None, None):
        return None
    return f"authorityKeyIdentifier is not the subjectKeyIdentifier of {issuer.ca_id}, alone"


def _san_uri(candidate: Candidate) -> str | None:
    value = candidate.extension(x509.SubjectAlternativeName)
    names = [] if value is None else list(value)
    template = candidate.draft.settings.names.san_uri
    one_name = "[a-z0-9][a-z0-9._-]{0,62}"
    pattern = re.escape(template).replace(r"\{team\}", one_name).replace(r"\{project\}", one_name)
    uris = [name.value for name in names if isinstance(name, x509.UniformResourceIdentifier)]
    if len(names) == len(uris) == 1 and re.fullmatch(pattern, uris[0]):
        return None
    return (
        f"subjectAltName is {', '.join(str(name.value) for name in names) or 'empty'}; wanted one URI like {template}"
    )


EXTENSION_RULES = (
    Rule(
        "PKI-EXTENSIONS",
        "exactly the extensions of the kind's column, each once, each readable",
        "CSBR 7.1.2, RFC 5280 4.2",
        EVERY,
        _presence,
    ),
    Rule(
        "PKI-EXTENSION-CRITICAL",
        "criticality as the kind's column says",
        "CSBR 7.1.2, RFC 5280 4.2.1",
        EVERY,
        _criticality,
    ),
    Rule(
        "PKI-BASIC-CONSTRAINTS",
        "roots and cross-roots: CA; issuing CA: CA, pathLen 0; end entity: not a CA",
        "RFC 5280 4.2.1.9, CSBR 7.1.2",
        EVERY,
        _basic_constraints,
    ),
    Rule(
        "PKI-KEY-USAGE",
        "CAs: keyCertSign and cRLSign; end entities: digitalSignature only",
        "RFC 5280 4.2.1.3, CSBR 7.1.2",
        EVERY,
        _key_usage,
    ),
    Rule(
        "PKI-EKU",
        "roots and cross-roots: none; issuing CA and code signing: codeSigning only; responder: OCSPSigning only",
        "RFC 5280 4.2.1.12, CSBR 7.1.2, RFC 6960 4.2.2.2",
        EVERY,
        _extended_key_usage,
    ),
    Rule(
        "PKI-OID-RESERVED",
        "no policy OID of the CA/B Forum, no anyPolicy",
        "CSBR 7.1.6; they assert public compliance",
        EVERY,
        _reserved,
    ),
    Rule(
        "PKI-POLICY-OID",
        "the organisation's own policy OID, alone, without qualifiers",
        "RFC 5280 4.2.1.4, CSBR 7.1.6",
        EVERY,
        _own_policy,
    ),
    Rule(
        "PKI-CRL-DP",
        "one HTTP distribution point, the issuer's: its full CRL, or the serial's partition",
        "RFC 5280 4.2.1.13, CSBR 7.1.2",
        BELOW_THE_ROOT,
        _crl_distribution,
    ),
    Rule(
        "PKI-AIA",
        "caIssuers, and OCSP for code signing, by HTTP, the issuer's",
        "RFC 5280 4.2.2.1, CSBR 7.1.2",
        BELOW_THE_ROOT,
        _authority_access,
    ),
    Rule("PKI-SKI", "SHA-1 of the key's bits", "RFC 5280 4.2.1.2 (1)", EVERY, _subject_key_identifier),
    Rule(
        "PKI-AKI",
        "keyIdentifier alone, the issuer's subjectKeyIdentifier",
        "RFC 5280 4.2.1.1",
        BELOW_THE_ROOT,
        _authority_key_identifier,
    ),
    Rule(
        "CS-SAN-URI",
        "one URI that names a team and a project",
        "ours; cosign's certificate identity",
        CODE_SIGNING,
        _san_uri,
    ),
)
