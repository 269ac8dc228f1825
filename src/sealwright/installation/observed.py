"""How the processes of one machine are, asked of each by the way it has: nobody here holds a key or opens a token.

The signer answers ``status`` on its socket and presign leaves a file, because neither speaks HTTP; registry and
validation have ``/healthz``. ``exporter`` and ``check`` show what is found here (ADR 0006).
"""

import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import HTTPSHandler, ProxyHandler, build_opener

from sealwright.channel import SignerChannel
from sealwright.errors import SealwrightError
from sealwright.installation.config import DaemonConfig

ASK_SECONDS = 3.0
_STALE_SECONDS = 30


@dataclass(frozen=True, slots=True)
class Observed:
    """One process. ``problem``: what is wrong, empty when it is well. ``facts``: what it said of itself."""

    process: str
    problem: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def well(self) -> bool:
        return not self.problem


def observe(config: DaemonConfig, now: datetime) -> tuple[Observed, ...]:
    """Signer, presign, registry, and validation's two: sync and the answering workers. Never raises."""
    validation = _ask("validation", lambda: _get(f"http://{config.validation.listen}/healthz"))
    return (
        _signer(config),
        _presign(config.presign.status, now),
        _ask("registry", lambda: _registry(config)),
        _sync(validation),
        validation,
    )


def _ask(process: str, ask: Callable[[], Mapping[str, Any]]) -> Observed:
    try:
        return Observed(process, "", ask())
    except SealwrightError as error:
        return Observed(process, str(error))
    except (OSError, ValueError) as error:
        return Observed(process, f"does not answer: {getattr(error, 'reason', None) or error}")


def _signer(config: DaemonConfig) -> Observed:
    found = _ask("signer", lambda: SignerChannel(config.signer.socket, timeout=ASK_SECONDS).call("status"))
    facts = found.facts
    own = str(facts.get("fenced") or facts.get("problem") or "")
    return Observed("signer", found.problem or own or _token_problem(facts), facts)


def _presign(path: Path, now: datetime) -> Observed:
    try:
        facts = json.loads(path.read_text())
        age = (now - read_time(facts["at"])).total_seconds()
    except (OSError, ValueError, KeyError) as error:
        return Observed("presign", f"no status in {path}: {getattr(error, 'strerror', None) or error}")
    problem = f"has said nothing for {age:.0f} s" if age > _STALE_SECONDS else _token_problem(facts)
    return Observed("presign", problem or "; ".join(facts["problems"].values()), facts)


def _token_problem(facts: Mapping[str, Any]) -> str:
    wrong = [
        f"token {each['label']!r} is {each['state']}: {each['reason']}"
        for each in facts.get("tokens", ())
        if each["state"] != "well"
    ]
    return "; ".join(wrong)


def _registry(config: DaemonConfig) -> Mapping[str, Any]:
    certificate = config.registry.tls_certificate
    if certificate is None:
        return _get(f"http://{config.registry.listen}/healthz")
    # Only its own certificate is believed; its name is that of the public URL, and this asks by the address.
    context = ssl.create_default_context(cafile=certificate)
    context.check_hostname = False
    return _get(f"https://{config.registry.listen}/healthz", context)


def _sync(validation: Observed) -> Observed:
    if not validation.well:
        return Observed("sync", "not known: validation does not answer")
    age = validation.facts.get("seconds_since_sync", 0)
    problem = f"has not seen the publication database for {age} s" if age > _STALE_SECONDS else ""
    return Observed("sync", problem, {"seconds_since_sync": age, "change": validation.facts.get("change", 0)})


def _get(url: str, context: ssl.SSLContext | None = None) -> Mapping[str, Any]:
    # Loopback or this machine's own address: an environment's proxy must not stand between.
    opener = build_opener(ProxyHandler({}), *([HTTPSHandler(context=context)] if context else []))
    with opener.open(url, timeout=ASK_SECONDS) as answer:
        facts = json.loads(answer.read(65536))
    return facts if isinstance(facts, dict) else {}


def read_time(text: str) -> datetime:
    """ "2026-11-23T12:00:00Z"."""
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
