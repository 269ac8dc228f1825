"""The README's first command: what it leaves, judged from outside by what is not ours, and what a second run does."""

import fcntl
import hashlib
import io
import json
import os
import shlex
import shutil
import subprocess
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from rich.console import Console

from refusals import refused
from rehearsal import CHECKOUT, Rehearsal
from sealwright.cli.quickstart import place as place_module
from sealwright.cli.quickstart.place import open_place
from sealwright.cli.quickstart.story import Story
from sealwright.errors import Conflict, InputError, SealwrightError
from sealwright.hsm.module import find_softhsm

FILES = {
    "root.pem", "issuing.pem", "leaf.pem", "renewed.pem", "root.crl", "issuing.crl",
    "ocsp-good.der", "ocsp-revoked.der", "signed.p7s", "signed.bin", "evidence.json",
}  # fmt: skip


def openssl(*arguments: str | Path) -> tuple[int, str]:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


@pytest.fixture(scope="module")
def crls(rehearsal: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("crls") / "crls.pem"
    path.write_bytes(
        b"".join(
            x509.load_der_x509_crl(rehearsal.file(name).read_bytes()).public_bytes(Encoding.PEM)
            for name in ("root.crl", "issuing.crl")
        )
    )
    return path


def test_evidence_is_complete_and_its_digests_are_those_of_the_files(rehearsal: Rehearsal) -> None:
    assert {path.name for path in (rehearsal.folder / "evidence").iterdir()} == FILES
    for name, digest in rehearsal.evidence["sha256"].items():
        assert hashlib.sha256(rehearsal.file(name).read_bytes()).hexdigest() == digest
    assert set(rehearsal.evidence["sha256"]) == FILES - {"evidence.json"}
    for name, serial in rehearsal.evidence["serials"].items():
        assert certificate(rehearsal.file(f"{name}.pem")).serial_number == int(serial, 16)


def test_every_subject_says_rehearsal_and_every_url_is_loopback(rehearsal: Rehearsal) -> None:
    for name in ("root", "issuing", "leaf", "renewed"):
        made = certificate(rehearsal.file(f"{name}.pem"))
        assert "CN=REHEARSAL " in made.subject.rfc4514_string()
    text = openssl("x509", "-in", rehearsal.file("leaf.pem"), "-noout", "-text")[1]
    urls = [line.partition("URI:")[2] for line in text.splitlines() if "URI:http://" in line]
    assert len(urls) == 3  # OCSP, CA issuers, CRL
    assert all(url.startswith("http://127.0.0.1:") for url in urls)


def test_openssl_accepts_the_renewed_certificate_and_refuses_the_revoked_one(rehearsal: Rehearsal, crls: Path) -> None:
    chain = ("-CAfile", rehearsal.file("root.pem"), "-untrusted", rehearsal.file("issuing.pem"), "-CRLfile", crls)
    strict = ("verify", "-x509_strict", "-crl_check_all", *chain)
    assert openssl(*strict, rehearsal.file("renewed.pem"))[0] == 0
    code, said = openssl(*strict, rehearsal.file("leaf.pem"))
    assert code != 0
    assert "certificate revoked" in said


@pytest.mark.parametrize(
    ("answer", "name", "digest", "wanted"),
    [("ocsp-good.der", "renewed", "sha1", "good"), ("ocsp-revoked.der", "leaf", "sha256", "revoked")],
)
def test_openssl_believes_the_ocsp_answers_as_served(
    rehearsal: Rehearsal, answer: str, name: str, digest: str, wanted: str
) -> None:
    question = ("-issuer", rehearsal.file("issuing.pem"), f"-{digest}", "-cert", rehearsal.file(f"{name}.pem"))
    trust = ("-CAfile", rehearsal.file("root.pem"), "-verify_other", rehearsal.file("issuing.pem"), "-no_nonce")
    said = openssl("ocsp", "-respin", rehearsal.file(answer), *question, *trust)[1]
    assert "Response verify OK" in said
    assert f"{name}.pem: {wanted}" in said


def test_the_detached_signature_verifies_and_another_file_does_not(rehearsal: Rehearsal, tmp_path: Path) -> None:
    command = ("cms", "-verify", "-binary", "-inform", "DER", "-in", rehearsal.file("signed.p7s"), "-purpose", "any")
    trust = ("-CAfile", rehearsal.file("root.pem"), "-out", tmp_path / "out")
    assert openssl(*command, *trust, "-content", rehearsal.file("signed.bin"))[0] == 0
    other = tmp_path / "other"
    other.write_bytes(rehearsal.file("signed.bin").read_bytes() + b"x")
    assert openssl(*command, *trust, "-content", other)[0] != 0


def test_the_renewed_certificate_is_for_the_same_key_and_the_old_one_is_on_the_crl(rehearsal: Rehearsal) -> None:
    leaf, renewed = (certificate(rehearsal.file(f"{name}.pem")) for name in ("leaf", "renewed"))
    assert leaf.public_key() == renewed.public_key()
    assert leaf.subject == renewed.subject
    crl = x509.load_der_x509_crl(rehearsal.file("issuing.crl").read_bytes())
    assert crl.get_revoked_certificate_by_serial_number(leaf.serial_number) is not None
    assert crl.get_revoked_certificate_by_serial_number(renewed.serial_number) is None


def test_four_keys_on_four_tokens_made_every_ca_signature(rehearsal: Rehearsal) -> None:
    said = subprocess.run(
        ["softhsm2-util", "--show-slots"], env=rehearsal.environment, capture_output=True, text=True, check=True
    ).stdout
    assert said.count("Initialized:      yes") == 5  # root, issuing, OCSP, ledger, and the team's


def test_no_pin_is_in_anything_that_was_told_or_logged(rehearsal: Rehearsal) -> None:
    pins = [path.read_text().strip() for path in (rehearsal.folder / "pins").glob("*.pin")]
    assert len(pins) == 5
    texts = [rehearsal.told]
    for path in rehearsal.folder.rglob("*"):
        kept = path.is_file() and not path.is_relative_to(rehearsal.folder / "pins")
        if kept and not path.is_relative_to(rehearsal.folder / "tokens"):
            texts.append(path.read_bytes().decode("latin-1"))
    for pin in pins:
        assert not any(pin in text for text in texts)


def test_every_verifier_that_was_asked_said_what_was_wanted(rehearsal: Rehearsal) -> None:
    words = rehearsal.evidence["verifiers"]
    assert len(words) >= 14
    assert all(word["good"] is True for word in words if word["good"] is not None)


def test_a_rehearsal_cannot_be_installed_as_production(rehearsal: Rehearsal, tmp_path: Path) -> None:
    def install(genesis: Path, *more: str) -> subprocess.CompletedProcess[str]:
        folders = [
            f"--record={rehearsal.folder}/ceremonies/{kind}/record"
            for kind in ("issuing-key", "issuing-ca", "root-crl")
        ]
        pins = [f"--{name}-pin={rehearsal.folder}/pins/{name}.pin" for name in ("issuing", "ocsp", "ledger")]
        return subprocess.run(
            [CHECKOUT / ".venv/bin/sealwrightd", "install", f"--genesis={genesis}", *folders, *pins, *more,
             f"--dir={tmp_path / 'production'}", f"--ca={rehearsal.folder}/ca", f"--module={find_softhsm()}"],
            env=rehearsal.environment, capture_output=True, text=True, check=False,
        )  # fmt: skip

    done = install(rehearsal.folder / "ceremonies/root-genesis/record")
    assert done.returncode == 3
    assert done.stderr.startswith("error: these are the records of a rehearsal")
    assert "hint:" in done.stderr
    assert not (tmp_path / "production").exists()

    # Nor when the word is changed in the anchor: the record does not replay any more.
    forged = tmp_path / "forged"
    shutil.copytree(rehearsal.folder / "ceremonies/root-genesis/record", forged)
    anchor = forged / "outputs/anchor.json"
    anchor.write_text(json.dumps(json.loads(anchor.read_text()) | {"mode": "PRODUCTION"}))
    done = install(forged)
    assert done.returncode == 8, done.stderr
    assert not (tmp_path / "production").exists()


def test_a_second_run_starts_the_same_pki_and_makes_no_second_root(running: Rehearsal) -> None:
    assert "The same PKI as before" in running.told_again
    assert "Ceremony" not in running.told_again
    assert (running.pki / "root.pem").read_bytes() == running.file("root.pem").read_bytes()
    assert len(list((running.folder / "tokens").iterdir())) == 5


def next_commands(told: str) -> list[str]:
    last = told.partition("What to try next:")[2].splitlines()
    return [line.partition("$ ")[2] for line in last if line.strip().startswith("$ ")]


def test_what_to_try_next_is_the_same_while_it_is_up_but_for_its_start(running: Rehearsal) -> None:
    stopped, up = next_commands(running.told), next_commands(running.told_again)
    assert len(up) == 9
    assert [line for line in stopped if line not in up] == [stopped[2]]
    assert stopped[2].endswith(f"scripts/quickstart --dir {running.folder}")


@pytest.mark.slow
def test_what_to_try_next_works_as_it_is_printed(running: Rehearsal) -> None:
    """Every command in one shell, in the folder where the quickstart was run."""
    script = "\n".join(next_commands(running.told_again))
    done = subprocess.run(["bash", "-euxc", script], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    for word in (
        '"mode": "REHEARSAL"',
        "root-genesis, REHEARSAL",
        "valid",
        "another person approves it",
        "; no problem",
    ):
        assert word in done.stdout


def test_two_at_once_in_one_folder_do_not_tell_over_each_other(tmp_path: Path) -> None:
    handle = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        done = quickstart("--dir", tmp_path, "--once")
    finally:
        os.close(handle)
    refused(done, 12, "another quickstart is at work", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_was_killed_at_its_very_beginning_can_be_begun_again(tmp_path: Path) -> None:
    for name in (".commands", ".quickstart.json.new"):
        (tmp_path / name).write_text("")
    open_place(tmp_path).let_others_in()
    assert (tmp_path / "quickstart.json").is_file()


def test_a_command_that_a_killed_run_began_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = open_place(tmp_path / "pki")
    story = Story(home=first.folder, environment={}, inherited=(first.commands,))
    begun, ended = tmp_path / "begun", tmp_path / "ended"

    def killed() -> None:
        with suppress(SealwrightError):
            story.run("sh -c", f"touch {begun}; sleep 2; touch {ended}")

    thread = threading.Thread(target=killed)
    thread.start()
    while not begun.exists():
        time.sleep(0.01)
    first.let_others_in()
    open_place(tmp_path / "pki").let_others_in()
    assert ended.exists()
    thread.join()
    monkeypatch.setattr(place_module, "_LAST_RUN_SECONDS", 0.2)
    holder = open_place(tmp_path / "pki")
    os.close(holder.lock)
    with pytest.raises(Conflict, match="still at work"):
        open_place(tmp_path / "pki")
    os.close(holder.commands)


@pytest.mark.parametrize("name", ['a"b', "a;b", "50%", "a\nb", "a\\b", "why?", "#1"])
def test_a_path_that_configuration_files_would_misread_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="read as their own"):
        open_place(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_path_of_any_other_letters_is_taken_and_shown_so_that_it_can_be_copied(tmp_path: Path) -> None:
    place = open_place(tmp_path / "päth with späces & $x, [y]={z}'s: π")
    console = Console(file=io.StringIO(), width=200)
    Story(home=place.folder, environment={}, console=console).show(["cat", f"{place.folder}/a file", str(place.folder)])
    shown = console.file.getvalue().strip()
    assert shlex.split(shown) == ["$", "cat", "a file", str(place.folder)]
    assert shown.startswith("$ cat 'a file'")


def quickstart(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [CHECKOUT / "scripts/quickstart", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def test_a_third_run_beside_it_says_that_the_port_is_taken(running: Rehearsal) -> None:
    done = subprocess.run(
        [CHECKOUT / "scripts/quickstart", "--dir", running.folder, "--once"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 7
    assert "Address already in use" in done.stderr
    assert "hint:" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
