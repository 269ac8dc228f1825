"""What expires soon is told once: to a real web server and a real mail server, team by team, also after a restart."""

import json
import smtplib
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from office import Office, open_office
from sealwright.errors import InputError, StorageError, Unavailable
from sealwright.registration.config import MailConfig, NoticesConfig
from sealwright.registration.messengers import Mailer, Webhook, begin_notices
from sealwright.registration.notices import (
    Expiring,
    Notice,
    SentNotices,
    due_notices,
    expiring,
    send_due,
)
from sealwright.registration.projection import project_ledger
from sealwright.registration.revocations import submit_revocation
from sealwright.statements.revocations import RevocationOrder
from world import make_world

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
DAYS = (30, 14, 7, 1)


def notice(days: int = 7, team: str | None = "payments", key: str = "1f") -> Notice:
    return Notice(key, f"certificate {key}", team, NOW + timedelta(days=5), days)


@pytest.fixture
def web() -> Iterator[tuple[str, list[dict[str, Any]], list[int]]]:
    """A web server's URL, what it was told, and the statuses that it answers with (200 when there is none)."""
    told: list[dict[str, Any]] = []
    statuses: list[int] = []

    class Hook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = statuses.pop(0) if statuses else 200
            if status == 200:
                told.append(json.loads(body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/hook/s3cret-path", told, statuses
        server.shutdown()
        thread.join()


@pytest.fixture
def mail() -> Iterator[tuple[int, list[str]]]:
    """An SMTP server's port, and the mails it took: as much of RFC 5321 as a submission needs."""
    taken: list[str] = []

    class Session(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.say("220 test")
            while line := self.rfile.readline():
                verb = line.split()[0].upper().decode() if line.strip() else ""
                if verb == "DATA":
                    self.say("354 go on")
                    lines = []
                    while (text := self.rfile.readline()) not in (b".\r\n", b""):
                        lines.append(text.decode())
                    taken.append("".join(lines))
                    self.say("250 taken")
                elif verb == "QUIT":
                    self.say("221 bye")
                    return
                else:
                    self.say("250 yes")

        def say(self, line: str) -> None:
            self.wfile.write(f"{line}\r\n".encode())

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server.server_address[1], taken
        server.shutdown()
        thread.join()


def mailer(port: int) -> Mailer:
    to = {"payments": "payments@example.org", "*": "pki@example.org"}
    return Mailer("127.0.0.1", port, "ca@example.org", to, starttls=False)


@pytest.mark.parametrize(
    ("left", "wanted"),
    [
        (timedelta(days=31), None),
        (timedelta(days=30), 30),
        (timedelta(days=14, seconds=1), 30),
        (timedelta(days=14), 14),
        (timedelta(hours=1), 1),
        (timedelta(0), None),
        (timedelta(days=-1), None),
    ],
)
def test_the_smallest_threshold_that_was_passed_is_told(left: timedelta, wanted: int | None) -> None:
    notices = due_notices([Expiring("1f", "it", "payments", NOW + left)], DAYS, NOW)
    assert [each.days for each in notices] == ([] if wanted is None else [wanted])


def test_each_notice_goes_once_each_way_also_after_a_restart(web: Any, mail: Any, tmp_path: Path) -> None:
    url, told, _ = web
    port, taken = mail
    ways = (Webhook(url), mailer(port))
    notices = (notice(), notice(team="games", key="2f"), notice(team=None, key="roster-3"))
    for _ in range(3):
        assert send_due(notices, ways, SentNotices(tmp_path / "sent.json"), NOW) == {}
    assert [(each["team"], each["key"]) for each in told] == [("payments", "1f"), ("games", "2f"), (None, "roster-3")]
    assert told[0]["not_after"] == "2026-11-28T12:00:00Z"
    assert [line for each in taken for line in each.splitlines() if line.startswith("To: ")] == [
        "To: payments@example.org",
        "To: pki@example.org",
        "To: pki@example.org",
    ]
    assert "sealwright renew 1f" in taken[0]
    assert "renew" not in taken[2]
    # The next threshold is another notice.
    send_due((notice(days=1),), ways, SentNotices(tmp_path / "sent.json"), NOW)
    assert (len(told), len(taken)) == (4, 4)


def test_what_did_not_arrive_is_sent_again_and_the_other_way_goes_on(web: Any, mail: Any, tmp_path: Path) -> None:
    url, told, statuses = web
    port, taken = mail
    statuses.append(500)
    sent = SentNotices(tmp_path / "sent.json")
    failed = send_due((notice(),), (Webhook(url), mailer(port)), sent, NOW)
    assert failed == {"webhook": "the webhook answers 500"}
    assert (told, len(taken)) == ([], 1)
    assert send_due((notice(),), (Webhook(url), mailer(port)), sent, NOW) == {}
    assert (len(told), len(taken)) == (1, 1)


def test_a_webhooks_address_is_in_no_error_and_no_repr() -> None:
    with pytest.raises(Unavailable) as caught:
        Webhook("http://127.0.0.1:1/s3cret-path").send(notice())
    assert "s3cret" not in f"{caught.value} {caught.value.hint}"
    config = NoticesConfig(days=DAYS, state=Path("x"), webhook="http://127.0.0.1:1/s3cret-path")
    assert "s3cret" not in repr(config)


def test_a_mail_server_that_is_away_or_refuses_is_named() -> None:
    with pytest.raises(Unavailable, match="the mail server does not take it: ConnectionRefusedError"):
        mailer(1).send(notice())


def test_starttls_is_not_skipped(mail: Any) -> None:
    port, taken = mail
    with pytest.raises(Unavailable, match=smtplib.SMTPNotSupportedError.__name__):
        Mailer("127.0.0.1", port, "ca@example.org", {"*": "pki@example.org"}, starttls=True).send(notice())
    assert taken == []


def test_notices_of_no_team_need_an_address() -> None:
    with pytest.raises(InputError, match=r'has no "\*"'):
        Mailer("127.0.0.1", 25, "ca@example.org", {"payments": "p@example.org"}, starttls=False)
    assert MailConfig(server="a:25", sender="b", to={}, starttls=True).starttls


def test_a_state_that_cannot_be_read_is_named_and_not_taken_for_empty(tmp_path: Path) -> None:
    (tmp_path / "sent.json").write_text("{")
    with pytest.raises(StorageError, match=r"cannot read .*sent.json"):
        SentNotices(tmp_path / "sent.json")


def test_live_certificates_the_roster_and_the_ca_are_watched_and_revoked_ones_are_not(tmp_path: Path) -> None:
    with open_office(make_world(tmp_path / "w"), tmp_path) as office:
        _publish(office)
        first, second = _issue(office), _issue(office)
        project_ledger(office.registry)
        days = office.world.profile("code-signing").validity_days
        assert {each.key for each in expiring(office.registry, days - 1)} == {"root", "issuing", "roster-1"}
        found = {each.key: each.team for each in expiring(office.registry, days)}
        assert found == {"root": None, "issuing": None, "roster-1": None, first: "payments", second: "payments"}
        submit_revocation(office.registry, RevocationOrder(revocation=office.sign(office.world.revocation(first))))
        project_ledger(office.registry)
        assert first not in {each.key for each in expiring(office.registry, days)}


def _publish(office: Office) -> None:
    office.registry.signer.call("publish-roster", roster=office.sign(office.world.roster(), "olga", "omar").to_wire())
    project_ledger(office.registry)


def _issue(office: Office) -> str:
    answer = office.registry.signer.call("issue", order=office.world.order())
    from cryptography import x509

    from sealwright.statements.receipts import Receipt

    certificate = x509.load_der_x509_certificate(Receipt.parse(answer["receipt"]).certificate_der)
    return f"{certificate.serial_number:x}"


def test_a_registry_that_is_served_sends_what_its_configuration_asks_for(web: Any, tmp_path: Path) -> None:
    url, told, _ = web
    with open_office(make_world(tmp_path / "w"), tmp_path) as office:
        _publish(office)
        office.registry.config = replace(
            office.config, notices=NoticesConfig(days=(365_000,), state=tmp_path / "sent.json", webhook=url)
        )
        stop = threading.Event()
        thread = threading.Thread(target=begin_notices, args=(office.registry, stop))
        thread.start()
        for _ in range(500):
            if len(told) == 3:
                break
            stop.wait(0.01)
        stop.set()
        thread.join()
    assert sorted(each["key"] for each in told) == ["issuing", "root", "roster-1"]
    assert len(json.loads((tmp_path / "sent.json").read_text())) == 3
