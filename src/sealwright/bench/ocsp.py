"""OCSP as it is served: requests a second and 99th percentile beside nginx sending files of the same size, in one run.

Data is made first: two signed answers for each certificate in a publication database, then the snapshot built from it
by the real sync. wrk asks with 32 connections, GET and POST; ours and nginx have two workers each and take turns, and a
figure is the median of its turns. nginx's best is 1,000 files that it keeps open; of 100,000 files it opens each anew.

At the end signer and presign begin to work on the PKI that all of these certificates are of, and one certificate after
another is issued and revoked, and asked for by HTTP until OCSP and CRL say so.
"""

import argparse
import base64
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.error import URLError
from urllib.parse import quote
from urllib.request import ProxyHandler, Request, build_opener

import sealwright.validation
from sealwright.bench.answers import Published, make_software_pki, publish
from sealwright.bench.debian import need_programs
from sealwright.bench.load import Target, alternate, free_port, nginx, static_files
from sealwright.bench.report import Row
from sealwright.bench.testbed import make_testbed, use_softhsm
from sealwright.bench.visible import measure_visible
from sealwright.errors import Unavailable
from sealwright.hsm.keys import private_key
from sealwright.installed import load_installed
from sealwright.pki.keys import KeyKind
from sealwright.pki.ocsp_query import parse_ocsp_query
from sealwright.validation.generations import find_current
from sealwright.validation.snapshot import SnapshotReader

