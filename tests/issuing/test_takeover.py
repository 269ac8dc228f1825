"""Two signers, one token: what a standby takes and refuses, and that after a takeover the old one signs nothing."""

import re
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from sealwright.errors import Fenced, NotReady, PolicyViolation, SealwrightError
from sealwright.ledger.entries import CertificateEntry, IntentEntry, RevocationRecord, StartEntry, parse_entry
from sealwright.statements.receipts import Receipt
from signers import Feed, Machine, Pair, two_machines
from softhsm import TokenFactory


@pytest.fixture
def pair(softhsm: TokenFactory, tmp_path: Path) -> Iterator[Pair]:
    """The active signer runs and has a roster; the standby has caught up."""
    with two_machines(softhsm, tmp_path) as pair:
        begin(pair)
        pair.spare.start("--standby")
        caught_up(pair)
        yield pair


def begin(pair: Pair, **options: str) -> subprocess.Popen[bytes]:
    process = pair.active.start(**options)
    roster = pair.world.signed(pair.world.roster(), "olga", "omar").to_wire()
    pair.active.channel.call("publish-roster", roster=roster)
    return process


def caught_up(pair: Pair) -> None:
    size = pair.active.ledger.size
    pair.spare.wait(lambda: pair.spare.status()["ledger_size"] >= size and not pair.spare.status()["problem"])


def issue(machine: Machine, order: dict[str, Any]) -> Receipt:
    return Receipt.parse(machine.channel.call("issue", order=order)["receipt"])


def entries(machine: Machine) -> list[Any]:
    return [parse_entry(data) for data in machine.ledger.iterate()]


def test_killed_under_load_and_taken_over_nothing_with_a_receipt_is_lost(pair: Pair) -> None:
    orders = [pair.world.order() for _ in range(9)]
    receipts: list[Receipt] = []
    enough = threading.Event()

    def load(mine: list[dict[str, Any]]) -> None:
        for order in mine:
            try:
                receipts.append(issue(pair.active, order))
            except SealwrightError:
                return
            if len(receipts) >= 4:
                enough.set()

    threads = [threading.Thread(target=load, args=(orders[n::3],)) for n in range(3)]
    for thread in threads:
        thread.start()
    enough.wait(60)
    pair.active.processes[0].kill()
    for thread in threads:
        thread.join()
    done = pair.take_over()
    assert (done.returncode, "epoch 2" in done.stdout) == (0, True), done.stderr
    pair.spare.start()
    assert pair.spare.status()["epoch"] == 2
    after = entries(pair.spare)
    certified = {each.certificate for each in after if isinstance(each, CertificateEntry)}
    assert len(receipts) >= 4
    assert {each.certificate for each in receipts} <= certified
    for order in orders:  # whoever had no answer asks again: a new certificate, or the word that there is one
        with suppress(PolicyViolation):  # ORDER-USED, and nothing else: each has one in the end
            issue(pair.spare, order)
    after = entries(pair.spare)
    revoked = {serial for each in after if isinstance(each, RevocationRecord) for serial in each.serials}
    live = [each.serial for each in after if isinstance(each, CertificateEntry) and each.serial not in revoked]
    reserved = [each.serial for each in after if isinstance(each, IntentEntry)]
    assert len(live) == len(orders)
    assert len(set(reserved)) == len(reserved)
    assert [each.epoch for each in after if isinstance(each, StartEntry)] == [1, 2]


@pytest.mark.parametrize(
    "point", [pytest.param("issuance.order-permitted", marks=pytest.mark.slow), "issuance.certificate-signed"]
)
def test_frozen_while_another_takes_over_it_signs_nothing_when_it_wakes(
    softhsm: TokenFactory, tmp_path: Path, point: str
) -> None:
    """The second: in the moment between the token's signature and its record."""
    with two_machines(softhsm, tmp_path) as pair:
        old = begin(pair, frozen_at=point)
        pair.spare.start("--standby")
        caught_up(pair)
        order, answers = pair.world.order(), list[object]()

        def ask() -> None:
            try:
                answers.append(issue(pair.active, order))
            except SealwrightError as error:
                answers.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        pair.active.wait(lambda: Path(f"/proc/{old.pid}/stat").read_text().split(") ")[1][0] == "T")
        size = pair.active.ledger.size
        done = pair.take_over()
        assert done.returncode == 0, done.stderr
        pair.spare.start()
        given = issue(pair.spare, order)

        old.send_signal(signal.SIGCONT)
        asking.join()
        (answer,) = answers
        assert isinstance(answer, Fenced), answer
        assert pair.active.ledger.size == size  # no entry, no checkpoint
        assert "holds the issuing token since epoch 2" in pair.active.status()["fenced"]
        serial = f"{given.load_certificate().serial_number:x}"
        revoked = {n for each in entries(pair.spare) if isinstance(each, RevocationRecord) for n in each.serials}
        assert serial not in revoked
        assert len([each for each in entries(pair.spare) if isinstance(each, CertificateEntry)]) == 1


def test_alive_and_well_it_refuses_everything_after_a_takeover_and_does_not_start_again(pair: Pair) -> None:
    first = issue(pair.active, pair.world.order())
    done = pair.take_over()
    assert done.returncode == 0, done.stderr
    size = pair.active.ledger.size
    serial = f"{first.load_certificate().serial_number:x}"
    revocation = {"revocation": pair.world.signed(pair.world.revocation(serial)).to_wire()}
    for name, order in (("issue", pair.world.order()), ("revoke", revocation)):
        with pytest.raises(Fenced, match="nothing is signed here any more"):
            pair.active.channel.call(name, order=order)
    assert pair.active.ledger.size == size
    old = pair.active.processes[0]
    old.send_signal(signal.SIGTERM)
    assert old.wait(30) == 0
    assert pair.active.start().returncode == Fenced.exit_code
    assert "since epoch 2, and this one's claim is of epoch 1" in pair.active.log()
    assert pair.active.ledger.size == size
    pair.spare.start()
    pair.spare.channel.call("revoke", order=revocation)
    issue(pair.spare, pair.world.order())
    token = pair.token()
    assert token is not None
    assert token.epoch == 2


