"""A token with one key of each kind, and child processes for what must not happen in the test's own."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from sealwright.hsm.generation import generate_key
from sealwright.hsm.session import TokenSession
from sealwright.pki.keys import KeyKind, PrivateKey
from softhsm import TokenFactory

KINDS = (KeyKind.RSA_3072, KeyKind.P256, KeyKind.P384, KeyKind.P521, KeyKind.ED25519)


@dataclass(frozen=True)
class KeyRing:
    session: TokenSession
    keys: dict[KeyKind, PrivateKey]
    ids: dict[KeyKind, bytes]


@pytest.fixture(scope="session")
def key_ring(softhsm: TokenFactory) -> Iterator[KeyRing]:
    with softhsm.open_token("key ring") as session:
        ids = {kind: os.urandom(16) for kind in KINDS}
        keys = {kind: generate_key(session, kind, key_id=ids[kind], label=kind) for kind in KINDS}
        yield KeyRing(session, keys, ids)


@pytest.fixture
def session(softhsm: TokenFactory) -> Iterator[TokenSession]:
    """A fresh token of this test, logged in."""
    with softhsm.open_token("fresh") as opened:
        yield opened


Child = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def child(softhsm: TokenFactory) -> Child:
    """Run Python source in a process of its own, which sees the same tokens; arguments are in ``sys.argv``."""

    def run(source: str, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "SOFTHSM2_CONF": str(softhsm.config),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH")))),
            "MODULE": str(softhsm.module_path),
        }
        return subprocess.run(
            [sys.executable, "-X", "dev", "-W", "error", "-c", source, *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=environment,
        )

    return run
