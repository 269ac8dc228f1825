"""A million inputs, guided by coverage, at what strangers speak to: the OCSP request, and the HTTP edge around it.

No exception but the declared one, no answer above 10 ms of the thread's own time, no growth of memory.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from parsers import ocsp_requests
from world import CHECKOUT

HARNESS = Path(__file__).parent / "harness.py"
RUNS = 1_000_000
STUCK = 30
"""Seconds after which the fuzzer ends at one input, and shows where that was."""
ALL = 600
"""Seconds after which it ends though the million is not reached; half a minute is usual."""


def requests() -> list[bytes]:
    bare = ocsp_requests()
    get = b'GET /ocsp/MEIwQDA%2BMDwwOjAJBgUrDgMCGgUABBQ%3D HTTP/1.1\r\nHost: pki\r\nIf-None-Match: "x"\r\n\r\n'
    posts = [b"POST /ocsp HTTP/1.1\r\nHost: p\r\nContent-Length: %d\r\n\r\n%s" % (len(each), each) for each in bare]
    return [*bare, *(b"\xff" + each for each in (get, *posts, get + get, b"HEAD /crl/issuing-1.crl HTTP/1.0\r\n\r\n"))]


@pytest.mark.slow
@pytest.mark.parametrize("target", ["query", "edge"])
def test_a_million_inputs_are_read_or_refused_quickly_and_leave_nothing_behind(tmp_path: Path, target: str) -> None:
    if not (sys.platform == "linux" and os.uname().machine == "x86_64"):
        pytest.skip(f"atheris is not made for {sys.platform} on {os.uname().machine}")
    corpus, report = tmp_path / "corpus", tmp_path / "report.json"
    corpus.mkdir()
    for number, data in enumerate(requests()):
        (corpus / str(number)).write_bytes(data)
    limits = (f"-runs={RUNS}", "-max_len=1000", f"-timeout={STUCK}", f"-max_total_time={ALL}")
    words = [sys.executable, HARNESS, target, report, corpus, *limits]
    with (tmp_path / "said").open("w+", errors="replace") as said_by_it:
        done = subprocess.run(
            [*map(str, words), f"-artifact_prefix={tmp_path}/"],
            env=os.environ | {"PYTHONPATH": f"{CHECKOUT}/src"},
            stdout=said_by_it,
            stderr=subprocess.STDOUT,
            check=False,
        )
        said_by_it.seek(0)
        assert (done.returncode, report.exists()) == (0, True), said_by_it.read()[-4000:]
    said = json.loads(report.read_text())
    assert said["inputs"] >= RUNS
    assert said["slowest_ms"] < 10
    assert said["late"] - said["early"] < 32 * 1024 * 1024  # the corpus itself grows a little
