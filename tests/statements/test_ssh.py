"""SSH signatures: what ``ssh-keygen`` makes we take, what we take ``ssh-keygen`` takes, and what one refuses both do.

The FIDO signatures come from a simulated authenticator (``cast.FIDOKey``): there is no hardware here. OpenSSH's own
verification of them is the second opinion.
"""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import load_ssh_public_key

from cast import FIDO_KINDS, SOFTWARE_KINDS, FIDOKey, SSHKey, armor, mpint, pack, ssh_key, unarmor
from sealwright.errors import AccessDenied, InputError, IntegrityError, NotFound
from sealwright.pki.keys import spki_sha256
from sealwright.statements.ssh import parse_public_key, parse_signature, verify_signature
from sealwright.statements.ssh_keygen import read_public_key, sign_message
from weak_keys import close_primes_key, roca_key

NAMESPACE = "request@sealwright.v1"
MESSAGE = b'{"kind":"request"}'
ALL_KINDS = (*SOFTWARE_KINDS, *FIDO_KINDS)


def ours(armored: str, key: SSHKey, message: bytes = MESSAGE, namespace: str = NAMESPACE) -> bool:
    try:
        verify_signature(armored, message, namespace, parse_public_key(key.line))
    except IntegrityError:
        return False
    return True


def openssh(armored: str, key: SSHKey, folder: Path, message: bytes = MESSAGE, namespace: str = NAMESPACE) -> bool:
    """What ``ssh-keygen -Y verify`` says."""
    (folder / "allowed").write_text(f"alice {key.line}\n")
    (folder / "signature").write_text(armored)
    command = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "alice", "-n", namespace, "-s", "signature"]
    return subprocess.run(command, cwd=folder, input=message, capture_output=True, check=False).returncode == 0


