"""The signer while its issuing token is away: what it refuses, what goes on, and what the ledger says afterwards.

The token is SoftHSM behind ``p11-kit server`` (``tokendouble``); the ledger's key is another's.
"""

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography import x509

from sealwright.channel import SignerCall, SignerChannel
from sealwright.errors import TokenError, Unavailable
from sealwright.hsm.breaker import TokenEvent
from sealwright.hsm.generation import generate_key
from sealwright.hsm.keys import private_key
from sealwright.hsm.module import load_module
from sealwright.hsm.session import TokenSession
from sealwright.hsm.supervision import Supervisor
from sealwright.issuing.authority import IssuingAuthority
from sealwright.issuing.service import SignerConfig, SignerService, TokenKey, run_signer
from sealwright.issuing.tokens import TokenTrouble
from sealwright.ledger.entries import REASON_LIMIT, CertificateEntry, RevocationRecord, TokenEntry, parse_entry
from sealwright.ledger.log import Ledger
from sealwright.pki.keys import KeyKind
from sealwright.pki.serials import format_serial
from sealwright.statements.receipts import Receipt
from softhsm import TokenFactory
from softpki import NOW
from tokendouble import TokenServer, find_client
from world import World, call, make_world

# A token that dies in the middle of a search: python-pkcs11 ends the search in __del__, where it can only complain.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Desk:
    def __init__(self, world: World, session: TokenSession, server: TokenServer) -> None:
        self.world, self.session, self.server = world, session, server
        nowhere = TokenKey("", b"", Path("/nonexistent"))
        config = SignerConfig(
            world.folder, Path("/nonexistent"), Path("/nonexistent"), nowhere, nowhere, frozenset({0}), frozenset({0})
        )
        assert world.authority is not None
        self.service = SignerService(world.authority, config, lambda: None, (session,))

    def issue(self, order: dict[str, object]) -> x509.Certificate:
        answer = self.service.answer(SignerCall("issue", {"order": order}, 0))
        return x509.load_der_x509_certificate(Receipt.parse(answer["receipt"]).certificate_der)

    def status(self) -> dict[str, object]:
        return self.service.answer(SignerCall("status", {}, 0))["tokens"][0]  # type: ignore[no-any-return]

    def entries(self) -> list[object]:
        assert self.world.authority is not None
        return [parse_entry(data) for data in self.world.authority.ledger.iterate()]


