"""What each verifier said of a case, in a few words that a table can hold: compared with the truth word by word.

``good``; ``expired``; ``unauthorized``; ``revoked`` with ``date`` and ``reason`` where it tells them and they are the
ledger's. Anything else is spelt out, so that no table expects it.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime

from asn1crypto.crl import CRLReason

import verifiers
from stage import REASONS, Stage
from verifiers import GOOD, REVOKED, Said

UNKNOWN = "(UNKNOWN)"
"""OpenSSL 3.0's word for reason 9, privilegeWithdrawn."""

Verifier = Callable[[Stage], dict[str, str]]
"""Every case -> its words."""


def revoked(stage: Stage, name: str, text: str, date: datetime | None, reason: str | None) -> str:
    """``date`` and ``reason`` as the verifier tells them; None for what it does not tell at all."""
    truth = stage.cases[name].revoked
    if truth is None:
        return f"revoked, and it is not: {text}"
    words = ["revoked"]
    if date is not None:
        words.append("date" if date == truth[0] else f"{date}, and it is {truth[0]}")
    if reason is not None:
        words.append("reason" if reason == truth[1] else reason if reason == UNKNOWN else f"{reason}, not {truth[1]}")
    return ", ".join(words)


def plain(stage: Stage, name: str, said: Said, **others: str) -> str:
    """Of verifiers that tell no date. ``others``: what a refusal says -> the word for it."""
    if said.verdict == REVOKED:
        return revoked(stage, name, said.text, None, None)
    if said.verdict == GOOD:
        return "good"
    return next((word for word, text in others.items() if text in said.text), f"? {said.text[-300:]}")


def _found(pattern: str, text: str) -> str | None:
    found = re.search(pattern, text)
    return found[1] if found else None


def _date(text: str | None, form: str) -> datetime | None:
    return datetime.strptime(text, form).replace(tzinfo=UTC) if text else None


# OCSP


def _openssl(stage: Stage, name: str, said: Said) -> str:
    if said.verdict == REVOKED:
        date = _date(_found(r"Revocation Time: (.*) GMT", said.text), "%b %d %H:%M:%S %Y")
        return revoked(stage, name, said.text, date, _found(r"Reason: (\S+)", said.text) or "")
    return plain(stage, name, said, unauthorized="Responder Error: unauthorized (6)")


def openssl_ocsp(stage: Stage) -> dict[str, str]:
    """By POST and GET, with SHA-1 and SHA-256: four times the same."""
    found = {}
    for name in stage.cases:
        words = {
            _openssl(stage, name, ask(stage.folder, name, stage.ocsp, digest=digest))
            for ask in (verifiers.openssl_ocsp, verifiers.openssl_ocsp_get)
            for digest in ("sha1", "sha256")
        }
        found[name] = " | ".join(sorted(words))
    return found


def gnutls_ocsp(stage: Stage) -> dict[str, str]:
    found = {}
    for name in stage.cases:
        said = verifiers.ocsptool(stage.folder, name, stage.ocsp)
        if said.verdict == REVOKED:
            date = _date(_found(r"Revocation time: (.*)", said.text), "%a %b %d %H:%M:%S UTC %Y")
            found[name] = revoked(stage, name, said.text, date, None)
        else:
            # It tells neither status nor reason of an answer that is none: it just cannot read it.
            found[name] = plain(stage, name, said, unauthorized="unauthorized")
    return found


def nss_ocsp(stage: Stage) -> dict[str, str]:
    """Without news it says revoked, too: so does it of what was never issued."""
    found = {}
    for name, truth in stage.cases.items():
        said = verifiers.vfychain(stage.folder, name)
        if truth.issued:
            found[name] = plain(stage, name, said, expired="ERROR -8181: Peer's Certificate has expired.")
        else:
            found[name] = "revoked (no news)" if "ERROR -8180" in said.text else said.text
    return found


