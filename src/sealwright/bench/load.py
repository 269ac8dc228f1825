"""wrk, and nginx to be measured beside us: started with their files in a folder, and what they said as figures."""

import re
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from sealwright.errors import Unavailable

CONNECTIONS: Final = 32
_THREADS: Final = 2

# Every request is made before the first is sent: wrk is to cost as little as it can. Each thread begins elsewhere.
_SCRIPT: Final = """
local requests = {}
local at = 0
local threads = 0
function setup(thread) thread:set("number", threads); threads = threads + 1 end
function init(args)
  for line in io.lines(args[1]) do
    if METHOD == "POST" then
      local body = line:gsub("..", function(octet) return string.char(tonumber(octet, 16)) end)
      requests[#requests + 1] = wrk.format("POST", "/ocsp", {["Content-Type"] = "application/ocsp-request"}, body)
    else
      requests[#requests + 1] = wrk.format("GET", line)
    end
  end
  at = math.floor(#requests * number / 2)
end
function request() at = at % #requests + 1; return requests[at] end
function done(summary, latency)
  local errors = summary.errors
  local wrong = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("FIGURES %d %d %f %d\\n", summary.requests, summary.duration, latency:percentile(99), wrong))
end
"""


@dataclass(frozen=True, slots=True)
class Load:
    """A rate and a 99th percentile (ms)."""

    rate: float
    p99: float


@dataclass(frozen=True, slots=True)
class Loads:
    """All turns of one target, in their order."""

    turns: Sequence[Load]

    @property
    def rate(self) -> float:
        return median(each.rate for each in self.turns)

    @property
    def p99(self) -> float:
        return median(each.p99 for each in self.turns)

    def ratio(self, other: "Loads") -> float:
        """Of rates, turn by turn: what the machine does besides in one minute is in both."""
        return median(one.rate / two.rate for one, two in zip(self.turns, other.turns, strict=True))


@dataclass(frozen=True, slots=True)
class Target:
    """What is asked, and of whom: ``requests`` is a file of paths (GET) or of hex (POST), one a line."""

    name: str
    port: int
    requests: Path
    method: str = "GET"


def run_wrk(target: Target, seconds: float, folder: Path) -> Load:
    """Raises ``Unavailable`` when an answer was no 200, or did not come."""
    script = folder / f"{target.method}.lua"
    script.write_text(f'local METHOD = "{target.method}"\n{_SCRIPT}')
    command = ["wrk", f"-t{_THREADS}", f"-c{CONNECTIONS}", f"-d{seconds:g}", "-s", str(script)]
    done = subprocess.run(
        [*command, f"http://127.0.0.1:{target.port}", "--", str(target.requests)],
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"FIGURES (\d+) (\d+) ([\d.]+) (\d+)", done.stdout)
    if found is None or int(found[4]):
        raise Unavailable(f"wrk, {target.name}: {done.stdout.strip()[-300:]} {done.stderr.strip()[-300:]}")
    return Load(1e6 * int(found[1]) / int(found[2]), float(found[3]) / 1000)


def alternate(targets: Sequence[Target], *, rounds: int, seconds: float, folder: Path) -> Mapping[str, Loads]:
    """All of them in turn, again and again, so that whatever else the machine does is shared."""
    for target in targets:
        run_wrk(target, min(seconds, 1.0), folder)  # warm
    runs: dict[str, list[Load]] = {target.name: [] for target in targets}
    for _ in range(rounds):
        for target in targets:
            runs[target.name].append(run_wrk(target, seconds, folder))
    return {name: Loads(tuple(loads)) for name, loads in runs.items()}


@contextmanager
def nginx(folder: Path, http: str, *, workers: int = 2) -> Iterator[None]:
    """nginx with the ``http`` block's content, as whoever runs this, until the block ends."""
    folder.mkdir(exist_ok=True)
    temporary = "".join(
        f"{kind}_temp_path {folder}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    configuration = folder / "nginx.conf"
    user = "user root;\n" if Path("/proc/self").stat().st_uid == 0 else ""
    configuration.write_text(
        f"{user}worker_processes {workers};\ndaemon off;\npid {folder}/pid;\nerror_log {folder}/error.log;\n"
        f"events {{ worker_connections 4096; }}\nhttp {{\naccess_log off;\n{temporary}{http}\n}}\n"
    )
    process = subprocess.Popen(["nginx", "-c", str(configuration), "-e", f"{folder}/error.log"])
    try:
        port = re.search(r"listen [\d.]*:(\d+)", http)
        if port is not None:
            wait_for_port(int(port[1]), process)
        yield
    finally:
        process.terminate()
        process.wait(10)


def static_files(port: int, root: Path) -> str:
    """nginx's ``http`` content that serves files as fast as it can."""
    return (
        "sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 60s;\n"
        "open_file_cache max=2000 inactive=600s; open_file_cache_valid 600s; open_file_cache_min_uses 1;\n"
        "types { } default_type application/ocsp-response;\n"
        f"server {{ listen 127.0.0.1:{port} reuseport backlog=1024; root {root}; }}"
    )


def wait_for_port(port: int, process: subprocess.Popen[bytes], seconds: float = 20.0) -> None:
    """Until something listens. ``Unavailable`` when ``process`` ends, or it takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise Unavailable(f"nothing listens on port {port}")


def free_port() -> int:
    """One that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
