"""``sealwright monitor`` at a whole PKI that runs: all is well, and then each thing that it watches for, provoked.

``front`` stands before validation, ``desk`` before the registry: they hand on the truth, or what a test has them say.
"""

import io
import json
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from front import Front, Said, front_of
from office import free_server
from online import Online, online
from published import present
from sealwright.cli.edge import _run
from sealwright.cli.team import app
from sealwright.client.monitor.findings import CHECKS, Level, Report
from sealwright.client.monitor.prometheus import format_report
from sealwright.client.monitor.seen import only_look
from sealwright.client.monitor.watch import Watch, look
from sealwright.errors import Conflict, InputError, IntegrityError, Unavailable
from sealwright.ledger.bundles import encode_entry
from sealwright.ledger.checkpoint import sign_checkpoint
from sealwright.ledger.reader import LedgerReader
from sealwright.ledger.tree import MerkleTree, leaf_hash
from sealwright.pki.crl import RevocationEntry, RevocationReason, draft_crl, lint_crl, sign_crl
from sealwright.pki.ocsp import (
    AnswerTemplate,
    CertIDForm,
    CertificateStatus,
    draft_ocsp_answer,
    lint_ocsp_answer,
    sign_ocsp_answer,
)
from sealwright.pki.serials import SerialNumber, format_serial, new_serial
from softpki import soft_pki
from world import CHECKOUT

OCSP_TYPE, CRL_TYPE = "application/ocsp-response", "application/pkix-crl"
CRL = "/crl/issuing-1.crl"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass
class Scene:
    online: Online
    front: Front
    desk: Front
    good: x509.Certificate
    revoked: x509.Certificate

    def watch(self, folder: Path, **changes: Any) -> Watch:
        fields: dict[str, Any] = {
            "url": self.front.url,
            "pki_id": self.online.world.pki,
            "registry": self.desk.url,
            "tls_ca": None,
            "folder": folder,
            "grace": timedelta(0),
            "patience": 0.0,
        }
        return Watch(**(fields | changes))

    def crl(self, *, number: int, this_update: datetime, days: float = 7, entries: Any = (), pki: Any = None) -> bytes:
        """By the issuing CA's own key, or that of another ``pki``."""
        pki = pki or self.online.pki
        draft = draft_crl(
            issuer=pki.issuing_record,
            number=number,
            this_update=this_update,
            next_update=this_update + timedelta(days=days),
            entries=entries,
            expired_certs_since=pki.issuing.not_valid_before_utc,
        )
        return sign_crl(lint_crl(draft), pki.issuing_key).public_bytes(Encoding.DER)

    def true_entry(self) -> RevocationEntry:
        """What the ledger says of the one that is revoked."""
        date = self.online.ask(self.revoked).revocation_time_utc
        assert date is not None
        return RevocationEntry(SerialNumber(self.revoked.serial_number), date, RevocationReason.KEY_COMPROMISE)

    def answer(
        self, certificate: x509.Certificate, form: CertIDForm, *, revoked: Any, this_update: datetime, hours: float = 48
    ) -> bytes:
        """By the responder's own key."""
        responder = ocsp.load_der_ocsp_response(self.online.ask(self.good).public_bytes(Encoding.DER)).certificates[0]
        draft = draft_ocsp_answer(
            AnswerTemplate.of(self.online.pki.issuing, responder),
            form,
            CertificateStatus(SerialNumber(certificate.serial_number), revoked),
            this_update=this_update,
            next_update=this_update + timedelta(hours=hours),
            archive_cutoff=this_update - timedelta(days=3650),
        )
        return sign_ocsp_answer(lint_ocsp_answer(draft), self.online.world.keys["ocsp"])

    def lie_of(self, certificate: x509.Certificate, **said: Any) -> Callable[[str, bytes, Said], Said]:
        """Only what is asked by POST, with SHA-256, for this certificate."""

        def lie(_path: str, body: bytes, truth: Said) -> Said:
            if not body or ocsp.load_der_ocsp_request(body).serial_number != certificate.serial_number:
                return truth
            return 200, OCSP_TYPE, self.answer(certificate, CertIDForm.SHA256, **said)

        return lie


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with ExitStack() as resources:
        made = resources.enter_context(online(tmp_path_factory.mktemp("whole"), age=30 * DAY))
        good, revoked = made.issue(), made.issue()
        made.revoke(revoked, since=present() - timedelta(minutes=5), reason="keyCompromise")
        made.publish()
        front = resources.enter_context(front_of(made.base))
        desk = resources.enter_context(front_of(made.registry))
        yield Scene(made, front, desk, good, revoked)


