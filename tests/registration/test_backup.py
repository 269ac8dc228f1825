"""A backup is restored: what the ledger has since then comes back from the ledger, on both kinds of database."""

from pathlib import Path

import pytest

from databases import Databases
from office import Office
from sealwright.errors import NotFound
from sealwright.ledger.receipt import check_receipt
from sealwright.registration.certificates import find_certificate, list_certificates
from sealwright.registration.config import RegistryConfig
from sealwright.registration.decisions import decide
from sealwright.registration.projection import project_ledger
from sealwright.registration.receipts import find_receipt
from sealwright.registration.registry import Registry
from sealwright.registration.requests import find_request, submit_request
from sealwright.registration.revocations import submit_revocation


def test_a_restored_backup_says_what_the_ledger_says(office: Office, databases: Databases, tmp_path: Path) -> None:
    def issue() -> str:
        request = office.request()
        submit_request(office.registry, request)
        return decide(office.registry, office.decision(request)).row.serial or ""

    revoked, open_before = issue(), office.request()
    submit_request(office.registry, open_before)
    databases.backup(office.config.database, tmp_path / "backup")

    later, open_after = issue(), office.request()
    submit_revocation(office.registry, office.revocation(revoked))
    submit_request(office.registry, open_after)
    office.settle()
    size = project_ledger(office.registry)

    url = databases.restore("registry", tmp_path / "backup")
    config = RegistryConfig(
        folder=office.config.folder, socket=office.config.socket, database=url, url=office.config.url
    )
    restored = Registry.open(config, clock=office.world.clock)
    with restored.database.reading() as tx:
        assert tx.projection_size() < size
    assert project_ledger(restored) == size
    assert {each.row.serial for each in list_certificates(restored)} == {revoked, later}
    assert find_certificate(restored, revoked).revocation is not None
    assert find_certificate(restored, later).revocation is None
    origin, key = office.world.installed.anchor.ledger_origin, restored.last_roster().ledger_key
    for serial in (revoked, later):
        request = find_certificate(restored, serial).row.request_sha256 or ""
        check_receipt(find_receipt(restored, request), origin=origin, ledger_key=key)
    # What was only asked since the backup is in no ledger: people ask again.
    assert find_request(restored, open_before.sha256).row.state == "open"
    with pytest.raises(NotFound):
        find_request(restored, open_after.sha256)
    submit_request(restored, open_after)
    assert decide(restored, office.decision(open_after)).row.state == "issued"
    restored.database.close()
