"""The quickstart is killed at random moments; the next run goes on to the end, and so does one more."""

import hashlib
import json
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import ocsp

from rehearsal import CHECKOUT


@pytest.mark.slow
def test_a_killed_quickstart_goes_on_and_ends_with_one_pki_whose_evidence_is_of_the_last_run(tmp_path: Path) -> None:
    folder, chance = tmp_path / "pki", random.Random(20261123)
    command = [CHECKOUT / "scripts/quickstart", "--dir", folder, "--once"]
    for _ in range(6):
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        time.sleep(chance.uniform(3, 15))
        process.kill()  # this process only: what it started has to follow by itself, or its ports stay taken
        process.communicate(timeout=30)  # every process that could still write has ended
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((folder / "tokens").iterdir())) == 5
    first, evidence = kept(folder), folder / "evidence"
    (evidence / "ocsp-good.der").write_bytes(b"an answer that is over")
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    again = kept(folder)
    assert [again[key] for key in ("pki", "serials", "urls")] == [first[key] for key in ("pki", "serials", "urls")]
    assert {(word["verifier"], word["asked"]) for word in first["verifiers"]} <= {
        (word["verifier"], word["asked"]) for word in again["verifiers"]
    }
    for name, digest in again["sha256"].items():
        assert hashlib.sha256((evidence / name).read_bytes()).hexdigest() == digest
    answer = ocsp.load_der_ocsp_response((evidence / "ocsp-good.der").read_bytes())
    assert answer.certificate_status is ocsp.OCSPCertStatus.GOOD


def kept(folder: Path) -> dict[str, Any]:
    evidence: dict[str, Any] = json.loads((folder / "evidence/evidence.json").read_text())
    return evidence
