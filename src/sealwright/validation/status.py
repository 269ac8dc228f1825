"""Health and Prometheus metrics of this node, on a port of their own: for operators and balancers, not for verifiers.

``/healthz`` is 200 as long as verifiers get answers, and says how old these are; with ``/healthz?fresh`` it is 503 too
when the publication database has not been seen for a minute. ``/metrics`` is Prometheus' text format (0.0.4).
"""

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

from sealwright.errors import Unavailable
from sealwright.validation.counts import Counts, Kind

STALE_SECONDS: Final = 60
_CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


@dataclass
class Status:
    """What the service last saw. One thread tells, others ask."""

    folder: Path
    rebuilds: int = 0
    rebuilding: bool = False
    workers: int = 0
    deaths: int = 0
    generation: Path | None = None
    counts: Counts = field(default_factory=Counts)

    def tell(self, *, counts: Counts, workers: int, deaths: int, generation: Path | None, rebuilding: bool) -> None:
        self.counts, self.workers, self.deaths = counts, workers, deaths
        self.generation, self.rebuilding = generation, rebuilding

    def health(self, now: float) -> Mapping[str, Any]:
        """``status`` is "ok", "stale" or "empty"."""
        looked = self.counts.looked
        word = "stale" if now - looked > STALE_SECONDS else "ok"
        if not (looked and self.workers):
            word = "empty"
        return {
            "status": word,
            "seconds_since_sync": max(0, int(now) - looked) if looked else None,
            "workers": self.workers,
            "snapshot": None if self.generation is None else self.generation.name,
            "rebuilding": self.rebuilding,
            "answers": self.counts.answers,
            "answers_overdue": self.counts.overdue,
            "answers_over": self.counts.over,
            "crls_overdue": self.counts.crls_overdue,
            "crls_over": self.counts.crls_over,
        }

    def metrics(self, now: float) -> str:
        counts = self.counts
        lines: list[str] = []

        def add(name: str, kind: str, text: str, samples: Mapping[str, float]) -> None:
            name = f"sealwright_validation_{name}"
            lines.extend((f"# HELP {name} {text}", f"# TYPE {name} {kind}"))
            lines.extend(f"{name}{labels} {value:.15g}" for labels, value in samples.items())

        replies = {f'{{kind="{kind.label}"}}': float(counts.replies[kind]) for kind in Kind}
        add("replies_total", "counter", "replies to verifiers, by what they were", replies)
        add("connections_total", "counter", "connections that were taken", {"": counts.connections})
        add("connections", "gauge", "connections that are open", {"": counts.open_connections})
        add("workers", "gauge", "answering processes that run", {"": self.workers})
        add("worker_deaths_total", "counter", "answering processes that ended by themselves", {"": self.deaths})
        add("rebuilds_total", "counter", "snapshots that were made again", {"": self.rebuilds})
        add("rebuilding", "gauge", "1 while a snapshot is made again", {"": self.rebuilding})
        add("answers", "gauge", "OCSP answers in the snapshot, when last counted", {"": counts.answers})
        add("answers_overdue", "gauge", "of these, answers whose refresh is late", {"": counts.overdue})
        add("answers_over", "gauge", "of these, answers past nextUpdate", {"": counts.over})
        add("crls_overdue", "gauge", "CRLs whose refresh is late, when last looked at", {"": counts.crls_overdue})
        add("crls_over", "gauge", "of these, CRLs past nextUpdate; they stay up", {"": counts.crls_over})
        if counts.looked:
            age = max(0.0, now - counts.looked)
            add("sync_age_seconds", "gauge", "since the publication database was last seen", {"": age})
        if self.generation is not None:
            with contextlib.suppress(OSError):
                made = max(0.0, now - self.generation.stat().st_mtime)
                add("snapshot_age_seconds", "gauge", "since the snapshot was made from nothing", {"": made})
        return "\n".join(lines) + "\n"


@contextlib.contextmanager
def serve_status(status: Status, listen: str) -> Iterator[int]:
    """Serve until the block ends; yields the port. ``Unavailable`` when it is taken."""
    host, _, port = listen.rpartition(":")
    try:
        server = ThreadingHTTPServer((host.strip("[]"), int(port)), _make_handler(status))
    except (OSError, OverflowError) as error:
        raise Unavailable(f"cannot listen on {listen}: {getattr(error, 'strerror', None) or error}") from error
    server.daemon_threads = True
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def _make_handler(status: Status) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            if path == "/metrics":
                self._answer(200, _CONTENT_TYPE, status.metrics(time.time()))
            elif path == "/healthz":
                health = status.health(time.time())
                well = health["status"] == "ok" or (health["status"] == "stale" and query != "fresh")
                self._answer(200 if well else 503, "application/json", json.dumps(health) + "\n")
            else:
                self._answer(404, "text/plain", "there are /metrics and /healthz\n")

        def _answer(self, code: int, content_type: str, text: str) -> None:
            body = text.encode()
            self.send_response(code)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """A scraper asks every few seconds: nobody wants to read of it."""

    return Handler