@pytest.fixture
def scene(whole: Scene) -> Iterator[Scene]:
    yield whole
    whole.front.lies.clear()
    whole.desk.lies.clear()


def said(report: Report, check: str) -> list[str]:
    """Of those that are not ok."""
    return [each.text for each in report.findings if each.check == check and each.level]


def only(report: Report, level: Level, *checks: str) -> str:
    """These checks are at this level, and all others are well. What they say."""
    assert {each.check: each.level for each in report.findings if each.level} == dict.fromkeys(checks, level)
    return " | ".join(each.text for each in report.findings if each.level)


def test_all_is_well_and_every_check_was_made(scene: Scene, tmp_path: Path) -> None:
    report = look(scene.watch(tmp_path, patience=15.0), present())
    assert report.level is Level.OK, report.findings
    assert {each.check for each in report.findings} == set(CHECKS)
    again = look(scene.watch(tmp_path), present())
    assert again.level is Level.OK, again.findings
    assert "goes on from" in next(each.text for each in again.findings if each.check == "ledger-rollback")
    assert any(path.startswith("GET /ocsp/") for path in scene.front.asked)
    assert "POST /ocsp" in scene.front.asked


@pytest.fixture
def looked(scene: Scene, tmp_path: Path) -> Watch:
    """After a first look at which all was well."""
    watch = scene.watch(tmp_path)
    assert look(replace(watch, patience=15.0), present()).level is Level.OK
    return watch


# CA certificates and CRLs


def test_another_ca_certificate_is_an_alarm(scene: Scene, looked: Watch) -> None:
    other = soft_pki(label="other").issuing.public_bytes(Encoding.DER)
    scene.front.lies["/ca/issuing-1.cer"] = (200, "application/pkix-cert", other)
    assert "not this PKI's" in only(look(looked, present()), Level.ALARM, "ca-certificate")


@pytest.mark.parametrize(
    ("reply", "text"),
    [((404, "text/plain", b""), "answers 404"), ((200, "text/html", b"<p>hello"), "answers with text/html")],
    ids=["404", "another type"],
)
def test_a_crl_that_is_not_there_is_an_alarm(scene: Scene, looked: Watch, reply: Said, text: str) -> None:
    scene.front.lies[CRL] = reply
    assert text in only(look(looked, present()), Level.ALARM, "crl-reachable")


def test_a_crl_of_another_key_is_an_alarm(scene: Scene, looked: Watch) -> None:
    other = scene.crl(number=9, this_update=present(), pki=soft_pki(label="other"))
    for data in (other, b"\x30\x00"):
        scene.front.lies[CRL] = (200, CRL_TYPE, data)
        only(look(looked, present()), Level.ALARM, "crl-signature")


@pytest.mark.parametrize(
    ("age", "days", "level", "text"),
    [
        (8 * DAY, 7, Level.ALARM, "it is over"),
        (-HOUR, 7, Level.ALARM, "not valid yet"),
        (6 * DAY, 7, Level.WARNING, "less than a quarter"),
        (26 * HOUR, 7, Level.WARNING, "older than 1 day"),
        (24 * HOUR, 7, None, ""),
    ],
)
def test_a_crl_that_is_not_fresh_is_told(
    scene: Scene, tmp_path: Path, age: timedelta, days: int, level: Level | None, text: str
) -> None:
    scene.front.lies[CRL] = (200, CRL_TYPE, scene.crl(number=77, this_update=present() - age, days=days))
    report = look(scene.watch(tmp_path), present())
    found = [(each.level, each.text) for each in report.findings if each.check == "crl-fresh" and each.level]
    assert [each for each, _ in found] == ([level] if level else [])
    assert all(text in each for _, each in found)


