"""What each kind of ceremony takes in and gives out. A script of that kind cannot name more, or less.

How an output is built is in ``artefacts``; here is only which exist, and on which they depend.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from sealwright.ceremony.script import Kind
from sealwright.pki.keys import KeyKind

NEW = "new-"
"""How all that is the second root's is called, in a ceremony of two."""

Made = Literal[
    "certificate",
    "crl",
    "request",
    "anchor",
    "keys",
    "register",
    "token",
    "officers",
    "custody",
    "destruction",
    "census",
    "answers",
]


@dataclass(frozen=True, slots=True)
class OutputRule:
    """``made``: by which action. ``token``: whose key signs it. ``after``: what has to stand before it.
    ``certifies``: the token whose key is in it, where that is made in the ceremony, too."""

    made: Made
    token: str | None = None
    after: tuple[str, ...] = ()
    certifies: str | None = None


@dataclass(frozen=True, slots=True)
class KindRule:
    """``new_keys``: the tokens whose key is made in the ceremony, and by which profile or of which kind.
    ``officers``: the input that says who the quorum is."""

    inputs: tuple[str, ...]
    tokens: tuple[str, ...]
    outputs: Mapping[str, OutputRule]
    officers: str
    new_keys: Mapping[str, str] = field(default_factory=dict)
    second_channel: tuple[str, ...] = ()
    decision: str = ""
    """The input that says what is revoked."""
    renews: str = ""
    """The input that the new certificate takes over from."""
    copies: Mapping[str, str] = field(default_factory=dict)
    """Tokens that become copies here, and of which."""
    sealed: tuple[str, ...] = ()
    """Tokens that are copies already, and come in a sealed bag that the register knows."""
    paths: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """By cross-certificate: the root that is trusted alone, and the other root's issuing certificate it leads to."""
    reshared: tuple[str, ...] = ()
    """Tokens that are opened by shares, and get new ones here."""
    counted: tuple[str, ...] = ()
    """Tokens that are opened to be listed, and not used."""
    destroys: bool = False
    """The key on every token ends here. Of ``tokens`` a script names those that there are."""
    once: frozenset[str] = frozenset()
    """Tokens whose key is for this one ceremony: made in it, and destroyed before anything is promoted."""

    def fresh(self) -> frozenset[str]:
        """Tokens that nobody has initialised before this ceremony: no key is made on them, and none signs."""
        used = {rule.token for rule in self.outputs.values()} | {*self.copies, *self.copies.values(), *self.sealed}
        used |= {*self.reshared, *self.counted}
        if self.destroys:
            return frozenset()
        return frozenset(self.tokens) - set(self.new_keys) - used

    def bagged(self) -> tuple[str, ...]:
        """Copies that go into a bag at the end, old ones and new ones."""
        bagged = set() if self.destroys else {*self.copies, *self.sealed}
        return tuple(token for token in self.tokens if token in bagged)

    def is_copy(self, token: str) -> bool:
        """Whether this token becomes one here, or is one already."""
        return token in self.copies or token in self.sealed

    def among(self, tokens: tuple[str, ...]) -> "KindRule":
        """The rule for a script with these tokens, where a script may have fewer than its kind."""
        return replace(self, tokens=tuple(each for each in self.tokens if each in tokens)) if self.destroys else self

    def has_new_key(self, name: str) -> bool:
        """Whether a key that the ceremony makes signs this output, or is in it."""
        return not {self.outputs[name].token, self.outputs[name].certifies}.isdisjoint(self.new_keys)

    def signed(self) -> tuple[str, ...]:
        """Outputs that a key signs."""
        return tuple(name for name, rule in self.outputs.items() if rule.token)


_COPIES = ("copy", *(f"copy-{number}" for number in range(2, 9)))

