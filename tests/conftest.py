"""Fixtures that every room may use. What a room alone needs stands in its own ``conftest.py`` or test module."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from databases import Databases
from postgres import Cluster, running_cluster
from softhsm import TokenFactory


@pytest.fixture(scope="session")
def softhsm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TokenFactory]:
    """SoftHSM with a token directory of this test process (each xdist worker has its own)."""
    before = os.environ.get("SOFTHSM2_CONF")
    yield TokenFactory(tmp_path_factory.mktemp("softhsm"))
    if before is None:
        del os.environ["SOFTHSM2_CONF"]
    else:
        os.environ["SOFTHSM2_CONF"] = before


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """PostgreSQL of this test process; without fsync, because no test of these cuts its power."""
    with running_cluster(fsync="off") as cluster:
        yield cluster


@pytest.fixture(params=["sqlite", "postgresql"])
def databases(request: pytest.FixtureRequest, tmp_path: Path) -> Databases:
    """Each test that asks for databases runs on both."""
    return Databases(tmp_path, request.getfixturevalue("cluster") if request.param == "postgresql" else None)
