"""An office per test: its own ledger, signer, socket and database, of both kinds in turn."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from databases import Databases
from office import Office, open_office
from sealwright.registration.rosters import publish_roster
from world import make_world


@pytest.fixture
def empty(tmp_path: Path, databases: Databases) -> Iterator[Office]:
    """Before the first roster."""
    with open_office(make_world(tmp_path / "world"), tmp_path, database=databases.new("registry")) as office:
        yield office


@pytest.fixture
def office(empty: Office) -> Office:
    """With the world's roster in force."""
    publish_roster(empty.registry, empty.sign(empty.world.roster(), "olga", "omar"))
    empty.settle()
    return empty
