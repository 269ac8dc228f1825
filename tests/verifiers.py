"""Other people's verifiers, one function each: runs the real program and returns what it SAID, not its exit code alone.

``folder`` holds what ``Published.write_pem`` writes (``root.pem``, ``issuing.pem``, ``chain.pem``, ``NAME.pem``) and,
for CRL checks, ``root-1.crl`` and ``issuing-1.crl`` (DER, as served): ``fetch_crls`` gets them.
"""

import asyncio
import base64
import subprocess
import sys
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import asn1crypto.crl
import asn1crypto.ocsp
import asn1crypto.x509
import httpx
import pip._vendor.distlib
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pyhanko_certvalidator import CertificateValidator, ValidationContext
from pyhanko_certvalidator.errors import PathError, RevokedError, ValidationError

JAVA = Path(__file__).parent / "java" / "CheckPath.java"
CODE_SIGNING = "1.3.6.1.5.5.7.3.3"

GOOD, REVOKED, REFUSED = "good", "revoked", "refused"


@dataclass(frozen=True)
class Said:
    """``verdict``: good, revoked, or refused (anything else). ``text``: every word of it."""

    verdict: str
    text: str


def run(*command: str | Path, folder: Path, env: dict[str, str] | None = None) -> str:
    """Standard output and error together; the exit code is appended as its last line."""
    done = subprocess.run(
        [str(each) for each in command],
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=60,
        check=False,
    )
    return f"{done.stdout}\nexit code {done.returncode}\n"


def _said(text: str, good: str, revoked: str) -> Said:
    if revoked in text:
        return Said(REVOKED, text)
    return Said(GOOD if good in text else REFUSED, text)


def fetch_crls(folder: Path, base: str, *ca_ids: str) -> None:
    """Both CRLs as they are served, as ``ID.crl`` and together as ``crls.pem``."""
    pems = []
    for ca_id in ca_ids or ("root-1", "issuing-1"):
        reply = httpx.get(f"{base}/crl/{ca_id}.crl", trust_env=False)
        (folder / f"{ca_id}.crl").write_bytes(reply.content)
        pems.append(x509.load_der_x509_crl(reply.content).public_bytes(Encoding.PEM))
        (folder / f"{ca_id}.crl.pem").write_bytes(pems[-1])
    (folder / "crls.pem").write_bytes(b"".join(pems))


# OpenSSL


def openssl_verify(folder: Path, name: str, *, crls: str = "crls.pem") -> Said:
    """The chain, strictly, with the CRL of each CA."""
    text = run(
        *("openssl", "verify", "-x509_strict", "-crl_check_all", "-CAfile", "root.pem", "-untrusted", "issuing.pem"),
        *("-CRLfile", crls, f"{name}.pem"),
        folder=folder,
    )
    return _said(text, f"{name}.pem: OK", "certificate revoked")


def openssl_ocsp(folder: Path, name: str, url: str, *, digest: str = "sha1", issuer: str = "issuing") -> Said:
    """By POST. ``good`` only with a signature that it believes."""
    text = run(
        *("openssl", "ocsp", f"-{digest}", "-issuer", f"{issuer}.pem", "-cert", f"{name}.pem", "-url", url),
        *("-CAfile", "chain.pem"),
        folder=folder,
    )
    return _openssl_said(text, name)


def openssl_ocsp_get(folder: Path, name: str, url: str, *, digest: str = "sha1", issuer: str = "issuing") -> Said:
    """By GET: OpenSSL makes the request and judges the answer, httpx carries them."""
    request, answer = folder / f"{name}.{digest}.req", folder / f"{name}.{digest}.resp"
    about = ("-issuer", f"{issuer}.pem", "-cert", f"{name}.pem")
    run("openssl", "ocsp", f"-{digest}", *about, "-no_nonce", "-reqout", request, folder=folder)
    encoded = urllib.parse.quote(base64.b64encode(request.read_bytes()).decode(), safe="")
    reply = httpx.get(f"{url}/{encoded}", trust_env=False)
    answer.write_bytes(reply.content)
    # The request again, for its CertID's hash: without it OpenSSL looks for SHA-1's.
    text = run("openssl", "ocsp", f"-{digest}", *about, "-respin", answer, "-CAfile", "chain.pem", folder=folder)
    return _openssl_said(text, name)


def _openssl_said(text: str, name: str) -> Said:
    if "Response verify OK" not in text:
        return Said(REFUSED, text)
    return _said(text, f"{name}.pem: good", f"{name}.pem: revoked")


