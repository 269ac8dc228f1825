"""From draft to signature: what is linted is what is signed, and other people's verifiers accept it."""

import copy
import dataclasses
import pickle
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pkilint import loader

from sealwright.errors import InputError, IntegrityError, PolicyViolation
from sealwright.pki import lint
from sealwright.pki.certificates import (
    IssuerRecord,
    LintedDraft,
    draft_certificate,
    draft_root,
    lint_draft,
    sign_certificate,
)
from sealwright.pki.keys import KeyKind
from sealwright.pki.names import ca_subject
from sealwright.pki.serials import new_serial
from sealwright.pki.signatures import SignatureScheme
from softpki import NOW, SoftPKI, profiles, settings, soft_pki, software_key, today
from weak_keys import roca_key

# --- the proof in the type


def test_signs_the_very_bytes_that_were_linted() -> None:
    pki = soft_pki()
    linted = lint_draft(pki.draft(software_key()))
    certificate = sign_certificate(linted, pki.issuing_key)
    assert certificate.tbs_certificate_bytes == linted.tbs == linted.certificate.tbs_certificate_bytes
    certificate.verify_directly_issued_by(pki.issuing)
    assert certificate.signature != linted.certificate.signature


def test_the_copy_that_is_linted_is_worth_nothing() -> None:
    linted = lint_draft(soft_pki().draft(software_key()))
    with pytest.raises(Exception, match=r"^$"):  # InvalidSignature
        linted.certificate.verify_directly_issued_by(soft_pki().issuing)


def test_only_lint_makes_a_linted_draft() -> None:
    draft = soft_pki().draft(software_key())
    with pytest.raises(TypeError, match="lint_draft only"):
        LintedDraft(draft, made_by=object())
    linted = lint_draft(draft)
    assert (linted.draft, linted.profile, linted.issuer) == (draft, draft.profile, draft.issuer)
    for attempt in (lambda: setattr(linted, "_draft", draft), lambda: pickle.dumps(linted), lambda: copy.copy(linted)):
        with pytest.raises((AttributeError, TypeError)):
            attempt()


def test_signs_nothing_that_was_not_linted() -> None:
    pki = soft_pki()
    with pytest.raises(TypeError, match="wanted what lint_draft returned"):
        sign_certificate(pki.draft(software_key()), pki.issuing_key)  # type: ignore[arg-type]  # that is the point


def test_refuses_the_signature_of_a_key_that_is_not_the_issuer_s() -> None:
    pki = soft_pki()
    linted = lint_draft(pki.draft(software_key()))
    with pytest.raises(IntegrityError, match="does not verify"):
        sign_certificate(linted, pki.root_key)
    with pytest.raises(PolicyViolation, match="key is P-256") as refusal:
        sign_certificate(lint_draft(soft_pki(KeyKind.RSA_4096).draft(software_key())), software_key())
    assert refusal.value.rule == "PKI-SIGNATURE-ALGORITHM"


# --- what a draft may be made of


def test_validity_is_inclusive() -> None:
    certificate = soft_pki().issue(software_key())
    assert certificate.not_valid_before_utc == NOW
    assert certificate.not_valid_after_utc == NOW + timedelta(days=397) - timedelta(seconds=1)


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2026, 11, 23, 12),  # noqa: DTZ001  # that is the point
        datetime(2026, 11, 23, 12, 0, 0, 1, tzinfo=UTC),
        datetime(2026, 11, 23, 12, tzinfo=timezone(timedelta(hours=1))),
    ],
    ids=["naive", "a microsecond", "another zone"],
)
def test_takes_utc_and_whole_seconds_only(moment: datetime) -> None:
    with pytest.raises(InputError, match="wanted UTC and whole seconds"):
        soft_pki().draft(software_key(), not_before=moment)


def test_a_san_belongs_to_code_signing_and_always() -> None:
    pki, key = soft_pki(), software_key().public_key()
    parts = {"issuer": pki.issuing_record, "subject": pki.issuing.subject, "public_key": key, "not_before": NOW}
    for profile, san_uri in (("code-signing", None), ("ocsp-responder", "https://pki.example.org/id/web/shop")):
        with pytest.raises(InputError, match="SAN URI"):
            draft_certificate(profiles()[profile], serial=new_serial(), san_uri=san_uri, **parts)  # type: ignore[arg-type]


def test_refuses_a_weak_key_even_if_nobody_looked_at_the_csr() -> None:
    with pytest.raises(PolicyViolation) as refusal:
        lint_draft(soft_pki().draft(roca_key()))
    assert refusal.value.rule == "CS-KEY-ROCA"


def test_the_root_signs_as_pki_toml_says() -> None:
    own = settings()
    own = dataclasses.replace(own, root=own.root.model_copy(update={"scheme": SignatureScheme.RSA_PSS_SHA384}))
    draft = draft_root(
        profiles()["root"],
        settings=own,
        subject=ca_subject(own, "root", rehearsal=True),
        public_key=software_key(KeyKind.RSA_4096, "root").public_key(),
        serial=new_serial(),
        not_before=NOW,
    )
    assert draft.scheme is SignatureScheme.RSA_PSS_SHA384
    assert "root" in repr(draft)
    root = sign_certificate(lint_draft(draft), software_key(KeyKind.RSA_4096, "root"))
    record = IssuerRecord.of(root, own, "root-1")
    assert (record.scheme, record.der) == (SignatureScheme.RSA_PSS_SHA384, root.public_bytes(Encoding.DER))
    with pytest.raises(PolicyViolation, match="wants one of"):
        IssuerRecord.of(soft_pki().root, own, "root-1")


