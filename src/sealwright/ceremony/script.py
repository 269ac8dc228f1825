"""``script.toml``: what a ceremony does, as data. A closed set of typed actions; no shell, no free code.

This module knows how a script is written. What each action needs and establishes is in ``rules``, what it does is in
``actions``, and what a kind of ceremony takes in and gives out is in ``kinds``.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from sealwright.ceremony.toml import parse
from sealwright.pki.keys import KeyKind
from sealwright.pki.tomlfile import Table


class Kind(StrEnum):
    """The kinds of ceremony that exist. Each has its folder under ``ceremonies/``."""

    TOKEN_INIT = "token-init"  # noqa: S105  # a kind of ceremony
    ROOT_GENESIS = "root-genesis"
    ISSUING_KEY = "issuing-key"
    ISSUING_CA = "issuing-ca"
    ISSUING_CA_RENEWAL = "issuing-ca-renewal"
    ROOT_CRL = "root-crl"
    REVOKE_ISSUING_CA = "revoke-issuing-ca"
    BACKUP = "backup"
    RESTORE = "restore"
    ROOT_ROLLOVER = "root-rollover"
    OCSP_DELEGATE = "ocsp-delegate"
    OFFICERS_CHANGE = "officers-change"
    INVENTORY = "inventory"
    KEY_DESTRUCTION = "key-destruction"


class Role(StrEnum):
    """Who acts. ``officer`` is a quorum of M of N people, each of the others is one person."""

    ADMINISTRATOR = "administrator"
    OPERATOR = "operator"
    OFFICER = "officer"
    WITNESS = "witness"


FileName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,31}(\.[a-z]{2,5})\z")]
TokenName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,15}\z")]
Sentence = Annotated[str, Field(min_length=1, max_length=600)]
Phrase = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 .-]{2,78}[A-Za-z0-9.]\z")]


class _Step(Table):
    """``minutes``: what it is planned to take, where that is not what its action takes by habit (``pace``)."""

    who: Role
    say: Sentence
    minutes: Annotated[int, Field(ge=1, le=240)] | None = None


class Attendance(_Step):
    """Who is here, role by role, by name."""

    action: Literal["attendance"]


class VerifyInputs(_Step):
    """Every input has the SHA-256 that was fixed at preparation; its digest is shown in hex and words."""

    action: Literal["verify-inputs"]


class CompareSecondChannel(_Step):
    """An input's digest is typed in from a paper that came another way than the file."""

    action: Literal["compare-second-channel"]
    input: FileName


class DecideRevocation(_Step):
    """The exact certificate, since when, and what dies with it: shown; serial and date typed by every officer."""

    action: Literal["decide-revocation"]
    input: FileName


class CompareWithOld(_Step):
    """What is renewed beside what takes over: each field that changes. Whether the key does is typed by every officer.

    ``key``: whether the new certificate has a new key, which is the rule, or the very key of the old one.
    """

    action: Literal["compare-with-old"]
    input: FileName
    output: FileName
    key: Literal["new", "same"]


class LintWithSoftwareKey(_Step):
    """What will be signed is drafted and linted as it will be, under a software key, before any key is made."""

    action: Literal["lint-with-software-key"]
    output: FileName


class InspectToken(_Step):
    """Which token this is, and that nothing is on it which should not be there."""

    action: Literal["inspect-token"]
    token: TokenName


class Consent(_Step):
    """Exact words from the quorum (or one person), for one token's use or one output's signature."""

    action: Literal["consent"]
    role: Role
    to: Literal["use-token", "sign", "clone", "destroy"]
    token: TokenName | None = None
    output: FileName | None = None
    phrase: Phrase


class InspectNewToken(_Step):
    """A token that nobody has initialised: that it is one, that nothing is on it, and which PINs it takes."""

    action: Literal["inspect-new-token"]
    token: TokenName


class SharePin(_Step):
    """A random PIN in shares, one for each holder: every subset tried, each typed back. The PIN is never shown."""

    action: Literal["share-pin"]
    token: TokenName
    which: Literal["user", "so"]


class InitialiseToken(_Step):
    """The token gets its label and the two PINs."""

    action: Literal["initialise-token"]
    token: TokenName


class ProveQuorums(_Step):
    """Two different quorums of the user PIN log in, one of the security officer's, and a default PIN does not."""

    action: Literal["prove-quorums"]
    token: TokenName


class OpenToken(_Step):
    """Log in. The PIN is never recorded, and a wrong one ends the ceremony: no second try by the program."""

    action: Literal["open-token"]
    token: TokenName


class GenerateKey(_Step):
    """One key pair on an empty token. Its kind is the profile's first, or ``kind`` where there is no profile."""

    action: Literal["generate-key"]
    token: TokenName
    profile: FileName | None = None
    kind: KeyKind | None = None


class FindKey(_Step):
    """The key of an existing certificate: found by CKA_ID, and proven by signing the published TBS again."""

    action: Literal["find-key"]
    token: TokenName
    certificate: FileName


class ReadBack(_Step):
    """The key's attributes, from the token, not from memory."""

    action: Literal["read-back"]
    token: TokenName


class Draft(_Step):
    """Build the bytes that will be signed, lint them, and compare them with what was fixed at preparation.

    ``valid_days`` is for CRLs: nextUpdate - thisUpdate.
    """

    action: Literal["draft-certificate", "draft-crl", "draft-request", "draft-answers"]
    output: FileName
    valid_days: Annotated[int, Field(ge=1, le=365)] | None = None


class Announce(_Step):
    """The SHA-256 of those bytes is read aloud; its first and last words are typed back."""

    action: Literal["announce"]
    output: FileName


