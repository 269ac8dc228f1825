"""One story, told once by the real signer's code: every test of this room reads it, or a forgery of it."""

import pytest

from exports import Story, tell_story
from world import make_world


@pytest.fixture(scope="session")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return tell_story(make_world(tmp_path_factory.mktemp("story")))
