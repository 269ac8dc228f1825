"""ca/pki.toml: what is read from it, and what is refused."""

import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sealwright.errors import InputError, PolicyViolation, SealwrightError
from sealwright.pki.names import ca_subject, is_rehearsal, responder_subject
from sealwright.pki.settings import load_settings
from softpki import CA_FOLDER, settings

GOOD = (CA_FOLDER / "pki.toml").read_text()


def change(good: str, bad: str) -> bytes:
    assert GOOD.count(good) == 1
    return GOOD.replace(good, bad).encode()


def test_gives_the_urls_that_stand_in_certificates() -> None:
    own = settings()
    assert own.crl_url("issuing-1") == "http://pki.example.org/crl/issuing-1.crl"
    assert own.issuer_url("root-1") == "http://pki.example.org/ca/root-1.cer"
    assert own.ocsp_url == "http://pki.example.org/ocsp"
    assert own.san_uri("web", "shop") == "https://pki.example.org/id/web/shop"
    assert own.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()


def test_names_both_tiers_and_the_responder() -> None:
    own = settings()
    assert ca_subject(own, "root", rehearsal=False).rfc4514_string().startswith("CN=Example Code Signing Root 1,O=")
    assert is_rehearsal(ca_subject(own, "issuing", rehearsal=True))
    assert (
        responder_subject(own, rehearsal=True)
        .rfc4514_string()
        .startswith("CN=REHEARSAL Example Code Signing CA 1 OCSP,")
    )
    assert own.ca("root-1") is own.root
    with pytest.raises(InputError, match="wanted root-1 or issuing-1"):
        own.ca("root-2")


def test_puts_the_state_before_the_locality() -> None:
    both = load_settings(change('locality = "Berlin" ', 'state = "Hessen"\nlocality = "Kassel" '), source="x")
    assert ca_subject(both, "root", rehearsal=False).rfc4514_string().endswith("L=Kassel,ST=Hessen,C=DE")


@pytest.mark.parametrize(
    ("good", "bad", "said"),
    [
        ('country = "DE"', 'country = "Germany"', "organisation.country"),
        ('locality = "Berlin"', "#", "neither locality nor state"),
        ('oid = "1.3.6.1.4.1.32473.1.1"', 'oid = "own"', "policy.oid"),
        ('oid = "1.3.6.1.4.1.32473.1.1"', "oid = 1", "policy.oid"),
        ("[standing]", "[standing]\nspeed = 1", "standing.speed is unknown"),
        ("crl_validity_days = 7", "", "standing.crl_validity_days is missing"),
        ("crl_validity_days = 7", "crl_validity_days = 0", "standing.crl_validity_days"),
        ('id = "root-1"', 'id = "Root 1"', "root.id"),
        ('id = "root-1"', 'id = "root-1"\nscheme = "rsa-pkcs1-sha1"', "root.scheme"),
        ("[urls]", "[[urls]]", "urls"),
        ("[names]", "[nombres]", "nam"),
    ],
)
def test_names_the_field_that_is_wrong(good: str, bad: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_settings(change(good, bad), source="pki.toml")


@pytest.mark.parametrize(
    ("good", "bad", "rule"),
    [
        ("1.3.6.1.4.1.32473.1.1", "2.23.140.1.4.1", "PKI-OID-RESERVED"),
        ("1.3.6.1.4.1.32473.1.1", "2.23.140.1.3", "PKI-OID-RESERVED"),
        ("1.3.6.1.4.1.32473.1.1", "2.5.29.32.0", "PKI-OID-RESERVED"),
        ("http://pki.example.org", "https://pki.example.org", "PKI-URL-HTTP"),
        ("http://pki.example.org", "http://pki.example.org/", "PKI-URL-HTTP"),
        ("http://pki.example.org", "http://user@pki.example.org", "PKI-URL-HTTP"),
        ("http://pki.example.org", "http://pki.example.org?x", "PKI-URL-HTTP"),
        ("/{team}/{project}", "/{team}", "PKI-SAN-TEMPLATE"),
        ("/{team}/{project}", "/{team}/{project}/{team}", "PKI-SAN-TEMPLATE"),
        ("/{team}/{project}", "/{team}/{project} ", "PKI-SAN-TEMPLATE"),
        ("https://pki.example.org/id", "/id", "PKI-SAN-TEMPLATE"),
        ('id = "issuing-1"', 'id = "root-1"', "PKI-CA-NAMES"),
        ("Example Code Signing CA 1", "Example Code Signing Root 1", "PKI-CA-NAMES"),
        ("Example Code Signing CA 1", "REHEARSAL CA", "PKI-CA-NAMES"),
        ("crl_interval_hours = 24", "crl_interval_hours = 25", "STANDING-CRL"),
        ("crl_validity_days = 7", "crl_validity_days = 11", "STANDING-CRL"),
        ("crl_validity_days = 7", "crl_validity_days = 1", "STANDING-CRL"),
        ("ocsp_validity_hours = 48", "ocsp_validity_hours = 241", "STANDING-OCSP"),
        ("ocsp_refresh_hours = 12", "ocsp_refresh_hours = 25", "STANDING-OCSP"),
        ("responder_validity_days = 14", "responder_validity_days = 15", "STANDING-RESPONDER"),
        ("responder_renew_before_days = 5", "responder_renew_before_days = 1", "STANDING-RESPONDER"),
        ("responder_renew_before_days = 5", "responder_renew_before_days = 14", "STANDING-RESPONDER"),
    ],
)
def test_refuses_what_would_be_worse_than_the_bar(good: str, bad: str, rule: str) -> None:
    with pytest.raises(PolicyViolation, match=r"pki\.toml") as refusal:
        load_settings(
            change(f'"{good}"' if f'"{good}"' in GOOD else good, f'"{bad}"' if f'"{good}"' in GOOD else bad),
            source="pki.toml",
        )
    assert refusal.value.rule == rule


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ("crl_validity_days = 7", "crl_validity_days = 10"),
        ("ocsp_validity_hours = 48", "ocsp_validity_hours = 120"),
        ("responder_renew_before_days = 5", "responder_renew_before_days = 2"),
        ('"http://pki.example.org"', '"http://127.0.0.1:8080/pki"'),
        ('"https://pki.example.org/id/{team}/{project}"', '"urn:example:{team}:{project}"'),
    ],
)
def test_accepts_the_edges(good: str, bad: str) -> None:
    load_settings(change(good, bad), source="pki.toml")


@given(st.binary(max_size=300))
def test_raises_only_our_errors_for_any_octets(data: bytes) -> None:
    with pytest.raises(SealwrightError):
        load_settings(data, source="fuzz")


@given(st.integers(0, len(GOOD) - 1), st.text(max_size=3))
def test_raises_only_our_errors_for_settings_that_were_edited(at: int, text: str) -> None:
    with suppress(SealwrightError):
        load_settings((GOOD[:at] + text + GOOD[at + len(text) :]).encode("utf-8", "surrogatepass"), source="fuzz")
