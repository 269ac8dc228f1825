"""What the root says of its issuing CA reaches verifiers: ceremony, import, presign, validation, and other people's
programs. Good, then revoked, and never back."""

import base64
import dataclasses
import threading
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from ceremonies import Domain
from published import Published, free_port, serving, wait_until
from sealwright.ceremony.answers import parse_answers
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.record import CeremonyRecord
from sealwright.ceremony.script import Kind
from sealwright.ceremony.sitting import rehearse
from sealwright.cli.daemon.options import presign_config
from sealwright.errors import PolicyViolation
from sealwright.installation.bridge import import_record
from sealwright.installation.config import load_config
from sealwright.installation.install import Installation, install
from sealwright.publication.presign import run_presign
from sealwright.store.migrations import upgrade
from sealwright.store.publication import Publication, open_publication
from verifiers import GOOD, REFUSED, REVOKED, Said, java_root_tier, ocsptool, openssl_ocsp, openssl_ocsp_get, pkilint

pytestmark = [pytest.mark.xdist_group("ceremony"), pytest.mark.slow]

UNAUTHORIZED = ocsp.OCSPResponseStatus.UNAUTHORIZED
FORMS = {"sha1": hashes.SHA1(), "sha256": hashes.SHA256()}  # noqa: S303  # a CertID's name for an issuer


@dataclass
class Served:
    """``installed`` is served at ``url``. ``files``: root.pem, issuing.pem, chain.pem for the verifiers."""

    installed: Path
    files: Path
    url: str
    database: Publication
    issuing: x509.Certificate
    root: x509.Certificate

    def ask(self, form: str) -> ocsp.OCSPResponse:
        return ocsp.load_der_ocsp_response(self.fetch(form))

    def fetch(self, form: str) -> bytes:
        request = ocsp.OCSPRequestBuilder().add_certificate(self.issuing, self.root, FORMS[form]).build()
        encoded = urllib.parse.quote(base64.b64encode(request.public_bytes(Encoding.DER)).decode(), safe="")
        reply = httpx.get(f"{self.url}/{encoded}", trust_env=False)
        assert reply.status_code == 200
        return reply.content

    def says(self, status: str) -> bool:
        """Both forms."""
        return all(
            answer.response_status is ocsp.OCSPResponseStatus.SUCCESSFUL and answer.certificate_status.name == status
            for answer in map(self.ask, FORMS)
        )

    def verdicts(self) -> dict[str, Said]:
        """Of every verifier, by every way."""
        said = {
            f"openssl POST {form}": openssl_ocsp(self.files, "issuing", self.url, digest=form, issuer="root")
            for form in FORMS
        }
        for form in FORMS:
            said[f"openssl GET {form}"] = openssl_ocsp_get(self.files, "issuing", self.url, digest=form, issuer="root")
        said["gnutls"] = ocsptool(self.files, "issuing", self.url, issuer="root")
        said["java"] = java_root_tier(self.files, self.url)
        return said

    def lint(self) -> dict[str, str]:
        found = {}
        for form in FORMS:
            (self.files / f"{form}.der").write_bytes(self.fetch(form))
            found[form] = pkilint(self.files, "lint_ocsp_response", f"{form}.der").verdict
        return found


@pytest.fixture
def good(domain: Domain, tmp_path: Path) -> CeremonyRecord:
    """Held after root-crl, when the issuing CA was alive."""
    return hold(domain, tmp_path / "good", Kind.ROOT_CRL)


@pytest.fixture
def revoked(good: CeremonyRecord, domain: Domain, tmp_path: Path) -> CeremonyRecord:
    """Held after that, and after revoke-issuing-ca."""
    return hold(domain, tmp_path / "revoked", Kind.REVOKE_ISSUING_CA)


def hold(domain: Domain, folder: Path, after: Kind) -> CeremonyRecord:
    records = [domain.record(each) for each in (Kind.ROOT_GENESIS, after)]
    new_folder(Kind.OCSP_DELEGATE, folder, ca=domain.ca, records=records, site=domain.site)
    prepare(folder, at=utc_now(), previous=records[-1])
    return rehearse(folder, unattended=True)


