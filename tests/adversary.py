"""What every adversary of ``tests/attacks`` does: sends the signer a lie, and looks for its refusal in the ledger."""

import hashlib
from typing import Any

import pytest

from sealwright.errors import PolicyViolation
from sealwright.ledger.entries import RefusalEntry, parse_entry
from sealwright.statements.canonical import canonical_bytes
from world import World, call


def refused(world: World, lie: dict[str, Any], name: str = "issue") -> str:
    """The rule that refuses it. That this was refused has to be in the ledger too, and nothing may have been issued.

    The same lie a second time need not stand there twice (``issuing.refusals``).
    """
    assert world.authority is not None
    arguments = {{"publish-roster": "roster", "suspend": "suspension"}.get(name, "order"): lie}
    issued = dict(world.authority.index.issued_for)
    with pytest.raises(PolicyViolation) as caught:
        call(world, name, **arguments)
    digest = hashlib.sha256(canonical_bytes(arguments)).hexdigest()
    entries = (parse_entry(data) for data in world.authority.ledger.iterate())
    refusals = {(entry.sha256, entry.rule) for entry in entries if isinstance(entry, RefusalEntry)}
    assert (digest, caught.value.rule) in refusals
    assert world.authority.index.issued_for == issued
    return caught.value.rule


def good(world: World) -> tuple[Any, Any]:
    request = world.signed(world.request())
    return request, world.signed(world.decision(request))


def order(request: Any, *decisions: Any) -> dict[str, Any]:
    return {"request": request.to_wire(), "decisions": [decision.to_wire() for decision in decisions]}
