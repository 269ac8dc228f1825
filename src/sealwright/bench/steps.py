"""What each step of one issuance costs, one after the other in this process, on the same tokens and disk.

The steps are those of ``issuing.issuance``; what concurrent orders share there is not shared here.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright.bench.report import Row
from sealwright.bench.testbed import Testbed
from sealwright.hsm.keys import private_key
from sealwright.issuing.authority import IssuingAuthority
from sealwright.issuing.clock import system_clock
from sealwright.issuing.gate import check_order, check_still
from sealwright.ledger.entries import CertificateEntry, IntentEntry
from sealwright.ledger.log import Ledger
from sealwright.ledger.receipt import make_receipt
from sealwright.pki.certificates import draft_certificate, lint_draft, sign_certificate
from sealwright.pki.serials import format_serial, new_serial
from sealwright.statements.orders import IssuanceOrder, verify_order

T = TypeVar("T")


class Watch:
    """Milliseconds by step."""

    def __init__(self) -> None:
        self.costs: dict[str, list[float]] = defaultdict(list)

    def __call__(self, step: str, act: Callable[[], T]) -> T:
        begun = time.perf_counter()
        result = act()
        self.costs[step].append(1000 * (time.perf_counter() - begun))
        return result


def step_costs(testbed: Testbed, name: str, count: int) -> Iterator[Row]:
    """The median of each step, and its part of the whole."""
    watch = Watch()
    with testbed.issuing.open(testbed.module) as issuing_token, testbed.ledger.open(testbed.module) as ledger_token:
        ledger_key = private_key(ledger_token, testbed.ledger.key_id)
        if not isinstance(ledger_key, Ed25519PrivateKey):
            raise TypeError("the ledger key is not Ed25519")
        origin = testbed.installed.anchor.ledger_origin
        with Ledger.open(testbed.installed.ledger, origin, ledger_key) as ledger:
            key = private_key(issuing_token, testbed.issuing.key_id)
            authority = IssuingAuthority.open(testbed.installed, key=key, ledger=ledger, clock=system_clock)
            try:
                for order in testbed.orders(count, teams=3):  # a team's first is linted at length
                    _issue(authority, order, watch)
            finally:
                authority.close()
    medians = {step: statistics.median(costs) for step, costs in watch.costs.items()}
    whole = sum(medians.values())
    for step, cost in medians.items():
        yield Row(f"{name}: {step}", cost, "ms", whole, "all steps, alone")


def _issue(authority: IssuingAuthority, arguments: dict[str, Any], watch: Watch) -> None:
    """``issuance`` from order to receipt, with a watch at every step."""
    order = watch("parse the order", lambda: IssuanceOrder.parse(arguments))
    now = authority.time_for_issuance()
    roster = authority.roster_in_force(now)
    policy = watch("(2) read and compare the policy", lambda: authority.policy(roster))
    watch(
        "(1) verify the signatures",
        lambda: verify_order(
            order,
            roster=roster,
            profiles=policy.profiles,
            settings=policy.settings,
            rehearsal=authority.installed.rehearsal,
            now=now,
        ),
    )
    permitted = check_order(authority, order, now)
    request = permitted.verified.request
    serial = new_serial()
    draft = watch(
        "(3) draft",
        lambda: draft_certificate(
            request.profile,
            issuer=authority.installed.issuer(permitted.policy.settings),
            subject=request.subject,
            public_key=request.csr.public_key,
            serial=serial,
            not_before=now,
            san_uri=request.san_uri,
        ),
    )
    linted = watch("(4) lint", lambda: lint_draft(draft))
    with authority.lock:
        watch("(2) ask the ledger again", lambda: check_still(authority, permitted, now))
        intent = watch(
            "(5) intent, fsynced",
            lambda: authority.record(
                IntentEntry.for_tbs(
                    at=now,
                    serial=format_serial(serial),
                    tbs=linted.tbs,
                    profile=linted.profile.name,
                    order=permitted.order,
                    standing=None,
                )
            ),
        )
        certificate = watch("(6) (7) sign, compare, verify", lambda: sign_certificate(linted, authority.key))
        entry = watch(
            "(8) certificate, fsynced",
            lambda: authority.record(
                CertificateEntry.for_der(
                    at=now, serial=format_serial(serial), intent=intent, der=certificate.public_bytes(Encoding.DER)
                )
            ),
        )
        watch(
            "(9) receipt",
            lambda: make_receipt(authority.ledger, entry, certificate, authority.installed.issuing),
        )
