"""``sealwrightd metrics``: one small HTTP server on loopback that says how all the processes are.

``/metrics`` is for Prometheus, ``/healthz`` for people and balancers (503 when something is not well), and
``/healthz/NAME`` for one process. It observes at every question and keeps nothing.
"""

import json
import logging
import signal
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from sealwright.errors import InputError, PolicyViolation, Unavailable
from sealwright.installation.config import DaemonConfig
from sealwright.installation.metrics import CONTENT_TYPE, format_metrics
from sealwright.installation.observed import Observed, observe

log = logging.getLogger("sealwright.metrics")

Look = Callable[[], Sequence[Observed]]


def run_exporter(config: DaemonConfig, *, stop: threading.Event | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Raises ``Unavailable`` when the port is taken."""
    if config.metrics is None:
        raise InputError("sealwrightd.toml has no [metrics]", hint='[metrics]\nlisten = "127.0.0.1:8770"')
    host, _, port = config.metrics.listen.rpartition(":")
    if host not in ("127.0.0.1", "[::1]", "localhost"):
        raise PolicyViolation(
            f"metrics would listen on {host}, and they are not for everybody",
            rule="METRICS-LOOPBACK",
            hint="listen on 127.0.0.1, and let the scraper come through a proxy that knows whom to let in",
        )
    stop = stop or _stop_on_signals()
    try:
        server = ThreadingHTTPServer((host.strip("[]"), int(port)), make_handler(lambda: observe(config, _now())))
    except OSError as error:
        raise Unavailable(f"cannot listen on {config.metrics.listen}: {error.strerror}") from error
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
        thread.start()
        log.info("metrics on %s", config.metrics.listen)
        stop.wait()
        server.shutdown()
        thread.join()


def make_handler(look: Look) -> type[BaseHTTPRequestHandler]:
    """The server's pages over what ``look`` observes."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(200, CONTENT_TYPE, format_metrics(look()))
            elif path == "/healthz" or path.startswith("/healthz/"):
                self._health(look(), path.removeprefix("/healthz").strip("/"))
            else:
                self._answer(404, "text/plain", "there are /metrics, /healthz and /healthz/PROCESS\n")

        def _health(self, observed: Sequence[Observed], name: str) -> None:
            wanted = [each for each in observed if name in ("", each.process)]
            if not wanted:
                names = ", ".join(each.process for each in observed)
                self._answer(404, "text/plain", f"no such process; there are {names}\n")
                return
            well = all(each.well for each in wanted)
            page = {
                "status": "ok" if well else "problem",
                "processes": {each.process: {"problem": each.problem, **each.facts} for each in wanted},
            }
            self._answer(200 if well else 503, "application/json", json.dumps(page, indent=1) + "\n")

        def _answer(self, status: int, content_type: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """A scraper asks every few seconds: nobody wants to read of it."""

    return Handler


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    return stop
