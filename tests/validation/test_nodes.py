"""Several nodes, each with a snapshot of its own, agree on every answer; a cache in front honours our headers."""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from postgres import Cluster, running_cluster
from published import Published, free_port, get, make_published, serving, wait_until
from sealwright.bench.debian import need_programs
from sealwright.bench.load import nginx
from sealwright.bench.ocsp import documented_nginx
from sealwright.pki.ocsp import CertIDForm, cert_id
from sealwright.store.notices import Notices
from sealwright.store.roles import READER

GOOD, REVOKED = ocsp.OCSPCertStatus.GOOD, ocsp.OCSPCertStatus.REVOKED

NODE = """
import json, sys
from pathlib import Path
from sealwright.validation.config import ValidationConfig
from sealwright.validation.service import run_validation

given = json.loads(sys.argv[1])
run_validation(ValidationConfig(**{**given, "folder": Path(given["folder"]), "snapshot": Path(given["snapshot"])}))
"""


@contextmanager
def node(published: Published, publication: str, snapshot: Path, **options: object) -> Iterator[str]:
    """A node's base URL."""
    given = {
        "folder": str(published.folder),
        "publication": publication,
        "host": "127.0.0.1",
        "port": free_port(),
        "snapshot": str(snapshot),
        "workers": 1,
    }
    process = subprocess.Popen([sys.executable, "-W", "error", "-c", NODE, json.dumps(given | options)])
    try:
        url = f"http://127.0.0.1:{given['port']}"
        wait_until(lambda: get(f"{url}/healthz").status_code == 200, 40)
        yield url
    finally:
        process.terminate()
        assert process.wait(20) == 0


def request(published: Published, certificate: x509.Certificate) -> bytes:
    issuer = cert_id(CertIDForm.SHA1, published.pki.issuing)
    builder = ocsp.OCSPRequestBuilder().add_certificate_by_hash(*issuer, certificate.serial_number, hashes.SHA1())  # noqa: S303  # a CertID's
    return builder.build().public_bytes(Encoding.DER)


def status(base: str, published: Published, certificate: x509.Certificate) -> ocsp.OCSPCertStatus | None:
    """None when there is no answer."""
    answer = httpx.post(f"{base}/ocsp", content=request(published, certificate), trust_env=False, timeout=10)
    read = ocsp.load_der_ocsp_response(answer.content)
    return read.certificate_status if read.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL else None


@pytest.mark.slow
def test_three_nodes_agree_after_a_revocation_one_of_them_on_a_replica(tmp_path: Path) -> None:
    """Two follow the primary, one by notices alone; the third follows a streaming replica, which cannot listen."""
    with ExitStack() as resources:
        primary = resources.enter_context(running_cluster(fsync="off"))
        replica = Cluster.place(fsync="off")
        resources.callback(replica.remove)
        url = primary.new("publication")
        name = url.partition("?")[0].rpartition("/")[2]
        published = make_published(tmp_path, url)
        resources.callback(published.database.close)
        leaves = [published.publish(published.issue(label=f"{number}")) for number in range(3)]
        replica.follow(primary)
        nodes = [
            resources.enter_context(node(published, primary.url(name, READER), tmp_path / "one")),
            resources.enter_context(node(published, primary.url(name, READER), tmp_path / "two", poll_seconds=600.0)),
            resources.enter_context(node(published, replica.url(name, READER), tmp_path / "three")),
        ]
        for each in nodes:
            assert [status(each, published, leaf) for leaf in leaves] == [GOOD, GOOD, GOOD]
        published.revoke(leaves[0])
        begun = time.monotonic()
        wait_until(lambda: {status(each, published, leaves[0]) for each in nodes} == {REVOKED}, 60)
        print(f"three nodes agreed after {time.monotonic() - begun:.2f} s")
        # A node whose replica is cut off says what was true before, and how long ago that was; then it catches up.
        replica.stop()
        published.revoke(leaves[1])
        wait_until(lambda: {status(each, published, leaves[1]) for each in nodes[:2]} == {REVOKED}, 60)
        assert status(nodes[2], published, leaves[1]) is GOOD
        wait_until(lambda: get(f"{nodes[2]}/healthz").json()["seconds_since_sync"] >= 3)
        replica.start()
        wait_until(lambda: status(nodes[2], published, leaves[1]) is REVOKED, 60)
        answers = {
            httpx.post(f"{each}/ocsp", content=request(published, leaf), trust_env=False).content
            for each in nodes
            for leaf in leaves
        }
        assert len(answers) == len(leaves)  # octet for octet the same from each


def test_a_change_is_heard_when_it_is_committed(cluster: Cluster, tmp_path: Path) -> None:
    url = cluster.new("publication")
    name = url.partition("?")[0].rpartition("/")[2]
    published = make_published(tmp_path, url)
    notices = Notices(cluster.url(name, READER))
    (heard,) = notices.listen()
    notices.clear()
    assert not _is_readable(heard, 0.2)
    published.publish(published.issue())
    assert _is_readable(heard, 20.0)
    notices.clear()
    assert not _is_readable(heard, 0.2)
    notices.close()
    published.database.close()


def _is_readable(descriptor: int, seconds: float) -> bool:
    import select

    return bool(select.select([descriptor], [], [], seconds)[0])


def test_nobody_to_listen_to_is_no_fault(tmp_path: Path) -> None:
    for url in (f"sqlite:///{tmp_path}/x.db", "postgresql://nobody@127.0.0.1:1/nothing"):
        notices = Notices(url)
        assert notices.listen() == []
        notices.clear()
        notices.close()


@pytest.mark.slow
def test_nginx_in_front_as_documented(tmp_path: Path) -> None:
    """A GET is cached no longer than we say, a POST and an error never; a revocation is seen in time."""
    need_programs("nginx")
    published = make_published(tmp_path)
    leaf = published.publish(published.issue())
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    (tmp_path / "nginx").mkdir()
    tmp_path.chmod(0o755)
    with serving(published), nginx(tmp_path / "nginx", documented_nginx(tmp_path / "nginx", port, published.port)):
        wait_until(lambda: status(base, published, leaf) is GOOD)
        url = f"{base}/ocsp/{quote(base64.b64encode(request(published, leaf)).decode(), safe='')}"
        first, second = get(url), get(url)
        assert (first.headers["x-cache"], second.headers["x-cache"]) == ("MISS", "HIT")
        direct = get(url.replace(base, published.base))
        assert first.content == second.content == direct.content
        for name in ("content-type", "etag", "last-modified", "expires", "cache-control"):
            assert second.headers[name] == direct.headers[name]
        assert second.headers["date"] == first.headers["date"]  # its age can be counted
        assert "max-age=45" in second.headers["cache-control"]
        # By its ETag too.
        known = httpx.get(url, headers={"If-None-Match": first.headers["etag"]}, trust_env=False)
        assert (known.status_code, known.content) == (304, b"")
        # What may not be kept is not: errors, POSTs.
        nothing = f"{base}/ocsp/MEIw"
        assert [get(nothing).headers["x-cache"] for _ in range(2)] == ["MISS", "MISS"]
        published.revoke(leaf)
        wait_until(lambda: status(base, published, leaf) is REVOKED)  # at once, by POST
        odd = f"{base}/ocsp//{base64.b64encode(request(published, leaf)).decode()}"
        assert ocsp.load_der_ocsp_response(get(odd).content).certificate_status is REVOKED
        assert get(f"{base}/crl/issuing-1.crl").headers["x-cache"] == "MISS"
        assert httpx.post(f"{base}/ocsp", content=bytes(10_300), trust_env=False).status_code == 413