def test_an_older_crl_is_an_alarm_until_the_newer_one_is_back(scene: Scene, looked: Watch) -> None:
    older = scene.crl(number=1, this_update=present() - 2 * HOUR)
    scene.front.lies[CRL] = (200, CRL_TYPE, older)
    for _ in range(2):
        assert "was served before" in " ".join(said(look(looked, present()), "crl-rollback"))
    scene.front.lies.clear()
    assert look(looked, present()).level is Level.OK


def test_two_crls_of_one_number_are_an_alarm(scene: Scene, looked: Watch) -> None:
    truth = x509.load_der_x509_crl(scene.online.world.installed.crls.joinpath("issuing-1.crl").read_bytes())
    number = truth.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    twin = scene.crl(number=number, this_update=truth.last_update_utc, entries=())
    scene.front.lies[CRL] = (200, CRL_TYPE, twin)
    assert "was another CRL before" in " ".join(said(look(looked, present()), "crl-rollback"))


def test_a_crl_that_the_ledger_does_not_have_is_an_alarm(scene: Scene, looked: Watch) -> None:
    scene.front.lies[CRL] = (200, CRL_TYPE, scene.crl(number=99, this_update=present(), entries=[scene.true_entry()]))
    text = only(look(looked, present()), Level.ALARM, "crl-ledger")
    assert text == "the ledger has no such CRL: the issuing key signed it elsewhere"


def test_a_crl_with_less_more_or_else_than_the_ledger_is_an_alarm(scene: Scene, tmp_path: Path) -> None:
    serial, stranger = SerialNumber(scene.revoked.serial_number), new_serial()
    kept = scene.true_entry()
    cases = {
        f"it does not list serial {format_serial(serial)}": (),
        f"it lists serial {format_serial(stranger)}, which the ledger has not revoked": (
            kept,
            RevocationEntry(stranger, present(), None),
        ),
        f"serial {format_serial(serial)} is revoked from .*, superseded; the ledger says .*, keyCompromise": (
            replace(kept, reason=RevocationReason.SUPERSEDED),
        ),
    }
    for number, (text, entries) in enumerate(cases.items(), 100):
        scene.front.lies[CRL] = (200, CRL_TYPE, scene.crl(number=number, this_update=present(), entries=entries))
        (found,) = said(look(scene.watch(tmp_path), present()), "crl-ledger")
        assert re.search(text, found), found


def test_a_revocation_that_is_on_its_way_is_no_alarm_and_one_that_never_comes_is(scene: Scene, tmp_path: Path) -> None:
    scene.front.lies[CRL] = (200, CRL_TYPE, scene.crl(number=200, this_update=present(), entries=()))
    scene.front.lies["/ocsp"] = scene.lie_of(scene.revoked, revoked=None, this_update=present())
    patient = look(scene.watch(tmp_path / "a", grace=HOUR), present())
    assert said(patient, "crl-ledger") == ["the ledger has no such CRL: the issuing key signed it elsewhere"]
    assert said(patient, "ocsp-ledger") == []
    late = look(scene.watch(tmp_path / "b"), present())
    assert any("it does not list" in each for each in said(late, "crl-ledger"))
    assert any("it is good; the ledger says revoked" in each for each in said(late, "ocsp-ledger"))


# OCSP


def test_a_responder_that_does_not_answer_is_an_alarm(scene: Scene, looked: Watch) -> None:
    later = present() + 10 * 60 * timedelta(seconds=1)  # by then an answer is owed for what is new now
    for reply in ((503, "text/plain", b""), (200, OCSP_TYPE, bytes.fromhex("30030a0103"))):
        scene.front.lies["/ocsp"] = reply
        report = look(looked, later)
        assert any("answers" in each for each in said(report, "ocsp-reachable"))
        assert report.level is Level.ALARM