def key_files(folder: Path, key: SSHKey) -> Path:
    """The private key and its .pub as people have them."""
    path = folder / "id"
    path.write_bytes(key.private_file())
    path.chmod(0o600)
    path.with_name("id.pub").write_text(f"{key.line} alice@example\n")
    return path


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An ``ssh-agent`` of this test."""
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    try:
        while not socket.exists():
            assert process.poll() is None
        yield socket
    finally:
        process.terminate()
        process.wait()


@pytest.mark.parametrize("kind", SOFTWARE_KINDS)
def test_takes_what_ssh_keygen_signs_with_a_key_file(kind: str, tmp_path: Path) -> None:
    key = ssh_key(kind)
    armored = sign_message(key_files(tmp_path, key), NAMESPACE, MESSAGE)
    assert ours(armored, key)
    assert openssh(armored, key, tmp_path)
    assert not ours(armored, key, message=MESSAGE + b" ")
    assert not ours(armored, key, namespace="login@sealwright.v1")


@pytest.mark.parametrize("kind", SOFTWARE_KINDS)
def test_takes_what_ssh_keygen_signs_with_an_agent(kind: str, tmp_path: Path, agent: Path) -> None:
    key = ssh_key(kind)
    private = key_files(tmp_path, key)
    subprocess.run(["ssh-add", "-q", str(private)], check=True, capture_output=True)
    private.unlink()
    assert ours(sign_message(private.with_name("id.pub"), NAMESPACE, MESSAGE), key)


@pytest.mark.parametrize("hash_name", ["sha256", "sha512"])
@pytest.mark.parametrize("kind", ALL_KINDS)
def test_ssh_keygen_takes_what_we_take(kind: str, hash_name: str, tmp_path: Path) -> None:
    key = ssh_key(kind)
    armored = key.sign(MESSAGE, NAMESPACE, hash_name=hash_name)
    assert ours(armored, key)
    assert openssh(armored, key, tmp_path)


@pytest.mark.parametrize("rsa_kind", ["rsa-sha2-256", "rsa-sha2-512"])
def test_takes_both_sha2_signatures_of_rsa(rsa_kind: str, tmp_path: Path) -> None:
    key = ssh_key("rsa")
    armored = key.sign(MESSAGE, NAMESPACE, rsa_kind=rsa_kind)
    assert ours(armored, key)
    assert openssh(armored, key, tmp_path)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_both_refuse_a_signature_with_any_octet_changed(kind: str, tmp_path: Path) -> None:
    key = ssh_key(kind)
    blob = unarmor(key.sign(MESSAGE, NAMESPACE))
    for place in range(len(blob)):
        changed = armor(blob[:place] + bytes([blob[place] ^ 0x01]) + blob[place + 1 :])
        assert not ours(changed, key), place
        if place % 97 == 0:  # a process each: a few places have to do
            assert not openssh(changed, key, tmp_path), place


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_both_refuse_a_signature_cut_anywhere(kind: str, tmp_path: Path) -> None:
    key = ssh_key(kind)
    blob = unarmor(key.sign(MESSAGE, NAMESPACE))
    for length in range(len(blob)):
        assert not ours(armor(blob[:length]), key), length
    assert not openssh(armor(blob[:-1]), key, tmp_path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"magic": b"SSHSIH"},
        {"version": 2},
        {"reserved": b"x"},
        {"trailing": b"\x00"},
        {"hash_name": "sha384"},
        {"hash_name": "sha1"},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["ed25519", "sk-ed25519"])
def test_both_refuse_a_wrong_frame(kind: str, wrong: dict[str, object], tmp_path: Path) -> None:
    key = ssh_key(kind)
    armored = key.sign(MESSAGE, NAMESPACE, **wrong)  # type: ignore[arg-type]
    assert not ours(armored, key)
    # OpenSSH signs the reserved field as empty and skips it when it verifies; we want it to be empty.
    assert not openssh(armored, key, tmp_path)


def test_refuses_rsa_with_sha1_and_short_rsa_keys(tmp_path: Path) -> None:
    armored = ssh_key("rsa").sign(MESSAGE, NAMESPACE, rsa_kind="ssh-rsa")
    assert not ours(armored, ssh_key("rsa"))
    assert not openssh(armored, ssh_key("rsa"), tmp_path)
    with pytest.raises(InputError, match="2048 bits"):
        parse_public_key(ssh_key("rsa-2048").line)


@pytest.mark.parametrize(("weak", "rule"), [(roca_key, "CS-KEY-ROCA"), (close_primes_key, "CS-KEY-RSA-FERMAT")])
def test_refuses_a_persons_rsa_key_that_is_weak_in_a_known_way(weak: Callable[[], RSAPrivateKey], rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        parse_public_key(SSHKey(weak()).line)


def test_refuses_a_signature_by_another_key_than_it_embeds() -> None:
    alice, mallory = ssh_key(label="alice"), ssh_key(label="mallory")
    assert not ours(mallory.sign(MESSAGE, NAMESPACE, embedded=alice.blob), alice)
    assert not ours(mallory.sign(MESSAGE, NAMESPACE), alice)


def test_refuses_a_signature_of_another_kind_than_its_key() -> None:
    key = ssh_key("p-256")
    blob = unarmor(key.sign(MESSAGE, NAMESPACE))
    changed = blob.replace(b"ecdsa-sha2-nistp256", b"ecdsa-sha2-nistp384")
    assert changed != blob
    for each in (changed, blob[: len(blob) // 2] + blob[len(blob) // 2 :].replace(b"nistp256", b"nistp521")):
        assert not ours(armor(each), key)


@pytest.mark.parametrize("kind", FIDO_KINDS)
def test_refuses_a_fido_signature_without_a_touch(kind: str) -> None:
    private = ssh_key(kind).private
    untouched = FIDOKey(private, flags=0x00)
    with pytest.raises(IntegrityError, match="without a touch"):
        verify_signature(untouched.sign(MESSAGE, NAMESPACE), MESSAGE, NAMESPACE, parse_public_key(untouched.line))
    assert not ours(FIDOKey(private, flags=0x04).sign(MESSAGE, NAMESPACE), untouched)
    assert ours(FIDOKey(private, flags=0x05).sign(MESSAGE, NAMESPACE), untouched)


@pytest.mark.parametrize("kind", FIDO_KINDS)
def test_reads_flags_and_counter_of_a_fido_signature(kind: str) -> None:
    signature = parse_signature(FIDOKey(ssh_key(kind).private, flags=5, counter=2**32 - 1).sign(MESSAGE, NAMESPACE))
    assert (signature.flags, signature.counter) == (5, 2**32 - 1)
    assert signature.key.application == "ssh:"


@pytest.mark.parametrize("kind", FIDO_KINDS)
def test_refuses_a_fido_key_of_another_application(kind: str) -> None:
    private = ssh_key(kind).private
    with pytest.raises(InputError, match="for the application"):
        parse_public_key(FIDOKey(private, application="https://example.org").line)
    work = FIDOKey(private, application="ssh:work")
    assert ours(work.sign(MESSAGE, NAMESPACE), work)
    assert not ours(work.sign(MESSAGE, NAMESPACE), FIDOKey(private)), "signed for another application"


def test_a_software_signature_is_not_one_of_a_fido_key() -> None:
    fido = ssh_key("sk-ed25519")
    assert not ours(SSHKey(fido.private).sign(MESSAGE, NAMESPACE, embedded=fido.blob), fido)


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_the_same_key_is_recognised_under_another_name(kind: str) -> None:
    key = ssh_key(kind)
    plain = parse_public_key(key.line)
    assert parse_public_key(f"  {key.line} bob@elsewhere more words\n") == plain
    assert plain.line == key.line
    assert plain.identity == spki_sha256(key.private.public_key())
    if isinstance(key, FIDOKey):
        other = parse_public_key(FIDOKey(key.private, application="ssh:other").line)
        assert other != plain
        assert other.identity == plain.identity


@pytest.mark.parametrize("kind", ALL_KINDS)
def test_fingerprints_are_those_of_ssh_keygen(kind: str, tmp_path: Path) -> None:
    (tmp_path / "id.pub").write_text(ssh_key(kind).line + "\n")
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", str(tmp_path / "id.pub")], capture_output=True, text=True, check=True
    )
    assert shown.stdout.split()[1] == parse_public_key(ssh_key(kind).line).fingerprint


@pytest.mark.parametrize("kind", SOFTWARE_KINDS)
def test_reads_keys_as_pyca_does(kind: str) -> None:
    theirs = load_ssh_public_key(ssh_key(kind).line.encode())
    assert spki_sha256(theirs) == parse_public_key(ssh_key(kind).line).identity  # type: ignore[arg-type]


def blob_line(*parts: bytes) -> str:
    import base64

    return f"{parts[0].decode()} {base64.b64encode(pack(*parts)).decode()}"


ED = Ed25519PrivateKey.from_private_bytes(bytes(range(32))).public_key().public_bytes_raw()
N = generate_private_key(65537, 3072).public_key().public_numbers().n


@pytest.mark.parametrize(
    "line",
    [
        "",
        "ssh-ed25519",
        "ssh-ed25519 !!!",
        "ssh-dss AAAAB3NzaC1kc3M=",
        "ssh-rsa " + blob_line(b"ssh-ed25519", ED).split()[1],
        blob_line(b"ssh-ed25519", ED[:-1]),
        blob_line(b"ssh-ed25519", ED + b"\x00"),
        blob_line(b"ssh-ed25519", ED, b""),
        blob_line(b"ssh-rsa", mpint(65537), b"\x00" + mpint(N)),
        blob_line(b"ssh-rsa", mpint(65537), mpint(N)[1:]),
        blob_line(b"ssh-rsa", mpint(3), mpint(N)),
        blob_line(b"ssh-rsa", mpint(65537), mpint(2**20000 + 1)),
        blob_line(b"ecdsa-sha2-nistp256", b"nistp256", b"\x04" + bytes(64)),
        blob_line(b"ecdsa-sha2-nistp256", b"nistp256", b"\x02" + bytes(31) + b"\x01"),
        blob_line(b"ecdsa-sha2-nistp256", b"nistp384", b"\x04" + bytes(96)),
        blob_line(b"ecdsa-sha2-nistp256", b"nistp999", b"\x04" + bytes(96)),
        blob_line(b"sk-ssh-ed25519@openssh.com", ED),
        blob_line(b"ssh-ed25519-cert-v01@openssh.com", ED),
        'command="x" ' + blob_line(b"ssh-ed25519", ED),
        blob_line(b"ssh-ed25519", ED) + "\n" + blob_line(b"ssh-ed25519", ED),
        blob_line(b"ssh-ed25519", ED) + " " + "x" * 5000,
    ],
    ids=range(21),  # the keys are made anew in each process, and the test processes have to agree on the names
)
def test_refuses_a_line_that_is_no_key_of_ours(line: str) -> None:
    with pytest.raises(InputError):
        parse_public_key(line)


def test_refuses_ed25519_keys_under_which_anybody_signs_anything() -> None:
    field = 2**255 - 19
    d = -121665 * pow(121666, -1, field) % field
    eighth = 2707385501144840649318225287225658788936804267575313519463743609750303402022
    assert (d * eighth**4 + 2 * eighth**2 - 1) % field == 0, "twice that point has y = 0, the fourth of a turn"
    anybody = bytes([1]) + bytes(31)
    Ed25519PublicKey.from_public_bytes(anybody).verify(anybody + bytes(32), b"anything")  # pyca and OpenSSL take it
    for y in (0, 1, field - 1, eighth, field - eighth, field, field + 1, 2**255 - 1):
        for sign in (0, 1 << 255):
            with pytest.raises(InputError, match="point that none should have"):
                parse_public_key(blob_line(b"ssh-ed25519", (y | sign).to_bytes(32, "little")))
    with pytest.raises(InputError, match="point that none should have"):
        parse_public_key(blob_line(b"sk-ssh-ed25519@openssh.com", anybody, b"ssh:"))


def test_refuses_armor_that_is_none() -> None:
    good = ssh_key().sign(MESSAGE, NAMESPACE)
    lines = good.strip().split("\n")
    for bad in (
        "",
        "x",
        good.replace("BEGIN SSH", "BEGIN PGP"),
        good.replace("END SSH", "END PGP"),
        "\n".join([lines[0], lines[-1]]),
        "\n".join([lines[0], "é" + lines[1], *lines[2:]]),
        "\n".join([lines[0], *lines[1:-1], "=", lines[-1]]),
        "\n".join([lines[0], "A" * 9000, lines[-1]]),
        good + good,
    ):
        with pytest.raises(IntegrityError):
            parse_signature(bad)


def test_refuses_an_ecdsa_signature_with_numbers_that_are_none(tmp_path: Path) -> None:
    key = ssh_key("p-256")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for numbers in ((b"", b"\x01"), (b"\x00", b"\x01"), (b"\x81", b"\x01"), (mpint(order), mpint(1)), (b"\x01",)):
        inner = pack(b"ecdsa-sha2-nistp256", pack(*numbers))
        frame = pack(key.blob, NAMESPACE.encode(), b"", b"sha512", inner)
        armored = armor(b"SSHSIG\x00\x00\x00\x01" + frame)
        assert not ours(armored, key)
        assert not openssh(armored, key, tmp_path)


def test_an_encrypted_key_without_a_terminal_ends_in_a_clear_word(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    path = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret words", "-f", str(path)], check=True)
    with pytest.raises(AccessDenied, match="did not sign"):
        sign_message(path, NAMESPACE, MESSAGE)


def test_a_pub_without_its_private_half_ends_in_a_clear_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    public = key_files(tmp_path, ssh_key()).with_name("id.pub")
    (tmp_path / "id").unlink()
    with pytest.raises(AccessDenied, match="did not sign"):
        sign_message(public, NAMESPACE, MESSAGE)
    with pytest.raises(NotFound, match="cannot read the public key"):
        read_public_key(tmp_path / "nobody")


def test_without_openssh_there_is_a_clear_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = key_files(tmp_path, ssh_key())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NotFound, match="no ssh-keygen"):
        sign_message(path, NAMESPACE, MESSAGE)


def test_nothing_that_was_signed_stays_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    sign_message(key_files(tmp_path, ssh_key()), NAMESPACE, MESSAGE)
    assert not list(temporary.iterdir())


def test_p521_points_and_curves_agree() -> None:
    key = parse_public_key(ssh_key("p-521").line)
    assert isinstance(key.public, ec.EllipticCurvePublicKey)
    assert key.public.curve.name == "secp521r1"
