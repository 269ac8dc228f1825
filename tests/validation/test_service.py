"""Validation as its processes: what is served, how fast a change is seen, ports, deaths, the end."""

import base64
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509 import load_der_x509_crl, ocsp

from published import PROGRAM, Published, get, make_published, serving, wait_until
from sealwright.pki.ocsp import CertIDForm, cert_id


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    made = make_published(tmp_path_factory.mktemp("service"))
    with serving(made):
        yield made


def ask(published: Published, serial: int, *, post: bool = True, sha1: bool = True) -> ocsp.OCSPResponse:
    return ocsp.load_der_ocsp_response(ask_http(published, serial, post=post, sha1=sha1).content)


def ask_http(published: Published, serial: int, *, post: bool = True, sha1: bool = True) -> httpx.Response:
    algorithm = hashes.SHA1() if sha1 else hashes.SHA256()  # noqa: S303  # a CertID's hash
    issuer = cert_id(CertIDForm.SHA1 if sha1 else CertIDForm.SHA256, published.pki.issuing)
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(*issuer, serial, algorithm)
    request = builder.build().public_bytes(Encoding.DER)
    if post:
        headers = {"Content-Type": "application/ocsp-request"}
        return httpx.post(f"{published.base}/ocsp", content=request, headers=headers, trust_env=False)
    return get(f"{published.base}/ocsp/{quote(base64.b64encode(request).decode(), safe='')}")


def test_a_certificate_is_answered_for_in_both_forms_by_both_methods(published: Published) -> None:
    leaf = published.publish(published.issue())
    wait_until(lambda: ask(published, leaf.serial_number).response_status is ocsp.OCSPResponseStatus.SUCCESSFUL)
    for post in (True, False):
        for sha1 in (True, False):
            read = ask(published, leaf.serial_number, post=post, sha1=sha1)
            assert read.certificate_status is ocsp.OCSPCertStatus.GOOD
            assert read.hash_algorithm.name == ("sha1" if sha1 else "sha256")


def test_a_revocation_is_seen_within_two_seconds_of_its_publication(published: Published) -> None:
    """One of three: what another program took of the machine is not counted."""
    assert any(_seconds_until_it_is_seen(published) < 2 for _ in range(3))


def _seconds_until_it_is_seen(published: Published) -> float:
    leaf = published.publish(published.issue())
    wait_until(lambda: ask(published, leaf.serial_number).response_status is ocsp.OCSPResponseStatus.SUCCESSFUL)
    begun = time.monotonic()
    published.revoke(leaf)
    wait_until(lambda: ask(published, leaf.serial_number).certificate_status is ocsp.OCSPCertStatus.REVOKED)
    crl_url = f"{published.base}/crl/issuing-1.crl"
    wait_until(
        lambda: load_der_x509_crl(get(crl_url).content).get_revoked_certificate_by_serial_number(leaf.serial_number)
    )
    return time.monotonic() - begun


def test_ca_certificates_and_crls_are_served_with_their_types(published: Published) -> None:
    for ca_id, ca in (("root-1", published.pki.root), ("issuing-1", published.pki.issuing)):
        cer, p7c = get(f"{published.base}/ca/{ca_id}.cer"), get(f"{published.base}/ca/{ca_id}.p7c")
        assert cer.content == ca.public_bytes(Encoding.DER)
        assert cer.headers["content-type"] == "application/pkix-cert"
        assert pkcs7.load_der_pkcs7_certificates(p7c.content) == [ca]
        crl = get(f"{published.base}/crl/{ca_id}.crl")
        assert load_der_x509_crl(crl.content).issuer == ca.subject
        assert crl.headers["content-type"] == "application/pkix-crl"


def test_a_worker_that_is_killed_is_followed_by_another_and_no_question_is_lost(published: Published) -> None:
    leaf = published.publish(published.issue())
    wait_until(lambda: ask(published, leaf.serial_number).response_status is ocsp.OCSPResponseStatus.SUCCESSFUL)
    for _ in range(2):
        _kill("sealwright.validation.worker", published)
        # What connects now waits in the listeners' queues for the next workers.
        for _ in range(10):
            assert ask(published, leaf.serial_number).certificate_status is ocsp.OCSPCertStatus.GOOD


def test_the_sync_that_is_killed_is_followed_by_another(published: Published) -> None:
    _kill("sealwright.validation.sync", published)
    leaf = published.publish(published.issue())
    wait_until(lambda: ask(published, leaf.serial_number).response_status is ocsp.OCSPResponseStatus.SUCCESSFUL)


def _kill(module: str, published: Published) -> None:
    for process in _processes(module, published):
        with suppress(ProcessLookupError):  # a worker of the start, without a snapshot, goes by itself
            os.kill(process, signal.SIGKILL)
        wait_until(lambda stat=Path(f"/proc/{process}/stat"): not stat.exists() or ") Z " in stat.read_text())


def _processes(module: str, published: Published) -> list[int]:
    """Children of the service of ``published``, by what they run."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            command = (entry / "cmdline").read_bytes().split(b"\0")
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            of_ours = str(published.folder).encode() in Path(f"/proc/{parent}/cmdline").read_bytes()
        except OSError:
            continue
        if module.encode() in command and of_ours:
            found.append(int(entry.name))
    assert found
    return found


def test_a_busy_port_is_said_before_anything_is_done(published: Published, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "nowhere"), published.url, str(published.port)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode != 0
    assert "Unavailable" in done.stderr
    assert f"cannot listen on 127.0.0.1:{published.port}: Address already in use" in done.stderr
    assert not (tmp_path / "nowhere").exists()


def test_it_ends_with_its_parent(tmp_path: Path) -> None:
    made = make_published(tmp_path)
    command = [sys.executable, "-c", PROGRAM, str(made.folder), made.url, str(made.port)]
    process = subprocess.Popen(command)
    wait_until(lambda: get(f"{made.base}/healthz").status_code == 200)
    process.kill()
    process.wait()

    def is_free() -> bool:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", made.port))
            except OSError:
                return False
            return True

    wait_until(is_free)


def test_it_answers_on_while_the_database_is_away(tmp_path: Path) -> None:
    made = make_published(tmp_path)
    leaf = made.publish(made.issue())
    with serving(made):
        wait_until(lambda: ask(made, leaf.serial_number).response_status is ocsp.OCSPResponseStatus.SUCCESSFUL)
        database = made.folder / "publication.db"
        made.database.close()
        for name in ("publication.db", "publication.db-wal", "publication.db-shm"):
            if (made.folder / name).exists():
                (made.folder / name).rename(made.folder / f"{name}.away")
        assert not database.exists()
        time.sleep(0.5)
        assert ask(made, leaf.serial_number).certificate_status is ocsp.OCSPCertStatus.GOOD