@pytest.fixture
def desk(softhsm: TokenFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    serial, pin = softhsm.new_token("issuing")
    with TokenSession.open(softhsm.module, serial, pin) as made:
        generate_key(made, KeyKind.P384, key_id=b"issuing", label="issuing")
    server = TokenServer(softhsm.module_path, softhsm.directory / "p11.sock", softhsm.config)
    server.start()
    monkeypatch.setenv("P11_KIT_SERVER_ADDRESS", server.address)
    try:
        with TokenSession.open(load_module(find_client()), serial, pin) as session:
            key = private_key(session, b"issuing")
            world = make_world(tmp_path / "w", key)
            authority = world.start()
            call(world, "publish-roster", roster=world.signed(world.roster(), "olga", "omar").to_wire())
            with Supervisor([(session, key)], TokenTrouble(authority).hear):
                yield Desk(world, session, server)
            world.stop()
    finally:
        server.kill()


def wait_for(what: Callable[[], bool], seconds: float = 10) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "not in time"
        time.sleep(0.02)


def test_orders_meet_a_missing_token_with_an_error_and_are_answered_when_it_is_back(desk: Desk) -> None:
    orders = [desk.world.order() for _ in range(3)]
    first = desk.issue(orders[0])
    desk.server.kill()
    for _ in range(4):
        with pytest.raises((TokenError, Unavailable)):
            desk.issue(orders[1])
    wait_for(lambda: desk.status()["state"] == "away")
    assert desk.status()["since"]
    assert desk.status()["reason"]

    # Removal does not wait for the token: the ledger's key is on another one.
    revoked = format_serial(first.serial_number)  # type: ignore[arg-type]  # an int as X.509 has it
    order = {"revocation": desk.world.signed(desk.world.revocation(revoked)).to_wire()}
    assert desk.service.answer(SignerCall("revoke", {"order": order}, 0))["serials"][0] == revoked

    failures: list[BaseException] = []
    certificates: list[x509.Certificate] = []

    def ask_until_answered(wanted: dict[str, object]) -> None:
        while True:
            try:
                certificates.append(desk.issue(wanted))
            except (TokenError, Unavailable):
                time.sleep(0.05)
                continue
            except BaseException as error:
                failures.append(error)
            return

    threads = [threading.Thread(target=ask_until_answered, args=(order,)) for order in orders[1:]]
    for thread in threads:
        thread.start()
    time.sleep(1)
    desk.server.start()
    began = time.monotonic()
    for thread in threads:
        thread.join(20)
    assert time.monotonic() - began < 10
    assert failures == []
    assert len(certificates) == 2
    for certificate in certificates:
        certificate.verify_directly_issued_by(desk.world.installed.issuing)

    wait_for(lambda: [each.event for each in desk.entries() if isinstance(each, TokenEntry)] == ["away", "back"])
    entries = desk.entries()
    recorded = {each.serial for each in entries if isinstance(each, CertificateEntry)}
    assert {format_serial(each.serial_number) for each in (first, *certificates)} == recorded  # type: ignore[arg-type]  # as above
    # What was reserved while the token was away is revoked: at most one unrevoked certificate for each order.
    assert desk.world.authority is not None
    assert not desk.world.authority.index.intents
    removed = [each for each in entries if isinstance(each, RevocationRecord) and each.cause == "crash"]
    crashes = {serial for each in removed for serial in each.serials}
    assert crashes
    assert not crashes & recorded
    assert len(crashes) <= 4  # known to be away, it costs no serials: an order each 50 ms would have spent dozens
    status = desk.status()
    assert (status["state"], status["outages"], status["logins"]) == ("well", 1, 2)


def test_an_event_that_the_ledger_cannot_take_is_recorded_later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    authority = world.authority
    assert authority is not None
    trouble, event = TokenTrouble(authority), TokenEvent("0123", "away", NOW, "it is gone")

    def fail(*_: object) -> int:
        raise TokenError("the ledger's token is away, too")

    with monkeypatch.context() as patch:
        patch.setattr(IssuingAuthority, "record", fail)
        trouble.hear((event,))
        trouble.hear(())
    size = authority.ledger.size
    trouble.hear(())
    trouble.hear(())
    entry = parse_entry(authority.ledger.read(size))
    assert isinstance(entry, TokenEntry)
    assert (entry.token, entry.event, entry.happened, entry.reason) == ("0123", "away", NOW, "it is gone")
    assert authority.ledger.size == size + 1


@pytest.mark.parametrize("length", [REASON_LIMIT, REASON_LIMIT + 1])
def test_a_reason_that_lists_a_hundred_tokens_is_recorded(world: World, length: int) -> None:
    authority = world.authority
    assert authority is not None
    reason = "no token with serial number 0123; found: ".ljust(length, "x")
    TokenTrouble(authority).hear((TokenEvent("0123", "away", NOW, reason),))
    entry = parse_entry(authority.ledger.read(authority.ledger.size - 1))
    assert isinstance(entry, TokenEntry)
    assert len(entry.reason) == REASON_LIMIT
    assert entry.reason[:-1] == reason[: REASON_LIMIT - 1]


def test_a_signer_whose_tokens_have_a_module_each_says_in_its_status_which_one_is_away(
    softhsm: TokenFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuing, issuing_pin = softhsm.new_token("issuing")
    with TokenSession.open(softhsm.module, issuing, issuing_pin) as made:
        generate_key(made, KeyKind.P384, key_id=b"issuing", label="issuing")
        public = private_key(made, b"issuing")
        world = make_world(tmp_path / "w", public)
    ledger, ledger_pin = softhsm.new_token("ledger")
    shutil.rmtree(world.installed.ledger)
    with TokenSession.open(softhsm.module, ledger, ledger_pin) as made:
        key = generate_key(made, KeyKind.ED25519, key_id=b"ledger", label="ledger")
        Ledger.create(world.installed.ledger, world.installed.anchor.ledger_origin, key).close()  # type: ignore[arg-type]  # Ed25519
    server = TokenServer(softhsm.module_path, softhsm.directory / "p11.sock", softhsm.config)
    server.start()
    monkeypatch.setenv("P11_KIT_SERVER_ADDRESS", server.address)
    me = frozenset({os.getuid()})
    config = SignerConfig(
        folder=world.folder,
        socket=tmp_path / "signer.sock",
        module=softhsm.module_path,
        issuing=TokenKey(issuing, b"issuing", softhsm.pin_file(tmp_path, issuing_pin, "i"), find_client()),
        ledger=TokenKey(ledger, b"ledger", softhsm.pin_file(tmp_path, ledger_pin, "l")),
        peers=me,
        presign_peers=me,
    )
    stop = threading.Event()
    thread = threading.Thread(target=run_signer, args=(config,), kwargs={"stop": stop})
    thread.start()
    channel = SignerChannel(config.socket)

    def states() -> list[str]:
        return [each["state"] for each in channel.call("status")["tokens"]]

    try:
        wait_for(config.socket.exists, 30)
        assert states() == ["well", "well"]
        server.kill()
        wait_for(lambda: states() == ["away", "well"], 15)
        server.start()
        wait_for(lambda: states() == ["well", "well"])
        assert channel.call("status")["tokens"][1]["rebuilds"] == 0  # the other module was left alone
    finally:
        server.kill()
        stop.set()
        thread.join(30)
