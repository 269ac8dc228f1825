"""What the ceremonies signed, judged by programs that are not ours: OpenSSL, GnuTLS, Java, pkilint."""

import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from ceremonies import Domain
from sealwright.ceremony.script import Kind
from verifiers import GOOD, JAVA, REVOKED, Said, certtool_verify_crl, openssl_verify, pkilint, run

pytestmark = pytest.mark.xdist_group("ceremony")

CRLS = (Kind.ROOT_GENESIS, Kind.ROOT_CRL, Kind.REVOKE_ISSUING_CA)
"""The kinds that sign one. The last revokes the issuing CA."""


@pytest.fixture
def files(domain: Domain, tmp_path: Path) -> Path:
    """The outputs under the names that ``verifiers`` looks for."""
    (tmp_path / "root.pem").write_bytes(domain.records[Kind.ROOT_GENESIS].read("root.pem"))
    (tmp_path / "issuing.pem").write_bytes(domain.records[Kind.ISSUING_CA].read("issuing.pem"))
    (tmp_path / "issuing.csr").write_bytes(domain.records[Kind.ISSUING_KEY].read("issuing.csr"))
    for kind in CRLS:
        data = domain.records[kind].read("root.crl")
        (tmp_path / f"{kind}.crl").write_bytes(data)
        (tmp_path / f"{kind}.crl.pem").write_bytes(x509.load_der_x509_crl(data).public_bytes(Encoding.PEM))
    return tmp_path


def revoked(kind: Kind) -> bool:
    return kind is Kind.REVOKE_ISSUING_CA


@pytest.mark.parametrize("kind", CRLS)
def test_openssl_builds_the_path_with_the_crl_of_each_kind(files: Path, kind: Kind) -> None:
    (files / "crls.pem").write_bytes((files / f"{kind}.crl.pem").read_bytes())
    assert openssl_verify(files, "issuing").verdict == (REVOKED if revoked(kind) else GOOD)
    text = run(*("openssl", "crl", "-in", f"{kind}.crl", "-CAfile", "root.pem", "-noout", "-text"), folder=files)
    assert "verify OK" in text
    assert ("Revoked Certificates:" in text) is revoked(kind)
    assert ("No Revoked Certificates" in text) is not revoked(kind)


def test_openssl_reads_the_request_and_the_root(files: Path) -> None:
    assert "verify OK" in run("openssl", "req", "-in", "issuing.csr", "-verify", "-noout", folder=files)
    text = run(*("openssl", "verify", "-x509_strict", "-check_ss_sig", "-CAfile", "root.pem", "root.pem"), folder=files)
    assert "root.pem: OK" in text


@pytest.mark.parametrize("kind", CRLS)
def test_gnutls_builds_the_path_with_the_crl_of_each_kind(files: Path, kind: Kind) -> None:
    assert certtool_verify_crl(files, "root", kind).verdict == GOOD
    (files / "path.pem").write_bytes((files / "issuing.pem").read_bytes() + (files / "root.pem").read_bytes())
    text = run(
        *("certtool", "--verify", "--load-ca-certificate", "root.pem", "--load-crl", f"{kind}.crl.pem"),
        *("--infile", "path.pem"),
        folder=files,
    )
    wanted = "revoked" if revoked(kind) else "Chain verification output: Verified. The certificate is trusted."
    assert wanted in text


def test_java_builds_the_path_with_the_crl_of_each_kind(files: Path) -> None:
    for kind in CRLS:
        arguments = ("crl", "issuing.pem", "issuing.pem", "root.pem", f"{kind}.crl")
        text = run("java", JAVA, *arguments, folder=files)
        assert ("PATH VALID" in text) is not revoked(kind), text
        assert ("REVOKED" in text) is revoked(kind), text


@pytest.mark.parametrize("name", ["root.pem", "issuing.pem"])
def test_pkilint_finds_nothing_in_a_certificate(files: Path, name: str) -> None:
    program = Path(sys.executable).parent / "lint_pkix_cert"
    text = run(program, "lint", "-s", "NOTICE", name, folder=files)
    assert text.endswith("exit code 0\n"), text


@pytest.mark.parametrize("kind", CRLS)
def test_pkilint_finds_nothing_in_a_crl(files: Path, kind: Kind) -> None:
    said: Said = pkilint(files, "lint_crl", f"{kind}.crl", "-t", "CRL", "-p", "PKIX")
    assert said.verdict == GOOD, said.text
