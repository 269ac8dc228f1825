"""Orders that come at the same time, and what became of each."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any
from unittest import mock

from sealwright.channel import SignerCall
from sealwright.errors import PolicyViolation
from sealwright.issuing.issuance import Issuance, begin
from sealwright.issuing.line import Line
from sealwright.pki.certificates import CertificateDraft, LintedDraft
from sealwright.statements.receipts import Receipt
from world import World, call, service

Answer = Receipt | BaseException


def ask(world: World, order: dict[str, Any]) -> Answer:
    try:
        return Receipt.parse(call(world, "issue", order=order)["receipt"])
    except BaseException as error:  # the answer is what is looked at
        return error


def together(
    world: World, orders: Sequence[dict[str, Any]], meanwhile: Callable[[], object] = lambda: None
) -> list[Answer]:
    """The answers to orders that are all judged before the first of them is carried out."""
    authority = world.authority
    assert authority is not None
    left, lint = len(orders), authority.lint

    def last(draft: CertificateDraft) -> LintedDraft:
        nonlocal left
        left -= 1
        if left == 0:
            meanwhile()
        return lint(draft)

    told = [threading.Event() for _ in orders]
    drafts = [partial(service(world)._draft, SignerCall("issue", {"order": order}, 0)) for order in orders]
    issuances = [Issuance(draft, event.set) for draft, event in zip(drafts, told, strict=True)]
    authority.lint = last
    try:
        with all_at_once(authority.line):
            for issuance in issuances:
                begin(authority, issuance)
        assert all(event.wait(20) for event in told)
    finally:
        authority.lint = lint
    return [issuance.receipt or issuance.error or AssertionError("it was told too early") for issuance in issuances]


@contextmanager
def all_at_once(line: Line[Any]) -> Iterator[None]:
    """Whatever is put into the line meanwhile is there when its thread begins."""
    submit, begun = line._thread.submit, []
    with mock.patch.object(line._thread, "submit", lambda *task: begun.append(task)):
        yield
    for task in begun:
        submit(*task)


def given(answers: Sequence[Answer]) -> list[Receipt]:
    return [answer for answer in answers if isinstance(answer, Receipt)]


def rules(answers: Sequence[Answer]) -> list[str]:
    return [answer.rule for answer in answers if isinstance(answer, PolicyViolation)]
