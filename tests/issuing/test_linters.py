"""Lint in other processes: the same verdicts, on the very draft that was asked about, or none."""

import dataclasses
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sealwright.errors import IntegrityError, PolicyViolation, Unavailable
from sealwright.issuing import linters as module
from sealwright.issuing.linters import Linters
from sealwright.pki.certificates import CertificateDraft, lint_draft, sign_certificate
from sealwright.pki.keys import KeyKind
from sealwright.pki.lint import LintedDraft, accept_verdict
from sealwright.pki.verdicts import Questions, Reader, Verdict, parse_verdict
from softpki import SoftPKI, soft_pki, software_key


@pytest.fixture(scope="module")
def linters() -> Iterator[Linters]:
    with Linters(1) as made:
        yield made


@pytest.fixture(scope="module")
def soft() -> SoftPKI:
    return soft_pki(KeyKind.P384)


@pytest.fixture
def draft(soft: SoftPKI) -> CertificateDraft:
    return soft.draft(software_key(KeyKind.P256, "leaf"))


def refusable(draft: CertificateDraft) -> list[CertificateDraft]:
    """The same certificate, for which some rule has no time."""
    shorter = dataclasses.replace(draft.profile, validity_days=10)
    others = dataclasses.replace(draft.profile, keys=(KeyKind.RSA_3072,))
    elsewhere = draft.settings.urls.model_copy(update={"base": "http://elsewhere.example.org"})
    settings = dataclasses.replace(draft.settings, urls=elsewhere)
    assert draft.issuer is not None
    return [
        dataclasses.replace(draft, profile=shorter),
        dataclasses.replace(draft, profile=others),
        dataclasses.replace(draft, settings=settings, issuer=dataclasses.replace(draft.issuer, settings=settings)),
        dataclasses.replace(draft, public_key=software_key(KeyKind.P256, "other").public_key()),
    ]


def answers(linters: Linters, count: int) -> dict[Any, Any]:
    """So many answers, by their tickets."""
    found: dict[Any, Any] = {}
    while len(found) < count:
        found |= dict(linters.answers(wait=True))
    return found


def lint(linters: Linters, draft: CertificateDraft) -> LintedDraft:
    linters.ask("it", draft)
    answer = answers(linters, 1)["it"]
    if isinstance(answer, BaseException):
        raise answer
    assert isinstance(answer, LintedDraft)
    return answer


def pids(linters: Linters) -> list[int]:
    return [linter.pid for linter in linters._all]


def test_what_passes_there_can_be_signed_here(linters: Linters, soft: SoftPKI, draft: CertificateDraft) -> None:
    linted = lint(linters, draft)
    assert linted.draft is draft
    assert sign_certificate(linted, soft.issuing_key).tbs_certificate_bytes == draft.tbs


def test_what_is_refused_there_is_refused_as_it_would_be_here(linters: Linters, draft: CertificateDraft) -> None:
    for bad in refusable(draft):
        with pytest.raises(PolicyViolation) as here:
            lint_draft(bad)
        with pytest.raises(PolicyViolation) as there:
            lint(linters, bad)
        assert (there.value.rule, there.value.message, there.value.hint) == (
            here.value.rule,
            here.value.message,
            here.value.hint,
        )
        lint(linters, draft)  # with what the linter remembers of the one before


def test_everything_that_is_judged_is_in_the_digest(draft: CertificateDraft) -> None:
    questions = Questions()
    digests = [questions.about(each).digest for each in (draft, *refusable(draft), draft)]
    assert digests[0] == digests[-1]
    assert len(set(digests)) == len(digests) - 1


def test_a_question_is_read_as_it_was_asked(soft: SoftPKI, draft: CertificateDraft) -> None:
    reader = Reader()
    responder = soft.draft_responder(software_key(KeyKind.P256, "ocsp"))
    for each in (draft, responder, draft):
        question = Questions().about(each)
        read, digest = reader.read(question.data)
        assert digest == question.digest
        for field in ("tbs", "profile", "settings", "scheme", "public_key"):
            assert getattr(read, field) == getattr(each, field)
        assert read.issuer is not None
        assert each.issuer is not None
        assert read.issuer.der == each.issuer.der


def test_a_verdict_on_another_draft_makes_nothing(soft: SoftPKI, draft: CertificateDraft) -> None:
    other = Questions().about(soft.draft(software_key(KeyKind.P256, "leaf")))
    with pytest.raises(IntegrityError, match="another draft"):
        accept_verdict(Questions().about(draft), Verdict(other.digest))


@pytest.mark.parametrize("answer", [b"", b"{}", b"[1,2,3,4]", b'["a","b"]', b"\x80\x04N.", b"null"])
def test_an_answer_that_is_none_is_not_read(answer: bytes) -> None:
    with pytest.raises(IntegrityError):
        parse_verdict(answer)


