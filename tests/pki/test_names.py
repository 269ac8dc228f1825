"""Distinguished names: what a value may be, and how a rehearsal is marked."""

import dataclasses

import pytest
from cryptography.x509.oid import NameOID, ObjectIdentifier

from sealwright.errors import PolicyViolation
from sealwright.pki.names import PLAIN_NAME, REHEARSAL, build_subject, check_name_value, is_rehearsal
from softpki import settings


@pytest.mark.parametrize(
    ("oid", "value"),
    [
        (NameOID.COMMON_NAME, "x" * 64),
        (NameOID.LOCALITY_NAME, "x" * 128),
        (NameOID.ORGANIZATION_NAME, "Müller & Söhne GmbH"),
        (NameOID.ORGANIZATION_NAME, "3"),
        (NameOID.COUNTRY_NAME, "DE"),
    ],
)
def test_accepts_a_value_that_says_something(oid: ObjectIdentifier, value: str) -> None:
    check_name_value(oid, value)


@pytest.mark.parametrize(
    ("oid", "value", "said"),
    [
        (NameOID.COMMON_NAME, "x" * 65, "65 characters"),
        (NameOID.LOCALITY_NAME, "x" * 129, "129 characters"),
        (NameOID.ORGANIZATION_NAME, "", "punctuation"),
        (NameOID.ORGANIZATION_NAME, ".", "punctuation"),
        (NameOID.ORGANIZATION_NAME, "-", "punctuation"),
        (NameOID.ORGANIZATION_NAME, " ", "blanks"),
        (NameOID.ORGANIZATION_NAME, "x ", "blanks"),
        (NameOID.ORGANIZATION_NAME, "x\n", "blanks"),
        (NameOID.ORGANIZATION_NAME, "x\x1b[2Jy", "control"),
        (NameOID.ORGANIZATION_NAME, "x\u202ey", "control"),  # right-to-left override: reads as something else
        (NameOID.COUNTRY_NAME, "de", "two capital letters"),
        (NameOID.COUNTRY_NAME, "Ger", "3 characters"),
    ],
)
def test_refuses_a_value_that_does_not(oid: ObjectIdentifier, value: str, said: str) -> None:
    with pytest.raises(PolicyViolation, match=said) as refusal:
        check_name_value(oid, value)
    assert refusal.value.rule == "PKI-SUBJECT-VALUE"


def test_marks_a_rehearsal_and_nothing_else() -> None:
    assert is_rehearsal(build_subject(settings(), "x", rehearsal=True))
    assert not is_rehearsal(build_subject(settings(), "x", rehearsal=False))


def test_leaves_room_for_the_mark() -> None:
    longest = "x" * (64 - len(REHEARSAL))
    build_subject(settings(), longest, rehearsal=True)
    with pytest.raises(PolicyViolation, match="CN of the subject has 65"):
        build_subject(settings(), f"{longest}x", rehearsal=True)


def test_a_state_alone_is_enough() -> None:
    own = dataclasses.replace(
        settings(), organisation=settings().organisation.model_copy(update={"locality": None, "state": "Hessen"})
    )
    assert build_subject(own, "x", rehearsal=False).rfc4514_string() == "CN=x,O=Example Corp,ST=Hessen,C=DE"


@pytest.mark.parametrize("name", ["Web", "", "-web", ".web", "we b", "web\n", "w" * 64, "wéb", "we/b"])
def test_a_plain_name_is_plain(name: str) -> None:
    assert not PLAIN_NAME.fullmatch(name)
    assert PLAIN_NAME.fullmatch("w" * 63)
