"""That the test runner keeps a group of tests on one worker, on which the tests of ``flow`` and ``ceremony`` rely."""

import os

import pytest


@pytest.mark.xdist_group("kept-together")
def test_a_group_stays_on_one_worker(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        assert request.node.nodeid.endswith("@kept-together")
