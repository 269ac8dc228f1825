"""The signer behind its socket: the calls that are not orders, and what it says of itself."""

import base64
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509

from exports import audit
from sealwright.channel import SignerCall, SignerChannel
from sealwright.errors import InputError, NotFound, NotReady, Unavailable
from sealwright.issuing import service as service_module
from sealwright.issuing.service import SignerConfig, TokenKey, serve
from sealwright.ledger.checkpoint import verify_checkpoint
from sealwright.ledger.entries import parse_entry
from sealwright.ledger.tree import MerkleTree, leaf_hash
from sealwright.pki.certificates import CertificateDraft, LintedDraft
from sealwright.statements.receipts import Receipt
from world import World, call, service


def test_the_feed_gives_every_entry_under_a_signed_checkpoint(world: World) -> None:
    for _ in range(3):
        call(world, "issue", order=world.order())
    entries: list[bytes] = []
    while True:
        answer = call(world, "entries", start=len(entries), count=2)
        entries += [base64.b64decode(each) for each in answer["entries"]]
        if len(entries) == answer["size"]:
            break
    size, root = verify_checkpoint(
        answer["checkpoint"], world.installed.anchor.ledger_origin, world.ledger_key.public_key()
    )
    assert size == len(entries)
    tree = MerkleTree()
    for entry in entries:
        tree.append(leaf_hash(entry))
    assert tree.root() == root


@pytest.mark.parametrize(
    "arguments",
    [{"start": -1, "count": 1}, {"start": 0}, {"start": "0", "count": 1}, {"start": 0, "count": 1, "more": 1}],
)
def test_the_feed_takes_a_start_and_a_count(world: World, arguments: dict[str, object]) -> None:
    with pytest.raises(InputError):
        call(world, "entries", **arguments)


def test_a_responder_certificate_is_for_the_installed_key_and_is_renewed_before_it_ends(world: World) -> None:
    def ask() -> x509.Certificate:
        return x509.load_der_x509_certificate(base64.b64decode(call(world, "responder-certificate")["certificate"]))

    first = ask()
    assert first.public_key() == world.keys["ocsp"].public_key()
    first.verify_directly_issued_by(world.installed.issuing)
    assert ask() == first
    settings = world.authority.settings if world.authority else None
    assert settings is not None
    margin = settings.standing.responder_renew_before_days
    world.clock.pass_(days=settings.standing.responder_validity_days - margin - 1)
    assert ask() == first
    world.clock.pass_(days=1)
    second = ask()
    assert second.serial_number != first.serial_number
    assert second.not_valid_before_utc < first.not_valid_after_utc  # they overlap


def test_a_responder_certificate_is_of_the_profile_in_force_when_it_is_signed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Officers publish a stricter one while the draft is being linted."""
    assert world.authority is not None
    lint, profile = world.authority.lint, world.installed.folder / "ca/profiles/ocsp-responder.toml"

    def slow(draft: CertificateDraft) -> LintedDraft:
        profile.write_text(profile.read_text() + "# a word more\n")
        call(world, "publish-roster", roster=world.signed(world.roster(2), "olga", "omar").to_wire())
        return lint(draft)

    size = world.authority.ledger.size
    with monkeypatch.context() as patch:
        patch.setattr(world.authority, "lint", slow)
        with pytest.raises(Unavailable, match="profile ocsp-responder was changed by a roster"):
            call(world, "responder-certificate")
    assert [parse_entry(each).type for each in world.authority.ledger.iterate(size)] == ["policy", "roster"]
    assert call(world, "responder-certificate")["certificate"]
    assert audit(world).problems == []


def test_a_signer_that_hears_nobody_any_more_ends(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that whoever looks after it starts another: what is left would look alive."""

    def broken(*_: object) -> Iterator[socket.socket]:
        yield from ()
        raise ValueError("a fault of ours")

    assert world.authority is not None
    monkeypatch.setattr(service_module, "waiting_calls", broken)
    config = replace(service(world)._config, socket=tmp_path / "s.sock")
    before, stop = threading.active_count(), threading.Event()
    with pytest.raises(ValueError, match="a fault of ours"):
        serve(world.authority, config, stop)
    assert stop.is_set()
    for _ in range(1000):
        if threading.active_count() <= before:
            break
        time.sleep(0.01)
    assert threading.active_count() <= before, "the CRL clock has ended too"


def test_no_responder_certificate_before_the_first_roster(bare_world: World) -> None:
    with pytest.raises(NotReady):
        call(bare_world, "responder-certificate")


def test_a_serial_that_was_never_issued_cannot_be_revoked(world: World) -> None:
    with pytest.raises(NotFound):
        call(world, "revoke", order={"revocation": world.signed(world.revocation("abcdef")).to_wire()})


@pytest.mark.parametrize("order", [None, [], {}, {"request": {}}, "x", {"request": {}, "decisions": []}])
def test_what_is_no_order_is_named_so(world: World, order: object) -> None:
    with pytest.raises(InputError):
        call(world, "issue", order=order)


def test_an_unexpected_failure_becomes_one_line_without_a_trace(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = service(world)

    def fail(_: SignerCall) -> dict[str, object]:
        raise RuntimeError("PIN 1234")

    monkeypatch.setattr(answers, "_calls", {"status": fail})
    with pytest.raises(Exception, match=r"could not finish this call \(RuntimeError\)") as caught:
        answers.answer(SignerCall("status", {}, 0))
    assert "1234" not in str(caught.value)


def test_serves_many_at_once_and_answers_what_it_accepted(world: World, tmp_path: Path) -> None:
    assert world.authority is not None
    nowhere = TokenKey("", b"", Path("/nonexistent"))
    path = tmp_path / "signer.sock"
    uid = frozenset({world.installed.folder.stat().st_uid})
    stop = threading.Event()
    config = SignerConfig(world.folder, path, Path("/nonexistent"), nowhere, nowhere, uid, uid)
    server = threading.Thread(target=serve, args=(world.authority, config, stop))
    server.start()
    orders = [world.order() for _ in range(6)]
    serials: list[int] = []
    refusals: list[str] = []

    def ask(order: dict[str, object]) -> None:
        while not path.exists():
            pass
        try:
            receipt = Receipt.parse(SignerChannel(path).call("issue", order=order)["receipt"])
            serials.append(receipt.load_certificate().serial_number)
        except Exception as error:  # each order is sent twice, and one of the two is refused
            refusals.append(getattr(error, "rule", repr(error)))

    threads = [threading.Thread(target=ask, args=(order,)) for order in orders for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    server.join()
    assert len(set(serials)) == len(serials) == len(orders)
    assert refusals == ["ORDER-USED"] * len(orders)
    assert not path.exists()
