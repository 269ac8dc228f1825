"""Presign against the real signer: what it publishes, when, and what it never does."""

import base64
import json
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp

from databases import Databases
from desk import Desk
from sealwright.errors import Conflict, IntegrityError, NotReady, PolicyViolation, StorageError, WrongPin
from sealwright.hsm.generation import generate_key
from sealwright.hsm.session import TokenSession
from sealwright.installed import load_installed
from sealwright.issuing.recovery import close_open_intents
from sealwright.pki.crl import draft_crl, lint_crl, sign_crl
from sealwright.pki.keys import KeyKind, spki_der
from sealwright.publication.config import PresignConfig
from sealwright.publication.lock import only_presign
from sealwright.publication.presign import Presign, rebuild_publication, run_presign
from sealwright.store.publication import GOOD, REVOKED, PublishedAnswer, open_publication
from softhsm import TokenFactory
from softpki import soft_pki
from world import make_world, wire_time

HOUR = timedelta(hours=1)


def test_both_answers_of_each_certificate_and_none_of_the_responders(open_desk: Desk) -> None:
    first, second = open_desk.issue(), open_desk.issue(team="games", project="chess", person="mallory")
    presign = open_desk.presign()
    presign.work()
    wanted = {(f"{each.serial_number:x}", form) for each in (first, second) for form in ("sha1", "sha256")}
    answers = open_desk.answers()
    assert set(answers) == wanted
    now = open_desk.world.clock.now
    for answer in answers.values():
        assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD
        assert (answer.this_update_utc, answer.next_update_utc) == (now, now + 48 * HOUR)
    assert presign.statuses.responders == []  # asked for and used, and not yet read back
    presign.work()
    assert len(presign.statuses.responders) == 1
    assert set(open_desk.answers()) == wanted


def test_a_revocation_is_published_at_the_next_step_and_stays(open_desk: Desk) -> None:
    leaf = open_desk.issue()
    presign = open_desk.presign()
    presign.work()
    assert open_desk.says(leaf) == {GOOD}
    open_desk.revoke(leaf, reason="keyCompromise")
    presign.work()  # within the same second
    assert open_desk.says(leaf) == {REVOKED}
    (answer, _) = open_desk.answers().values()
    assert answer.revocation_reason is x509.ReasonFlags.key_compromise
    assert answer.revocation_time_utc == open_desk.world.clock.now
    open_desk.world.clock.pass_(hours=13)
    presign.work()
    assert open_desk.says(leaf) == {REVOKED}