# --- pkilint


def test_refuses_what_pkilint_finds(monkeypatch: pytest.MonkeyPatch) -> None:
    # A subjectKeyIdentifier is a SHOULD for end entities: take our own rules away and see that pkilint stands there.
    from forgery import rebuild

    monkeypatch.setattr(lint, "RULES", ())
    with pytest.raises(PolicyViolation, match="pkilint says WARNING") as refusal:
        lint_draft(rebuild(soft_pki().draft(software_key()), drop=(x509.SubjectKeyIdentifier,)))
    assert refusal.value.rule == "PKILINT:pkix.certificate_skid_end_entity_missing"


def test_an_allowance_of_pkilint_is_for_one_kind_only(monkeypatch: pytest.MonkeyPatch) -> None:
    from forgery import rebuild

    monkeypatch.setattr(lint, "RULES", ())
    with pytest.raises(PolicyViolation) as refusal:
        lint_draft(rebuild(soft_pki().draft(software_key()), drop=(x509.AuthorityKeyIdentifier,)))
    assert refusal.value.rule == "PKILINT:pkix.authority_key_identifier_extension_absent"


# --- everybody else's verifiers

WORLDS = {
    "P-384": lambda: soft_pki(KeyKind.P384, moment=today()),
    "P-521": lambda: soft_pki(KeyKind.P521, moment=today()),
    "RSA-4096": lambda: soft_pki(KeyKind.RSA_4096, moment=today()),
    "RSA-4096 PSS": lambda: soft_pki(KeyKind.RSA_4096, SignatureScheme.RSA_PSS_SHA256, moment=today()),
}


def certificates(pki: SoftPKI) -> dict[str, x509.Certificate]:
    leaves = {f"code-signing {kind}": pki.issue(software_key(kind, "leaf")) for kind in profiles()["code-signing"].keys}
    release = pki.issue(software_key(KeyKind.P384, "leaf"), profile="code-signing-release")
    return leaves | {
        "code-signing-release": release,
        "ocsp-responder": pki.issue_responder(software_key(label="ocsp")),
        "root-ocsp": pki.issue_delegate(software_key(label="delegate")),
    }


@pytest.fixture(params=WORLDS, scope="module")
def pki(request: pytest.FixtureRequest) -> SoftPKI:
    return WORLDS[request.param]()


def pem(*chain: x509.Certificate) -> bytes:
    return b"".join(certificate.public_bytes(Encoding.PEM) for certificate in chain)


def test_openssl_and_gnutls_accept_every_profile(pki: SoftPKI, tmp_path: Path) -> None:
    root, issuing, leaf, chain = (tmp_path / name for name in ("root.pem", "issuing.pem", "leaf.pem", "chain.pem"))
    root.write_bytes(pem(pki.root))
    issuing.write_bytes(pem(pki.issuing))
    for what, certificate in certificates(pki).items():
        leaf.write_bytes(pem(certificate))
        chain.write_bytes(pem(certificate, *() if what == "root-ocsp" else (pki.issuing,), pki.root))
        ran = subprocess.run(
            ["openssl", "verify", "-x509_strict", "-CAfile", root, "-untrusted", issuing, leaf],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (ran.returncode, ran.stderr) == (0, ""), f"{what}: {ran.stderr}"
        # certtool wants a purpose in every EKU of the chain; a responder's (OCSPSigning) is its own alone (RFC 6960).
        purpose = () if "ocsp" in what else ("--verify-purpose", "1.3.6.1.5.5.7.3.3")
        ran = subprocess.run(
            ["certtool", "--verify", "--load-ca-certificate", root, *purpose, "--infile", chain],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert ran.returncode == 0, f"{what}: {ran.stdout}"
        assert "Verified. The certificate is trusted." in ran.stdout, what


def test_openssl_refuses_the_copy(tmp_path: Path) -> None:
    pki = soft_pki()
    (tmp_path / "ca.pem").write_bytes(pem(pki.issuing, pki.root))
    (tmp_path / "copy.pem").write_bytes(pem(lint_draft(pki.draft(software_key())).certificate))
    ran = subprocess.run(
        ["openssl", "verify", "-CAfile", tmp_path / "ca.pem", tmp_path / "copy.pem"], capture_output=True, check=False
    )
    assert ran.returncode != 0


def test_pkilint_finds_nothing_in_the_signed_certificates(pki: SoftPKI) -> None:
    for what, certificate in {"root": pki.root, "issuing": pki.issuing, **certificates(pki)}.items():
        document = loader.load_der_certificate(certificate.public_bytes(Encoding.DER), what)
        assert lint.pkilint_findings(lint._certificate_validators(), document) == (), what


def test_lint_is_safe_in_threads() -> None:
    good, bad = soft_pki().draft(software_key()), soft_pki().draft(soft_pki().issuing_key)

    def judge(number: int) -> bool:
        try:
            lint_draft(good if number % 2 else bad)
        except PolicyViolation as refusal:
            return refusal.rule == "PKI-KEY-NOT-ISSUERS" and number % 2 == 0
        return number % 2 == 1

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(judge, range(200)))


def test_what_production_makes_has_no_mark() -> None:
    pki = soft_pki(rehearsal=False)
    for certificate in (pki.root, pki.issuing, pki.issue(software_key())):
        assert "REHEARSAL" not in certificate.subject.rfc4514_string()
