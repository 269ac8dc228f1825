"""Revocation orders go to the signer as they are. The registry adds nothing, and holds back only what nobody signed.

The signer's ledger keeps each refusal for good, with an fsync: what any passer-by can send must not get that far.
"""

import logging
from typing import Any

from sealwright.errors import NotFound, PolicyViolation
from sealwright.registration.projection import catch_up
from sealwright.registration.registry import Registry
from sealwright.statements.checks import check_signer, check_statement
from sealwright.statements.kinds import (
    CorrectionStatement,
    CountersignatureStatement,
    KeyRevocationStatement,
    RevocationStatement,
    SuspendStatement,
)
from sealwright.statements.revocations import RevocationOrder, verify_revocation
from sealwright.statements.signed import SignedStatement

log = logging.getLogger("sealwright.registry")


def submit_revocation(registry: Registry, order: RevocationOrder) -> dict[str, Any]:
    """The signer's answer: act, serials, reason and date. Raises whatever it raised."""
    statement = order.statement
    if isinstance(statement, KeyRevocationStatement):
        _check_key_holder(registry, order, statement.spki_sha256)
    else:
        check_person(registry, order.revocation, type(statement))
        if order.countersignature is not None:
            check_person(registry, order.countersignature, CountersignatureStatement)
    answer = registry.signer.call("revoke", order=order.to_wire())
    log.info("%s of %s, ordered by %s", answer["act"], ", ".join(answer["serials"]), order.person or "the key's holder")
    catch_up(registry)
    return answer


def check_person(
    registry: Registry,
    signed: SignedStatement,
    model: type[RevocationStatement | CorrectionStatement | CountersignatureStatement | SuspendStatement],
) -> None:
    """Somebody of the last roster that was read signed it. Whether that person may is the signer's to judge."""
    roster = registry.last_roster()
    said = check_statement(signed, model, pki_id=roster.pki_id, now=registry.clock())
    check_signer(signed, said, roster.keys_of(said.person))


def _check_key_holder(registry: Registry, order: RevocationOrder, key: str) -> None:
    """The key signed it, is one that was certified, and there is something left to do."""
    verify_revocation(order, roster=registry.last_roster(), teams={}, now=registry.clock())
    catch_up(registry)
    with registry.database.reading() as tx:
        held = {row.serial for row in tx.certificates(spki_sha256=key, limit=None)}
        done = {row.serial for row in tx.revocations_of_key(key) if row.key_blocked}
    if not held:
        raise NotFound(f"nothing was ever certified for the key {key}", hint="is it the key of this PKI's certificate?")
    if held <= done:
        raise PolicyViolation(
            "all that is certified for this key is revoked already, and the key is blocked",
            rule="REV-ALREADY",
            hint="there is nothing to do",
        )
