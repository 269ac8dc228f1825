"""What verifiers say of a certificate, and the evidence that is left for any outside check."""

import hashlib
import json
import time
from dataclasses import asdict
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from sealwright.cli.quickstart.place import Place
from sealwright.cli.quickstart.story import Story
from sealwright.cli.quickstart.verifiers import Chain, cms, fetch

ROOT_CRL, ISSUING_CRL = "crl/root-1.crl", "crl/issuing-1.crl"


def fetch_crls(place: Place) -> Chain:
    """Both CRLs as served, beside the chain, in the forms that the programs want."""
    pem = b""
    for name, path in (("root.crl", ROOT_CRL), ("issuing.crl", ISSUING_CRL)):
        der = fetch("GET", f"{place.validation}/{path}")
        (place.work / name).write_bytes(der)
        pem += x509.load_der_x509_crl(der).public_bytes(Encoding.PEM)
    crls = place.work / "crls.pem"
    crls.write_bytes(pem)
    return Chain(place.work, place.pki / "root.pem", place.pki / "issuing.pem", crls)


def ask_everybody(place: Place, story: Story, name: str, *, revoked: bool) -> dict[str, str]:
    """OpenSSL, by every way it has, and GnuTLS, about one certificate."""
    chain, url = fetch_crls(place), f"{place.validation}/ocsp"
    certificate, serial = place.work / f"{name}.pem", place.state.facts[name]
    wanted = "revoked" if revoked else "good"
    for get in (False, True):
        for digest in ("sha1", "sha256"):
            keep = place.work / f"ocsp-{name}-{digest}.der"
            story.word(chain.ocsp(url, certificate, digest=digest, get=get, wanted=wanted, keep=keep))
    story.word(chain.crl_lists(place.work / "issuing.crl", serial, revoked=revoked))
    story.word(chain.openssl_verify(certificate, revoked=revoked))
    if not revoked:
        story.word(chain.gnutls_verify(certificate))
    return {}


def wait_for_crl(place: Place, serial: str, *, seconds: float = 60.0) -> float:
    """Until the CRL that is served lists the serial; returns the seconds it took. 60 s is the promise."""
    start = time.monotonic()
    while time.monotonic() - start < seconds:
        crl = x509.load_der_x509_crl(fetch("GET", f"{place.validation}/{ISSUING_CRL}"))
        if crl.get_revoked_certificate_by_serial_number(int(serial, 16)) is not None:
            break
        time.sleep(0.1)
    return time.monotonic() - start


def wait_for_answers(place: Place, *, seconds: float = 60.0) -> None:
    """Until OCSP answers again: after days without the servers, every answer has to be signed anew."""
    renewed = x509.load_pem_x509_certificate((place.work / "renewed.pem").read_bytes())
    issuing = x509.load_pem_x509_certificate((place.pki / "issuing.pem").read_bytes())
    builder = ocsp.OCSPRequestBuilder().add_certificate(renewed, issuing, hashes.SHA256())
    query, start = builder.build().public_bytes(Encoding.DER), time.monotonic()
    while time.monotonic() - start < seconds:
        answer = ocsp.load_der_ocsp_response(fetch("POST", f"{place.validation}/ocsp", query))
        if answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL:
            return
        time.sleep(0.1)


def keep_evidence(place: Place, story: Story) -> dict[str, str]:
    """Ask everybody again about both certificates, and write DIR/evidence."""
    wait_for_answers(place)
    story.tell("the renewed certificate:")
    ask_everybody(place, story, "renewed", revoked=False)
    story.tell("the revoked one:")
    ask_everybody(place, story, "leaf", revoked=True)
    story.word(cms(place.work / "signed.p7s", place.work / "signed.bin", place.pki / "root.pem"))
    place.evidence.mkdir(exist_ok=True)
    files = {
        "root.pem": place.pki / "root.pem",
        "issuing.pem": place.pki / "issuing.pem",
        "leaf.pem": place.work / "leaf.pem",
        "renewed.pem": place.work / "renewed.pem",
        "root.crl": place.work / "root.crl",
        "issuing.crl": place.work / "issuing.crl",
        "ocsp-good.der": place.work / "ocsp-renewed-sha1.der",
        "ocsp-revoked.der": place.work / "ocsp-leaf-sha256.der",
        "signed.p7s": place.work / "signed.p7s",
        "signed.bin": place.work / "signed.bin",
    }
    digests = {}
    for name, path in files.items():
        data = path.read_bytes()
        (place.evidence / name).write_bytes(data)
        digests[name] = hashlib.sha256(data).hexdigest()
    path = place.evidence / "evidence.json"
    evidence = {
        "mode": "REHEARSAL",
        "pki": place.state.facts["pki"],
        "serials": {name: _serial(place.evidence / f"{name}.pem") for name in ("root", "issuing", "leaf", "renewed")},
        "urls": {
            "registry": place.registry,
            "ocsp": f"{place.validation}/ocsp",
            "root_crl": f"{place.validation}/{ROOT_CRL}",
            "issuing_crl": f"{place.validation}/{ISSUING_CRL}",
        },
        "sha256": digests,
        "verifiers": _said(path, story),
    }
    path.write_text(json.dumps(evidence, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    story.tell(f"kept in {place.evidence}: {', '.join(files)}, evidence.json")
    return {}


def _said(path: Path, story: Story) -> list[dict[str, object]]:
    """Every verifier's word in this run, after those of an earlier one about what was not asked again."""
    before = json.loads(path.read_text(encoding="utf-8"))["verifiers"] if path.exists() else []
    asked = {(word.verifier, word.asked) for word in story.words}
    kept = [word for word in before if (word["verifier"], word["asked"]) not in asked]
    return [*kept, *map(asdict, story.words)]


def _serial(path: Path) -> str:
    return f"{x509.load_pem_x509_certificate(path.read_bytes()).serial_number:x}"
