"""Rules about who: version, serial, algorithm, issuer, subject and key."""

from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.x509.oid import NameOID

from sealwright.pki.candidate import BELOW_THE_ROOT, CAS, EVERY, Candidate, Rule, extension_of
from sealwright.pki.certificate_parts import SPKI
from sealwright.pki.issuers import scheme_for
from sealwright.pki.keys import describe_key, describe_kinds, key_kind, secret_sha256, spki_der
from sealwright.pki.names import SHORT_NAMES, ca_subject, check_name_value, is_rehearsal
from sealwright.pki.serials import LARGEST_SERIAL, format_serial
from sealwright.pki.signatures import algorithm_identifier
from sealwright.pki.table import TABLE, ProfileKind


def _version(candidate: Candidate) -> str | None:
    version = candidate.certificate.version
    return None if version is x509.Version.v3 else f"version is {version.name}; wanted v3"


def _serial(candidate: Candidate) -> str | None:
    serial = candidate.second_reading("serialNumber").native
    if 2**63 <= serial <= LARGEST_SERIAL:
        return None
    return f"serial is {format_serial(serial)}; wanted a positive number of 64 bits to 20 octets"


def _algorithm(candidate: Candidate) -> str | None:
    draft = candidate.draft
    scheme_for(key_kind(draft.signing_key), draft.scheme)
    wanted = algorithm_identifier(draft.scheme)
    inner = candidate.second_reading("signature").dump()
    outer = candidate.second_reading("signatureAlgorithm").dump()
    if inner == wanted == outer:
        return None
    return (
        f"signature algorithm is {candidate.certificate.signature_algorithm_oid.dotted_string}; wanted {draft.scheme}"
    )


def _issuer_bytes(candidate: Candidate) -> str | None:
    issuer = candidate.draft.issuer
    wanted = candidate.second_reading("subject").dump() if issuer is None else issuer.subject_bytes
    if candidate.second_reading("issuer").dump() == wanted:
        return None
    name = candidate.certificate.issuer.rfc4514_string()
    return f"issuer is {name}; wanted the very bytes of the subject of {'itself' if issuer is None else issuer.ca_id}"


def _issuer_role(candidate: Candidate) -> str | None:
    issuer, wanted = candidate.draft.issuer, candidate.table.issued_by
    if issuer is None or wanted is None:
        alone = issuer is None and wanted is None
        return None if alone else f"a {candidate.draft.profile.kind} wants {wanted or 'no'} issuer"
    constraints = extension_of(issuer.certificate, x509.BasicConstraints)
    usage = extension_of(issuer.certificate, x509.KeyUsage)
    if constraints is None or not constraints.ca or usage is None or not usage.key_cert_sign:
        return f"issuer {issuer.ca_id} is no CA"
    # A root has no pathLen, an issuing CA has 0: so neither issues what is the other's to issue.
    if constraints.path_length == TABLE[wanted].path_length:
        return None
    return f"issuer {issuer.ca_id} has pathLen {constraints.path_length}; wanted one of kind {wanted}"


def _subject_attributes(candidate: Candidate) -> str | None:
    subject = candidate.certificate.subject
    if any(len(rdn) != 1 for rdn in subject.rdns):
        return "subject has an RDN with several attributes; wanted one each"
    own = candidate.draft.settings.organisation
    wanted = {
        NameOID.COUNTRY_NAME: own.country,
        NameOID.STATE_OR_PROVINCE_NAME: own.state,
        NameOID.LOCALITY_NAME: own.locality,
        NameOID.ORGANIZATION_NAME: own.name,
    }
    given = [(attribute.oid, attribute.value) for attribute in subject]
    fixed = [(oid, value) for oid, value in wanted.items() if value is not None]
    if given[:-1] == fixed and given[-1:] and given[-1][0] == NameOID.COMMON_NAME:
        return None
    shown = ", ".join(f"{SHORT_NAMES[oid]}={value}" for oid, value in fixed)
    return f"subject is {subject.rfc4514_string()}; wanted {shown}, as ca/pki.toml has them, then one CN"


def _subject_values(candidate: Candidate) -> str | None:
    for attribute in candidate.certificate.subject:
        check_name_value(attribute.oid, str(attribute.value))
    return None


def _subject_encoding(candidate: Candidate) -> str | None:
    for attribute in _attributes(candidate.second_reading("subject")):
        wanted = "printable_string" if attribute["type"].native == "country_name" else "utf8_string"
        # Both are DirectoryString choices, but C is a bare PrintableString in X.520.
        used = getattr(attribute["value"], "name", None) or "printable_string"
        if used != wanted:
            return f"subject's {attribute['type'].native} is a {used}; wanted {wanted}"
    return None


