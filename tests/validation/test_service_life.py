"""Validation through reloads, deaths and damage: no wrong answer, no lost connection, and it says how it is."""

import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from published import Published, free_port, get, make_published, wait_until
from sealwright.pki.ocsp import CertIDForm, cert_id
from sealwright.validation.generations import DATA, find_current

PROGRAM = """
import json, sys
from pathlib import Path
from sealwright.logs import log_to_stderr
from sealwright.validation.config import ValidationConfig
from sealwright.validation.service import run_validation

def read():
    given = json.loads(Path(sys.argv[1]).read_text())
    return ValidationConfig(**{**given, "folder": Path(given["folder"])})

log_to_stderr("validation")
run_validation(read(), reload=read)
"""


class Service:
    """The processes of one node. ``configuration`` is what SIGHUP reads again."""

    def __init__(self, published: Published, folder: Path, **options: object) -> None:
        self.published, self.status_port = published, free_port()
        self._file = folder / "validation.json"
        self.configure(**options)
        self._log = (folder / f"validation-{self.status_port}.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PROGRAM, str(self._file)], stderr=self._log
        )

    def configure(self, **options: object) -> None:
        made = {
            "folder": str(self.published.folder),
            "publication": self.published.url,
            "host": "127.0.0.1",
            "port": self.published.port,
            "status_listen": f"127.0.0.1:{self.status_port}",
        }
        self._file.write_text(json.dumps(made | options))

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    @property
    def log(self) -> str:
        return Path(self._log.name).read_text()

    def health(self) -> dict[str, object]:
        answer = get(f"http://127.0.0.1:{self.status_port}/healthz")
        return dict(answer.json())

    def metric(self, name: str, labels: str = "") -> float:
        text = get(f"http://127.0.0.1:{self.status_port}/metrics").text
        found = re.search(rf"^sealwright_validation_{name}{re.escape(labels)} (\S+)$", text, re.MULTILINE)
        assert found, text
        return float(found[1])

    def workers(self) -> list[int]:
        return self.children("worker")

    def children(self, name: str) -> list[int]:
        """Those that are leaving too, for as long as they have somebody to answer."""
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        module = f"sealwright.validation.{name}".encode()
        return [int(each) for each in found if module in _command(each)]

    def is_settled(self) -> bool:
        """It answers from its snapshot, and the workers that it began without one are gone."""
        health = self.health()
        return health["status"] == "ok" and health["workers"] == len(self.workers())

    @property
    def snapshot(self) -> Path:
        found = find_current(self.published.folder / "snapshot")
        assert found is not None
        return found

    def end(self) -> None:
        self.process.terminate()
        assert self.process.wait(20) == 0
        self._log.close()
        traces = [line for line in self.log.splitlines() if "Traceback" in line]
        assert traces == []


def _command(process: str) -> bytes:
    """Nothing of one that has ended meanwhile."""
    try:
        return Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return b""


@contextmanager
def running(folder: Path, leaves: int = 3) -> Iterator[tuple[Service, list[x509.Certificate]]]:
    published = make_published(folder)
    certificates = [published.publish(published.issue(label=f"{number}")) for number in range(leaves)]
    service = Service(published, folder)
    try:
        wait_until(service.is_settled)
        yield service, certificates
    finally:
        service.end()
        published.database.close()


def request(published: Published, certificate: x509.Certificate) -> bytes:
    issuer = cert_id(CertIDForm.SHA1, published.pki.issuing)
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(*issuer, certificate.serial_number, hashes.SHA1())  # noqa: S303  # a CertID's
    return builder.build().public_bytes(Encoding.DER)


class Client(threading.Thread):
    """Asks without end on connections that it keeps, as a good client does: one that says ``close`` is opened anew, and
    only a request that was never answered because its connection was reset is asked again."""

    def __init__(self, published: Published, certificates: Sequence[x509.Certificate]) -> None:
        super().__init__(daemon=True)
        self._port = published.port
        self._bodies = [request(published, each) for each in certificates]
        self.statuses: list[int] = []
        self.answers: list[bytes] = []
        self.broken = 0
        self.stop = threading.Event()

    def run(self) -> None:
        connection = self._connect()
        number = 0
        while not self.stop.is_set():
            try:
                connection.request("POST", "/ocsp", self._bodies[number % len(self._bodies)])
                answer = connection.getresponse()
                self.answers.append(answer.read())
                self.statuses.append(answer.status)
                if answer.will_close:
                    connection.close()
                number += 1
            except (OSError, http.client.HTTPException):
                self.broken += 1
                connection.close()
                connection = self._connect()
        connection.close()

    def _connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)


