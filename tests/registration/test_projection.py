"""The ledger decides and the database follows: made again, it says the same. Real signer, real ledger."""

import base64
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from databases import Databases
from office import Office, open_office
from sealwright.channel import SignerChannel
from sealwright.errors import IntegrityError, NotFound, PolicyViolation, Unavailable
from sealwright.issuing.loss import declare_loss, draft_loss
from sealwright.issuing.recover import recover_ledger
from sealwright.issuing.recovery import record_start
from sealwright.ledger.receipt import check_receipt
from sealwright.pki.serials import parse_serial
from sealwright.registration.certificates import find_certificate, list_certificates
from sealwright.registration.decisions import decide
from sealwright.registration.projection import project_ledger, rebuild
from sealwright.registration.receipts import find_receipt
from sealwright.registration.registry import Registry
from sealwright.registration.requests import find_request, list_requests, submit_request
from sealwright.registration.revocations import submit_revocation
from sealwright.registration.rosters import publish_roster
from sealwright.registration.tiles import find_resource
from sealwright.statements.revocations import RevocationOrder
from sealwright.statements.signed import SignedStatement
from sealwright.store.models import RequestState
from world import World, make_world


def issue(office: Office) -> str:
    request = office.request()
    submit_request(office.registry, request)
    serial = decide(office.registry, office.decision(request)).row.serial
    assert serial is not None
    return serial


def test_a_revocation_goes_to_the_signer_and_comes_back_from_its_ledger(office: Office) -> None:
    serial = issue(office)
    answer = submit_revocation(office.registry, office.revocation(serial))
    assert answer["serials"] == [serial]
    found = find_certificate(office.registry, serial)
    assert found.revocation is not None
    assert (found.revocation.reason, found.revocation.person) == ("superseded", "alice")


def test_a_revocation_by_another_team_is_refused(office: Office) -> None:
    serial = issue(office)
    with pytest.raises(PolicyViolation) as caught:
        submit_revocation(office.registry, office.revocation(serial, "mallory"))
    assert caught.value.rule == "REV-ALLOWED"


def test_a_revocation_of_nothing_is_not_found(office: Office) -> None:
    with pytest.raises(NotFound):
        submit_revocation(office.registry, office.revocation("abcdef"))


def test_a_revocation_that_nobody_of_the_roster_signed_leaves_nothing_in_the_ledger(office: Office) -> None:
    serial = issue(office)
    size = project_ledger(office.registry)
    good, key = office.sign(office.world.revocation(serial)), "d" * 64
    by_key = office.world.statement("key-revocation", "alice", spki_sha256=key, comment="")
    for forged, second in (
        (office.sign(office.world.revocation(serial), "stranger"), None),
        (office.sign({**office.world.revocation(serial), "person": "nobody"}, "stranger"), None),
        (SignedStatement(statement=office.world.revocation(serial), signatures=("x",)), None),
        (good, office.sign(office.world.countersignature(good), "stranger")),
        (office.sign(by_key), None),
    ):
        with pytest.raises(PolicyViolation, match=r"STMT-SIGN|REV-KEY-PROOF"):
            submit_revocation(office.registry, RevocationOrder(revocation=forged, countersignature=second))
    assert project_ledger(office.registry) == size


def test_a_projection_made_again_says_the_same(office: Office) -> None:
    serial, other = issue(office), issue(office)
    submit_revocation(office.registry, office.revocation(serial))
    before = [(each.row.model_dump(), each.revocation) for each in list_certificates(office.registry)]
    size = rebuild(office.registry)
    after = [(each.row.model_dump(), each.revocation) for each in list_certificates(office.registry)]
    assert (size, [each[0] for each in after]) == (project_ledger(office.registry), [each[0] for each in before])
    assert find_certificate(office.registry, serial).revocation is not None
    assert find_certificate(office.registry, other).revocation is None
    assert office.registry.last_roster().version == 1


