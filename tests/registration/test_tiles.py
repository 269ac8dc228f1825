"""The ledger over HTTP is the ledger: every tile and the checkpoint, byte for byte, also with the signer away."""

import pytest

from office import Office
from sealwright.channel import SignerChannel
from sealwright.errors import NotFound
from sealwright.ledger.reader import LedgerReader
from sealwright.ledger.tiles import CHECKPOINT, Tile, bundles_of, hash_tiles_of, parse_tile
from sealwright.registration.projection import project_ledger
from sealwright.registration.tiles import find_resource


def reader(office: Office) -> LedgerReader:
    installed = office.world.installed
    return LedgerReader(installed.ledger, installed.anchor.ledger_origin, installed.ledger_key)


def fill(office: Office, count: int) -> None:
    """More entries than one bundle holds, as any ledger has them: refusals."""
    authority = office.world.authority
    assert authority is not None
    ledger = authority.ledger
    entry = ledger.read(0)
    ledger.append(*[entry] * count)


def test_every_resource_of_the_ledger_is_served(office: Office) -> None:
    fill(office, 255)
    fill(office, 20)
    size = project_ledger(office.registry)
    assert size > 256
    ledger = reader(office)
    names = [CHECKPOINT, *(tile.name for tile in (*bundles_of(size), *hash_tiles_of(size)))]
    assert {"tile/entries/000", "tile/0/000", "tile/1/000.p/1"} < set(names)
    office.registry.signer = SignerChannel(office.config.socket.with_name("nobody"))
    for name in names:
        assert find_resource(office.registry, name) == ledger.resource(name), name


@pytest.mark.parametrize(
    "name", ["", "tile/0/001", "tile/0/000", "tile/entries/000.p/200", "tile/9/000.p/1", "../checkpoint", "tile/0/0"]
)
def test_what_the_ledger_does_not_have_is_not_found(office: Office, name: str) -> None:
    project_ledger(office.registry)
    with pytest.raises(NotFound):
        find_resource(office.registry, name)


def test_before_the_ledger_was_read_there_is_nothing(empty: Office) -> None:
    with pytest.raises(NotFound):
        find_resource(empty.registry, CHECKPOINT)


@pytest.mark.parametrize("size", [0, 1, 255, 256, 257, 65536, 65537, 1_234_567])
def test_the_tiles_of_a_size_hold_each_hash_once(size: int) -> None:
    assert sum(tile.width for tile in bundles_of(size)) == size
    for tile in hash_tiles_of(size):
        assert tile.is_in(size)
        assert parse_tile(tile.name) == tile
    assert sum(tile.width for tile in hash_tiles_of(size) if tile.level == 1) == size >> 8


@pytest.mark.parametrize(
    "name", ["tile/0/1", "tile/0/000.p/256", "tile/0/x000/001", "tile/00/000", "tile/entries/000/"]
)
def test_a_tile_has_one_name(name: str) -> None:
    assert parse_tile(name) is None


def test_a_million_is_spelt_as_the_specification_does() -> None:
    assert Tile(None, 1234067).name == "tile/entries/x001/x234/067"