@contextmanager
def asking(published: Published, certificates: Sequence[x509.Certificate], count: int = 4) -> Iterator[list[Client]]:
    clients = [Client(published, certificates) for _ in range(count)]
    for client in clients:
        client.start()
    wait_until(lambda: all(client.answers for client in clients))
    yield clients
    for client in clients:
        client.stop.set()
    for client in clients:
        client.join(20)
        assert not client.is_alive()


def progress(clients: Sequence[Client], more: int = 20) -> None:
    """Every client gets so many more answers."""
    before = [len(client.answers) for client in clients]
    wait_until(lambda: all(len(c.answers) >= b + more for c, b in zip(clients, before, strict=True)))


def check_answers(published: Published, clients: Sequence[Client], certificates: Sequence[x509.Certificate]) -> None:
    """Good, signed, and for the certificate that was asked for: each one."""
    key = published.template.public_key
    serials = [each.serial_number for each in certificates]
    for client in clients:
        assert set(client.statuses) == {200}
        for number, answer in enumerate(client.answers):
            read = ocsp.load_der_ocsp_response(answer)
            assert read.serial_number == serials[number % len(serials)]
            assert read.certificate_status is ocsp.OCSPCertStatus.GOOD
        for answer in set(client.answers):
            read = ocsp.load_der_ocsp_response(answer)
            algorithm = read.signature_hash_algorithm
            assert algorithm is not None
            from cryptography.hazmat.primitives.asymmetric import ec

            assert isinstance(key, ec.EllipticCurvePublicKey)
            key.verify(read.signature, read.tbs_response_bytes, ec.ECDSA(algorithm))


def test_a_reload_loses_no_connection_and_changes_the_number_of_workers(tmp_path: Path) -> None:
    with running(tmp_path) as (service, leaves), asking(service.published, leaves) as clients:
        for workers in (3, 1, 2):
            before = set(service.workers())
            service.configure(workers=workers)
            service.reload()
            wait_until(lambda n=workers, old=before: len(set(service.workers()) - old) == n)
            progress(clients)
            wait_until(lambda old=before: not old & set(service.workers()))
            progress(clients)
        assert [client.broken for client in clients] == [0, 0, 0, 0]
        check_answers(service.published, clients, leaves)


def test_a_reload_of_what_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    with running(tmp_path) as (service, leaves), asking(service.published, leaves, 2) as clients:
        before = service.workers()
        with_a_port_of_another = service.status_port
        service.configure(port=with_a_port_of_another)
        service.reload()
        wait_until(lambda: "not reloaded: cannot listen" in service.log)
        progress(clients)
        assert service.workers() == before


@pytest.mark.slow
def test_workers_that_are_killed_at_random_give_no_wrong_answer_and_lose_no_listener(tmp_path: Path) -> None:
    with running(tmp_path) as (service, leaves), asking(service.published, leaves) as clients:
        random.seed(11)
        for _ in range(5):
            os.kill(random.choice(service.workers()), signal.SIGKILL)
            progress(clients)
        wait_until(lambda: len(service.workers()) == 2)
        wait_until(lambda: service.metric("worker_deaths_total") == 5)
        progress(clients)
        check_answers(service.published, clients, leaves)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "harm", ["cut short", pytest.param("overwritten", marks=SLOW), pytest.param("a record", marks=SLOW)]
)
def test_a_snapshot_that_is_damaged_while_it_is_served_is_made_again(tmp_path: Path, harm: str) -> None:
    with running(tmp_path) as (service, leaves):
        data, before = service.snapshot / DATA, service.snapshot
        body = request(service.published, leaves[0])
        good = post(service.published, body)
        if harm == "cut short":
            os.truncate(data, 2 * 4096)
        else:
            content = data.read_bytes()
            at = content.index(good) if harm == "a record" else 2 * 4096
            with data.open("r+b") as file:
                file.seek(at)
                file.write(b"\xff" * (10 if harm == "a record" else len(content) - at))
        said: set[bytes] = set()

        def is_healed() -> bool:
            answer = post(service.published, body)
            said.add(answer)
            return answer == good and service.snapshot != before and service.health()["status"] == "ok"

        wait_until(is_healed)
        assert {each for each in said if each} <= {good, TRY_LATER, b"503 Service Unavailable\n"}
        assert service.metric("rebuilds_total") == 1
        assert len(list(before.parent.glob("snapshot-*"))) == 1