def test_a_database_that_was_lost_is_made_again_with_requests_and_receipts(
    office: Office, databases: Databases
) -> None:
    serial = issue(office)
    url = databases.new("registry")
    config = type(office.config)(
        folder=office.config.folder, socket=office.config.socket, database=url, url=office.config.url
    )
    another = Registry.open(config, clock=office.world.clock)
    project_ledger(another)
    (record,) = list_requests(another, "issued")
    assert record.row.serial == serial
    receipt = find_receipt(another, record.row.id)
    key = another.last_roster().ledger_key
    check_receipt(receipt, origin=office.world.installed.anchor.ledger_origin, ledger_key=key)
    assert find_receipt(another, record.row.id) == receipt
    another.database.close()


def test_a_denial_comes_back_from_the_ledger(office: Office, databases: Databases) -> None:
    denied, withdrawn = office.request(), office.request()
    for request, person in ((denied, "bob"), (withdrawn, "alice")):
        submit_request(office.registry, request)
        decide(office.registry, office.decision(request, person, verdict="deny", comment="no"))
    with office.registry.database.writing() as tx:  # somebody opens it again
        tx.request(denied.sha256).state = RequestState.APPROVED
    rebuild(office.registry)
    lost = replace(office.config, database=databases.new("registry"))
    another = Registry.open(lost, clock=office.world.clock)
    project_ledger(another)
    for registry in (office.registry, another):
        rows = {record.row.sha256: record.row for record in list_requests(registry, "denied")}
        assert {digest: row.reason for digest, row in rows.items()} == {
            denied.sha256: "denied by bob: no",
            withdrawn.sha256: "withdrawn by alice: no",
        }
        assert rows[denied.sha256].spki_sha256
    another.database.close()


def test_an_edited_row_is_overruled_by_the_next_projection(office: Office) -> None:
    serial = issue(office)
    with office.registry.database.writing() as tx:
        tx.certificate(serial).team = "games"
    rebuild(office.registry)
    assert find_certificate(office.registry, serial).row.team == "payments"


def test_a_forged_roster_in_the_database_is_not_believed(office: Office) -> None:
    with office.registry.database.writing() as tx:
        (row,) = tx.rosters()
        row.document = office.sign(office.world.roster(threshold=2, version=1), "mallory").to_bytes().decode()
        row.sha256 = "0" * 64
    with pytest.raises(PolicyViolation):
        office.registry.last_roster()


class Tampering(SignerChannel):
    """NOT the signer: what a registry would see if somebody stood between. Only its answers' bytes are changed."""

    def __init__(self, real: SignerChannel, *, shrink: bool) -> None:
        self._real, self._shrink = real, shrink

    def call(self, name: str, **arguments: object) -> dict[str, object]:
        answer = self._real.call(name, **arguments)
        if name != "entries":
            return answer
        if self._shrink:
            return {**answer, "size": 1, "entries": []}
        entries = [base64.b64decode(each).replace(b"payments", b"purposes") for each in answer["entries"]]
        return {**answer, "entries": [base64.b64encode(each).decode() for each in entries]}


def test_entries_that_are_not_under_the_checkpoint_are_refused(office: Office) -> None:
    size = project_ledger(office.registry)
    real = office.registry.signer
    real.call("issue", order=office.world.order())
    office.registry.signer = Tampering(real, shrink=False)
    with pytest.raises((IntegrityError, PolicyViolation)):
        project_ledger(office.registry)
    office.registry.signer = real
    with office.registry.database.reading() as tx:
        assert tx.projection_size() == size
    assert project_ledger(office.registry) > size


def test_a_ledger_that_shrank_is_refused(office: Office) -> None:
    project_ledger(office.registry)
    office.registry.signer = Tampering(office.registry.signer, shrink=True)
    with pytest.raises(IntegrityError, match="were read before"):
        project_ledger(office.registry)


def test_while_the_signer_is_away_people_are_served_from_what_was_read(office: Office) -> None:
    office.registry.signer = SignerChannel(office.config.socket.with_name("nobody"))
    with pytest.raises(Unavailable, match="signer does not answer"):
        project_ledger(office.registry)
    request = office.request()
    submit_request(office.registry, request)
    assert find_request(office.registry, request.sha256).row.state == "open"


