"""A started signer with a roster, for each test its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from world import World, call, make_world


@pytest.fixture
def bare_world(tmp_path: Path) -> Iterator[World]:
    """Started, without a roster."""
    world = make_world(tmp_path)
    world.start()
    yield world
    world.stop()


@pytest.fixture
def world(bare_world: World) -> World:
    call(bare_world, "publish-roster", roster=bare_world.signed(bare_world.roster(), "olga", "omar").to_wire())
    return bare_world
