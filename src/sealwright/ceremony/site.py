"""``site.toml``: what differs from room to room. Which module, which token by serial number, where a PIN lies.

No secret is in it, and none in its digest. In a rehearsal the tokens are SoftHSM's, made where ``[rehearsal]`` says
or in a folder that is thrown away (``stores``).
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from sealwright.ceremony.officers import OfficerName
from sealwright.ceremony.script import TokenName
from sealwright.ceremony.toml import parse
from sealwright.errors import InputError
from sealwright.pki.tomlfile import Table

PathText = Annotated[str, Field(min_length=1, max_length=4096)]


class TokenSite(Table):
    """One token of the script in this room. A PIN without a file is asked for, on the terminal."""

    serial: Annotated[str, Field(pattern=r"^[\x21-\x7e]{1,16}\z")] | None = None
    pin_file: PathText | None = None
    activation: Literal["pin", "shamir", "external"] = "pin"
    """``shamir``: its holders type their shares. ``external``: at the token itself (PIN pad, operator cards)."""
    rehearsed_as: TokenName | None = None
    """How rehearsals call it in their store, and its papers, when another PKI's or a next CA's token has its name."""
    driver: Literal["vendor", "softhsm"] = "vendor"
    """Who clones and erases it: people with its maker's tool, or, of a SoftHSM, this program."""
    softhsm_conf: PathText | None = None
    """The SoftHSM store that it is in, where that is not the one of ``SOFTHSM2_CONF``."""


class SignerSite(Table):
    """Where somebody's SSH key is: its file, or a .pub whose other half an agent or a FIDO token holds."""

    key: PathText


class RehearsalSite(Table):
    """Where rehearsals keep their tokens, so that the next one finds them. Never a store that holds a real key."""

    softhsm_conf: PathText
    stores: dict[TokenName, PathText] = Field(default_factory=dict)
    """The stores of copies, by token; without an entry ``NAME/softhsm2.conf`` beside the other one."""


class _SiteFile(Table):
    module: PathText | None = None
    tokens: dict[TokenName, TokenSite] = Field(default_factory=dict)
    signers: dict[OfficerName, SignerSite] = Field(default_factory=dict)
    rehearsal: RehearsalSite | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """The file, and the folder that its relative paths start from."""

    file: _SiteFile
    folder: Path
    sha256: str

    def token(self, name: str) -> TokenSite:
        return self.file.tokens.get(name, TokenSite())

    def rehearsed(self, name: str) -> TokenSite:
        """What is said of a rehearsal's token. Where a module is named, serial number and PIN are the real token's:
        a rehearsal in the same folder has its own."""
        said = self.token(name)
        return said.model_copy(update={"serial": None, "pin_file": None}) if self.file.module else said

    def activation(self, name: str, *, rehearsal: bool) -> str:
        """How the token is opened. SoftHSM has no PIN pad: a rehearsal opens such a token by PIN."""
        how = self.token(name).activation
        return "pin" if rehearsal and how == "external" else how

    def rehearsed_as(self, name: str) -> str:
        """The name of the rehearsal's token in its store."""
        return self.token(name).rehearsed_as or name

    def driver(self, name: str, *, rehearsal: bool) -> str:
        """Who clones and erases the token. Rehearsals have SoftHSM tokens only."""
        return "softhsm" if rehearsal else self.token(name).driver

    def store(self, name: str) -> Path | None:
        """In which SoftHSM store a production token is, if the site says so."""
        named = self.token(name).softhsm_conf
        return self.folder / named if named else None

    def rehearsal_store(self, name: str) -> Path | None:
        """In which SoftHSM store a rehearsal has this copy, if the site says so."""
        named = self.file.rehearsal.stores.get(name) if self.file.rehearsal else None
        return self.folder / named if named else None

    def pin_file(self, name: str, *, rehearsal: bool = False) -> Path | None:
        """Where the PIN of this token lies, if anywhere."""
        named = (self.rehearsed(name) if rehearsal else self.token(name)).pin_file
        return self.folder / named if named else None

    def key_file(self, name: str) -> Path | None:
        """Where this person's own key is, if the site says so."""
        signer = self.file.signers.get(name)
        return self.folder / signer.key if signer else None

    @property
    def module(self) -> Path | None:
        return self.folder / self.file.module if self.file.module else None

    @property
    def softhsm_conf(self) -> Path | None:
        return self.folder / self.file.rehearsal.softhsm_conf if self.file.rehearsal else None


def parse_site(data: bytes, *, folder: Path, source: str = "site.toml") -> Site:
    """Read a site file. Raises ``InputError`` naming the field."""
    file = parse(data, _SiteFile, source=source, hint="`sealwright-ceremony new` writes one with every field explained")
    for name, token in file.tokens.items():
        if token.pin_file and token.activation != "pin":
            raise InputError(
                f"{source}: [tokens.{name}] has a pin_file and is opened by {token.activation}",
                hint="a PIN in shares or at a PIN pad lies in no file",
            )
        if token.driver == "softhsm" and token.softhsm_conf is None:
            raise InputError(
                f"{source}: [tokens.{name}] has the driver softhsm, and no softhsm_conf",
                hint="name the store, so that nothing is copied or erased but there",
            )
    return Site(file, folder, hashlib.sha256(data).hexdigest())