def _attributes(name: asn1_x509.Name) -> list[asn1_x509.NameTypeAndValue]:
    return [attribute for rdn in name.chosen for attribute in rdn]


def _ca_subject(candidate: Candidate) -> str | None:
    subject, kind = candidate.certificate.subject, candidate.draft.profile.kind
    wanted = ca_subject(
        candidate.draft.settings,
        "root" if kind is ProfileKind.ROOT else "issuing",
        rehearsal=is_rehearsal(subject),
    )
    if subject == wanted:
        return None
    return f"subject is {subject.rfc4514_string()}; wanted {wanted.rfc4514_string()}, as ca/pki.toml has it"


def _rehearsal(candidate: Candidate) -> str | None:
    marked, above = is_rehearsal(candidate.certificate.subject), is_rehearsal(candidate.certificate.issuer)
    if marked == above:
        return None
    return f"subject {'has' if marked else 'lacks'} the mark of rehearsals; its issuer {'has' if above else 'lacks'} it"


def _key_profile(candidate: Candidate) -> str | None:
    public, wanted = candidate.draft.public_key, candidate.draft.profile.keys
    if key_kind(public) in wanted:
        return None
    return f"key is {describe_key(public)}; wanted {describe_kinds(wanted)}"


def _key_bytes(candidate: Candidate) -> str | None:
    if candidate.second_reading(SPKI).dump() == spki_der(candidate.draft.public_key):
        return None
    return "key in the certificate is not the one that was asked for"


def _key_not_issuers(candidate: Candidate) -> str | None:
    issuer = candidate.draft.issuer
    if issuer is not None and secret_sha256(issuer.public_key) == secret_sha256(candidate.draft.public_key):
        return f"key is that of its issuer {issuer.ca_id}; wanted one of its own"
    return None


IDENTITY_RULES = (
    Rule("PKI-VERSION", "X.509 v3", "RFC 5280 4.1.2.1, CSBR 7.1.1", EVERY, _version),
    Rule("PKI-SERIAL", "positive, at least 64 bits, at most 20 octets", "RFC 5280 4.1.2.2, CSBR 7.1", EVERY, _serial),
    Rule(
        "PKI-SIGNATURE-ALGORITHM",
        "SHA-256/384/512 with the issuer's RSA or ECDSA scheme, the same bytes inside and outside the TBS",
        "RFC 5280 4.1.1.2, RFC 4055, RFC 5758, CSBR 7.1.3",
        EVERY,
        _algorithm,
    ),
    Rule(
        "PKI-ISSUER-BYTES",
        "issuer DN is the CA's subject DN, byte for byte",
        "RFC 5280 4.1.2.4, CSBR 7.1.4.1",
        EVERY,
        _issuer_bytes,
    ),
    Rule(
        "PKI-ISSUER-ROLE",
        "a root issues issuing CAs and its OCSP delegate and certifies another root, an issuing CA issues end entities",
        "RFC 5280 4.2.1.9",
        EVERY,
        _issuer_role,
    ),
    Rule(
        "PKI-SUBJECT-ATTRIBUTES",
        "C, ST and/or L, O as ca/pki.toml has them, then one CN; nothing else",
        "CSBR 7.1.4.2",
        EVERY,
        _subject_attributes,
    ),
    Rule(
        "PKI-SUBJECT-VALUE",
        "values of legal length that say something",
        "RFC 5280 A.1, CSBR 7.1.4.2",
        EVERY,
        _subject_values,
    ),
    Rule(
        "PKI-SUBJECT-ENCODING",
        "C is a PrintableString, everything else a UTF8String",
        "RFC 5280 4.1.2.4 and A.1",
        EVERY,
        _subject_encoding,
    ),
    Rule("CA-SUBJECT", "a CA is called as ca/pki.toml calls it", "ours", CAS, _ca_subject),
    Rule(
        "PKI-REHEARSAL-MARK",
        "the CN begins with REHEARSAL exactly if the issuer's does",
        "ours",
        BELOW_THE_ROOT,
        _rehearsal,
    ),
    Rule("PKI-KEY-PROFILE", "the key is of a kind that the profile allows", "CSBR 6.1.5", EVERY, _key_profile),
    Rule("PKI-KEY-BYTES", "the key is the one that was asked for", "ours", EVERY, _key_bytes),
    Rule("PKI-KEY-NOT-ISSUERS", "the key is not its issuer's", "CSBR 6.1.1", BELOW_THE_ROOT, _key_not_issuers),
)
