from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from databases import Databases
from desk import Desk
from sealwright.store.publication import open_publication
from world import make_world


@pytest.fixture
def desk(tmp_path: Path, databases: Databases) -> Iterator[Desk]:
    world = make_world(tmp_path / "w")
    url = databases.new("publication")
    with ExitStack() as resources:
        desk = Desk(world, tmp_path / "signer.sock", url, open_publication(url), resources)
        desk.start_signer()
        yield desk
        desk.database.close()


@pytest.fixture
def open_desk(desk: Desk) -> Desk:
    """With a roster in force."""
    roster = desk.world.signed(desk.world.roster(), "olga", "omar")
    desk.channel().call("publish-roster", roster=roster.to_wire())
    return desk
