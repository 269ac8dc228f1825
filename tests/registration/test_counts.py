"""The console's numbers are counted once for many who look."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from office import Office
from sealwright.api.console import console
from sealwright.registration.counts import REMEMBERED
from sealwright.registration.requests import submit_request
from sealwright.store.registry import RegistryTransaction


class Counting:
    """What the database counts, slowly: not before ``go``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.times, self.begun, self.go, real = 0, threading.Event(), threading.Event(), RegistryTransaction.counts

        def counts(tx: RegistryTransaction) -> dict[str, int]:
            self.times += 1
            self.begun.set()
            assert self.go.wait(60)
            return real(tx)

        monkeypatch.setattr(RegistryTransaction, "counts", counts)


@pytest.fixture
def counting(office: Office, monkeypatch: pytest.MonkeyPatch) -> Counting:
    return Counting(monkeypatch)


def look(office: Office) -> str:
    return bytes(console(office.registry).body).decode()


def test_numbers_are_remembered_for_some_seconds(office: Office, counting: Counting) -> None:
    counting.go.set()
    assert "0 open" in look(office)
    submit_request(office.registry, office.request())
    office.world.clock.now += REMEMBERED - timedelta(seconds=1)
    assert "0 open" in look(office)
    office.world.clock.now += timedelta(seconds=1)
    assert "1 open" in look(office)
    assert counting.times == 2


def test_a_clock_that_went_back_keeps_no_numbers_for_long(office: Office, counting: Counting) -> None:
    counting.go.set()
    look(office)
    office.world.clock.now -= timedelta(days=1)
    look(office)
    assert counting.times == 2


def test_many_who_look_at_once_are_counted_for_once(office: Office, counting: Counting) -> None:
    with ThreadPoolExecutor(4) as pool:
        looks = [pool.submit(look, office) for _ in range(4)]
        assert counting.begun.wait(60)
        counting.go.set()
        assert all("0 open" in each.result(60) for each in looks)
    assert counting.times == 1


def test_while_one_counts_others_are_shown_what_was_counted_before(office: Office, counting: Counting) -> None:
    counting.go.set()
    look(office)
    office.world.clock.now += REMEMBERED
    counting.begun.clear()
    counting.go.clear()
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(look, office)
        assert counting.begun.wait(60)
        assert "0 open" in look(office)
        counting.go.set()
        slow.result(60)
    assert counting.times == 2