_FEW: Final = 1000
_SERVICE: Final = (
    "import sys; from pathlib import Path; from sealwright.logs import log_to_stderr;"
    "from sealwright.validation.config import ValidationConfig;"
    "from sealwright.validation.service import run_validation; f, d, p = sys.argv[1:]; log_to_stderr('validation');"
    "run_validation(ValidationConfig(folder=Path(f), publication=d, host='127.0.0.1', port=int(p), workers=2))"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--certificates", type=int, default=1_000_000, help="default: 1000000")
    parser.add_argument("--rotation", type=int, default=100_000, help="of these are asked for (default: 100000)")
    parser.add_argument("--seconds", type=int, default=3, help="of each of wrk's turns, whole ones (default: 3)")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each (default: 3)")
    parser.add_argument("--dir", type=Path, help="on which disk; default: that of temporary files")


def measure(arguments: argparse.Namespace) -> Iterator[Row]:
    need_programs("wrk", "nginx")
    folder = Path(tempfile.mkdtemp(prefix="bench-ocsp-", dir=arguments.dir))
    folder.chmod(0o755)
    try:
        yield from _measure(folder, arguments)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _measure(folder: Path, arguments: argparse.Namespace) -> Iterator[Row]:
    count, rotation = arguments.certificates, min(arguments.rotation, arguments.certificates)
    begun = time.perf_counter()
    module = use_softhsm(folder)
    testbed = make_testbed(folder / "many", module, KeyKind.P384)
    with testbed.issuing.open(module) as token:
        many = publish(testbed.folder, private_key(token, testbed.issuing.key_id), count)
    few = publish(folder / "few", make_software_pki(folder / "few"), min(_FEW, count))
    yield Row(f"{2 * count:,} answers made and published", time.perf_counter() - begun, "s")
    with ExitStack() as resources:
        ports = {"many": free_port(), "few": free_port()}
        built = time.perf_counter()
        with _serving(many, ports["many"]):
            yield Row(f"snapshot of {count:,} certificates, built from nothing", time.perf_counter() - built, "s")
        yield Row("that snapshot opened, and an answer found", _open_ms(many), "ms")
        begun = time.perf_counter()
        resources.enter_context(_serving(many, ports["many"]))
        yield Row("from a restart to the first answer", time.perf_counter() - begun, "s", note="Python's start in it")
        resources.enter_context(_serving(few, ports["few"]))
        targets = _targets(folder, many, few, ports, rotation)
        targets += [
            _nginx_files(resources, folder / "files", rotation, _answer_size(many, ports["many"])),
            _nginx_files(resources, folder / "few-files", min(_FEW, rotation), _answer_size(many, ports["many"])),
            _nginx_cache(resources, folder, few, ports["few"]),
        ]
        found = alternate(targets, rounds=arguments.rounds, seconds=arguments.seconds, folder=folder)
        took = measure_visible(testbed, many, ports["many"])
    best, files = (found[f"nginx {n}"] for n in (min(_FEW, rotation), rotation))
    names = {f"{rotation:,} of {count:,}": "many", f"{few.count:,} of {few.count:,}": "few"}
    for what, name in names.items():
        for method in ("GET", "POST"):
            ours = found[f"{name} {method}"]
            if name == "many" and files is not best:
                yield Row(f"{what}, {method}", ours.rate, "/s", files.rate, f"nginx, {rotation:,} files")
                yield Row(f"{what}, {method}, p99", ours.p99, "ms", files.p99, f"nginx, {rotation:,} files")
            yield Row(f"{what}, {method}", ours.rate, "/s", best.rate, "nginx at its best")
            yield Row(f"{what}, {method}, p99", ours.p99, "ms", best.p99, "nginx at its best")
    for method in ("GET", "POST"):
        those, these = found[f"many {method}"], found[f"few {method}"]
        what = f"{count:,} against {few.count:,} certificates, {method}"
        yield Row(what, those.rate, "/s", these.rate, "turn by turn", paired=those.ratio(these))
    cache = found["cache"]
    yield Row("nginx cache in front, GET", cache.rate, "/s", best.rate, "nginx at its best")
    yield Row("nginx cache in front, GET, p99", cache.p99, "ms", best.p99, "nginx at its best")
    for name in ("OCSP", "CRL"):
        note = "by HTTP, the slowest of three"
        yield Row(f"revocation visible among {count:,} certificates, {name}", took[name.lower()], "s", note=note)


def _targets(folder: Path, many: Published, few: Published, ports: dict[str, int], rotation: int) -> list[Target]:
    """Many and few by one method, then by the other: those that are compared with each other are neighbours."""
    gets, posts = [], []
    for name, published, asked in (("many", many, rotation), ("few", few, few.count)):
        step = published.count // asked  # spread over all of them
        requests = [published.request(number * step) for number in range(asked)]
        paths, bodies = folder / f"{name}.paths", folder / f"{name}.bodies"
        paths.write_text("".join(f"/ocsp/{quote(base64.b64encode(each), safe='')}\n" for each in requests))
        bodies.write_text("".join(f"{each.hex()}\n" for each in requests))
        gets.append(Target(f"{name} GET", ports[name], paths))
        posts.append(Target(f"{name} POST", ports[name], bodies, "POST"))
    return gets + posts


def _nginx_files(resources: ExitStack, folder: Path, count: int, size: int) -> Target:
    """As many files, with names of a request's length."""
    root = folder / "www"
    root.mkdir(parents=True)
    body = os.urandom(size)
    names = [f"{number:0116d}" for number in range(count)]
    for name in names:
        (root / name).write_bytes(body)
    paths = folder / "paths"
    paths.write_text("".join(f"/{name}\n" for name in names))
    port = free_port()
    resources.enter_context(nginx(folder, static_files(port, root)))
    return Target(f"nginx {count}", port, paths)


def _nginx_cache(resources: ExitStack, folder: Path, published: Published, behind: int) -> Target:
    """The configuration of the README, in front of ours."""
    port = free_port()
    http = documented_nginx(folder / "cache", port, behind)
    resources.enter_context(nginx(folder / "cache", http))
    return Target("cache", port, folder / "few.paths")


def documented_nginx(folder: Path, port: int, behind: int) -> str:
    """What validation/README.md says, with this machine's places in it."""
    readme = Path(sealwright.validation.__file__).with_name("README.md").read_text()
    block = readme.split("```nginx\n")[1].split("```")[0]
    for written, ours in (
        ("/var/cache/nginx/sealwright", f"{folder}/cache"),
        ("listen 80;", f"listen 127.0.0.1:{port};"),
        ("127.0.0.1:8080", f"127.0.0.1:{behind}"),
    ):
        if written not in block:
            raise Unavailable(f"the README's nginx configuration has no {written!r}")
        block = block.replace(written, ours)
    return block


@contextmanager
def _serving(published: Published, port: int) -> Iterator[None]:
    """Validation, from when the first certificate is answered for."""
    command = [sys.executable, "-c", _SERVICE, str(published.folder), published.url, str(port)]
    process = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 3600
        while _answer_size(published, port) < 100:
            if process.poll() is not None or time.monotonic() > deadline:
                raise Unavailable("validation does not answer", hint="what it says is above")
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(20)


def _answer_size(published: Published, port: int) -> int:
    """Octets; a handful when it is "try later", 0 when nobody answers."""
    opener = build_opener(ProxyHandler({}))
    request = Request(f"http://127.0.0.1:{port}/ocsp", published.request(0))  # http, as written here
    with suppress(URLError, OSError), opener.open(request, timeout=5) as answer:
        return len(answer.read())
    return 0


def _open_ms(published: Published) -> float:
    current = find_current(published.folder / "snapshot")
    if current is None:
        raise Unavailable("there is no snapshot")
    pki = load_installed(published.folder).anchor.pki_id
    begun = time.perf_counter()
    snapshot = SnapshotReader.open(current, pki)
    found = snapshot.find_answer(parse_ocsp_query(published.request(published.count // 2)))
    spent = 1000 * (time.perf_counter() - begun)
    snapshot.close()
    if found is None:
        raise Unavailable("the snapshot lacks an answer")
    return spent