def test_a_standby_signs_nothing_says_how_far_it_is_and_gives_the_feed_on(pair: Pair) -> None:
    with pytest.raises(NotReady, match="this is a standby"):
        issue(pair.spare, pair.world.order())
    issue(pair.active, pair.world.order())
    caught_up(pair)
    status = pair.spare.status()
    assert (status["role"], status["behind_entries"], status["problem"], status["issued"]) == ("standby", 0, "", 1)
    feed = pair.spare.channel.call("entries", start=0, count=3)
    assert feed["size"] == pair.active.ledger.size
    assert len(feed["entries"]) == 3
    page = pair.spare.run("check")
    assert re.search(r"ok +standby +a standby: \d+ entries, 0 behind", page.stdout), page.stdout
    pair.active.processes[0].kill()
    assert pair.spare.run("takeover", answer="yes\n").returncode == 3  # not the exact words
    token = pair.token()
    assert token is not None
    assert token.epoch == 1


@pytest.mark.slow
def test_a_standby_started_as_a_signer_is_refused_and_a_signer_as_a_standby(pair: Pair) -> None:
    pair.spare.processes[0].send_signal(signal.SIGTERM)
    assert pair.spare.processes[0].wait(30) == 0
    assert pair.spare.start().returncode == Fenced.exit_code
    assert "this one has no claim: this one does not start" in pair.spare.log()
    pair.active.processes[0].kill()
    pair.active.processes[0].wait()
    with (pair.active.folder / "sealwrightd.toml").open("a") as config:
        config.write(f'\n[standby]\nsource = "{pair.spare.folder / "ledger"}"\n')
    assert pair.active.start("--standby").returncode == 12
    assert "of a signer that held the token" in pair.active.log()


def flip(name: str, data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1]) if name.startswith("tile/entries") else data


def test_a_feed_that_was_changed_is_refused_and_there_is_no_takeover(softhsm: TokenFactory, tmp_path: Path) -> None:
    with Feed() as feed, two_machines(softhsm, tmp_path, feed.url) as pair:
        begin(pair)
        feed.reader = pair.active.ledger
        pair.spare.start("--standby")
        caught_up(pair)
        before = pair.spare.status()["ledger_size"]
        feed.change = flip
        issue(pair.active, pair.world.order())
        # It hears of entries first, and says what is wrong with them when it has read them.
        pair.spare.wait(lambda: (said := pair.spare.status())["behind_entries"] == 2 and said["problem"])
        status = pair.spare.status()
        assert "the feed changed entry" in status["problem"]
        assert status["ledger_size"] == before
        assert "PROBLEM  standby" in pair.spare.run("check").stdout
        done = pair.take_over()
        assert (done.returncode, "the feed changed entry" in done.stderr) == (8, True), done.stderr
        token = pair.token()
        assert token is not None
        assert token.epoch == 1

        feed.change = lambda _, data: data  # and with the true feed it goes on
        pair.active.processes[0].kill()
        done = pair.take_over()
        assert done.returncode == 0, done.stderr
        pair.spare.start()
        assert pair.spare.status()["issued"] == 1


@pytest.mark.slow
def test_a_source_that_is_away_holds_a_takeover_up_until_it_is_said_to_be_lost(
    softhsm: TokenFactory, tmp_path: Path
) -> None:
    with Feed() as feed, two_machines(softhsm, tmp_path, feed.url) as pair:
        begin(pair)
        feed.reader = pair.active.ledger
        pair.spare.start("--standby")
        caught_up(pair)
        pair.active.processes[0].kill()
        feed.reader = None
        done = pair.take_over()
        assert (done.returncode, "cannot be followed to its end" in done.stderr) == (7, True), done.stderr
        done = pair.take_over("--source-is-lost")
        assert done.returncode == 0, done.stderr
        pair.spare.start()
        issue(pair.spare, pair.world.order())


@pytest.mark.slow
def test_a_signer_that_was_taken_over_from_becomes_a_standby_of_the_new_one(
    softhsm: TokenFactory, tmp_path: Path
) -> None:
    with Feed() as feed, two_machines(softhsm, tmp_path) as pair:
        begin(pair)
        pair.spare.start("--standby")
        caught_up(pair)
        old = pair.active.processes[0]
        assert pair.take_over().returncode == 0
        pair.spare.start()
        issue(pair.spare, pair.world.order())
        old.send_signal(signal.SIGTERM)
        assert old.wait(30) == 0
        feed.reader = pair.spare.ledger
        done = pair.active.run("recover", "--standby", "--from", feed.url)
        assert (done.returncode, "entries again" in done.stdout) == (0, True), done.stderr
        with (pair.active.folder / "sealwrightd.toml").open("a") as config:
            config.write(f'\n[standby]\nsource = "{feed.url}"\npoll_seconds = 0.05\nwait_seconds = 0\n')
        pair.active.start("--standby")
        issue(pair.spare, pair.world.order())
        size = pair.spare.ledger.size
        pair.active.wait(lambda: pair.active.status()["ledger_size"] == size)
        assert pair.active.status()["epoch"] == 2