def _java(stage: Stage, method: str) -> dict[str, str]:
    found = {}
    for name, said in verifiers.java_paths(stage.folder, stage.cases, method=method).items():
        if said.verdict == REVOKED:
            told = re.search(r"^REVOKED ([A-Z_]+) (\S+)$", said.text, re.MULTILINE)
            assert told is not None, said.text
            reason = "" if told[1] == "UNSPECIFIED" else _camel(told[1])
            found[name] = revoked(stage, name, said.text, datetime.fromisoformat(told[2]), reason)
        else:
            found[name] = plain(stage, name, said, expired="PATH INVALID EXPIRED", unauthorized="UNAUTHORIZED")
    return found


def _camel(text: str) -> str:
    first, *rest = text.lower().split("_")
    return first + "".join(each.capitalize() for each in rest)


def java_ocsp(stage: Stage) -> dict[str, str]:
    return _java(stage, "ocsp")


def _certvalidator(stage: Stage, name: str, said: Said) -> str:
    if said.verdict != REVOKED:
        return plain(stage, name, said, expired="certificate expired")
    told = re.search(r"revoked at (\S+) on (\S+), due to (.*)\.", said.text)
    assert told is not None, said.text
    # Its friendly words, back to those of RFC 5280.
    reason = next((each for each in REASONS if CRLReason(_snake(each)).human_friendly == told[3]), "")
    return revoked(stage, name, said.text, _date(f"{told[2]} {told[1]}", "%Y-%m-%d %H:%M:%S"), reason)


def _snake(text: str) -> str:
    return re.sub(r"([A-Z])", r"_\1", text).lower()


def certvalidator_ocsp(stage: Stage) -> dict[str, str]:
    found = {}
    for name, truth in stage.cases.items():
        verifiers.openssl_ocsp_get(stage.folder, name, stage.ocsp)
        answer = (stage.folder / f"{name}.sha1.resp").read_bytes()
        if not truth.issued:
            found[name] = "unauthorized" if answer == bytes.fromhex("30030a0106") else answer.hex()
            continue  # it is no answer that a path could be judged by
        said = verifiers.certvalidator(stage.folder, name, crls=stage.crls()[:1], answers=(answer,))
        found[name] = _certvalidator(stage, name, said)
    return found


# CRL


def openssl_crl(stage: Stage) -> dict[str, str]:
    return {
        name: plain(
            stage,
            name,
            verifiers.openssl_verify(stage.folder, name),
            expired="error 10 at 0 depth lookup: certificate has",
        )
        for name in stage.cases
    }


def gnutls_crl(stage: Stage) -> dict[str, str]:
    return {
        name: plain(stage, name, verifiers.certtool_verify(stage.folder, name), expired="uses expired certificate")
        for name in stage.cases
    }


def nss_crl(stage: Stage) -> dict[str, str]:
    return {
        name: plain(
            stage,
            name,
            verifiers.vfychain(stage.folder, name, method="crl", database="nss-crl"),
            expired="ERROR -8181: Peer's Certificate has expired.",
        )
        for name in stage.cases
    }


def java_crl(stage: Stage) -> dict[str, str]:
    return _java(stage, "crl")


def certvalidator_crl(stage: Stage) -> dict[str, str]:
    return {
        name: _certvalidator(stage, name, verifiers.certvalidator(stage.folder, name, crls=stage.crls()))
        for name in stage.cases
    }


COLUMNS: dict[str, Verifier] = {
    "OpenSSL OCSP": openssl_ocsp,
    "GnuTLS OCSP": gnutls_ocsp,
    "NSS OCSP": nss_ocsp,
    "Java OCSP": java_ocsp,
    "certvalidator OCSP": certvalidator_ocsp,
    "OpenSSL CRL": openssl_crl,
    "GnuTLS CRL": gnutls_crl,
    "NSS CRL": nss_crl,
    "Java CRL": java_crl,
    "certvalidator CRL": certvalidator_crl,
}