class Sign(_Step):
    """Sign exactly those bytes, into quarantine."""

    action: Literal["sign-certificate", "sign-crl", "sign-request", "sign-answers"]
    output: FileName
    token: TokenName


class CheckCustody(_Step):
    """A copy in its bag: the bag's and the seal's numbers are those of the register, before the seal is cut."""

    action: Literal["check-custody"]
    token: TokenName


class CloneToken(_Step):
    """The token's keys onto another one, by its maker's clone or, of a SoftHSM, as a copy of its folder."""

    action: Literal["clone-token"]
    token: TokenName
    source: TokenName


class RecordCustody(_Step):
    """Into which bag the token goes, under which seal, and who takes it: said by one, read by another."""

    action: Literal["record-custody"]
    token: TokenName


class DecideDestruction(_Step):
    """What ends with the key, and which tokens are lost: shown; the root's serial number typed by every officer."""

    action: Literal["decide-destruction"]
    input: FileName


class DestroyKey(_Step):
    """Both halves of the key are destroyed on the token."""

    action: Literal["destroy-key"]
    token: TokenName


class ProveDestroyed(_Step):
    """The token is opened again: no key is on it."""

    action: Literal["prove-destroyed"]
    token: TokenName


class EraseToken(_Step):
    """The whole token, by its maker's tool or, of a SoftHSM, its folder."""

    action: Literal["erase-token"]
    token: TokenName


class CollectOldShares(_Step):
    """A quorum of the holders so far types its shares, and the token takes what they give."""

    action: Literal["collect-old-shares"]
    token: TokenName
    which: Literal["user", "so"]


class ChangePins(_Step):
    """The token's two PINs are exchanged for those that were shared anew."""

    action: Literal["change-pins"]
    token: TokenName


class ProveOldUseless(_Step):
    """Both old PINs are tried, once, and refused."""

    action: Literal["prove-old-useless"]
    token: TokenName


class VoidOldShares(_Step):
    """The old papers are torn up."""

    action: Literal["void-old-shares"]
    token: TokenName


class TakeCensus(_Step):
    """Every token that is plugged in is described; this one is opened, and everything on it listed. Read-only."""

    action: Literal["take-census"]
    token: TokenName


class Write(_Step):
    """A file that is not signed here: who the officers are, which keys exist, what the root has issued."""

    action: Literal[
        "write-anchor",
        "write-keys",
        "write-register",
        "write-token",
        "write-officers",
        "write-custody",
        "write-destruction",
        "write-census",
    ]
    output: FileName


class VerifySecond(_Step):
    """Another implementation verifies the file in quarantine: OpenSSL or GnuTLS, never the one that made it."""

    action: Literal["verify-with-second-implementation"]
    output: FileName
    tool: Literal["openssl", "certtool"]


class BuildPath(_Step):
    """Another implementation builds a path that was none before: one root alone is trusted, the end is the other's."""

    action: Literal["build-path"]
    output: FileName
    tool: Literal["openssl", "certtool"]


class CloseToken(_Step):
    """Log out. The token can go back to its bag."""

    action: Literal["close-token"]
    token: TokenName


class Promote(_Step):
    """Everything in quarantine becomes an output; before this, nothing is."""

    action: Literal["promote"]


class Close(_Step):
    """The last entry: the digest of every output."""

    action: Literal["close"]


Step = Annotated[
    Attendance
    | VerifyInputs
    | CompareSecondChannel
    | DecideRevocation
    | CompareWithOld
    | LintWithSoftwareKey
    | InspectToken
    | InspectNewToken
    | SharePin
    | InitialiseToken
    | ProveQuorums
    | Consent
    | OpenToken
    | GenerateKey
    | FindKey
    | ReadBack
    | Draft
    | Announce
    | Sign
    | CheckCustody
    | CloneToken
    | RecordCustody
    | DecideDestruction
    | DestroyKey
    | ProveDestroyed
    | EraseToken
    | CollectOldShares
    | ChangePins
    | ProveOldUseless
    | VoidOldShares
    | TakeCensus
    | Write
    | VerifySecond
    | BuildPath
    | CloseToken
    | Promote
    | Close,
    Field(discriminator="action"),
]


class RoleDuty(Table):
    """What a role does in this ceremony, for the paper script. ``may_be_officer``: an officer may have it too."""

    role: Role
    does: Sentence
    may_be_officer: bool = False


class _ScriptFile(Table):
    kind: Kind
    title: Annotated[str, Field(min_length=1, max_length=80)]
    purpose: Sentence
    inputs: tuple[FileName, ...]
    tokens: tuple[TokenName, ...]
    outputs: tuple[FileName, ...]
    roles: Annotated[tuple[RoleDuty, ...], Field(min_length=1)]
    steps: Annotated[tuple[Step, ...], Field(min_length=1, max_length=99)]


@dataclass(frozen=True, slots=True)
class Script:
    """A script that could be read. Whether it can succeed is for ``rules`` to say. ``sha256`` is of its bytes."""

    file: _ScriptFile
    sha256: str

    @property
    def kind(self) -> Kind:
        return self.file.kind

    @property
    def inputs(self) -> tuple[str, ...]:
        return self.file.inputs

    @property
    def tokens(self) -> tuple[str, ...]:
        return self.file.tokens

    @property
    def outputs(self) -> tuple[str, ...]:
        return self.file.outputs

    @property
    def steps(self) -> tuple[Step, ...]:
        return self.file.steps


def parse_script(data: bytes, *, source: str = "script.toml") -> Script:
    """Read a script. Raises ``InputError`` naming the field; an unknown action or field is one."""
    file = parse(data, _ScriptFile, source=source, hint="compare with the one in ceremonies/, kind by kind")
    return Script(file, hashlib.sha256(data).hexdigest())