TRY_LATER = b"\x30\x03\x0a\x01\x03"


def post(published: Published, body: bytes) -> bytes:
    """Nothing when the connection broke: its worker died of the damage."""
    connection = http.client.HTTPConnection("127.0.0.1", published.port, timeout=20)
    try:
        connection.request("POST", "/ocsp", body)
        return connection.getresponse().read()
    except (OSError, http.client.HTTPException):
        return b""
    finally:
        connection.close()


@pytest.mark.slow
def test_a_snapshot_that_is_cut_short_or_foreign_when_it_starts_is_made_again(tmp_path: Path) -> None:
    with running(tmp_path) as (service, leaves):
        good = post(service.published, request(service.published, leaves[0]))
        before = service.snapshot
    os.truncate(before / DATA, 3 * 4096)
    again = Service(service.published, tmp_path)
    wait_until(lambda: post(again.published, request(again.published, leaves[0])) == good)
    assert "cut short" in again.log
    again.end()
    anchor = service.published.folder / "anchor.json"
    changed = json.loads(anchor.read_bytes())
    changed["threshold"] = 3  # another PKI of the same root
    from sealwright.statements.canonical import canonical_bytes

    anchor.write_bytes(canonical_bytes(changed))
    other = Service(service.published, tmp_path)
    wait_until(lambda: post(other.published, request(other.published, leaves[0])) == good)
    assert "another PKI or format" in other.log
    other.end()


def test_it_says_how_it_is(tmp_path: Path) -> None:
    with running(tmp_path) as (service, leaves):
        published = service.published
        for body in (request(published, leaves[0]), request(published, leaves[1]), b"?"):
            post(published, body)
        get(f"{published.base}/nothing")
        wait_until(lambda: service.metric("replies_total", '{kind="answered"}') >= 2)
        wait_until(lambda: service.metric("replies_total", '{kind="malformed"}') == 1)
        wait_until(lambda: service.metric("replies_total", '{kind="refused"}') == 1)
        answered = service.metric("replies_total", '{kind="answered"}')
        for worker in service.workers():
            os.kill(worker, signal.SIGTERM)
        wait_until(lambda: service.metric("worker_deaths_total") == 2)
        assert service.metric("replies_total", '{kind="answered"}') >= answered  # a counter never falls
        assert service.metric("answers") == 2 * len(leaves)
        assert service.metric("answers_over") == 0
        assert (service.metric("crls_overdue"), service.metric("crls_over")) == (0, 0)
        assert service.metric("snapshot_age_seconds") < 600
        # Without its database it goes on, and says since when.
        published.database.close()
        for path in published.folder.glob("publication.db*"):
            path.rename(path.with_name(f"{path.name}.away"))
        for process in service.children("sync"):  # it has the file open
            os.kill(process, signal.SIGKILL)
        wait_until(lambda: service.metric("sync_age_seconds") >= 4)
        assert service.health()["status"] == "ok"
        assert ocsp.load_der_ocsp_response(post(published, request(published, leaves[0]))).serial_number
        assert get(f"{published.base}/healthz").json()["seconds_since_sync"] >= 3


@pytest.mark.slow
def test_a_rebuild_that_is_asked_for_serves_the_old_one_meanwhile(tmp_path: Path) -> None:
    with running(tmp_path) as (service, leaves):
        before = service.snapshot
    again = Service(service.published, tmp_path, rebuild=True)
    try:
        wait_until(lambda: again.snapshot != before)
        wait_until(lambda: post(again.published, request(again.published, leaves[0]))[:1] == b"\x30")
        wait_until(lambda: "built snapshot-" in again.log)
    finally:
        again.end()


def test_the_last_word_of_a_stale_node(tmp_path: Path) -> None:
    """``/healthz?fresh`` is for balancers that would rather have another node."""
    from sealwright.validation.counts import Counts
    from sealwright.validation.status import Status

    counts = Counts()
    counts.looked = int(time.time()) - 61
    status = Status(tmp_path)
    status.tell(counts=counts, workers=1, deaths=0, generation=tmp_path, rebuilding=False)
    assert status.health(time.time())["status"] == "stale"
    status.tell(counts=Counts(), workers=1, deaths=0, generation=None, rebuilding=True)
    assert status.health(time.time())["status"] == "empty"
