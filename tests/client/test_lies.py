"""A registry that lies: whatever it says, this client believes only what the PKI id leads to.

``Liar`` stands before the real registry's answers and changes them on their way; all that is changed is marked so.
"""

import base64
import copy
import dataclasses
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from office import Office, free_server, ocsp_desk, open_office, serving
from sealwright.client import certificates
from sealwright.client.certificates import fetch_by_serial, fetch_certificate
from sealwright.client.config import ClientConfig
from sealwright.client.requests import examine
from sealwright.client.session import Sitting
from sealwright.client.signing import Pen
from sealwright.client.status import ask_status, check_answer, ocsp_url
from sealwright.client.transport import RegistryClient, error_of, printable
from sealwright.client.trust import check_identity, fetch_identity, refresh_trust
from sealwright.errors import AccessDenied, InputError, IntegrityError, PolicyViolation, SealwrightError, Unavailable
from sealwright.registration.decisions import decide
from sealwright.registration.receipts import find_receipt
from sealwright.registration.registry import system_clock
from sealwright.registration.requests import find_request, submit_request
from sealwright.registration.rosters import publish_roster
from world import make_world, wire_time

_DER = Encoding.DER
Lie = Callable[[str, dict[str, Any]], dict[str, Any]]


class Liar(RegistryClient):
    """NOT a registry: the real one's answers, changed by ``lie``."""

    lie: Lie = staticmethod(lambda path, answer: answer)

    def get(self, path: str, **query: Any) -> dict[str, Any]:
        return self.lie(path, copy.deepcopy(super().get(path, **query)))

    def get_public(self, path: str) -> dict[str, Any]:
        return self.lie(path, copy.deepcopy(super().get_public(path)))


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    world = make_world(folder / "world")
    world.clock = system_clock  # type: ignore[assignment]  # the client's clock is the machine's
    port = int(free_server().rpartition(":")[2])
    settings = world.folder / "ca/pki.toml"
    settings.write_text(settings.read_text().replace("http://pki.example.org", f"http://127.0.0.1:{port}", 1))
    with open_office(world, folder, free_server()) as office, serving(office.config), ocsp_desk(world, port):
        teams = [{"name": "payments", "projects": ["terminal", "terminal-2"]}, {"name": "games", "projects": ["chess"]}]
        publish_roster(office.registry, office.sign(office.world.roster(teams=teams), "olga", "omar"))
        yield office


@pytest.fixture
def sitting(office: Office, tmp_path: Path) -> Iterator[Sitting]:
    """bob's, at a registry that will lie when it is told to."""
    config = ClientConfig(
        server=office.config.url, pki_id=office.world.pki, person="bob", key=str(office.world.people["bob"].key_file)
    )
    pen = Pen(config)
    with Liar(config.server, login=pen.login) as registry:
        yield Sitting(tmp_path, config, registry, pen, fetch_identity(registry, config.pki_id, tmp_path))


@pytest.fixture
def issued(office: Office) -> tuple[str, str]:
    """id and serial of a certificate of alice's."""

    request = office.request()
    submit_request(office.registry, request)
    row = decide(office.registry, office.decision(request)).row
    return row.id, row.serial or ""


def told(sitting: Sitting, lie: Lie) -> Sitting:
    sitting.registry.lie = lie  # type: ignore[attr-defined]  # a Liar's
    return sitting


def refused(call: Callable[[], object], *kinds: type[SealwrightError]) -> SealwrightError:
    with pytest.raises(kinds) as caught:
        call()
    return caught.value


def test_the_truth_is_believed(sitting: Sitting, issued: tuple[str, str]) -> None:
    fetched = fetch_certificate(sitting, issued[0])
    assert fetched.serial == issued[1]
    assert ask_status(fetched.certificate, sitting.trust()).status == "good"


def test_another_anchor_is_refused(office: Office, tmp_path: Path) -> None:
    def lie(_: str, answer: dict[str, Any]) -> dict[str, Any]:
        answer["anchor"]["mode"] = "PRODUCTION"
        return answer

    with Liar(office.config.url) as registry:
        registry.lie = lie  # type: ignore[method-assign]
        error = refused(lambda: fetch_identity(registry, office.world.pki, tmp_path), IntegrityError)
    assert "ask an officer" in error.hint
    assert list(tmp_path.iterdir()) == []


