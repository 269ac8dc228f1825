"""``client/signing.md``, each block of it, on a real token, with a time-stamping service of the test's own."""

import os
import time
import zipfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from pip._vendor import distlib

import sealwright.client
from guides import Guide
from published import Published, make_published, serving
from sealwright.hsm.certificates import store_certificate
from sealwright.hsm.generation import generate_key
from sealwright.hsm.token import find_token
from sealwright.pki.crl import RevocationEntry, RevocationReason
from sealwright.pki.keys import KeyKind
from sealwright.pki.serials import SerialNumber
from softhsm import TokenFactory
from tsa import time_stamping
from verifiers import fetch_crls

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("recipes")]


@pytest.fixture(scope="module")
def tsa(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """An RFC 3161 service: its URL, and the certificate that it is under."""
    folder = tmp_path_factory.mktemp("tsa")
    with time_stamping(folder, self_signed=True) as url:
        yield url, folder / "tsa-root.pem"


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    made = make_published(tmp_path_factory.mktemp("recipes"))
    with serving(made):
        yield made


@pytest.fixture(scope="module")
def guide(
    published: Published, tsa: tuple[str, Path], softhsm: TokenFactory, tmp_path_factory: pytest.TempPathFactory
) -> Guide:
    """A reader who has a certificate, its key on a token, and things to sign."""
    folder = tmp_path_factory.mktemp("reader")
    certs = folder / "certs"
    certs.mkdir()
    serial, pin = softhsm.new_token("team")
    key_id = os.urandom(16)
    from sealwright.hsm.session import TokenSession

    with TokenSession.open(softhsm.module, serial, pin) as session:
        key = generate_key(session, KeyKind.RSA_3072, key_id=key_id, label="release")
        leaf = published.publish(published.pki.issue(key))
        store_certificate(session, leaf, key_id=key_id, label="release")
    softhsm.module.reinitialise(softhsm.module.generation)
    pem, issuing = (each.public_bytes(Encoding.PEM) for each in (leaf, published.pki.issuing))
    pin_file = folder / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_bytes(pin.reveal())
    (certs / "certificate.pem").write_bytes(pem)
    (certs / "issuing.pem").write_bytes(issuing)
    (certs / "chain.pem").write_bytes(pem + issuing)
    (folder / "root.pem").write_bytes(published.pki.root.public_bytes(Encoding.PEM))
    (folder / "release.bin").write_bytes(os.urandom(4096))
    program = Path(distlib.__file__).with_name("w64.exe").read_bytes()
    (folder / "release.exe").write_bytes(program)
    (folder / "release.efi").write_bytes(program)
    with zipfile.ZipFile(folder / "release.jar", "w") as jar:
        jar.writestr("word.txt", "a word\n")
    fetch_crls(folder, published.base)
    engines = Path("/usr/lib").glob("*-linux-gnu/engines-3/pkcs11.so")
    page = Path(sealwright.client.__file__).with_name("signing.md")
    return Guide(
        page,
        folder,
        {
            "CERTS": str(certs),
            "ROOT": str(folder / "root.pem"),
            "MODULE": str(softhsm.module_path),
            "TOKEN": serial,
            "KEY_ID": "".join(f"%{octet:02x}" for octet in key_id),
            "PIN": str(pin_file),
            "TSA": tsa[0],
            "TSA_ROOT": str(tsa[1]),
            "ENGINE": str(next(engines)),
            "SLOT": str(find_token(softhsm.module, serial).slot_id),
        },
    )


@pytest.fixture(scope="module")
def opened(guide: Guide) -> Guide:
    guide.run("")
    return guide


def test_openssl_signs_and_stamps_any_file(opened: Guide) -> None:
    said = opened.run("Any file: CMS with OpenSSL")
    assert "CMS Verification successful" in said
    assert "Verification: OK" in said
    (opened.folder / "release.bin").write_bytes(b"another file")
    assert "Verification failure" in opened.run("Any file: CMS with OpenSSL", block=1, fails=True)


def test_osslsigncode_signs_a_windows_program(opened: Guide) -> None:
    said = opened.run("Windows programs: Authenticode with osslsigncode")
    assert "Timestamp Server Signature verification: ok" in said
    assert "Signature verification: ok" in said
    assert "Number of verified signatures: 1" in said


def test_jarsigner_signs_a_jar(opened: Guide) -> None:
    said = opened.run("JARs: jarsigner")
    assert "jar verified." in said
    assert "timestamp" in said.lower()


def test_sbsign_signs_what_firmware_loads(opened: Guide) -> None:
    assert "Signature verification OK" in opened.run("EFI binaries and kernel modules: sbsign")


def test_a_stamped_signature_survives_a_theft_that_came_later_and_dies_of_one_before(
    opened: Guide, published: Published
) -> None:
    leaf = x509.load_pem_x509_certificate(Path(opened.variables["CERTS"], "certificate.pem").read_bytes())
    (opened.folder / "release.bin").write_bytes(os.urandom(4096))
    opened.run("Any file: CMS with OpenSSL")
    assert opened.run("Judging a past moment").endswith("good\n")
    time.sleep(1.1)  # the stamp and a revocation have whole seconds
    now = datetime.now(UTC).replace(microsecond=0)
    for stolen, word in ((now, "good"), (now - timedelta(minutes=30), "RevokedError")):
        entry = RevocationEntry(SerialNumber(leaf.serial_number), stolen, RevocationReason.KEY_COMPROMISE)
        published.revoked[:] = [entry]
        published.publish_crl()
        pem = x509.load_der_x509_crl(published.crl()).public_bytes(Encoding.PEM)
        (opened.folder / "crls.pem").write_bytes((opened.folder / "root-1.crl.pem").read_bytes() + pem)
        assert word in opened.run("Judging a past moment")
        assert "certificate revoked" in opened.run("Any file: CMS with OpenSSL", block=1, fails=True)