@pytest.mark.parametrize("grown", [True, False])
def test_the_copy_of_what_a_signer_lost_is_not_forgotten_by_a_rebuild(tmp_path: Path, grown: bool) -> None:
    """Also when the restored backup went on by itself: it is as long again, and its size gives nothing away."""
    world, lost = set_back(tmp_path)
    seen = len(lost.seen)
    authority = world.start()
    while grown and authority.ledger.size < seen:
        record_start(authority)
    assert (authority.ledger.size >= seen) is grown
    world.stop()
    with open_office(world, tmp_path) as office:
        with pytest.raises(IntegrityError, match=r"was set back: .* it is the copy"):
            rebuild(office.registry)
        assert find_certificate(office.registry, lost.serial).row.serial == lost.serial


def test_a_rebuild_goes_on_from_a_loss_that_officers_declared(tmp_path: Path) -> None:
    world, lost = set_back(tmp_path)
    with open_office(world, tmp_path) as office, pytest.raises(IntegrityError, match="were read before"):
        project_ledger(office.registry)
    authority = world.start()
    draft = draft_loss(
        world.installed,
        authority.ledger,
        authority.index,
        person="olga",
        serials=[parse_serial(lost.serial)],
        comment="",
        now=world.clock(),
    )
    declare_loss(authority, world.signed(draft.to_wire(), "olga", "omar"))
    assert authority.ledger.size < len(lost.seen)
    world.stop()
    with open_office(world, tmp_path) as office:
        rebuild(office.registry)
        with pytest.raises(NotFound):
            find_certificate(office.registry, lost.serial)
        issue(office)


@dataclass(frozen=True)
class SetBack:
    seen: tuple[bytes, ...]
    serial: str


def set_back(folder: Path) -> tuple[World, SetBack]:
    """A backup of the ledger was restored; a registry's database has what is missing."""
    world = make_world(folder / "world")
    with open_office(world, folder) as office:
        publish_roster(office.registry, office.sign(world.roster(), "olga", "omar"))
        project_ledger(office.registry)
    shutil.copytree(world.installed.ledger, folder / "backup")
    with open_office(world, folder) as office:
        serials = [issue(office) for _ in range(5)]
        size = project_ledger(office.registry)
        with office.registry.database.reading() as tx:
            seen = tuple(tx.ledger_entries(0, size))
    shutil.rmtree(world.installed.ledger)
    (folder / "backup").rename(world.installed.ledger)
    return world, SetBack(seen, serials[0])


def test_a_checkpoint_that_nobody_signed_holds_no_rebuild_up(office: Office) -> None:
    serial = issue(office)
    with office.registry.database.writing() as tx:
        tx.projection().checkpoint = "what somebody wrote there"
    rebuild(office.registry)
    assert find_certificate(office.registry, serial).row.serial == serial


def test_a_registry_that_saw_more_stops_a_signer_whose_backup_was_restored(tmp_path: Path) -> None:
    world = make_world(tmp_path / "world")
    with open_office(world, tmp_path) as office:
        publish_roster(office.registry, office.sign(world.roster(), "olga", "omar"))
        office.settle()
        project_ledger(office.registry)
    shutil.copytree(world.installed.ledger, tmp_path / "backup")
    with open_office(world, tmp_path) as office:
        issue(office)
        seen = project_ledger(office.registry)
    shutil.rmtree(world.installed.ledger)
    (tmp_path / "backup").rename(world.installed.ledger)
    with open_office(world, tmp_path) as office:
        with pytest.raises(IntegrityError, match="were read before"):
            project_ledger(office.registry)
        with pytest.raises(IntegrityError, match="was set back"):
            office.registry.signer.call("issue", order=world.order())
        with pytest.raises(IntegrityError, match="it is the copy"):
            rebuild(office.registry)
        checkpoint = find_resource(office.registry, "checkpoint").decode()
        with office.registry.database.reading() as tx:
            entries = tx.ledger_entries(0, seen)
    assert recover_ledger(world.installed, entries, checkpoint).size == seen
    with open_office(world, tmp_path) as office:
        assert project_ledger(office.registry) == seen
        issue(office)