# GnuTLS


def certtool_verify(folder: Path, name: str, *, crls: str = "crls.pem") -> Said:
    """The chain with both CRLs, for code signing."""
    parts = [(folder / f"{each}.pem").read_bytes() for each in (name, "issuing", "root")]
    (folder / f"{name}-path.pem").write_bytes(b"".join(parts))
    text = run(
        *("certtool", "--verify", "--load-ca-certificate", "root.pem", "--load-crl", crls),
        *("--verify-purpose", CODE_SIGNING, "--infile", f"{name}-path.pem"),
        folder=folder,
    )
    return _said(text, "Chain verification output: Verified. The certificate is trusted.", "chain is revoked")


def certtool_verify_crl(folder: Path, ca: str, ca_id: str) -> Said:
    """The CRL's own signature and times."""
    text = run(
        *("certtool", "--verify-crl", "--load-ca-certificate", f"{ca}.pem", "--infile", f"{ca_id}.crl.pem"),
        folder=folder,
    )
    return _said(text, "Verification output: Verified. The certificate is trusted.", "\0")


def ocsptool(folder: Path, name: str, url: str, *, issuer: str = "issuing") -> Said:
    """By POST; trusts the CA that issued it, as the delegate is its own."""
    text = run(
        *("ocsptool", f"--ask={url}", "--load-cert", f"{name}.pem", "--load-issuer", f"{issuer}.pem"),
        *("--load-trust", "chain.pem"),
        folder=folder,
    )
    if "Verifying OCSP Response: Success." not in text:
        return Said(REFUSED, text)
    return _said(text, "Certificate Status: good", "Certificate Status: revoked")


# NSS


def make_nss_database(folder: Path, name: str = "nss") -> None:
    """One that trusts the root and knows the issuing CA."""
    (folder / name).mkdir()
    for command in (
        ("-N", "--empty-password"),
        ("-A", "-n", "root", "-t", "CT,C,C", "-i", "root.pem"),
        ("-A", "-n", "issuing", "-t", ",,", "-i", "issuing.pem"),
    ):
        text = run("certutil", command[0], "-d", f"sql:{name}", *command[1:], folder=folder)
        assert text.endswith("exit code 0\n"), text


def vfychain(folder: Path, name: str, *, method: str = "ocsp", database: str = "nss") -> Said:
    """By GET on the certificate's own AIA URL, or by the CRLs that were imported. It calls no news revoked, too."""
    text = run(
        *("vfychain", "-d", f"sql:{database}", "-pp", "-u", "6", "-g", "leaf", "-h", "requireFreshInfo", "-m", method),
        *("-s", "failIfNoInfo", "-a", f"{name}.pem"),
        folder=folder,
    )
    return _said(text, "Chain is good!", "has been revoked")


def import_crls(folder: Path, *ca_ids: str, database: str = "nss") -> str:
    """Into the NSS database; what it complained of."""
    return "".join(
        run("crlutil", "-I", "-d", f"sql:{database}", "-i", f"{each}.crl", "-t", "1", folder=folder) for each in ca_ids
    )


# Java


def java_paths(
    folder: Path, names: Iterable[str], *, method: str, issuing_crl: str = "issuing-1.crl"
) -> dict[str, Said]:
    """PKIX with revocation by ``ocsp`` alone (from the AIA URL) or ``crl`` alone, and no fallback."""
    leaves = [f"{name}.pem" for name in names]
    files = (",".join(leaves), "issuing.pem", "root.pem", "root-1.crl", issuing_crl)
    parts = run("java", JAVA, method, *files, folder=folder).split("== ")[1:]
    found = {part.partition(".pem")[0]: _said(part, "PATH VALID", "REVOKED") for part in parts}
    assert len(found) == len(leaves), parts
    return found


def java_root_tier(folder: Path, url: str) -> Said:
    """The path from the root to the issuing CA, asking the responder at ``url`` of the latter."""
    text = run("java", JAVA, f"ocsp={url}", "issuing.pem", "issuing.pem", "root.pem", folder=folder)
    return _said(text, "PATH VALID", "REVOKED")


