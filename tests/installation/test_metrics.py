"""The exporter: what it says of processes that are well, wrong, and away; and to whom."""

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from sealwright.errors import InputError, PolicyViolation
from sealwright.installation.config import DaemonConfig
from sealwright.installation.exporter import make_handler, run_exporter
from sealwright.installation.metrics import format_metrics
from sealwright.installation.observed import Observed, observe

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
TOKEN = {
    "serial": "01ab",
    "label": 'one "two"',
    "state": "well",
    "since": "",
    "reason": "",
    "outages": 1,
    "rebuilds": 3,
    "logins": 2,
}
SIGNER = {
    "tokens": [TOKEN],
    "ledger_size": 12,
    "issued": 3,
    "revoked": 1,
    "refusals": 0,
    "open_intents": 0,
    "crl_number": 2,
    "crl_made": "2026-11-23T12:00:00Z",
    "roster_version": 1,
    "roster_expires": "",
}


@pytest.fixture
def page() -> Iterator[tuple[str, list[Observed]]]:
    observed = [Observed("signer", "", SIGNER), Observed("registry", "", {})]
    with ThreadingHTTPServer(("127.0.0.1", 0), make_handler(lambda: observed)) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", observed
        server.shutdown()
        thread.join()


def get(url: str) -> tuple[int, str]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def config(folder: Path, listen: str = "127.0.0.1:1") -> DaemonConfig:
    place = {"token_serial": "01ab", "key_id": "aa", "pin_file": str(folder / "pin")}
    return DaemonConfig.model_validate(
        {
            "mode": "REHEARSAL",
            "token": {"module": "/m.so"},
            "signer": {
                "socket": str(folder / "signer.sock"),
                "peers": [0],
                "presign_peers": [0],
                "issuing": place,
                "ledger": place,
            },
            "presign": {"ocsp": place, "publication": "sqlite:///p", "status": str(folder / "presign.json")},
            "registry": {"listen": "127.0.0.1:1", "url": "http://x", "database": "sqlite:///r"},
            "validation": {"listen": "127.0.0.1:1", "publication": "sqlite:///p"},
            "metrics": {"listen": listen},
        }
    )


def test_the_text_format_is_prometheus() -> None:
    lines = format_metrics([Observed("signer", "", SIGNER)]).splitlines()
    assert lines[:3] == [
        "# HELP sealwright_up 1 when the process answers and is well",
        "# TYPE sealwright_up gauge",
        'sealwright_up{process="signer"} 1',
    ]
    assert r'sealwright_token_logins_total{process="signer",token="01ab",label="one \"two\""} 2' in lines
    assert "sealwright_crl_made_seconds 1795435200" in lines
    assert not any("roster_expires" in line for line in lines)  # not said is absent, never zero
    for line in lines:
        assert line.startswith(("# HELP ", "# TYPE ", "sealwright_")), line


def test_health_is_ok_until_one_process_is_not(page: Any) -> None:
    url, observed = page
    status, text = get(f"{url}/healthz")
    assert (status, json.loads(text)["status"]) == (200, "ok")
    observed[1] = replace(observed[1], problem="does not answer")
    status, text = get(f"{url}/healthz")
    assert (status, json.loads(text)["processes"]["registry"]["problem"]) == (503, "does not answer")
    assert get(f"{url}/healthz/signer")[0] == 200
    assert get(f"{url}/healthz/registry")[0] == 503
    assert get(f"{url}/healthz/nobody")[0] == 404
    assert get(f"{url}/")[0] == 404
    assert 'sealwright_up{process="registry"} 0' in get(f"{url}/metrics")[1]


def test_processes_that_are_away_are_all_named_and_nothing_raises(tmp_path: Path) -> None:
    observed = {each.process: each for each in observe(config(tmp_path), NOW)}
    assert list(observed) == ["signer", "presign", "registry", "sync", "validation"]
    assert not any(each.well for each in observed.values())
    assert "does not answer" in observed["signer"].problem
    assert "no status in" in observed["presign"].problem
    assert "validation does not answer" in observed["sync"].problem


@pytest.mark.parametrize(
    ("seconds", "state", "problem"),
    [(1, "well", ""), (31, "well", "has said nothing for 31 s"), (1, "away", "is away: no token")],
)
def test_presigns_word_counts_while_it_is_fresh(tmp_path: Path, seconds: int, state: str, problem: str) -> None:
    token = TOKEN | {"state": state, "reason": "no token"}
    at = f"{NOW - timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"
    (tmp_path / "presign.json").write_text(json.dumps({"at": at, "tokens": [token], "problems": {}}))
    got = observe(config(tmp_path), NOW)[1]
    assert (problem in got.problem, got.well) == (True, not problem)


def test_metrics_are_for_loopback_and_asked_for(tmp_path: Path) -> None:
    with pytest.raises(PolicyViolation, match="METRICS-LOOPBACK"):
        run_exporter(config(tmp_path, "0.0.0.0:8770"))
    with pytest.raises(InputError, match=r"has no \[metrics\]"):
        run_exporter(config(tmp_path).model_copy(update={"metrics": None}))
