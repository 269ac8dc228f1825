"""The Merkle tree against the definition in RFC 9162 2.1.1, written down here a second time, and published vectors."""

import hashlib
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealwright.errors import IntegrityError
from sealwright.ledger.tree import EMPTY_ROOT, MerkleTree, check_consistency, check_inclusion, leaf_hash

ENTRIES = [bytes([number % 251]) * (number % 7) + number.to_bytes(4, "big") for number in range(600)]


def reference_root(entries: Sequence[bytes]) -> bytes:
    """MTH of RFC 9162 2.1.1."""
    if not entries:
        return hashlib.sha256(b"").digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    split = 1
    while split * 2 < len(entries):
        split *= 2
    return hashlib.sha256(b"\x01" + reference_root(entries[:split]) + reference_root(entries[split:])).digest()


def tree_of(count: int) -> MerkleTree:
    tree = MerkleTree()
    for entry in ENTRIES[:count]:
        tree.append(leaf_hash(entry))
    return tree


TREE = tree_of(len(ENTRIES))
sizes = st.integers(0, len(ENTRIES))


def test_roots_are_those_of_the_certificate_transparency_vectors() -> None:
    # From the test data of the certificate-transparency project (merkletree), used by every RFC 6962 library.
    leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    tree = MerkleTree()
    assert tree.root() == EMPTY_ROOT
    for leaf, root in zip(leaves, roots, strict=True):
        tree.append(leaf_hash(bytes.fromhex(leaf)))
        assert tree.root().hex() == root


@settings(max_examples=60)
@given(sizes)
def test_root_is_the_definition(size: int) -> None:
    assert TREE.root(size) == reference_root(ENTRIES[:size]) == tree_of(size).root()


@given(sizes, sizes)
def test_truncating_forgets_and_nothing_else(size: int, keep: int) -> None:
    tree = tree_of(size)
    tree.truncate(min(keep, size))
    assert tree.size == min(keep, size)
    for entry in ENTRIES[tree.size : size]:
        tree.append(leaf_hash(entry))
    assert tree.root() == TREE.root(size)


@given(st.integers(1, len(ENTRIES)), st.data())
def test_every_entry_is_proven_to_be_included(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaf, root, proof = leaf_hash(ENTRIES[index]), TREE.root(size), TREE.inclusion_proof(index, size)
    assert len(proof) <= size.bit_length()
    check_inclusion(leaf=leaf, index=index, size=size, proof=proof, root=root)


@given(st.integers(1, len(ENTRIES)), st.data())
def test_refuses_an_inclusion_proof_of_something_else(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    other = data.draw(st.integers(0, size + 3).filter(lambda value: value != index))
    good = {
        "leaf": leaf_hash(ENTRIES[index]),
        "index": index,
        "size": size,
        "proof": TREE.inclusion_proof(index, size),
        "root": TREE.root(size),
    }
    proof = good["proof"]
    wrong = [
        {"leaf": leaf_hash(ENTRIES[index] + b"x")},
        {"index": other},
        {"index": -1},
        {"root": bytes(32)},
        {"proof": (*proof, bytes(32))},
        {"proof": (bytes(32), *proof)},
        {"proof": (*proof, b"")},
        {"size": 0},
    ]
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        flipped = bytes([proof[place][0] ^ 1]) + proof[place][1:]
        wrong += [
            {"proof": proof[:-1]},
            {"proof": (*proof[:place], flipped, *proof[place + 1 :])},
            {"proof": (*proof[:place], proof[place][:-1], *proof[place + 1 :])},
        ]
    for change in wrong:
        with pytest.raises(IntegrityError):
            check_inclusion(**(good | change))


@given(sizes, sizes)
def test_every_size_is_proven_to_continue_every_smaller_one(one: int, other: int) -> None:
    old, size = sorted((one, other))
    check_consistency(
        old=old,
        old_root=TREE.root(old),
        size=size,
        root=TREE.root(size),
        proof=TREE.consistency_proof(old, size),
    )


@given(st.integers(1, len(ENTRIES) - 1), st.data())
def test_refuses_a_consistency_proof_of_a_tree_that_was_rewritten(old: int, data: st.DataObject) -> None:
    size = data.draw(st.integers(old + 1, len(ENTRIES)))
    proof = TREE.consistency_proof(old, size)
    good = {"old": old, "old_root": TREE.root(old), "size": size, "root": TREE.root(size), "proof": proof}
    changed = list(ENTRIES[:old])
    changed[data.draw(st.integers(0, old - 1))] = b"rewritten"
    place = data.draw(st.integers(0, len(proof) - 1))
    for change in (
        {"old_root": reference_root(changed)},
        {"root": bytes(32)},
        {"old": size + 1},
        {"old": -1},
        {"proof": ()},
        {"proof": proof[:-1]},
        {"proof": (*proof, bytes(32))},
        {"proof": (*proof[:place], bytes(32), *proof[place + 1 :])},
        {"proof": (*proof[:place], b"", *proof[place + 1 :])},
    ):
        with pytest.raises(IntegrityError):
            check_consistency(**(good | change))


def test_the_empty_tree_is_continued_by_any_and_by_no_proof() -> None:
    check_consistency(old=0, old_root=EMPTY_ROOT, size=5, root=TREE.root(5), proof=())
    for wrong in ({"old_root": bytes(32)}, {"proof": (bytes(32),)}):
        with pytest.raises(IntegrityError):
            check_consistency(**({"old": 0, "old_root": EMPTY_ROOT, "size": 5, "root": bytes(32), "proof": ()} | wrong))  # type: ignore[arg-type]
    with pytest.raises(IntegrityError):
        check_consistency(old=5, old_root=TREE.root(5), size=5, root=bytes(32), proof=())


def test_asks_beyond_the_tree_are_errors() -> None:
    tree = tree_of(3)
    for ask in (
        lambda: tree.root(4),
        lambda: tree.inclusion_proof(3),
        lambda: tree.inclusion_proof(-1),
        lambda: tree.inclusion_proof(0, 4),
        lambda: tree.consistency_proof(4),
    ):
        with pytest.raises(IndexError):
            ask()