def test_another_root_or_issuing_ca_is_refused(office: Office, tmp_path: Path) -> None:
    anchor = (office.world.folder / "anchor.json").read_bytes()
    root, issuing = ((office.world.folder / name).read_bytes() for name in ("root.pem", "issuing.pem"))
    pki = office.world.pki
    check_identity(anchor, root, issuing, pki)
    for parts in ((anchor, issuing, issuing), (anchor, root, root[:-60]), (anchor, root, b"")):
        refused(lambda parts=parts: check_identity(*parts, pki), IntegrityError)


def test_a_roster_with_one_more_person_is_refused(sitting: Sitting) -> None:
    def lie(path: str, answer: dict[str, Any]) -> dict[str, Any]:
        if path == "/v1/roster":
            answer["rosters"][0]["statement"]["people"][0]["roles"].append("approver")
        return answer

    refused(told(sitting, lie).trust, PolicyViolation)


def test_rosters_that_cannot_be_read_are_refused(sitting: Sitting) -> None:
    for answer in ({}, {"latest": 1, "rosters": [1]}, {"latest": "x", "rosters": []}, {"latest": 1, "rosters": None}):
        refused(told(sitting, lambda *_, answer=answer: dict(answer)).trust, InputError)


def suspensions(office: Office, statement: dict[str, Any]) -> Lie:
    said = {"roster": 1, "at": wire_time(office.world.clock()), "suspension": office.sign(statement).to_wire()}
    return lambda path, answer: {**answer, "suspensions": [said]} if path == "/v1/roster" else answer


def test_a_suspension_counts_for_this_client_when_an_officer_signed_it(sitting: Sitting, office: Office) -> None:
    lie = suspensions(office, office.world.suspension("alice"))
    assert told(sitting, lie).trust().roster.suspended == ("alice",)


def test_a_suspension_by_nobody_s_right_or_that_cannot_be_read_is_refused(sitting: Sitting, office: Office) -> None:
    refused(told(sitting, suspensions(office, office.world.suspension("alice", "bob"))).trust, PolicyViolation)
    for wrong in ([1], [{"roster": 1}], [{"roster": 1, "at": "x", "suspension": {}}]):
        lie: Lie = lambda _, answer, wrong=wrong: {**answer, "suspensions": wrong}  # noqa: E731  # a lie is one line
        refused(told(sitting, lie).trust, InputError)


def test_a_registry_without_its_rosters_is_not_believed_to_have_none(sitting: Sitting) -> None:
    sitting.trust()
    lie: Lie = lambda _, answer: {**answer, "latest": 0, "rosters": []}  # noqa: E731  # a lie is one line
    assert "already seen 1" in refused(told(sitting, lie).trust, IntegrityError).message


def test_an_edited_profile_is_refused_by_name(sitting: Sitting) -> None:
    def lie(path: str, answer: dict[str, Any]) -> dict[str, Any]:
        if path.endswith("code-signing.toml"):
            answer["text"] = answer["text"].replace("397", "460")
        return answer

    trust = sitting.trust()
    error = refused(lambda: told(sitting, lie).policy(trust), PolicyViolation)
    assert "profiles/code-signing.toml" in error.message


def test_another_request_than_the_one_asked_for_is_refused(sitting: Sitting, office: Office) -> None:

    mine, other = office.request(), office.request()
    for each in (mine, other):
        submit_request(office.registry, each)

    def swap(_: str, answer: dict[str, Any]) -> dict[str, Any]:
        return {**answer, "request": other.to_wire()} if "request" in answer else answer

    refused(lambda: examine(told(sitting, swap), mine.sha256), IntegrityError)

    def change(_: str, answer: dict[str, Any]) -> dict[str, Any]:
        if "request" in answer:
            answer["request"]["statement"]["csr"] = base64.b64encode(office.world.csr()).decode()
        return answer

    refused(lambda: examine(told(sitting, change), mine.sha256), IntegrityError)
    by_id = str(mine.statement["id"])
    error = refused(lambda: examine(told(sitting, change), by_id), PolicyViolation)
    assert isinstance(error, PolicyViolation)
    assert error.rule == "STMT-SIGNATURE"