@pytest.fixture
def served(domain: Domain, tmp_path: Path) -> Iterator[Served]:
    """Installed from the ceremonies, with presign and validation running, and the root's second CRL imported."""
    folder = tmp_path / "pki"
    install(
        Installation(
            genesis=domain.record(Kind.ROOT_GENESIS),
            records=[domain.record(kind) for kind in (Kind.ISSUING_KEY, Kind.ISSUING_CA)],
            ca=domain.ca,
            folder=folder,
            module=domain.softhsm.module_path,
            environment={},
            pins={name: domain.pin_file(name) for name in ("issuing", "ocsp", "ledger")},
            registry_listen="127.0.0.1:1",
            registry_url="http://127.0.0.1:1",
            validation_listen="127.0.0.1:2",
            rehearsal=True,
        )
    )
    import_record(folder, domain.records[Kind.ROOT_CRL], utc_now())
    config = dataclasses.replace(presign_config(folder, load_config(folder)), poll_seconds=0.05)
    upgrade("publication", config.publication)
    root, issuing = (
        x509.load_pem_x509_certificate((folder / f"{name}.pem").read_bytes()) for name in ("root", "issuing")
    )
    for name, parts in {"root": [root], "issuing": [issuing], "chain": [issuing, root]}.items():
        (tmp_path / f"{name}.pem").write_bytes(b"".join(each.public_bytes(Encoding.PEM) for each in parts))
    stop, failed = threading.Event(), []

    def presign() -> None:
        try:
            run_presign(config, stop=stop)
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=presign)
    thread.start()
    database = open_publication(config.publication)
    port = free_port()
    published = Published(folder, port, None, config.publication, database, None)  # type: ignore[arg-type]  # neither is asked
    try:
        with serving(published):
            yield Served(folder, tmp_path, f"http://127.0.0.1:{port}/ocsp", database, issuing, root)
    finally:
        stop.set()
        thread.join(20)
        database.close()
    assert failed == []


def test_verifiers_hear_good_then_nothing_then_revoked_and_never_good_again(
    domain: Domain, good: CeremonyRecord, revoked: CeremonyRecord, served: Served
) -> None:
    folder = served.installed
    assert served.ask("sha1").response_status is UNAUTHORIZED

    import_record(folder, good, utc_now())
    wait_until(lambda: served.says("GOOD"))
    verdicts = served.verdicts()
    assert {name: said.verdict for name, said in verdicts.items()} == dict.fromkeys(verdicts, GOOD), verdicts
    assert served.lint() == dict.fromkeys(FORMS, GOOD)

    # Answers that say revoked have to wait for the CRL that does.
    with pytest.raises(PolicyViolation, match="IMPORT-STATUS"):
        import_record(folder, revoked, utc_now())
    (done,) = import_record(folder, domain.records[Kind.REVOKE_ISSUING_CA], utc_now())
    assert "2 OCSP answers that said good are withdrawn" in done.what
    wait_until(lambda: all(served.ask(form).response_status is UNAUTHORIZED for form in FORMS))
    assert {name: said for name, said in served.verdicts().items() if said.verdict != REFUSED} == {}
    with pytest.raises(PolicyViolation, match="IMPORT-STATUS"):
        import_record(folder, good, utc_now())

    import_record(folder, revoked, utc_now())
    wait_until(lambda: served.says("REVOKED"))
    verdicts = served.verdicts()
    assert {name: said.verdict for name, said in verdicts.items()} == dict.fromkeys(verdicts, REVOKED), verdicts
    assert "CA_COMPROMISE" in verdicts["java"].text
    assert "cACompromise" in verdicts["openssl POST sha1"].text
    assert served.lint() == dict.fromkeys(FORMS, GOOD)

    # Laid there by hand, past the import: presign refuses it, and nothing changes.
    for number, each in enumerate(parse_answers(good.read("answers.json"))):
        (folder / f"answers/old-{number}.der").write_bytes(each.data)
    _, change = served.database.state()
    (folder / "answers/last.der").write_bytes(parse_answers(revoked.read("answers.json"))[0].data)
    wait_until(lambda: served.database.state()[1] > change)  # presign has looked at all of them
    assert served.says("REVOKED")
