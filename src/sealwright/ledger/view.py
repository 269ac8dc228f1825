"""What writer and follower have in common: reading entries, proofs, and the files of c2sp.org/tlog-tiles."""

import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence

from sealwright.errors import NotFound
from sealwright.ledger.bundles import BUNDLE, LedgerFiles, encode_entry
from sealwright.ledger.scan import check_leaves, read_entries
from sealwright.ledger.tiles import CHECKPOINT, parse_tile
from sealwright.ledger.tree import MerkleTree

_BUNDLES_KEPT = 4


class LedgerView:
    """The ledger as of one checkpoint. Safe to use from several threads."""

    def __init__(self, files: LedgerFiles, tree: MerkleTree, size: int, checkpoint: str) -> None:
        self._files, self._tree = files, tree
        self._size, self._checkpoint = size, checkpoint
        self._lock = threading.RLock()
        self._cached: OrderedDict[int, list[bytes]] = OrderedDict()

    @property
    def size(self) -> int:
        """How many entries the checkpoint covers."""
        return self._size

    @property
    def root(self) -> bytes:
        with self._lock:
            return self._tree.root(self._size)

    def root_of(self, size: int) -> bytes:
        """The root of the first ``size`` entries."""
        with self._lock:
            return self._tree.root(size)

    @property
    def checkpoint(self) -> str:
        """The signed note over ``size`` and ``root``."""
        return self._checkpoint

    def read(self, index: int) -> bytes:
        """One entry. Raises ``NotFound`` beyond the checkpoint."""
        with self._lock:
            if not 0 <= index < self._size:
                raise NotFound(f"the ledger has {self._size} entries; there is no entry {index}")
            return self._entries(index // BUNDLE)[index % BUNDLE]

    def iterate(self, start: int = 0) -> Iterator[bytes]:
        """The entries from ``start`` to the checkpoint at the time of the call."""
        return self._iterate(start, self._size)

    def _iterate(self, start: int, size: int) -> Iterator[bytes]:
        for index in range(start, size):
            yield self.read(index)

    def inclusion_proof(self, index: int) -> tuple[bytes, ...]:
        """That entry ``index`` is under ``checkpoint``."""
        with self._lock:
            return self._tree.inclusion_proof(index, self._size)

    def consistency_proof(self, old: int) -> tuple[bytes, ...]:
        """That the ledger under ``checkpoint`` continues the one of ``old`` entries."""
        with self._lock:
            return self._tree.consistency_proof(old, self._size)

    def resource(self, name: str) -> bytes:
        """The file that tlog-tiles serves under this name, partial tiles among them. Raises ``NotFound``."""
        with self._lock:
            if name == CHECKPOINT:
                return self._checkpoint.encode()
            tile = parse_tile(name)
            if tile is not None and tile.is_in(self._size):
                if tile.level is None:
                    return b"".join(encode_entry(entry) for entry in self._entries(tile.number)[: tile.width])
                return self._tree.hashes(tile.height, tile.start, tile.end)
        raise NotFound(f"the ledger has no {name[:100]!r}")

    def _entries(self, bundle: int) -> list[bytes]:
        """The entries of a bundle that the checkpoint covers, those that were verified or ``IntegrityError``."""
        wanted = min(BUNDLE, self._size - bundle * BUNDLE)
        if len(self._cached.get(bundle, ())) < wanted:
            entries = read_entries(self._files, bundle, wanted=wanted)
            check_leaves(self._files, self._tree, bundle, entries)  # the disk may say something else by now
            self._keep(bundle, entries)
        self._cached.move_to_end(bundle)
        return self._cached[bundle]

    def _keep(self, bundle: int, entries: list[bytes]) -> None:
        self._cached[bundle] = entries
        self._cached.move_to_end(bundle)
        while len(self._cached) > _BUNDLES_KEPT:
            self._cached.popitem(last=False)

    def _remember(self, start: int, entries: Sequence[bytes]) -> None:
        """Entries that were just appended at ``start``: the receipt is about to want them."""
        for index, entry in enumerate(entries, start):
            bundle, place = divmod(index, BUNDLE)
            if place == 0:
                self._keep(bundle, [])
            if len(self._cached.get(bundle, ())) == place and bundle in self._cached:
                self._cached[bundle].append(entry)
