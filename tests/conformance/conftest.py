"""One stage for all verifiers: everything on it was ordered, issued, revoked and published as it is in production."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from online import online
from stage import Stage, set_up


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder: Path = tmp_path_factory.mktemp("stage")
    with online(folder / "online", age=timedelta(days=500), behind=timedelta(days=480)) as made:
        yield set_up(made, folder)