def jarsigner(folder: Path, name: str, key: bytes) -> Said:
    """Signs a jar with the certificate and its ``key`` (PEM), and verifies it with revocation checked."""
    (folder / f"{name}.key").write_bytes(key)
    (folder / "word.txt").write_text("word\n")
    jar, store = f"{name}.jar", f"{name}.p12"
    password = ("-storepass", "changeit")
    steps = [
        ("jar", "cf", jar, "word.txt"),
        (
            *("openssl", "pkcs12", "-export", "-inkey", f"{name}.key", "-in", f"{name}.pem", "-certfile", "chain.pem"),
            *("-name", "s", "-out", store, "-passout", "pass:changeit"),
        ),
        ("jarsigner", "-keystore", store, *password, jar, "s"),
    ]
    if not (folder / "trust.p12").exists():
        steps.append(
            (
                "keytool",
                "-importcert",
                "-noprompt",
                "-keystore",
                "trust.p12",
                *password,
                "-alias",
                "r",
                "-file",
                "root.pem",
            )
        )
    for step in steps:
        text = run(*step, folder=folder)
        assert text.endswith("exit code 0\n"), text
    verify = ("jarsigner", "-verify", "-strict", "-revCheck", "-keystore", "trust.p12", *password, "-verbose", "-certs")
    text = run(*verify, jar, folder=folder)
    return _said(text, "jar verified.", "Certificate has been revoked")


# pkilint, as its own commands


def pkilint(folder: Path, command: str, file: str, *options: str) -> Said:
    """``lint_crl`` or ``lint_ocsp_response``; good means that it found nothing from NOTICE on."""
    program = Path(sys.executable).parent / command
    text = run(program, "lint", *options, "-s", "NOTICE", file, folder=folder)
    return Said(GOOD if text.endswith("exit code 0\n") else REFUSED, text)


# pyhanko-certvalidator


def certvalidator(
    folder: Path,
    name: str,
    *,
    crls: tuple[bytes, ...] = (),
    answers: tuple[bytes, ...] = (),
    moment: datetime | None = None,
) -> Said:
    """Hard-fail revocation from what is given. ``moment``: a past one is judged by the revocation date."""

    def load(each: str) -> asn1crypto.x509.Certificate:
        pem = x509.load_pem_x509_certificate((folder / f"{each}.pem").read_bytes())
        return asn1crypto.x509.Certificate.load(pem.public_bytes(Encoding.DER))

    context = ValidationContext(
        trust_roots=[load("root")],
        crls=[asn1crypto.crl.CertificateList.load(each) for each in crls],
        ocsps=[asn1crypto.ocsp.OCSPResponse.load(each) for each in answers],
        revocation_mode="hard-fail",
        moment=moment,
        retroactive_revinfo=moment is not None,
        time_tolerance=timedelta(seconds=5),
    )
    validator = CertificateValidator(load(name), intermediate_certs=[load("issuing")], validation_context=context)
    try:
        asyncio.run(validator.async_validate_usage({"digital_signature"}, {"code_signing"}))
    except RevokedError as error:
        return Said(REVOKED, str(error))
    except (PathError, ValidationError) as error:
        return Said(REFUSED, str(error))
    return Said(GOOD, "")


# osslsigncode


def osslsigncode(folder: Path, name: str, key: bytes, time_stamps: str) -> Said:
    """Signs a Windows program (pip's launcher) with a time-stamp, and verifies it with the CRLs.

    ``time_stamps``: the URL of an RFC 3161 authority whose root is ``tsa-root.pem``.
    """
    (program,) = Path(pip._vendor.distlib.__file__).parent.glob("w64.exe")
    (folder / f"{name}.key").write_bytes(key)
    (folder / f"{name}-chain.pem").write_bytes(
        (folder / f"{name}.pem").read_bytes() + (folder / "issuing.pem").read_bytes()
    )
    signed = f"{name}.exe"
    (folder / signed).unlink(missing_ok=True)
    text = run(
        *("osslsigncode", "sign", "-h", "sha256", "-certs", f"{name}-chain.pem", "-key", f"{name}.key"),
        *("-ts", time_stamps, "-in", program, "-out", signed),
        folder=folder,
    )
    assert text.endswith("exit code 0\n"), text
    text = run(
        *("osslsigncode", "verify", "-CAfile", "root.pem", "-CRLfile", "crls.pem", "-TSA-CAfile", "tsa-root.pem"),
        *("-in", signed),
        folder=folder,
    )
    if "certificate revoked" in text:
        return Said(REVOKED, text)
    return Said(GOOD if "\nSignature verification: ok" in text and text.endswith("exit code 0\n") else REFUSED, text)
