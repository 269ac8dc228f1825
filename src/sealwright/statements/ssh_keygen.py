"""Signing with what people have: ``ssh-keygen -Y sign``, with a key file, an agent or a FIDO token.

The passphrase, PIN or touch is between ``ssh-keygen`` and the terminal; it never passes through here.
"""

import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from sealwright.errors import AccessDenied, InputError, NotFound
from sealwright.statements.ssh import ARMOR_LIMIT, verify_signature
from sealwright.statements.ssh_keys import SSHPublicKey, parse_public_key

_TIMEOUT_SECONDS = 120
_CHATTER = ("Signing file ", "Write signature to ")


def read_public_key(key_file: Path) -> SSHPublicKey:
    """The public key of a key file: the file itself when it is a ``.pub``, else the ``.pub`` beside it."""
    public_file = key_file if key_file.suffix == ".pub" else key_file.with_name(key_file.name + ".pub")
    try:
        return parse_public_key(public_file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise NotFound(
            f"cannot read the public key {public_file}", hint="name your key with --key, such as ~/.ssh/id_ed25519"
        ) from error


def sign_message(key_file: Path, namespace: str, message: bytes) -> str:
    """The armored signature over ``message`` for ``namespace``, verified before it is returned.

    ``key_file`` is a private key, or a ``.pub`` whose private half an agent or a FIDO token holds. Raises ``NotFound``
    without a key, ``AccessDenied`` when ``ssh-keygen`` does not sign.
    """
    key = read_public_key(key_file)
    with tempfile.TemporaryDirectory(prefix="sealwright-") as folder:
        # A file, not a pipe: with its standard input taken, ssh-keygen could not ask for a passphrase.
        document = Path(folder) / "statement"
        document.write_bytes(message)
        _run(["ssh-keygen", "-Y", "sign", "-f", os.fspath(key_file), "-n", namespace, os.fspath(document)])
        armored = document.with_name("statement.sig").read_text(encoding="ascii")
    if len(armored) > ARMOR_LIMIT:
        raise InputError(f"the signature has {len(armored)} characters; at most {ARMOR_LIMIT} are taken")
    verify_signature(armored, message, namespace, key)
    return armored


def _run(command: list[str]) -> None:
    try:
        process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
        )
    except FileNotFoundError:
        raise NotFound("there is no ssh-keygen here", hint="install OpenSSH's client (8.2 or later)") from None
    said: list[str] = []

    def relay() -> None:
        """Let the person see what ssh-keygen asks for ("Confirm user presence"), and keep it for the error."""
        for line in process.stderr or ():
            if not line.startswith(_CHATTER):
                said.append(line.strip())
                sys.stderr.write(line)
                sys.stderr.flush()

    listener = threading.Thread(target=relay, daemon=True)
    listener.start()
    try:
        code = process.wait(_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise AccessDenied(f"ssh-keygen did not sign within {_TIMEOUT_SECONDS} s") from None
    finally:
        listener.join()
        if process.stderr is not None:
            process.stderr.close()
    if code:
        raise AccessDenied(
            f"ssh-keygen did not sign: {said[-1] if said else f'exit code {code}'}",
            hint="is it the right key, is it in the agent, was the token touched?",
        )
