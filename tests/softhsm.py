"""Real SoftHSM tokens in a directory of their own.

One module per process and one configuration per module: a test process has one ``TokenFactory`` (fixture
``softhsm``), and makes as many tokens with it as it likes. Child processes inherit ``SOFTHSM2_CONF`` and see them all.
"""

import os
import secrets
from pathlib import Path

from sealwright.hsm.initialise import init_token
from sealwright.hsm.module import Module, find_softhsm, load_module
from sealwright.hsm.pin import Pin
from sealwright.hsm.session import TokenSession


class TokenFactory:
    """Sets ``SOFTHSM2_CONF`` for this process and its children, and makes tokens."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tokens = directory / "tokens"
        self.tokens.mkdir(mode=0o700)
        self.config = directory / "softhsm2.conf"
        self.config.write_text(
            f"directories.tokendir = {self.tokens}\n"
            "objectstore.backend = file\n"
            "log.level = ERROR\n"
            "slots.removable = false\n"
        )
        os.environ["SOFTHSM2_CONF"] = str(self.config)
        self.module_path = find_softhsm()

    @property
    def module(self) -> Module:
        return load_module(self.module_path)

    def new_token(self, label: str) -> tuple[str, Pin]:
        """A fresh token: its serial number and its user PIN (the security officer's is thrown away)."""
        user_pin, so_pin = Pin(secrets.token_hex(8)), Pin(secrets.token_hex(8))
        serial = init_token(self.module_path, label=label, so_pin=so_pin, user_pin=user_pin)
        return serial, user_pin

    def open_token(self, label: str) -> TokenSession:
        """A fresh token, logged in: use it in a ``with`` statement."""
        serial, pin = self.new_token(label)
        return TokenSession.open(self.module, serial, pin)

    def pin_file(self, directory: Path, pin: Pin, name: str = "pin") -> Path:
        """The PIN in a file as the programs want it: 0400."""
        path = directory / name
        path.touch(mode=0o600)
        path.write_bytes(pin.reveal() + b"\n")
        path.chmod(0o400)
        return path

    def token_directory(self, serial: str) -> Path:
        """Where SoftHSM keeps the token: a directory whose name, a UUID, ends with the serial number."""
        for path in self.tokens.iterdir():
            if path.name.replace("-", "").endswith(serial):
                return path
        raise AssertionError(f"no directory of token {serial} among {sorted(self.tokens.iterdir())}")
