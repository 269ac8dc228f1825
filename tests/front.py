"""NOT a server of ours: one that stands before another, hands on what it is asked, and lies where it is told to."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx

Said = tuple[int, str, bytes]
"""Status, content type, body."""


@dataclass
class Front:
    """``lies``: by the beginning of a path, what is said there; a function gets the path, the body and the truth."""

    url: str
    behind: str
    lies: dict[str, Said | Callable[[str, bytes, Said], Said]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    client: httpx.Client = field(default_factory=lambda: httpx.Client(trust_env=False, timeout=10, verify=False))  # noqa: S501

    def say(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Said:
        self.asked.append(f"{method} {path}")
        reply = self.client.request(method, self.behind + path, content=body, headers=headers)
        truth = (reply.status_code, reply.headers.get("content-type", ""), reply.content)
        for start, lie in self.lies.items():
            if path.startswith(start):
                return lie(path, body, truth) if callable(lie) else lie
        return truth


@contextmanager
def front_of(behind: str) -> Iterator[Front]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply(b"")

        def do_POST(self) -> None:
            self._reply(self.rfile.read(int(self.headers["content-length"])))

        def _reply(self, body: bytes) -> None:
            kept = {
                name: self.headers[name] for name in ("content-type", "authorization", "accept") if name in self.headers
            }
            status, kind, said = front.say(self.command, self.path, body, kept)
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        front = Front(f"http://127.0.0.1:{server.server_port}", behind)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield front
        finally:
            server.shutdown()
            thread.join()
            front.client.close()
