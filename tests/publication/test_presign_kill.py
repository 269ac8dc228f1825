"""SIGKILL between signing, storing and noting; and ten years on a simulated clock."""

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from desk import Desk
from sealwright.pki.rules_validity import add_years
from sealwright.publication.statuses import LedgerStatuses
from sealwright.publication.writer import Writer
from sealwright.store.publication import GOOD, REVOKED, Publication, open_publication

HOUR = timedelta(hours=1)


def die(*_: object, **__: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def after(owner: type, name: str) -> None:
    real: Callable[..., object] = getattr(owner, name)

    def done_and_dead(*arguments: object) -> None:
        real(*arguments)
        die()

    setattr(owner, name, done_and_dead)


POINTS: dict[str, Callable[[], None]] = {
    "before signing": lambda: setattr(LedgerStatuses, "due", die),
    "between signing and storing": lambda: setattr(Writer, "write", die),
    "while storing": lambda: setattr(Publication, "put_groups", die),
    "between storing and noting": lambda: after(Publication, "put_groups"),
    "after noting": lambda: after(LedgerStatuses, "signed"),
}


def killed(desk: Desk, state: Path, point: str) -> None:
    """Presign's step in a process of its own, which dies there."""
    child = os.fork()
    if child == 0:
        try:
            POINTS[point]()
            desk.presign(state, open_publication(desk.url)).work()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("point", POINTS)
def test_a_kill_publishes_nothing_wrong_and_the_work_goes_on(open_desk: Desk, tmp_path: Path, point: str) -> None:
    state = tmp_path / "presign.db"
    first, second = open_desk.issue(), open_desk.issue()
    presign = open_desk.presign(state)
    presign.work()
    presign.close()
    open_desk.revoke(second)
    open_desk.world.clock.pass_(hours=13)
    killed(open_desk, state, point)
    assert open_desk.says(first) == {GOOD}
    assert open_desk.says(second) in ({GOOD}, {REVOKED})  # both of its answers, or none
    presign = open_desk.presign(state)
    presign.work()
    assert (open_desk.says(first), open_desk.says(second)) == ({GOOD}, {REVOKED})
    assert {each.this_update_utc for each in open_desk.answers().values()} == {open_desk.world.clock.now}
    presign.close()


def test_a_start_reads_what_is_new_and_signs_what_is_due(open_desk: Desk, tmp_path: Path) -> None:
    state = tmp_path / "presign.db"
    leaf = open_desk.issue()
    presign = open_desk.presign(state)
    presign.work()
    followed = presign.statuses.followed
    presign.close()
    _, change = open_desk.database.state()
    again = open_desk.presign(state)
    assert again.statuses.followed >= followed > 0
    again.work()
    assert open_desk.database.state()[1] == change
    again.close()
    open_desk.revoke(leaf)
    again = open_desk.presign(state)
    again.work()
    assert open_desk.says(leaf) == {REVOKED}
    again.close()


def test_a_projection_of_another_ledger_is_made_again(open_desk: Desk, tmp_path: Path) -> None:
    state = tmp_path / "presign.db"
    strange = LedgerStatuses(state)
    strange.follow([], root="00" * 32)
    strange.followed = 1
    strange._put_facts(followed=1)
    strange.close()
    leaf = open_desk.issue()
    presign = open_desk.presign(state)
    presign.work()
    assert open_desk.says(leaf) == {GOOD}
    assert presign.statuses.followed == presign._ledger.size
    presign.close()


def test_an_expired_certificate_is_answered_for_ten_years_and_no_longer(open_desk: Desk) -> None:
    good, bad = open_desk.issue(), open_desk.issue()
    open_desk.revoke(bad)
    presign, clock = open_desk.presign(), open_desk.world.clock
    presign.work()
    end = add_years(good.not_valid_after_utc, 10)
    for moment in (good.not_valid_after_utc + HOUR, add_years(good.not_valid_after_utc, 5), end):
        clock.now = moment
        presign.work()
        for answer in open_desk.answers().values():
            assert answer.this_update_utc == moment
        assert (open_desk.says(good), open_desk.says(bad)) == ({GOOD}, {REVOKED})
    clock.now = end + timedelta(days=1)
    presign.work()
    assert {each.this_update_utc for each in open_desk.answers().values()} == {end}
    assert presign.facts()["pending"] == 0