@pytest.mark.parametrize("field", ["certificate", "issuer", "entry", "proof", "checkpoint", "entry_index"])
def test_a_receipt_with_anything_changed_is_refused(sitting: Sitting, issued: tuple[str, str], field: str) -> None:
    def lie(path: str, answer: dict[str, Any]) -> dict[str, Any]:
        if not path.startswith("/v1/receipts"):
            return answer
        value = answer[field]
        if isinstance(value, int):
            answer[field] = value - 1
        elif isinstance(value, list):
            answer[field] = value[:-1]
        elif field == "checkpoint":
            answer[field] = value.replace("\n", "1\n", 2)
        else:
            der = bytearray(base64.b64decode(value))
            der[len(der) // 2] ^= 1
            answer[field] = base64.b64encode(bytes(der)).decode()
        return answer

    refused(lambda: fetch_certificate(told(sitting, lie), issued[0]), IntegrityError, InputError)


def test_the_receipt_of_another_certificate_is_refused(
    sitting: Sitting, issued: tuple[str, str], office: Office
) -> None:

    request = office.request()
    submit_request(office.registry, request)
    decide(office.registry, office.decision(request))
    other = find_receipt(office.registry, request.sha256).to_wire()
    lie: Lie = lambda path, answer: other if path.startswith("/v1/receipts") else answer  # noqa: E731  # as above
    error = refused(lambda: fetch_certificate(told(sitting, lie), issued[0]), IntegrityError)
    assert "another key" in error.message


def test_an_older_certificate_of_the_same_key_is_not_taken_for_the_new_one(
    sitting: Sitting, issued: tuple[str, str], office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certificates, "CLOCK_SKEW", timedelta(0))
    csr = json.loads(find_request(office.registry, issued[0]).row.document)["statement"]["csr"]
    old = find_receipt(office.registry, issued[0]).to_wire()
    time.sleep(1.1)  # certificates are dated in whole seconds
    request = office.request(csr=csr)
    submit_request(office.registry, request)
    decide(office.registry, office.decision(request))
    assert fetch_certificate(sitting, request.sha256).serial != issued[1]
    lie: Lie = lambda path, answer: old if path.startswith("/v1/receipts") else answer  # noqa: E731  # as above
    error = refused(lambda: fetch_certificate(told(sitting, lie), request.sha256), IntegrityError)
    assert "older than the request" in error.message


def test_a_certificate_for_a_project_whose_name_begins_alike_is_refused(
    sitting: Sitting, office: Office, tmp_path: Path
) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    asked = {}
    for project in ("terminal", "terminal-2"):
        csr = base64.b64encode(office.world.csr(project=project, key=key)).decode()
        asked[project] = office.request(project=project, csr=csr)
        submit_request(office.registry, asked[project])
        decide(office.registry, office.decision(asked[project]))
    other = find_receipt(office.registry, asked["terminal-2"].sha256).to_wire()
    lie: Lie = lambda path, answer: other if path.startswith("/v1/receipts") else answer  # noqa: E731  # as above
    error = refused(lambda: fetch_certificate(told(sitting, lie), asked["terminal"].sha256), IntegrityError)
    assert "names https://pki.example.org/id/payments/terminal-2; the request was for" in error.message


def test_another_certificate_than_the_serials_is_refused(sitting: Sitting, issued: tuple[str, str]) -> None:
    der = base64.b64encode(sitting.identity.issuing.public_bytes(_DER))
    lie: Lie = lambda _, answer: {**answer, "certificate": der.decode()}  # noqa: E731  # as above
    refused(lambda: fetch_by_serial(told(sitting, lie), issued[1]), IntegrityError)
    refused(lambda: fetch_by_serial(told(sitting, lambda _, a: {**a, "certificate": ""}), issued[1]), IntegrityError)


def test_ocsp_answers_are_believed_only_from_the_rosters_responder(
    sitting: Sitting, issued: tuple[str, str], office: Office
) -> None:
    certificate, trust = fetch_certificate(sitting, issued[0]).certificate, sitting.trust()
    url = ocsp_url(certificate)
    request = ocsp.OCSPRequestBuilder().add_certificate(certificate, sitting.identity.issuing, hashes.SHA256()).build()
    good = httpx.post(url, content=request.public_bytes(_DER), trust_env=False).content
    assert check_answer(good, request, certificate, trust, url).status == "good"
    broken = bytearray(good)
    broken[good.index(b"\x80\x00") if b"\x80\x00" in good else 60] ^= 1
    other = ocsp.OCSPRequestBuilder().add_certificate(certificate, sitting.identity.root, hashes.SHA256()).build()
    for data, asked in ((bytes(broken), request), (b"", request), (b"garbage", request), (good, other)):
        refused(lambda data=data, asked=asked: check_answer(data, asked, certificate, trust, url), IntegrityError)
    unauthorized = ocsp.OCSPResponseBuilder.build_unsuccessful(ocsp.OCSPResponseStatus.UNAUTHORIZED)
    refused(lambda: check_answer(unauthorized.public_bytes(_DER), request, certificate, trust, url), Unavailable)
    forged = _forge(certificate, sitting.identity.issuing, office)
    refused(lambda: check_answer(forged, request, certificate, trust, url), IntegrityError)


def _forge(certificate: x509.Certificate, issuer: x509.Certificate, office: Office) -> bytes:
    """Signed by the issuing CA's own key: even that is not the responder which the roster names."""
    now = system_clock()
    built = ocsp.OCSPResponseBuilder().add_response(
        cert=certificate, issuer=issuer, algorithm=hashes.SHA256(), cert_status=ocsp.OCSPCertStatus.REVOKED,
        this_update=now, next_update=now + timedelta(days=1), revocation_time=now, revocation_reason=None,
    )  # fmt: skip
    signer = built.responder_id(ocsp.OCSPResponderEncoding.HASH, issuer).certificates([issuer])
    return signer.sign(office.world.keys["issuing"], hashes.SHA384()).public_bytes(_DER)  # type: ignore[arg-type]


def test_an_answer_that_is_no_json_is_one_clear_error(office: Office) -> None:
    with RegistryClient(office.config.url) as client:
        error = refused(lambda: client.get_public("/"), Unavailable)
    assert "registry" in error.hint


def test_a_problem_is_the_error_it_was() -> None:
    wire = {"type": "urn:sealwright:error:PolicyViolation", "detail": "no", "rule": "X-Y", "hint": "do"}
    error = error_of(403, wire)
    assert isinstance(error, PolicyViolation)
    assert (error.message, error.rule, error.hint, error.exit_code) == ("no", "X-Y", "do", 4)
    assert isinstance(error_of(401, {}), AccessDenied)
    assert type(error_of(500, {"type": "urn:sealwright:error:SystemExit"})) is SealwrightError
    assert type(error_of(500, {"type": "urn:sealwright:error:ClassVar"})) is SealwrightError


def test_the_registrys_words_cannot_rewrite_a_terminal() -> None:
    assert printable("a\x1b[2Jb\r\u202ec") == "a\ufffd[2Jb\ufffd\ufffdc"
    assert "\x1b" not in error_of(400, {"detail": "\x1b]0;x\x07"}).message


def test_a_login_is_signed_for_the_server_that_was_configured(office: Office, sitting: Sitting) -> None:
    asked: list[str] = []

    def pen(server: str, challenge: str) -> Any:
        asked.append(server)
        return sitting.pen.login(server, challenge)

    with RegistryClient(office.config.url, login=pen) as client:
        client.get("/v1/requests")
        client.get("/v1/requests")
    assert asked == [office.config.url]


def test_an_interrupted_refresh_leaves_a_roster_that_is_read_again(sitting: Sitting) -> None:
    sitting.trust()
    path = sitting.folder / "rosters.json"
    json.loads(path.read_text())
    path.write_text("[")
    refused(lambda: refresh_trust(sitting.registry, sitting.folder, sitting.identity), IntegrityError)


def test_off_plain_http_the_servers_tls_certificate_has_to_be_trusted(office: Office, tmp_path: Path) -> None:
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.pem"
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2")
    files = ("-keyout", key, "-out", certificate)
    new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    subprocess.run([*new, *subject, *files], check=True, capture_output=True)
    config = dataclasses.replace(office.config, url=free_server().replace("http:", "https:"))
    with serving(config, (certificate, key)):
        with RegistryClient(config.url, tls_ca=str(certificate)) as client:
            assert client.get_public("/v1/pki")["pki"] == office.world.pki
        with RegistryClient(config.url) as client:
            error = refused(lambda: client.get_public("/v1/pki"), Unavailable)
        assert "TLS certificate" in error.hint
    with pytest.raises(InputError, match="cannot read the CAs"):
        RegistryClient(config.url, tls_ca=str(tmp_path / "nothing"))
