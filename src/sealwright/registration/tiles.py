"""The ledger as c2sp.org/tlog-tiles has it, from what was projected: also while the signer is away.

Under the last checkpoint that this registry checked. Nobody need believe it: who follows verifies. See ADR 0004.
"""

import contextlib

from sealwright.errors import NotFound
from sealwright.ledger.bundles import encode_entry
from sealwright.ledger.tiles import CHECKPOINT, parse_tile
from sealwright.registration.projection import load_tree
from sealwright.registration.registry import Registry


def find_resource(registry: Registry, name: str) -> bytes:
    """The checkpoint, or a tile. Raises ``NotFound`` for what the ledger does not have, or not yet."""
    tile = parse_tile(name)
    tree = registry.lock if tile is not None and tile.level else contextlib.nullcontext()
    with tree, registry.database.reading() as tx:
        checkpoint = tx.checkpoint()
        if checkpoint and name == CHECKPOINT:
            return checkpoint.encode()
        if checkpoint and tile is not None and tile.is_in(int(checkpoint.split("\n")[1])):
            if tile.level is None:
                return b"".join(map(encode_entry, tx.ledger_entries(tile.start, tile.end)))
            if tile.level == 0:
                return b"".join(tx.leaf_hashes(tile.start, tile.end))
            load_tree(registry, tx, tx.projection_size())
            return registry.tree.hashes(tile.height, tile.start, tile.end)
    raise NotFound(
        f"the ledger has no {name[:100]!r}", hint="its newest size is on the second line of /tlog/checkpoint"
    )
