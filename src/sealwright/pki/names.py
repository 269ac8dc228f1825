"""Distinguished names: how ours are built, and what a value in one may be.

A subject has C, ST and/or L, O and CN, in this order, one attribute to an RDN. ``rules_identity`` checks names that
are already in a certificate with the same ``check_name_value``; templates with a team in them are the profile's.
"""

import re
from functools import lru_cache
from typing import Literal

from cryptography import x509
from cryptography.x509.oid import NameOID

from sealwright.errors import PolicyViolation
from sealwright.pki.settings import PKISettings

REHEARSAL = "REHEARSAL "
"""How the common name of everything begins that a rehearsal made."""

PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
"""Of a person, team, project, profile or CA."""

# RFC 5280 appendix A.1, upper bounds; pyca enforces the one for C.
_LONGEST = {
    NameOID.COMMON_NAME: 64,
    NameOID.ORGANIZATION_NAME: 64,
    NameOID.LOCALITY_NAME: 128,
    NameOID.STATE_OR_PROVINCE_NAME: 128,
    NameOID.COUNTRY_NAME: 2,
}
SUBJECT_ATTRIBUTES = frozenset(_LONGEST)
SHORT_NAMES = {
    NameOID.COMMON_NAME: "CN",
    NameOID.ORGANIZATION_NAME: "O",
    NameOID.LOCALITY_NAME: "L",
    NameOID.STATE_OR_PROVINCE_NAME: "ST",
    NameOID.COUNTRY_NAME: "C",
}


def check_name_value(oid: x509.ObjectIdentifier, value: str) -> None:
    """PKI-SUBJECT-VALUE: something to read, of legal length, no control characters or outer blanks (CSBR 7.1.4.2)."""
    what = SHORT_NAMES.get(oid, oid.dotted_string)
    longest = _LONGEST.get(oid, 64)
    if len(value) > longest:
        wrong = f"has {len(value)} characters; wanted at most {longest}"
    elif value != value.strip() or not value.isprintable():
        wrong = f"is {value!r}; wanted no blanks around it and no control characters"
    elif not any(character.isalnum() for character in value):
        wrong = f"is {value!r}; wanted more than punctuation"  # '.', '-', ' ' say "not applicable"
    elif oid == NameOID.COUNTRY_NAME and not re.fullmatch("[A-Z]{2}", value):
        wrong = f"is {value!r}; wanted two capital letters of ISO 3166-1"
    else:
        return
    raise PolicyViolation(
        f"{what} of the subject {wrong}",
        rule="PKI-SUBJECT-VALUE",
        hint="change [organisation] in ca/pki.toml or common_name in the profile, or use shorter names",
    )


def build_subject(settings: PKISettings, common_name: str, *, rehearsal: bool) -> x509.Name:
    """C, ST, L, O from the settings and this CN, marked when it belongs to a rehearsal."""
    own = settings.organisation
    return _subject(
        own.country, own.state, own.locality, own.name, REHEARSAL + common_name if rehearsal else common_name
    )


@lru_cache(maxsize=1024)  # one for each project; a Name does not change
def _subject(country: str, state: str | None, locality: str | None, name: str, common_name: str) -> x509.Name:
    values = [(NameOID.COUNTRY_NAME, country)]
    if state is not None:
        values.append((NameOID.STATE_OR_PROVINCE_NAME, state))
    if locality is not None:
        values.append((NameOID.LOCALITY_NAME, locality))
    values.append((NameOID.ORGANIZATION_NAME, name))
    values.append((NameOID.COMMON_NAME, common_name))
    for oid, value in values:
        check_name_value(oid, value)
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in values])


def ca_subject(settings: PKISettings, which: Literal["root", "issuing"], *, rehearsal: bool) -> x509.Name:
    """The root's or the issuing CA's subject, as ``ca/pki.toml`` names them."""
    ca = settings.root if which == "root" else settings.issuing
    return build_subject(settings, ca.common_name, rehearsal=rehearsal)


def responder_subject(
    settings: PKISettings, which: Literal["root", "issuing"] = "issuing", *, rehearsal: bool
) -> x509.Name:
    """An OCSP responder's subject: its CA's with " OCSP" behind the common name."""
    ca = settings.root if which == "root" else settings.issuing
    return build_subject(settings, f"{ca.common_name} OCSP", rehearsal=rehearsal)


def is_rehearsal(name: x509.Name) -> bool:
    """Whether the name's CN carries the mark."""
    return any(
        str(attribute.value).startswith(REHEARSAL) for attribute in name.get_attributes_for_oid(NameOID.COMMON_NAME)
    )
