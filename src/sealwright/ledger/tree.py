"""The Merkle tree of RFC 9162 section 2.1: hashing, proofs and their checks. Pure: no files, no signatures.

The tree keeps the hash of every complete subtree (64 octets an entry), so that roots and proofs of any size that it
ever had cost a few dozen look-ups.
"""

import hashlib
from collections.abc import Sequence
from typing import Final

from sealwright.errors import IntegrityError

HASH_SIZE: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


def leaf_hash(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """An append-only tree in memory."""

    def __init__(self) -> None:
        self._levels: list[bytearray] = [bytearray()]
        """At ``[n]``, the hashes of the complete subtrees of 2^n leaves, left to right."""

    @property
    def size(self) -> int:
        return len(self._levels[0]) // HASH_SIZE

    def append(self, leaf: bytes) -> None:
        """Add the hash of one entry."""
        level, value = 0, leaf
        while True:
            if level == len(self._levels):
                self._levels.append(bytearray())
            hashes = self._levels[level]
            hashes += value
            if len(hashes) % (2 * HASH_SIZE):
                return
            value = hashlib.sha256(b"\x01" + hashes[-2 * HASH_SIZE :]).digest()
            level += 1

    def truncate(self, size: int) -> None:
        """Forget the newest entries, so that ``size`` are left."""
        for level, hashes in enumerate(self._levels):
            del hashes[(size >> level) * HASH_SIZE :]

    def hashes(self, level: int, start: int, end: int) -> bytes:
        """The concatenated hashes ``start`` to ``end`` (exclusive) of the complete subtrees of 2^level leaves."""
        if level >= len(self._levels):
            return b""
        return bytes(self._levels[level][start * HASH_SIZE : end * HASH_SIZE])

    def leaf(self, index: int) -> bytes:
        return self.hashes(0, index, index + 1)

    def root(self, size: int | None = None) -> bytes:
        """The root of the first ``size`` entries; of all by default."""
        size = self.size if size is None else size
        self._check(size)
        return self._range(0, size) if size else EMPTY_ROOT

    def inclusion_proof(self, index: int, size: int | None = None) -> tuple[bytes, ...]:
        """RFC 9162 2.1.3.1: that entry ``index`` is in the tree of ``size`` entries. Bottom first."""
        size = self.size if size is None else size
        self._check(size)
        if not 0 <= index < size:
            raise IndexError(f"entry {index} is not among {size}")
        proof = []
        start, end = 0, size
        while end - start > 1:
            middle = start + _split(end - start)
            if index < middle:
                proof.append(self._range(middle, end))
                end = middle
            else:
                proof.append(self._range(start, middle))
                start = middle
        return tuple(reversed(proof))

    def consistency_proof(self, old: int, size: int | None = None) -> tuple[bytes, ...]:
        """RFC 9162 2.1.4.1: that the tree of ``size`` entries continues the one of ``old`` entries."""
        size = self.size if size is None else size
        self._check(size)
        if not 0 <= old <= size:
            raise IndexError(f"a tree of {size} entries does not continue one of {old}")
        if old in {0, size}:
            return ()
        proof = []
        start, end, known = 0, size, True
        while old != end:
            middle = start + _split(end - start)
            if old <= middle:
                proof.append(self._range(middle, end))
                end = middle
            else:
                proof.append(self._range(start, middle))
                start, known = middle, False
        if not known:
            proof.append(self._range(start, end))
        return tuple(reversed(proof))

    def _range(self, start: int, end: int) -> bytes:
        """The hash of entries ``start`` to ``end``; ``start`` is a multiple of the range's largest power of two."""
        width = end - start
        if width & (width - 1) == 0:
            level = width.bit_length() - 1
            return self.hashes(level, start >> level, (start >> level) + 1)
        middle = start + _split(width)
        return node_hash(self._range(start, middle), self._range(middle, end))

    def _check(self, size: int) -> None:
        if not 0 <= size <= self.size:
            raise IndexError(f"the tree has {self.size} entries, not {size}")


def check_inclusion(*, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """RFC 9162 2.1.3.2. Raises ``IntegrityError`` unless the entry with the hash ``leaf`` is at ``index``."""
    if not 0 <= index < size:
        raise IntegrityError(f"inclusion proof is for entry {index} of a tree of {size} entries")
    position, last, value = index, size - 1, leaf
    for sibling in proof:
        if last == 0 or len(sibling) != HASH_SIZE:
            raise IntegrityError("inclusion proof is too long or has a hash of a wrong size")
        if position & 1 or position == last:
            value = node_hash(sibling, value)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            value = node_hash(value, sibling)
        position, last = position >> 1, last >> 1
    if last != 0 or value != root:
        raise IntegrityError(f"inclusion proof does not lead from entry {index} to the root of {size} entries")


def check_consistency(*, old: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """RFC 9162 2.1.4.2. Raises ``IntegrityError`` unless the second tree continues the first."""
    problem = IntegrityError(f"the ledger of {size} entries does not continue the one of {old} entries")
    if old > size or old < 0:
        raise problem
    if old in {0, size}:
        if proof or old_root != (EMPTY_ROOT if old == 0 else root):
            raise problem
        return
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path or any(len(each) != HASH_SIZE for each in path):
        raise problem
    first, second = old - 1, size - 1
    while first & 1:
        first, second = first >> 1, second >> 1
    old_value = value = path[0]
    for sibling in path[1:]:
        if second == 0:
            raise problem
        if first & 1 or first == second:
            old_value, value = node_hash(sibling, old_value), node_hash(sibling, value)
            while not first & 1 and first:
                first, second = first >> 1, second >> 1
        else:
            value = node_hash(value, sibling)
        first, second = first >> 1, second >> 1
    if second != 0 or old_value != old_root or value != root:
        raise problem


def _split(width: int) -> int:
    """The largest power of two below ``width``."""
    return 1 << ((width - 1).bit_length() - 1)
