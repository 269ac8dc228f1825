"""README.md's tables, held to what other people's verifiers say of what is served now."""

import contextlib
import gc
import importlib
import io
from collections.abc import Iterator
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

import verifiers
from doctable import as_lines, read_columns
from sealwright.pki.keys import KeyKind
from softpki import software_key
from stage import SIGNERS, Stage
from tsa import time_stamping
from verifiers import GOOD, REVOKED
from words import COLUMNS, Verifier

pytestmark = pytest.mark.xdist_group("conformance")  # one stage for all


def test_the_table_has_every_verifier_and_every_case(stage: Stage) -> None:
    table = read_columns("case")
    assert list(table) == list(COLUMNS)
    assert all(list(column) == list(stage.cases) for column in table.values())


@pytest.mark.parametrize("column", COLUMNS)
def test_each_verifier_says_of_each_case_what_the_table_says(stage: Stage, column: str) -> None:
    verifier: Verifier = COLUMNS[column]
    said = verifier(stage)
    assert said == read_columns("case")[column], as_lines({column: said})


REVOKED_CASES = ("keyCompromise", "superseded", "backdated", "corrected", "lost", "expired-revoked")


@pytest.mark.parametrize("name", REVOKED_CASES)
def test_a_past_moment_is_judged_by_the_revocation_date(stage: Stage, name: str) -> None:
    """By the CRL: of an OCSP answer certvalidator wants the responder's certificate valid at that moment, too."""
    truth = stage.cases[name].revoked
    assert truth is not None
    evidence = {"crls": stage.crls()}
    after = verifiers.certvalidator(stage.folder, name, moment=truth[0] + timedelta(seconds=1), **evidence)
    assert after.verdict == REVOKED, after.text
    certificate = verifiers.x509.load_pem_x509_certificate((stage.folder / f"{name}.pem").read_bytes())
    before = max(truth[0] - timedelta(minutes=1), certificate.not_valid_before_utc)
    if before < truth[0] - timedelta(seconds=10):  # it tolerates 5 s: the others were revoked at once
        said = verifiers.certvalidator(stage.folder, name, moment=before, **evidence)
        assert said.verdict == GOOD, said.text
    else:
        assert name not in {"backdated", "corrected"}


@pytest.mark.parametrize(("ca", "ca_id"), [("root", "root-1"), ("issuing", "issuing-1")])
def test_gnutls_believes_the_crls_by_themselves(stage: Stage, ca: str, ca_id: str) -> None:
    said = verifiers.certtool_verify_crl(stage.folder, ca, ca_id)
    assert said.verdict == GOOD, said.text


LEAVES_FILES_OPEN = pytest.mark.filterwarnings(
    "ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"
)


def lint(stage: Stage, command: str, *arguments: str) -> str:
    """pkilint's own command, in this process. What it found, and its exit code, when that is not 0."""
    said = io.StringIO()
    paths = [str(stage.folder / each) if "." in each else each for each in arguments]
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = importlib.import_module(f"pkilint.bin.{command}").main(["lint", "-s", "NOTICE", *paths])
    gc.collect()  # it leaves its input files open, which is not for the next test to find
    return said.getvalue().strip() + (f" exit code {code}" if code else "")


@LEAVES_FILES_OPEN
def test_pkilint_finds_nothing_in_the_crls(stage: Stage) -> None:
    assert lint(stage, "lint_crl", "-t", "ARL", "-p", "BR", "root-1.crl") == ""
    assert lint(stage, "lint_crl", "-t", "CRL", "-p", "BR", "issuing-1.crl") == ""


@pytest.mark.slow
@LEAVES_FILES_OPEN
def test_pkilint_finds_nothing_in_any_certificate_chain_or_answer(stage: Stage) -> None:
    for name, truth in stage.cases.items():
        assert lint(stage, "lint_pkix_cert", f"{name}.pem") == "", name
        assert lint(stage, "lint_pkix_signer_signee_cert_chain", "issuing.pem", f"{name}.pem") == "", name
        for digest in ("sha1", "sha256") if truth.issued else ():
            verifiers.openssl_ocsp_get(stage.folder, name, stage.ocsp, digest=digest)
            assert lint(stage, "lint_ocsp_response", f"{name}.{digest}.resp") == "", name
    assert lint(stage, "lint_pkix_signer_signee_cert_chain", "root.pem", "issuing.pem") == ""


# files


def key_of(name: str) -> bytes:
    return software_key(KeyKind.RSA_3072, name).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNERS)
def test_jarsigner_on_a_jar(stage: Stage, name: str) -> None:
    (wanted,) = [column for heading, column in read_columns("file").items() if "jarsigner" in heading]
    said = verifiers.jarsigner(stage.folder, name, key_of(name))
    assert said.verdict == wanted[name], said.text


@pytest.fixture(scope="module")
def stamps(stage: Stage) -> Iterator[str]:
    with time_stamping(stage.folder) as url:
        yield url


@pytest.mark.slow
@pytest.mark.parametrize("name", SIGNERS)
def test_osslsigncode_on_a_windows_program(stage: Stage, stamps: str, name: str) -> None:
    (wanted,) = [column for heading, column in read_columns("file").items() if "osslsigncode" in heading]
    said = verifiers.osslsigncode(stage.folder, name, key_of(name), stamps)
    assert said.verdict == wanted[name], said.text
    assert "imestamp Server Signature verification: ok" in said.text, said.text