def test_an_answer_that_the_responder_did_not_sign_is_an_alarm(scene: Scene, looked: Watch) -> None:
    def break_it(_path: str, _body: bytes, truth: Said) -> Said:
        return (
            truth
            if len(truth[2]) < 50
            else (*truth[:2], truth[2].replace(b"\x82\x00\x18\x0f20", b"\x82\x00\x18\x0f19"))
        )

    def other(_path: str, _body: bytes, truth: Said) -> Said:
        return truth if len(truth[2]) < 50 else (*truth[:2], swapped)

    swapped = scene.answer(scene.good, CertIDForm.SHA256, revoked=None, this_update=present())
    broken = bytearray(swapped)
    broken[-1] ^= 1
    scene.front.lies["/ocsp"] = other
    assert any("another certificate" in each for each in said(look(looked, present()), "ocsp-signature"))
    swapped = bytes(broken)
    assert said(look(looked, present()), "ocsp-signature")


@pytest.mark.parametrize(
    ("age", "hours", "level", "text"),
    [
        (49 * HOUR, 48, Level.ALARM, "it is over"),
        (-HOUR, 48, Level.ALARM, "not valid yet"),
        (40 * HOUR, 48, Level.WARNING, "less than a quarter"),
    ],
)
def test_an_answer_that_is_not_fresh_is_told(
    scene: Scene, tmp_path: Path, age: timedelta, hours: float, level: Level, text: str
) -> None:
    if age > timedelta(0):  # the responder's certificate is younger: the look is later instead
        now, begin = present() + age, present()
    else:
        now, begin = present(), present() - age
    scene.front.lies["/ocsp"] = scene.lie_of(scene.good, revoked=None, this_update=begin, hours=hours)
    found = [each for each in look(scene.watch(tmp_path), now).findings if each.check == "ocsp-fresh"]
    assert (level, True) in {(each.level, text in each.text) for each in found}


def test_an_answer_that_went_from_revoked_to_good_is_an_alarm(scene: Scene, looked: Watch) -> None:
    scene.front.lies["/ocsp"] = scene.lie_of(scene.revoked, revoked=None, this_update=present())
    for _ in range(2):
        report = look(looked, present())
        assert said(report, "ocsp-rollback") == ["it was revoked, and is good now"]
        assert said(report, "ocsp-ledger")


def test_an_answer_older_than_one_before_is_an_alarm(scene: Scene, tmp_path: Path) -> None:
    scene.front.lies["/ocsp"] = scene.lie_of(scene.good, revoked=None, this_update=present() + HOUR)
    look(scene.watch(tmp_path), present())
    scene.front.lies.clear()
    assert any("was served before" in each for each in said(look(scene.watch(tmp_path), present()), "ocsp-rollback"))


def test_an_answer_with_another_date_than_the_ledger_s_is_an_alarm(scene: Scene, looked: Watch) -> None:
    entry = RevocationEntry(SerialNumber(scene.revoked.serial_number), present(), RevocationReason.KEY_COMPROMISE)
    scene.front.lies["/ocsp"] = scene.lie_of(scene.revoked, revoked=entry, this_update=present())
    text = only(look(looked, present()), Level.ALARM, "ocsp-ledger")
    assert re.fullmatch(r"it is revoked from .*, keyCompromise; the ledger says revoked from .*, keyCompromise", text)


def test_an_answer_for_a_serial_that_was_never_issued_is_an_alarm(scene: Scene, looked: Watch) -> None:
    def good(_path: str, body: bytes, truth: Said) -> Said:
        if truth[2] != bytes.fromhex("30030a0106"):
            return truth
        return 200, OCSP_TYPE, scene.answer(scene.good, CertIDForm.SHA256, revoked=None, this_update=present())

    scene.front.lies["/ocsp"] = good
    assert "wanted unauthorized" in only(look(looked, present()), Level.ALARM, "ocsp-unissued")


# the ledger


