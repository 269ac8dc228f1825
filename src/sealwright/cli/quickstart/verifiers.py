"""Programs that are not ours, asked about what this PKI made, and what each one said.

Each function runs one program and returns a ``Word``: what was asked, of whom, its answer in its own words, and whether
that is the answer that was wanted. A program that is not on the machine is said to be missing, never passed over.
"""

import base64
import shutil
import subprocess
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx

from sealwright.errors import Unavailable


@dataclass(frozen=True, slots=True)
class Word:
    """``good`` is None where the program is missing."""

    verifier: str
    asked: str
    said: str
    good: bool | None


def _ask(command: Sequence[str | Path]) -> tuple[int, str]:
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, errors="replace", check=False
    )
    return done.returncode, (done.stdout + done.stderr).strip()


def _line(text: str, *wanted: str) -> str:
    """The first line that has one of the words, or the last line there is."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in lines if any(word in line for word in wanted)), lines[-1] if lines else "(nothing)")


def fetch(method: str, url: str, body: bytes | None = None) -> bytes:
    """What the public port serves. Raises ``Unavailable`` for anything but 200."""
    headers = {"Content-Type": "application/ocsp-request"} if body is not None else {}
    try:
        # Loopback: no proxy of the environment's stands between.
        with httpx.Client(trust_env=False, timeout=10) as client:
            answer = client.request(method, url, content=body, headers=headers)
    except httpx.HTTPError as error:
        raise Unavailable(f"{method} {url}: {error}") from error
    if answer.status_code != httpx.codes.OK:
        raise Unavailable(f"{method} {url} answered {answer.status_code}")
    return answer.content


@dataclass(frozen=True, slots=True)
class Chain:
    """Files: the root and issuing certificates, and both CRLs (PEM), in a folder where more may be written."""

    folder: Path
    root: Path
    issuing: Path
    crls: Path

    def openssl_verify(self, certificate: Path, *, revoked: bool) -> Word:
        """``openssl verify`` with both CRLs: OK, or error 23 where the certificate is revoked."""
        flags = ("-x509_strict", "-crl_check_all", "-CAfile", self.root, "-untrusted", self.issuing)
        code, said = _ask(("openssl", "verify", *flags, "-CRLfile", self.crls, certificate))
        line = _line(said, ": OK", "revoked", "error")
        good = "certificate revoked" in said if revoked else code == 0
        return Word("openssl verify -x509_strict -crl_check_all", certificate.name, line, good)

    def gnutls_verify(self, certificate: Path) -> Word:
        asked = f"{certificate.name}, for code signing"
        if shutil.which("certtool") is None:
            return Word("GnuTLS certtool", asked, "not on this machine (Debian: gnutls-bin)", None)
        bundle = self.folder / "gnutls-chain.pem"
        bundle.write_bytes(certificate.read_bytes() + self.issuing.read_bytes())
        purpose = ("--verify-purpose", "1.3.6.1.5.5.7.3.3")
        trust = ("--load-ca-certificate", self.root, "--load-crl", self.crls)
        code, said = _ask(("certtool", "--verify", *trust, *purpose, "--infile", bundle))
        return Word("GnuTLS certtool --verify", asked, _line(said, "Chain verification output"), code == 0)

    def ocsp(self, url: str, certificate: Path, *, digest: str, get: bool, wanted: str, keep: Path) -> Word:
        """Ask the responder with OpenSSL's request, by GET or POST, and let OpenSSL judge the answer."""
        query = self.folder / f"query-{digest}.der"
        asked = ("-issuer", self.issuing, f"-{digest}", "-cert", certificate)
        _ask(("openssl", "ocsp", *asked, "-no_nonce", "-reqout", query))
        data = query.read_bytes()
        if get:
            path = urllib.parse.quote(base64.b64encode(data).decode(), safe="")
            keep.write_bytes(fetch("GET", f"{url}/{path}"))
        else:
            keep.write_bytes(fetch("POST", url, data))
        trust = ("-CAfile", self.root, "-verify_other", self.issuing)
        _, said = _ask(("openssl", "ocsp", *asked, "-respin", keep, *trust, "-no_nonce"))
        line = _line(said, f"{certificate}:").replace(f"{certificate}", certificate.name)
        # Its exit code is 0 whatever the answer: its words are what counts.
        good = "Response verify OK" in said and f"{certificate}: {wanted}" in said
        return Word(f"openssl ocsp, {'GET' if get else 'POST'}, {digest.upper()} CertID", certificate.name, line, good)

    def crl_lists(self, crl: Path, serial: str, *, revoked: bool) -> Word:
        _, said = _ask(("openssl", "crl", "-inform", "DER", "-in", crl, "-noout", "-text", "-CAfile", self.issuing))
        listed = f"Serial Number: {serial.upper().zfill(len(serial) + len(serial) % 2)}" in said
        number = said.partition("CRL Number:")[2].split()
        line = f"CRL number {number[0] if number else '?'}: serial {serial[:16]}… {'is' if listed else 'is not'} on it"
        return Word(
            "openssl crl", crl.name, f"{line}; {_line(said, 'verify')}", listed is revoked and "verify OK" in said
        )


def cms(signature: Path, content: Path, root: Path) -> Word:
    """The detached CMS signature over the file, up to the root. Code signing is not S/MIME: ``-purpose any``."""
    code, said = _cms(signature, content, root)
    asked = f"{signature.name} over {content.name}"
    return Word("openssl cms -verify", asked, _line(said, "erification"), code == 0)


def cms_is_revoked(signature: Path, content: Path, root_and_crls: Path) -> Word:
    """The same with both CRLs: refused, for the signer's certificate is revoked and nothing proves an earlier time."""
    code, said = _cms(signature, content, root_and_crls, "-crl_check_all")
    line = _line(said, "Verify error").partition("Verify error: ")[2] or _line(said, "erification")
    asked = f"{signature.name}, with the CRLs"
    return Word("openssl cms -verify -crl_check_all", asked, line, code != 0 and "certificate revoked" in said)


def _cms(signature: Path, content: Path, trust: Path, *more: str) -> tuple[int, str]:
    files = ("-inform", "DER", "-in", signature, "-content", content, "-CAfile", trust)
    return _ask(("openssl", "cms", "-verify", "-binary", *files, "-purpose", "any", "-out", "/dev/null", *more))


def authenticode(signed: Path, root: Path, crls: Path) -> Word:
    command = ("osslsigncode", "verify", "-CAfile", root, "-CRLfile", crls, "-in", signed)
    code, said = _ask(command)
    return Word(
        "osslsigncode verify", signed.name, _line(said, "Signature verification", "Succeeded", "rror"), code == 0
    )


def java_archive(signed: Path, root: Path, folder: Path) -> Word:
    """``jarsigner`` with the root as its only trust, asking OCSP by itself."""
    trust, password = folder / "java-trust.p12", folder / "java-trust.password"
    password.write_text("not-a-secret", encoding="ascii")  # a store of public certificates still wants one
    trust.unlink(missing_ok=True)
    store = ("-keystore", trust, "-storepass:file", password)
    _ask(("keytool", "-importcert", "-noprompt", "-alias", "root", "-file", root, "-storetype", "PKCS12", *store))
    code, said = _ask(("jarsigner", "-verify", "-strict", "-revCheck", *store, signed))
    return Word("jarsigner -verify -strict -revCheck", signed.name, _line(said, "jar "), code == 0)
