"""The same of a CRL that is divided: each certificate by its own partition, by another one, and by the full list."""

import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

import verifiers
from doctable import read_columns
from online import Online, online
from published import get, present, wait_until
from sealwright.client.monitor.findings import Level
from sealwright.client.monitor.places import crl_path
from sealwright.client.monitor.watch import Watch, look
from stage import write_pem
from verifiers import GOOD, REFUSED, REVOKED, Said

pytestmark = pytest.mark.xdist_group("conformance")

COUNT = 2
_CRL_CLOCK = 90.0
"""The signer looks whether a list is due every 20 seconds, and may be busy when it does."""
DAY = timedelta(days=1)
OWN, OTHER, FULL = "its partition", "another partition", "the full list"
NAMES = tuple(f"{state}-{number}" for number in range(COUNT) for state in (GOOD, REVOKED))


class Divided:
    """``folder`` has NAME.pem of a good and a revoked certificate of each partition, and all CRLs as served."""

    def __init__(self, online: Online, folder: Path) -> None:
        self.online, self.folder = online, folder
        certificates: dict[str, x509.Certificate] = {}
        while len(certificates) < len(NAMES):  # which partition one gets is a matter of its serial
            leaf = online.issue()
            number = (crl_path(leaf) or "").removesuffix(".crl")[-1]
            free = [state for state in (GOOD, REVOKED) if f"{state}-{number}" not in certificates]
            if free:
                certificates[f"{free[0]}-{number}"] = leaf
        full = online.world.installed.crls / "issuing-1.crl"
        for number in range(COUNT):
            online.revoke(certificates[f"{REVOKED}-{number}"], reason="keyCompromise")
        online.time.behind = timedelta(0)  # a day has passed: the full list is made again, too
        wait_until(lambda: len(x509.load_der_x509_crl(full.read_bytes())) == COUNT, seconds=_CRL_CLOCK)
        served = {"issuing-1": COUNT, **{self.ca_id(number): 1 for number in range(COUNT)}}
        wait_until(lambda: self._serve() == served, seconds=_CRL_CLOCK)
        write_pem(online, folder, certificates)
        verifiers.fetch_crls(folder, online.base, "root-1", "issuing-1", *map(self.ca_id, range(COUNT)))
        pem = (folder / "root-1.crl.pem").read_bytes()
        for ca_id in ("issuing-1", *map(self.ca_id, range(COUNT))):
            (folder / f"{ca_id}.both.pem").write_bytes(pem + (folder / f"{ca_id}.crl.pem").read_bytes())

    def _serve(self) -> dict[str, int]:
        """How many entries each CRL of today has: presign takes one when it is the ledger's last."""
        self.online.publish()
        replies = {
            ca_id: get(f"{self.online.base}/crl/{ca_id}.crl") for ca_id in ("issuing-1", *map(self.ca_id, range(COUNT)))
        }
        crls = {name: x509.load_der_x509_crl(each.content) for name, each in replies.items() if each.status_code == 200}
        return {name: len(crl) for name, crl in crls.items() if present() - crl.last_update_utc < DAY}

    @staticmethod
    def ca_id(number: int) -> str:
        return f"issuing-1.p{COUNT}-{number}"

    def list_of(self, name: str, which: str) -> str:
        number = int(name[-1])
        return {OWN: self.ca_id(number), OTHER: self.ca_id(1 - number), FULL: "issuing-1"}[which]


@pytest.fixture(scope="module")
def divided(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Divided]:
    folder = tmp_path_factory.mktemp("divided")
    with online(folder / "online", age=3 * DAY, behind=2 * DAY, partitions=COUNT) as made:
        yield Divided(made, folder)


def openssl(scene: Divided, name: str, ca_id: str) -> Said:
    return verifiers.openssl_verify(scene.folder, name, crls=f"{ca_id}.both.pem")


def gnutls(scene: Divided, name: str, ca_id: str) -> Said:
    return verifiers.certtool_verify(scene.folder, name, crls=f"{ca_id}.both.pem")


def java(scene: Divided, name: str, ca_id: str) -> Said:
    return verifiers.java_paths(scene.folder, [name], method="crl", issuing_crl=f"{ca_id}.crl")[name]


def certvalidator(scene: Divided, name: str, ca_id: str) -> Said:
    crls = tuple((scene.folder / f"{each}.crl").read_bytes() for each in ("root-1", ca_id))
    return verifiers.certvalidator(scene.folder, name, crls=crls)


VERIFIERS = {"OpenSSL": openssl, "GnuTLS": gnutls, "Java": java, "certvalidator": certvalidator}


@pytest.mark.parametrize("verifier", VERIFIERS)
@pytest.mark.parametrize("which", [OWN, OTHER, FULL])
def test_each_verifier_says_of_each_list_what_the_table_says(divided: Divided, verifier: str, which: str) -> None:
    column = read_columns("list, state")[verifier]
    for name in NAMES:
        said = VERIFIERS[verifier](divided, name, divided.list_of(name, which))
        assert said.verdict == column[f"{which}, {name.partition('-')[0]}"], f"{name}: {said.text}"
        if said.verdict == REFUSED:  # for want of a CRL, and for nothing else
            assert re.search(r"different CRL scope|no revocation information", said.text), said.text


def test_nss_takes_the_full_list_and_no_partition(divided: Divided) -> None:
    verifiers.make_nss_database(divided.folder)
    assert "exit code 0" in verifiers.import_crls(divided.folder, "root-1")
    said = verifiers.import_crls(divided.folder, divided.ca_id(0))
    assert "exit code 0" not in said, said
    assert "critical extension" in said, said
    assert "exit code 0" in verifiers.import_crls(divided.folder, "issuing-1")
    for name in NAMES:
        assert verifiers.vfychain(divided.folder, name, method="crl").verdict == name.partition("-")[0]


@pytest.mark.parametrize("number", range(COUNT))
def test_gnutls_and_pkilint_find_no_fault_in_a_partition(divided: Divided, number: int) -> None:
    ca_id = divided.ca_id(number)
    said = verifiers.certtool_verify_crl(divided.folder, "issuing", ca_id)
    assert said.verdict == GOOD, said.text
    linted = verifiers.pkilint(divided.folder, "lint_crl", f"{ca_id}.crl", "-t", "CRL", "-p", "BR")
    assert linted.verdict == GOOD, linted.text


@pytest.mark.parametrize("name", NAMES)
def test_ocsp_says_the_same(divided: Divided, name: str) -> None:
    said = verifiers.openssl_ocsp(divided.folder, name, f"{divided.online.base}/ocsp")
    assert said.verdict == name.partition("-")[0], said.text


def test_a_partition_is_served_as_every_crl_is(divided: Divided) -> None:
    reply = get(f"{divided.online.base}/crl/{divided.ca_id(1)}.crl")
    assert reply.headers["content-type"] == "application/pkix-crl"
    assert reply.content == (divided.folder / f"{divided.ca_id(1)}.crl").read_bytes()
    assert x509.load_der_x509_crl(reply.content).public_bytes(Encoding.DER) == reply.content


def test_the_monitor_looks_at_every_list(divided: Divided, tmp_path: Path) -> None:
    made = divided.online
    watch = Watch(url=made.base, registry=made.registry, pki_id=made.world.pki, tls_ca=None, folder=tmp_path)
    report = look(watch, present())
    assert [each for each in report.findings if each.level is not Level.OK] == []
    paths = {each.subject for each in report.findings if each.check == "crl-ledger"}
    assert paths == {f"/crl/{each}.crl" for each in ("issuing-1", divided.ca_id(0), divided.ca_id(1))}