def test_a_serial_lost_in_a_crash_is_answered_as_revoked(open_desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise StorageError("the disk is gone")

    monkeypatch.setattr("sealwright.issuing.issuance.sign_certificate", fail)
    with pytest.raises(StorageError):
        open_desk.issue()
    monkeypatch.undo()
    open_desk.stop_signer()
    open_desk.world.start()
    assert open_desk.world.authority is not None
    close_open_intents(open_desk.world.authority)
    open_desk.world.stop()
    open_desk.start_signer()
    presign = open_desk.presign()
    presign.work()
    assert {answer.certificate_status for answer in open_desk.answers().values()} == {ocsp.OCSPCertStatus.REVOKED}
    assert len(open_desk.answers()) == 2


def test_answers_are_refreshed_in_the_last_quarter_of_the_interval_each_batch_at_its_own_moment(
    open_desk: Desk,
) -> None:
    presign = open_desk.presign()
    for _ in range(3):
        open_desk.issue()
        open_desk.issue()
        presign.work()
    begun = open_desk.world.clock.now
    rows = open_desk.database.answers_since(0, 100)
    due = {row.serial: row.refresh_at for row in rows}
    assert sorted(Counter(due.values()).values()) == [2, 2, 2]
    assert all(begun + 9 * HOUR < moment <= begun + 12 * HOUR for moment in due.values())
    for moment in sorted(set(due.values())):
        open_desk.world.clock.now = moment - timedelta(seconds=1)
        presign.work()
        made = {serial: answer.this_update_utc for (serial, _), answer in open_desk.answers().items()}
        assert {serial for serial, at in made.items() if at == begun} == {s for s, at in due.items() if at >= moment}
    open_desk.world.clock.pass_(seconds=1)
    presign.work()
    assert begun not in {answer.this_update_utc for answer in open_desk.answers().values()}


def test_a_restart_signs_only_what_changed_meanwhile(open_desk: Desk) -> None:
    first, second = open_desk.issue(), open_desk.issue(team="games", project="chess", person="mallory")
    open_desk.presign().work()
    change = open_desk.database.state()[1]
    open_desk.presign().work()
    assert open_desk.database.state()[1] == change
    open_desk.revoke(first)
    open_desk.world.clock.pass_(minutes=1)
    open_desk.presign().work()
    assert (open_desk.says(first), open_desk.says(second)) == ({REVOKED}, {GOOD})
    times = {answer.this_update_utc for answer in open_desk.answers().values()}
    assert len(times) == 2


def test_a_clock_set_back_makes_no_older_answer_and_still_revokes(open_desk: Desk) -> None:
    leaf = open_desk.issue()
    presign = open_desk.presign()
    presign.work()
    before = open_desk.world.clock.now
    open_desk.world.clock.pass_(hours=-2)
    open_desk.revoke(leaf)
    presign.work()
    assert open_desk.says(leaf) == {REVOKED}
    assert {answer.this_update_utc for answer in open_desk.answers().values()} == {before + timedelta(seconds=1)}


def test_the_responder_certificate_is_renewed_before_its_end(open_desk: Desk) -> None:
    open_desk.issue()
    presign = open_desk.presign()
    presign.work()
    first = next(iter(open_desk.answers().values())).certificates
    open_desk.world.clock.pass_(days=8, hours=23)
    presign.work()
    assert next(iter(open_desk.answers().values())).certificates == first
    open_desk.world.clock.pass_(hours=12)
    presign.work()
    second = next(iter(open_desk.answers().values())).certificates
    assert second != first
    assert second[0].not_valid_after_utc > first[0].not_valid_after_utc + timedelta(days=8)


def test_with_the_signer_away_the_responder_certificate_serves_to_its_end(
    open_desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    open_desk.issue()
    presign = open_desk.presign()
    presign.work()
    open_desk.stop_signer()
    (responder,) = next(iter(open_desk.answers().values())).certificates
    open_desk.world.clock.now = responder.not_valid_after_utc - 20 * HOUR
    presign.work()
    answer = next(iter(open_desk.answers().values()))
    assert answer.this_update_utc == open_desk.world.clock.now
    assert answer.next_update_utc == responder.not_valid_after_utc  # shorter than usual, never longer than its signer
    open_desk.world.clock.now = responder.not_valid_after_utc
    presign.work()
    assert next(iter(open_desk.answers().values())).this_update_utc == answer.this_update_utc
    assert "there is no valid OCSP responder certificate" in caplog.text


def test_before_the_first_roster_there_are_no_answers_and_the_cas_are_published(desk: Desk) -> None:
    presign = desk.presign()
    presign.work()
    assert desk.answers() == {}
    paths = {each.path for each in desk.database.objects_since(0)}
    assert {"/ca/root-1.cer", "/ca/root-1.p7c", "/ca/issuing-1.cer", "/ca/issuing-1.p7c"} <= paths


def _root_crl(number: int, at: datetime) -> bytes:
    soft = soft_pki()
    draft = draft_crl(
        issuer=soft.root_record,
        number=number,
        this_update=at,
        next_update=at + timedelta(days=90),
        entries=(),
        expired_certs_since=None,
    )
    return sign_crl(lint_crl(draft), soft.root_key).public_bytes(Encoding.DER)


def test_crls_are_published_when_their_number_goes_on(open_desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    presign = open_desk.presign()
    path = open_desk.world.installed.crls / "root-1.crl"
    now = open_desk.world.clock.now

    def published() -> str | None:
        found = open_desk.database.find_object("/crl/root-1.crl")
        return None if found is None else found.number

    presign.work()
    assert published() is None
    for number, wanted in ((5, "5"), (4, "5"), (17, "11"), (17, "11")):
        path.write_bytes(_root_crl(number, now))
        presign.work()
        assert published() == wanted
    path.write_bytes(b"\x30\x00")
    presign.work()
    assert published() == "11"
    assert "has number 0x4; published is 5 already" in caplog.text


def test_only_the_ledgers_last_crl_is_published(open_desk: Desk) -> None:
    leaf = open_desk.issue()
    presign = open_desk.presign()
    path = open_desk.world.installed.crls / "issuing-1.crl"
    _until(path.exists)
    presign.work()
    first = open_desk.database.find_object("/crl/issuing-1.crl")
    assert first is not None
    assert first.body == path.read_bytes()
    open_desk.revoke(leaf)
    _until(lambda: path.read_bytes() != first.body)
    presign.work()
    second = open_desk.database.find_object("/crl/issuing-1.crl")
    assert second is not None
    assert second.body == path.read_bytes() != first.body
    path.write_bytes(first.body)  # somebody puts the old one back
    presign.work()
    third = open_desk.database.find_object("/crl/issuing-1.crl")
    assert third is not None
    assert third.body == second.body


def test_partitions_are_published_under_the_urls_of_their_certificates(desk: Desk) -> None:
    profile = desk.world.installed.folder / "ca/profiles/code-signing.toml"
    profile.write_text(profile.read_text().replace("# crl_partitions = 128 ", "crl_partitions = 3 "))
    roster = desk.world.signed(desk.world.roster(), "olga", "omar")
    desk.channel().call("publish-roster", roster=roster.to_wire())
    leaf, presign = desk.issue(), desk.presign()
    path = f"/crl/issuing-1.p3-{leaf.serial_number % 3}.crl"

    def listed() -> bool | None:
        presign.work()
        found = desk.database.find_object(path)
        if found is None:
            return None
        crl = x509.load_der_x509_crl(found.body)
        return crl.get_revoked_certificate_by_serial_number(leaf.serial_number) is not None

    _until(lambda: listed() is False)
    desk.revoke(leaf)
    _until(lambda: listed() is True)
    _until(lambda: presign.work() or desk.database.find_object("/crl/issuing-1.p3-2.crl") is not None)
    published = {each.path for each in desk.database.objects_since(0) if each.number is not None}
    assert published == {"/crl/issuing-1.crl", *(f"/crl/issuing-1.p3-{number}.crl" for number in range(3))}


def test_an_edited_settings_file_meets_the_rosters_pin(open_desk: Desk, caplog: pytest.LogCaptureFixture) -> None:
    presign = open_desk.presign()
    path = open_desk.world.folder / "ca/pki.toml"
    own = path.read_text()
    path.write_text(own.replace("ocsp_validity_hours = 48 ", "ocsp_validity_hours = 24 "))
    with pytest.raises(PolicyViolation, match="ROSTER-PIN"):
        open_desk.presign()
    # One that runs goes on with what was pinned, also when the file is another as a new roster comes.
    roster = open_desk.world.roster(2)
    roster["pins"]["pki.toml"] = presign.settings.sha256
    path.write_text(own)
    open_desk.channel().call("publish-roster", roster=open_desk.world.signed(roster, "olga", "omar").to_wire())
    path.write_text(own + "\n")
    presign.work()
    assert presign.settings.sha256 == roster["pins"]["pki.toml"]


def _seconds_until_it_is_published(desk: Desk) -> float:
    leaf = desk.issue()
    _until(lambda: desk.says(leaf) == {GOOD})
    begun = time.monotonic()
    desk.revoke(leaf)
    _until(lambda: desk.says(leaf) == {REVOKED})
    return time.monotonic() - begun


def _until(true: object) -> None:
    assert callable(true)
    for _ in range(500):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("waited in vain")


def is_on_crl(desk: Desk, certificate: x509.Certificate) -> bool:
    found = desk.database.find_object("/crl/issuing-1.crl")
    if found is None:
        return False
    crl = x509.load_der_x509_crl(found.body)
    return crl.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None


def work_until_on_crl(desk: Desk, presign: Presign, certificate: x509.Certificate) -> None:
    """The signer writes its CRL soon after the revocation."""
    for _ in range(500):
        presign.work()
        if is_on_crl(desk, certificate):
            return
        time.sleep(0.02)
    raise AssertionError("no CRL was published with the revocation")


def test_a_restored_backup_gets_what_it_does_not_have(open_desk: Desk, databases: Databases, tmp_path: Path) -> None:
    first = open_desk.issue()
    open_desk.presign().work()
    databases.backup(open_desk.url, tmp_path / "backup")
    open_desk.revoke(first, reason="keyCompromise")
    second = open_desk.issue(team="games", project="chess", person="mallory")
    work_until_on_crl(open_desk, open_desk.presign(), first)
    open_desk.database.close()
    open_desk.database = open_publication(databases.restore("publication", tmp_path / "backup"))
    assert (open_desk.says(first), open_desk.says(second)) == ({GOOD}, set())
    assert not is_on_crl(open_desk, first)
    open_desk.presign().work()
    assert (open_desk.says(first), open_desk.says(second)) == ({REVOKED}, {GOOD})
    assert is_on_crl(open_desk, first)


def test_a_promoted_standby_that_was_behind_gets_what_it_does_not_have(
    open_desk: Desk, databases: Databases, caplog: pytest.LogCaptureFixture
) -> None:
    """Presign runs on meanwhile: it must not go on believing that the revocation is published."""
    leaf = open_desk.issue()
    presign = open_desk.presign()
    presign.work()
    with databases.as_owner(open_desk.url) as connection:
        connection.exec_driver_sql("CREATE TABLE answers_before AS SELECT * FROM answers")
        connection.exec_driver_sql("CREATE TABLE objects_before AS SELECT * FROM objects")
    _, before = open_desk.database.state()
    open_desk.revoke(leaf, reason="keyCompromise")
    work_until_on_crl(open_desk, presign, leaf)
    with databases.as_owner(open_desk.url) as connection:
        for table in ("answers", "objects"):
            connection.exec_driver_sql(f"DELETE FROM {table}")  # noqa: S608  # a name
            connection.exec_driver_sql(f"INSERT INTO {table} SELECT * FROM {table}_before")  # noqa: S608  # two names
        connection.exec_driver_sql(f"UPDATE state SET change = {before}")  # noqa: S608  # a number
    assert (open_desk.says(leaf), is_on_crl(open_desk, leaf)) == ({GOOD}, False)
    presign.work()
    assert "lost what was published last" in caplog.text
    assert (open_desk.says(leaf), is_on_crl(open_desk, leaf)) == ({REVOKED}, True)
    _, change = open_desk.database.state()
    presign.work()
    assert open_desk.database.state()[1] == change  # once


def _token_config(desk: Desk, softhsm: TokenFactory, tmp_path: Path, *, pinned: bool = True) -> PresignConfig:
    """The OCSP key on a token; ``pinned``: as the installation has it."""
    serial, pin = softhsm.new_token("ocsp")
    key_id = b"ocsp-key-16-octs"
    with TokenSession.open(softhsm.module, serial, pin) as token:
        key = generate_key(token, KeyKind.P256, key_id=key_id, label="ocsp")
        public = key.public_key()
    if pinned:
        path = desk.world.folder / "keys.json"
        keys = json.loads(path.read_bytes())
        keys["ocsp"]["spki"] = base64.b64encode(spki_der(public)).decode()
        path.write_text(json.dumps(keys))
    return PresignConfig(
        folder=desk.world.folder,
        socket=desk.socket,
        module=softhsm.module_path,
        token_serial=serial,
        key_id=key_id,
        pin_file=softhsm.pin_file(tmp_path, pin),
        publication=desk.url,
        poll_seconds=0.02,
    )


def test_the_process_signs_on_its_token_and_ends_when_told(tmp_path: Path, softhsm: TokenFactory) -> None:
    world = make_world(tmp_path / "w")
    url = Databases(tmp_path).new("publication")
    with ExitStack() as resources:
        desk = Desk(world, tmp_path / "signer.sock", url, open_publication(url), resources)
        config = _token_config(desk, softhsm, tmp_path)
        world.installed = load_installed(world.folder)
        world.keys["ocsp"] = _Public(world.installed.ocsp_key)  # type: ignore[assignment]  # its public half is all that the roster wants
        desk.start_signer()
        roster = world.signed(world.roster(), "olga", "omar")
        desk.channel().call("publish-roster", roster=roster.to_wire())
        stop = threading.Event()
        thread = threading.Thread(target=run_presign, args=(config,), kwargs={"clock": world.clock, "stop": stop})
        thread.start()
        try:
            # One of three: what another program took of the machine is not counted.
            assert any(_seconds_until_it_is_published(desk) < 2 for _ in range(3))
        finally:
            stop.set()
            thread.join(20)
        assert not thread.is_alive()
        desk.database.close()


@dataclass
class _Public:
    key: object

    def public_key(self) -> object:
        return self.key


def test_refuses_a_key_that_is_not_the_pinned_one(desk: Desk, softhsm: TokenFactory, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="not the one that installation pinned"):
        run_presign(_token_config(desk, softhsm, tmp_path, pinned=False), stop=threading.Event())


def test_refuses_a_second_one_beside_it_and_takes_its_place_when_it_has_ended(
    desk: Desk, softhsm: TokenFactory, tmp_path: Path
) -> None:
    config = _token_config(desk, softhsm, tmp_path)
    stop = threading.Event()
    stop.set()
    with only_presign(config.pin_file):
        with pytest.raises(Conflict, match="another process works as presign"):
            run_presign(config, stop=stop)
        with pytest.raises(Conflict, match="another process works as presign"):
            rebuild_publication(config)
    run_presign(config, stop=stop)


def test_refuses_a_wrong_pin(desk: Desk, softhsm: TokenFactory, tmp_path: Path) -> None:
    config = _token_config(desk, softhsm, tmp_path)
    config.pin_file.chmod(0o600)
    config.pin_file.write_text("000000\n")
    with pytest.raises(WrongPin):
        run_presign(config, stop=threading.Event())


def test_refuses_a_database_without_tables(desk: Desk, softhsm: TokenFactory, tmp_path: Path) -> None:
    config = _token_config(desk, softhsm, tmp_path)
    with pytest.raises((NotReady, StorageError)):
        run_presign(replace(config, publication=f"sqlite:///{tmp_path / 'none.db'}"), stop=threading.Event())


def test_a_signer_that_refuses_is_asked_less_and_less_until_a_roster_comes(desk: Desk) -> None:
    asked: list[datetime] = []
    presign = desk.presign()
    ask = presign._responder._ask_signer
    presign._responder._ask_signer = lambda: (asked.append(desk.world.clock.now), ask())[1]
    for _ in range(600):
        presign.work()
        desk.world.clock.pass_(seconds=1)
    assert 8 <= len(asked) <= 11
    roster = desk.world.signed(desk.world.roster(), "olga", "omar")
    desk.channel().call("publish-roster", roster=roster.to_wire())
    presign.work()
    assert asked[-1] == desk.world.clock.now
    assert presign.work() is False
    assert len(presign.statuses.responders) == 1


def test_a_correction_reaches_both_answers_and_the_crl_and_nothing_older_does(open_desk: Desk) -> None:
    leaf, world = open_desk.issue(), open_desk.world
    open_desk.revoke(leaf)
    presign = open_desk.presign()
    presign.work()
    world.clock.pass_(minutes=1)
    then = world.clock.now - timedelta(hours=3)
    fields = {"serials": [f"{leaf.serial_number:x}"], "reason": "keyCompromise", "comment": ""}
    signed = world.signed(world.statement("correction", "bob", revocation_date=wire_time(then), **fields))
    countersigned = world.signed(world.countersignature(signed))
    order = {"revocation": signed.to_wire(), "countersignature": countersigned.to_wire()}
    open_desk.channel().call("revoke", order=order)
    presign.work()
    answers = [each for (serial, _), each in open_desk.answers().items() if serial == f"{leaf.serial_number:x}"]
    assert len(answers) == 2
    for answer in answers:
        assert answer.certificate_status is ocsp.OCSPCertStatus.REVOKED
        assert (answer.revocation_time_utc, answer.revocation_reason) == (then, x509.ReasonFlags.key_compromise)
    assert (
        open_desk.presign().statuses.pending(world.clock.now) == 0
    )  # started again, it finds nothing that differs from the ledger


def test_several_revoked_at_once_are_all_answered(open_desk: Desk) -> None:
    leaves, world = [open_desk.issue() for _ in range(3)], open_desk.world
    presign = open_desk.presign()
    presign.work()
    signed = world.signed(world.revocation("", serials=[f"{each.serial_number:x}" for each in leaves]))
    countersigned = world.signed(world.countersignature(signed))
    open_desk.channel().call(
        "revoke", order={"revocation": signed.to_wire(), "countersignature": countersigned.to_wire()}
    )
    presign.work()
    assert [open_desk.says(leaf) for leaf in leaves] == [{"revoked"}] * 3


def test_a_publication_database_is_made_again_from_the_ledger(tmp_path: Path, softhsm: TokenFactory) -> None:
    """Whatever somebody wrote into it: an answer lost, a good one said to be revoked, a revoked one said to be good."""
    world = make_world(tmp_path / "w")
    url = Databases(tmp_path).new("publication")
    with ExitStack() as resources:
        desk = Desk(world, tmp_path / "signer.sock", url, open_publication(url), resources)
        config = _token_config(desk, softhsm, tmp_path)
        world.installed = load_installed(world.folder)
        world.keys["ocsp"] = _Public(world.installed.ocsp_key)  # type: ignore[assignment]  # as above
        desk.start_signer()
        desk.channel().call("publish-roster", roster=world.signed(world.roster(), "olga", "omar").to_wire())
        good, bad = desk.issue(), desk.issue()
        desk.revoke(bad)
        assert rebuild_publication(config, clock=world.clock) == 2
        identity, _ = desk.database.state()
        (row, *_) = [each for each in desk.database.answers_since(0, 100) if each.serial == f"{good.serial_number:x}"]
        desk.database.put_answers([PublishedAnswer(**row.model_dump() | {"status": REVOKED})])
        desk.database.put_answers([PublishedAnswer(**row.model_dump() | {"serial": "abcdef"})])
        assert desk.says(good) == {GOOD, REVOKED}
        world.clock.pass_(minutes=1)
        assert rebuild_publication(config, clock=world.clock) == 2
        assert (desk.says(good), desk.says(bad)) == ({GOOD}, {REVOKED})
        assert {serial for serial, _ in desk.answers()} == {f"{each.serial_number:x}" for each in (good, bad)}
        assert desk.database.find_object("/ca/issuing-1.cer") is not None
        assert desk.database.state()[0] != identity  # who follows it begins again
        desk.stop_signer()
        with pytest.raises(IntegrityError, match="not the one that installation pinned"):
            rebuild_publication(_token_config(desk, softhsm, tmp_path, pinned=False), clock=world.clock)
        assert desk.says(good) == {GOOD}  # nothing was forgotten
        desk.database.close()
