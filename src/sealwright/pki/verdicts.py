"""A draft that another process judges: the question as bytes, and the verdict on exactly that question.

Lint is a few milliseconds of Python, and Python runs on one core: who issues by the hundred asks processes that do
nothing else (``issuing.linters``). They hold no key and say no more than "this digest: no objection" or which rule
refuses it. The digest covers everything that was judged: copy, key, profile, settings, issuer and scheme.
What becomes of a verdict is ``lint``'s alone: only there is a ``LintedDraft`` made.
"""

import hashlib
import json
import pickle
from dataclasses import dataclass
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key

from sealwright.errors import IntegrityError
from sealwright.pki.drafts import CertificateDraft
from sealwright.pki.issuers import IssuerRecord
from sealwright.pki.keys import spki_der

_OCTETS: Final = 4


class Question:
    """A draft, and all of it as bytes: its frame (what many drafts have in common), its key, its copy."""

    __slots__ = ("_draft", "data", "digest")

    def __init__(self, draft: CertificateDraft, frame: bytes) -> None:
        parts = (frame, spki_der(draft.public_key), draft.copy.public_bytes(Encoding.DER))
        self._draft = draft
        self.data = b"".join(len(part).to_bytes(_OCTETS) + part for part in parts)
        self.digest = digest_of(self.data)

    @property
    def draft(self) -> CertificateDraft:
        return self._draft


def digest_of(data: bytes) -> str:
    """How a question is named in the verdict."""
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True, slots=True)
class Verdict:
    """On the question with this digest. ``rule`` is that of the refusal, and empty where nothing refuses."""

    digest: str
    rule: str = ""
    message: str = ""
    hint: str = ""

    def to_bytes(self) -> bytes:
        return json.dumps([self.digest, self.rule, self.message, self.hint]).encode()


def parse_verdict(data: bytes) -> Verdict:
    """What the other process wrote. It is JSON and nothing that could run. Raises ``IntegrityError``."""
    try:
        digest, rule, message, hint = json.loads(data)
    except (ValueError, TypeError, RecursionError):
        raise IntegrityError("a linter's answer cannot be read") from None
    if not all(isinstance(each, str) for each in (digest, rule, message, hint)):
        raise IntegrityError("a linter's answer cannot be read")
    return Verdict(digest, rule, message, hint)


class Questions:
    """Makes questions, and remembers the frame of the last one: most drafts have the same."""

    def __init__(self) -> None:
        self._last: tuple[tuple[Any, ...], bytes] | None = None

    def about(self, draft: CertificateDraft) -> Question:
        return Question(draft, self._frame(draft))

    def _frame(self, draft: CertificateDraft) -> bytes:
        issuer, last = draft.issuer, self._last
        certificate = issuer.certificate if issuer else None
        parts = (draft.profile, draft.settings, certificate, issuer and issuer.settings)
        names = (draft.scheme, issuer and (issuer.ca_id, issuer.scheme))
        if last is not None:
            *before, before_names = last[0]
            if before_names == names and all(a is b for a, b in zip(before, parts, strict=True)):
                return last[1]
        told = issuer and (issuer.ca_id, issuer.der, issuer.scheme, issuer.settings)
        frame = pickle.dumps((draft.profile, draft.settings, draft.scheme, told))
        self._last = ((*parts, names), frame)
        return frame


class Reader:
    """The other end: from a question's bytes to the draft it is about, the last frame kept."""

    def __init__(self) -> None:
        self._last: tuple[bytes, dict[str, Any]] = (b"", {})

    def read(self, data: bytes) -> tuple[CertificateDraft, str]:
        """The draft and the question's digest. Only for bytes of the process that started this one."""
        frame, key, copy = _split(data)
        if self._last[0] != frame:
            self._last = (frame, _read_frame(frame))
        draft = CertificateDraft(
            **self._last[1],
            public_key=load_der_public_key(key),  # type: ignore[arg-type]  # the rules refuse other kinds
            copy=x509.load_der_x509_certificate(copy),
        )
        return draft, digest_of(data)


def _read_frame(frame: bytes) -> dict[str, Any]:
    profile, settings, scheme, told = pickle.loads(frame)  # noqa: S301  # from who started this process
    issuer = None
    if told is not None:
        ca_id, der, issuer_scheme, issuer_settings = told
        issuer = IssuerRecord(ca_id, x509.load_der_x509_certificate(der), issuer_scheme, issuer_settings)
    return {"profile": profile, "settings": settings, "issuer": issuer, "scheme": scheme}


def _split(data: bytes) -> list[bytes]:
    parts, rest = [], data
    while rest:
        size = int.from_bytes(rest[:_OCTETS])
        parts.append(rest[_OCTETS : _OCTETS + size])
        rest = rest[_OCTETS + size :]
    return parts