def test_a_linter_that_was_killed_is_replaced_and_the_draft_is_judged(
    linters: Linters, draft: CertificateDraft
) -> None:
    (before,) = pids(linters)
    os.kill(before, signal.SIGKILL)
    assert lint(linters, draft).draft is draft
    (after,) = pids(linters)
    assert after != before
    with pytest.raises(PolicyViolation):
        lint(linters, refusable(draft)[0])


def test_a_linter_that_answers_for_another_draft_is_replaced(
    linters: Linters, draft: CertificateDraft, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, lies = pids(linters), iter([Verdict("0" * 64).to_bytes()])
    real = module.parse_verdict
    monkeypatch.setattr(module, "parse_verdict", lambda data: real(next(lies, data)))
    assert lint(linters, draft).draft is draft
    assert pids(linters) != before


def test_a_draft_over_which_linters_die_is_not_linted_and_those_behind_it_are(
    soft: SoftPKI, draft: CertificateDraft, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = module._Linter.ask

    def die(linter: Any, asked: Any) -> bool:
        if asked.ticket == "poison" and not linter.asked:
            os.kill(linter.pid, signal.SIGKILL)
        return ask(linter, asked)

    others = {n: soft.draft(software_key(KeyKind.P256, "leaf")) for n in range(3)}
    with Linters(1) as linters:
        with monkeypatch.context() as patch:
            patch.setattr(module._Linter, "ask", die)
            linters.ask("poison", draft)
            for n, other in others.items():
                linters.ask(n, other)
            assert linters.asked == 4
            found = answers(linters, 4)
        assert isinstance(found.pop("poison"), Unavailable)
        assert {n: linted.draft for n, linted in found.items()} == others
        assert linters.asked == 0
        assert lint(linters, draft).draft is draft


def test_a_linter_that_is_silent_is_replaced(draft: CertificateDraft, monkeypatch: pytest.MonkeyPatch) -> None:
    with Linters(1) as linters:
        lint(linters, draft)
        monkeypatch.setattr(module, "PATIENCE", 10.0)  # another one starts meanwhile
        (before,) = pids(linters)
        os.kill(before, signal.SIGSTOP)
        assert lint(linters, draft).draft is draft
        assert pids(linters) != [before]


def test_a_linter_that_died_while_nobody_asked_is_replaced_when_it_is_noticed(draft: CertificateDraft) -> None:
    with Linters(2) as linters:
        killed = pids(linters)[0]
        os.kill(killed, signal.SIGKILL)
        for _ in range(4):
            assert lint(linters, draft).draft is draft
        assert len(pids(linters)) == 2
        assert killed not in pids(linters)


def test_more_drafts_than_a_linter_takes_ahead_wait_for_their_turn(linters: Linters, soft: SoftPKI) -> None:
    key = software_key(KeyKind.P256, "leaf")
    drafts = {n: soft.draft(key) for n in range(2 * module.AHEAD + 3)}
    for n, draft in drafts.items():
        linters.ask(n, draft)
    assert linters.asked == len(drafts)
    assert all(len(linter.asked) <= module.AHEAD for linter in linters._all)
    assert {n: linted.draft for n, linted in answers(linters, len(drafts)).items()} == drafts


def test_whoever_waits_for_an_answer_can_be_woken(linters: Linters) -> None:
    waiting = threading.Thread(target=linters.answers, kwargs={"wait": True})
    waiting.start()
    linters.wake()
    waiting.join(10)
    assert not waiting.is_alive()


def test_a_draft_that_is_longer_than_a_message_is_not_asked_about(
    linters: Linters, draft: CertificateDraft, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MESSAGE_LIMIT", 100)
    with pytest.raises(IntegrityError, match="longer than a linter takes"):
        linters.ask("it", draft)
    assert linters.asked == 0


def test_linters_end_with_a_signer_that_is_killed_and_know_nothing_of_its_environment(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from sealwright.issuing.linters import Linters; linters = Linters(2);"
        "print(*(each.pid for each in linters._all), flush=True); time.sleep(60)"
    )
    environment = {**os.environ, "SOFTHSM2_CONF": "/nonexistent/of-the-token"}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    ) as signer:
        assert signer.stdout is not None
        started = [int(pid) for pid in signer.stdout.readline().split()]
        for pid in started:
            while not (told := Path(f"/proc/{pid}/environ").read_bytes()):
                time.sleep(0.01)
            assert b"PATH=" in told
            assert b"SOFTHSM2_CONF" not in told
        signer.kill()
    assert len(started) == 2
    for pid in started:
        for _ in range(3000):
            if not alive(pid):
                break
            time.sleep(0.01)
        assert not alive(pid)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
