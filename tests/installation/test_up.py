"""What ``up`` takes for its own registry."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from sealwright.errors import Unavailable
from sealwright.installation.up import _check_pki


@pytest.fixture
def somebody() -> Iterator[str]:
    class Registry(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"pki": "of somebody"}).encode())

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Registry)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1/pki"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_registry_of_another_pki_on_our_port_is_not_taken_for_ours(somebody: str) -> None:
    _check_pki(somebody, "of somebody")
    with pytest.raises(Unavailable, match="another PKI's"):
        _check_pki(somebody, "ours")