def test_a_ledger_that_was_set_back_is_an_alarm_and_the_copy_is_kept(scene: Scene, looked: Watch) -> None:
    world = scene.online.world
    reader = LedgerReader(world.installed.ledger, world.installed.anchor.ledger_origin, world.installed.ledger_key)
    entries = list(reader.iterate(0))[:-3]
    tree = MerkleTree()
    for entry in entries:
        tree.append(leaf_hash(entry))
    note = sign_checkpoint(world.installed.anchor.ledger_origin, len(entries), tree.root(), world.ledger_key)
    scene.desk.lies["/tlog/checkpoint"] = (200, "text/plain", note.encode())
    for _ in range(2):
        text = only(look(looked, present()), Level.ALARM, "ledger-rollback")
        assert f"it shows {len(entries)} entries; {reader.size} were there before" in text


def test_a_ledger_with_another_past_is_an_alarm(scene: Scene, looked: Watch) -> None:
    """Signed by the ledger key itself: whoever holds it shows different ledgers to different people."""
    world = scene.online.world
    reader = LedgerReader(world.installed.ledger, world.installed.anchor.ledger_origin, world.installed.ledger_key)
    entries = list(reader.iterate(0))
    entries = [*entries[:-2], entries[-1], entries[-2], entries[0]]
    tree = MerkleTree()
    for entry in entries:
        tree.append(leaf_hash(entry))
    size = len(entries)
    note = sign_checkpoint(world.installed.anchor.ledger_origin, size, tree.root(), world.ledger_key)
    scene.desk.lies["/tlog/checkpoint"] = (200, "text/plain", note.encode())
    kind = "application/octet-stream"
    scene.desk.lies[f"/tlog/tile/entries/000.p/{size}"] = (200, kind, b"".join(map(encode_entry, entries)))
    scene.desk.lies[f"/tlog/tile/0/000.p/{size}"] = (200, kind, tree.hashes(0, 0, size))
    text = " ".join(said(look(looked, present()), "ledger-rollback"))
    assert "entries are not those of the last look" in text


def test_a_checkpoint_of_another_key_is_an_alarm(scene: Scene, looked: Watch) -> None:
    def forge(_path: str, _body: bytes, truth: Said) -> Said:
        return (*truth[:2], truth[2].replace(b"\n", b"0\n", 2).replace(b"0\n", b"\n", 1))

    scene.desk.lies["/tlog/checkpoint"] = forge
    report = look(looked, present())
    assert report.level is not Level.OK


def test_with_the_registry_away_the_last_ledger_is_judged_by(scene: Scene, looked: Watch) -> None:
    away = replace(looked, registry=free_server())
    assert "going on with the copy" in only(look(away, present()), Level.WARNING, "ledger-reachable")
    scene.front.lies["/ocsp"] = scene.lie_of(scene.revoked, revoked=None, this_update=present())
    assert said(look(away, present()), "ocsp-rollback")