KINDS: Mapping[Kind, KindRule] = {
    Kind.TOKEN_INIT: KindRule(
        inputs=("officers.toml", "shares.toml"),
        tokens=("new",),
        outputs={
            "token.json": OutputRule("token"),
            "officers.toml": OutputRule("officers"),
        },
        officers="officers.toml",
    ),
    Kind.ROOT_GENESIS: KindRule(
        inputs=("pki.toml", "root.toml", "officers.toml"),
        tokens=("root",),
        outputs={
            "root.pem": OutputRule("certificate", "root"),
            "root.crl": OutputRule("crl", "root", ("root.pem",)),
            "anchor.json": OutputRule("anchor", None, ("root.pem",)),
            "register.json": OutputRule("register", None, ("root.pem", "root.crl")),
        },
        officers="officers.toml",
        new_keys={"root": "root.toml"},
    ),
    Kind.ISSUING_KEY: KindRule(
        inputs=("pki.toml", "issuing-ca.toml", "ocsp-responder.toml", "anchor.json"),
        tokens=("issuing", "ocsp", "ledger"),
        outputs={
            "issuing.csr": OutputRule("request", "issuing"),
            "keys.json": OutputRule("keys"),
        },
        officers="anchor.json",
        new_keys={"issuing": "issuing-ca.toml", "ocsp": "ocsp-responder.toml", "ledger": KeyKind.ED25519},
    ),
    Kind.ISSUING_CA: KindRule(
        inputs=("pki.toml", "issuing-ca.toml", "anchor.json", "root.pem", "register.json", "issuing.csr"),
        tokens=("root",),
        outputs={
            "issuing.pem": OutputRule("certificate", "root"),
            "register.json": OutputRule("register", None, ("issuing.pem",)),
        },
        officers="anchor.json",
        second_channel=("issuing.csr",),
    ),
    Kind.ISSUING_CA_RENEWAL: KindRule(
        inputs=(
            "pki.toml",
            "issuing-ca.toml",
            "anchor.json",
            "root.pem",
            "register.json",
            "issuing.pem",
            "issuing.csr",
        ),
        tokens=("root",),
        outputs={
            "issuing.pem": OutputRule("certificate", "root"),
            "register.json": OutputRule("register", None, ("issuing.pem",)),
        },
        officers="anchor.json",
        second_channel=("issuing.csr",),
        renews="issuing.pem",
    ),
    Kind.ROOT_CRL: KindRule(
        inputs=("pki.toml", "anchor.json", "root.pem", "root.crl", "register.json"),
        tokens=("root",),
        outputs={
            "root.crl": OutputRule("crl", "root"),
            "register.json": OutputRule("register", None, ("root.crl",)),
        },
        officers="anchor.json",
    ),
    Kind.REVOKE_ISSUING_CA: KindRule(
        inputs=("pki.toml", "anchor.json", "root.pem", "root.crl", "register.json", "issuing.pem", "decision.toml"),
        tokens=("root",),
        outputs={
            "root.crl": OutputRule("crl", "root"),
            "register.json": OutputRule("register", None, ("root.crl",)),
        },
        officers="anchor.json",
        decision="decision.toml",
    ),
    Kind.BACKUP: KindRule(
        inputs=("pki.toml", "anchor.json", "root.pem", "register.json"),
        tokens=("root", "copy"),
        outputs={
            "custody.json": OutputRule("custody"),
            "register.json": OutputRule("register"),
        },
        officers="anchor.json",
        copies={"copy": "root"},
    ),
    Kind.RESTORE: KindRule(
        inputs=("pki.toml", "anchor.json", "root.pem", "register.json"),
        tokens=("copy", "restored"),
        outputs={
            "custody.json": OutputRule("custody"),
            "register.json": OutputRule("register"),
        },
        officers="anchor.json",
        copies={"restored": "copy"},
        sealed=("copy",),
    ),
    Kind.ROOT_ROLLOVER: KindRule(
        inputs=(
            "cross-root.toml",
            *(
                f"{side}{name}"
                for side in ("", NEW)
                for name in ("pki.toml", "anchor.json", "root.pem", "register.json", "issuing.pem")
            ),
        ),
        tokens=("root", "new-root"),
        outputs={
            "new-with-old.pem": OutputRule("certificate", "root"),
            "old-with-new.pem": OutputRule("certificate", "new-root"),
            "register.json": OutputRule("register", None, ("new-with-old.pem",)),
            "new-register.json": OutputRule("register", None, ("old-with-new.pem",)),
        },
        officers="anchor.json",
        paths={
            "new-with-old.pem": ("root.pem", "new-issuing.pem"),
            "old-with-new.pem": ("new-root.pem", "issuing.pem"),
        },
    ),
    Kind.OCSP_DELEGATE: KindRule(
        inputs=("pki.toml", "root-ocsp.toml", "anchor.json", "root.pem", "root.crl", "register.json"),
        tokens=("delegate", "root"),
        outputs={
            "delegate.pem": OutputRule("certificate", "root", certifies="delegate"),
            "answers.json": OutputRule("answers", "delegate", ("delegate.pem",)),
            "register.json": OutputRule("register", None, ("delegate.pem",)),
        },
        officers="anchor.json",
        new_keys={"delegate": "root-ocsp.toml"},
        once=frozenset({"delegate"}),
    ),
    Kind.OFFICERS_CHANGE: KindRule(
        inputs=("anchor.json", "token.json", "shares.toml"),
        tokens=("token",),
        outputs={"token.json": OutputRule("token")},
        officers="anchor.json",
        reshared=("token",),
    ),
    Kind.INVENTORY: KindRule(
        inputs=("anchor.json", "register.json"),
        tokens=("root",),
        outputs={"census.json": OutputRule("census")},
        officers="anchor.json",
        counted=("root",),
    ),
    Kind.KEY_DESTRUCTION: KindRule(
        inputs=("pki.toml", "anchor.json", "root.pem", "root.crl", "register.json", "destruction.toml"),
        tokens=("root", *_COPIES),
        outputs={
            "destruction.json": OutputRule("destruction"),
            "register.json": OutputRule("register"),
        },
        officers="anchor.json",
        sealed=_COPIES,
        destroys=True,
    ),
}


def side_of(name: str) -> str:
    """Whose a token, input or output is, where a ceremony has two roots: ``NEW``, or "" for the only or old one's."""
    return NEW if name.startswith(NEW) else ""


def side_that_signs(kind: Kind, output: str) -> str:
    """Whose key signs this output."""
    return side_of(KINDS[kind].outputs[output].token or "")
