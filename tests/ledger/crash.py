"""Run by ``test_crash``: append in a child, kill it with SIGKILL at a random moment, open, look, and again.

A process of its own, because it forks. SIGKILL is not a power cut: what the kernel has taken is there. That the order
of writes and fsyncs also survives that is argued in ``ledger.log``, not shown here.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from sealwright.ledger.log import Ledger
from sealwright.ledger.reader import LedgerReader

ORIGIN = "sealwright/crash"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


def entry(index: int) -> bytes:
    return random.Random(index).randbytes(1 + index * 37 % 3000)


def write_until_killed(folder: Path, acknowledge: int, chance: random.Random) -> None:
    ledger = Ledger.open(folder, ORIGIN, KEY)
    os.write(acknowledge, b"0\n")
    while True:
        count = chance.choice([1, 1, 2, 5, 60, 256])
        places = ledger.append(*(entry(ledger.size + place) for place in range(count)))
        os.write(acknowledge, b"%d\n" % (places[-1] + 1))
        ledger.check_unchanged()


def main(folder: Path, seconds: float, seed: int) -> None:
    chance = random.Random(seed)
    Ledger.create(folder, ORIGIN, KEY).close()
    acknowledged, rounds, cut, kept = 0, 0, 0, 0
    reader = LedgerReader(folder, ORIGIN, KEY.public_key())
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(reading)
            write_until_killed(folder, writing, random.Random(chance.random()))
        os.close(writing)
        chance.random()
        first = os.read(reading, 2)
        assert first == b"0\n", first
        time.sleep(chance.random() ** 2 * 0.06)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        lines = b""
        while chunk := os.read(reading, 65536):
            lines += chunk
        os.close(reading)
        whole = lines.split(b"\n")[:-1]  # a last line may be cut short by the kill
        acknowledged = max([acknowledged, *map(int, whole)])
        reader.refresh()
        with Ledger.open(folder, ORIGIN, KEY) as ledger:
            assert ledger.size >= acknowledged, (ledger.size, acknowledged)
            assert reader.size == ledger.size
            for index, found in enumerate(ledger.iterate(max(0, acknowledged - 600)), max(0, acknowledged - 600)):
                assert found == entry(index), index
            kept += ledger.size > acknowledged
            cut += ledger.cut_back > 0
            acknowledged = ledger.size
            ledger.check_unchanged()
        rounds += 1
    with Ledger.open(folder, ORIGIN, KEY) as ledger:
        for index, found in enumerate(ledger.iterate()):
            assert found == entry(index), index
    print(f"{rounds} kills, {acknowledged} entries, {cut} tails cut back, {kept} kept without a word")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
