"""``ceremonies/trust.md``, each block of it; and the Windows files, read back."""

import os
import struct
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from guides import Guide
from rehearsal import CHECKOUT
from sealwright.client.config import ClientConfig, save_config
from sealwright.client.windows import registry_file, registry_policy
from sealwright.pki.keys import KeyKind
from sealwright.statements.anchor import Anchor
from sealwright.statements.kinds import OfficerEntry
from softpki import SoftPKI, soft_pki, software_key

_ROOTS = "SOFTWARE\\Policies\\Microsoft\\SystemCertificates\\Root\\Certificates\\"


def _ssh_key() -> str:
    public = Ed25519PrivateKey.generate().public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def ask(folder: Path, command: str) -> tuple[int, str]:
    done = subprocess.run(command.split(), cwd=folder, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def pki() -> SoftPKI:
    return soft_pki()


@pytest.fixture(scope="module")
def guide(pki: SoftPKI, tmp_path_factory: pytest.TempPathFactory) -> Guide:
    """A reader whose client is set up, with a leaf to try the root with."""
    folder = tmp_path_factory.mktemp("reader")
    home = folder / "home"
    home.mkdir(mode=0o700)
    names = ("olga", "omar", "odile")
    anchor = Anchor(
        mode="REHEARSAL",
        root_sha256=pki.root.fingerprint(SHA256()).hex(),
        officers=tuple(OfficerEntry(name=name, key=_ssh_key()) for name in names),
        threshold=2,
    )
    (home / "anchor.json").write_bytes(anchor.to_bytes())
    for name, each in (("root", pki.root), ("issuing", pki.issuing)):
        (home / f"{name}.pem").write_bytes(each.public_bytes(Encoding.PEM))
    save_config(
        home, ClientConfig(server="http://127.0.0.1:1", pki_id=anchor.pki_id, person="olga", key=str(home / "key"))
    )
    leaf = pki.issue(software_key(KeyKind.P256, "leaf"))
    (folder / "leaf.pem").write_bytes(leaf.public_bytes(Encoding.PEM))
    variables = {
        "SEALWRIGHT_HOME": str(home),
        "ISSUING": str(home / "issuing.pem"),
        "LEAF": str(folder / "leaf.pem"),
        "SYSTEM": str(folder / "system"),
    }
    return Guide(CHECKOUT / "ceremonies/trust.md", folder, variables)


@pytest.fixture(scope="module")
def written(guide: Guide, pki: SoftPKI) -> Guide:
    said = guide.run("")
    digest = pki.root.fingerprint(SHA256())
    assert digest.hex() in said  # ours
    assert digest.hex(":").upper() in said  # OpenSSL's
    return guide


def test_the_digests_are_those_of_the_files(written: Guide) -> None:
    _, said = ask(written.folder / "trust", "sha256sum -c SHA256SUMS")
    assert said.splitlines() == [f"{name}: OK" for name in ("root.pem", "root.cer", "Registry.pol", "root.reg")]


def test_nothing_is_overwritten(written: Guide) -> None:
    assert "exists" in written.run("", fails=True)


def test_java_has_it_in_a_store_of_its_own(written: Guide, pki: SoftPKI) -> None:
    said = written.run("Java")
    assert "code-signing-root" in said
    assert pki.root.fingerprint(SHA256()).hex(":").upper() in said


def test_openssl_takes_it_for_code_and_refuses_it_for_tls(written: Guide) -> None:
    assert "leaf.pem: OK" in written.run("OpenSSL")
    trust = "-no-CApath -no-CAstore -CAfile trust/root-for-code.pem"
    code, said = ask(written.folder, f"openssl verify -purpose sslserver {trust} home/issuing.pem")
    assert code != 0
    assert "rejected" in said


def test_nss_takes_it_for_objects_alone(written: Guide) -> None:
    said = written.run("NSS")
    assert "certutil: certificate is valid" in said
    (row,) = (line for line in said.splitlines() if line.startswith("code-signing-root"))
    assert row.split()[-1] == ",,C"
    code, said = ask(written.folder, "certutil -V -d sql:nss -n leaf -u V")
    assert code != 0
    assert "is valid" not in said


def test_debian_gets_a_file_and_no_more(written: Guide, pki: SoftPKI) -> None:
    written.run("Debian's ca-certificates, and why usually not")
    path = written.folder / "system/usr/local/share/ca-certificates/code-signing-root.crt"
    assert x509.load_pem_x509_certificate(path.read_bytes()) == pki.root


def _properties(blob: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at < len(blob):
        number, encoding, size = struct.unpack_from("<III", blob, at)
        assert encoding == 1
        found[number] = blob[at + 12 : at + 12 + size]
        at += 12 + size
    assert at == len(blob)
    return found


def _check_blob(blob: bytes, root: x509.Certificate) -> None:
    wanted = {3: root.fingerprint(SHA1()), 32: root.public_bytes(Encoding.DER)}  # noqa: S303  # Windows' name of it
    assert _properties(blob) == wanted


def test_the_reg_file_sets_the_certificate_under_its_thumbprint(pki: SoftPKI) -> None:
    text = registry_file(pki.root).decode("utf-16")
    head, empty, key, value, end = text.replace(",\\\r\n  ", ",").split("\r\n")
    assert (head, empty, end) == ("Windows Registry Editor Version 5.00", "", "")
    thumbprint = pki.root.fingerprint(SHA1()).hex().upper()  # noqa: S303  # Windows' name of it
    assert key == f"[HKEY_LOCAL_MACHINE\\{_ROOTS}{thumbprint}]"
    name, _, octets = value.partition("=hex:")
    assert name == '"Blob"'
    _check_blob(bytes(int(octet, 16) for octet in octets.split(",")), pki.root)


_SAMBA = """
import sys
from samba.dcerpc import preg
from samba.ndr import ndr_unpack
(entry,) = ndr_unpack(preg.file, sys.stdin.buffer.read()).entries
print(entry.keyname); print(entry.valuename); print(entry.type); print(bytes(entry.data).hex())
"""


@pytest.mark.slow
def test_samba_reads_the_group_policy(pki: SoftPKI) -> None:
    if not Path("/usr/lib/python3/dist-packages/samba").exists():
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "python3-samba"]
        subprocess.run(install, check=True, capture_output=True, env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    done = subprocess.run(
        ["/usr/bin/python3", "-c", _SAMBA], input=registry_policy(pki.root), capture_output=True, check=True
    )
    key, name, kind, blob = done.stdout.decode().splitlines()
    thumbprint = pki.root.fingerprint(SHA1()).hex().upper()  # noqa: S303  # Windows' name of it
    assert (key, name, kind) == (_ROOTS + thumbprint, "Blob", "3")
    _check_blob(bytes.fromhex(blob), pki.root)