def test_a_first_look_needs_the_registry(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(Unavailable):
        look(scene.watch(tmp_path, registry=free_server()), present())


def test_another_pki_is_no_finding_but_refused(scene: Scene, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="this is the PKI"):
        look(scene.watch(tmp_path, pki_id="0" * 64), present())


# what ends soon


@pytest.mark.parametrize(
    ("later", "changes", "level", "check", "text"),
    [
        (70 * DAY, {}, Level.WARNING, "roster-expiry", "roster 1"),
        (81 * DAY, {}, Level.ALARM, "roster-expiry", "nothing is issued"),
        (12 * DAY, {}, Level.WARNING, "responder-expiry", "was not renewed"),
        (timedelta(0), {"expiry": 400 * DAY}, Level.WARNING, "certificate-expiry", "terminal"),
        (timedelta(days=365 * 14 + 200), {}, Level.WARNING, "ca-expiry", "Code Signing CA 1"),
        (timedelta(days=365 * 16), {}, Level.ALARM, "ca-expiry", "expired"),
    ],
)
def test_what_ends_soon_is_told(
    scene: Scene, tmp_path: Path, later: timedelta, changes: dict[str, Any], level: Level, check: str, text: str
) -> None:
    report = look(scene.watch(tmp_path, **changes), present() + later)
    found = [each for each in report.findings if each.check == check and each.level is level]
    assert any(text in f"{each.subject} {each.text}" for each in found), report.findings


# the state, and the command


def test_a_state_that_cannot_be_read_is_refused(scene: Scene, looked: Watch) -> None:
    (looked.folder / "seen.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        look(looked, present())
    (looked.folder / "seen.json").write_text('{"more": 1}')
    with pytest.raises(InputError, match="more"):
        look(looked, present())


def test_one_look_at_a_time(scene: Scene, tmp_path: Path) -> None:
    with only_look(tmp_path), pytest.raises(Conflict, match="another `sealwright monitor`"):
        look(scene.watch(tmp_path), present())


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("SEALWRIGHT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("sys.stdin", io.StringIO())

    def command(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = _run(app, [str(each) for each in arguments])
        out = capsys.readouterr()
        return code, out.out, out.err

    return command


def test_the_command_says_how_it_is_by_its_exit_code(scene: Scene, run: Run, tmp_path: Path) -> None:
    pinned = ("--registry", scene.desk.url, "--pki-id", scene.online.world.pki)
    code, out, err = run("monitor", scene.front.url, *pinned)
    assert (code, out.splitlines()[-1]) == (0, f"{scene.front.url}: ok"), err
    assert run("monitor", scene.front.url, *pinned, "--quiet")[:2] == (0, "")
    code, out, _ = run("monitor", scene.front.url, *pinned, "--expiry-days", 400, "--quiet")
    assert (code, out.splitlines()[0].split()[:2]) == (20, ["WARNING", "certificate-expiry"])
    scene.front.lies[CRL] = (404, "text/plain", b"")
    file = tmp_path / "out/monitor.prom"
    code, out, _ = run("monitor", scene.front.url, *pinned, "--json", "--prometheus", file)
    document = json.loads(out)
    assert (code, document["state"]) == (21, "alarm")
    assert {each["check"] for each in document["checks"] if each["state"] == "alarm"} == {"crl-reachable"}
    check = f'sealwright_monitor_check{{url="{scene.front.url}",check="crl-reachable"}} 2'
    assert check in file.read_text().splitlines()
    assert [path.name for path in file.parent.iterdir()] == ["monitor.prom"]
    assert (file.stat().st_mode & 0o777) == 0o644


def test_the_command_takes_the_pki_of_init(scene: Scene, run: Run) -> None:
    code, _, err = run("monitor", scene.front.url)
    assert (code, "which PKI" in err) == (3, True)
    key = scene.online.world.people["alice"].key_file
    who = ("--person", "alice", "--key", key)
    assert run("init", "--server", scene.desk.url, "--pki-id", scene.online.world.pki, *who)[0] == 0
    assert run("monitor", scene.front.url)[0] == 0
    assert run("monitor", scene.front.url, "--pki-id", "0" * 64)[0] == 8
    assert run("monitor", scene.front.url, "--pki-id", "nonsense")[0] == 3
    assert run("monitor", "pki.example.org")[0] == 3
    assert run("monitor", scene.front.url, "--registry", "http://pki.example.org")[0] == 4


def test_the_prometheus_file_is_one_that_prometheus_reads(scene: Scene, looked: Watch) -> None:
    text = format_report(look(looked, present())).decode()
    sample = re.compile(r'sealwright_monitor_[a-z_]+\{url="[^"]+"(,[a-z]+="[^"]*")*\} [0-9.e+]+')
    helped = set(re.findall(r"^# HELP (\S+) ", text, re.MULTILINE))
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    assert all(sample.fullmatch(line) for line in lines), lines
    assert {line.partition("{")[0] for line in lines} == helped
    assert "sealwright_monitor_certificates{" in text
    assert {f'check="{check}"' for check in CHECKS} <= set(re.findall(r'check="[^"]+"', text))


def test_the_readme_explains_every_check() -> None:
    text = (CHECKOUT / "src/sealwright/client/monitor/README.md").read_text()
    explained = set(re.findall(r"`([a-z-]+)`", "\n".join(re.findall(r"^\| (`.*?) \|", text, re.MULTILINE))))
    assert explained == set(CHECKS)
