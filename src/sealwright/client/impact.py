"""What a revocation does, in words: which signatures die, and from which moment on. Pure.

A verifier that knows when a signature was made (a time stamp) compares it with the revocation date; a signature
without one was made "now" for it.
"""

from datetime import datetime

from cryptography import x509

from sealwright.statements.wire import format_time


def describe_impact(certificate: x509.Certificate, moment: datetime | None) -> str:
    """Which signatures of ``certificate`` die. ``moment`` None: from now on."""
    if moment is None:
        return "every signature made from now on, and those of before that carry no time stamp"
    if moment <= certificate.not_valid_before_utc:
        return "every signature ever made with it, also those with a time stamp"
    return (
        f"every signature time-stamped from {format_time(moment)} on, and all that carry no time stamp;"
        " those time-stamped before stay good"
    )


def describe_key(reason: str) -> str:
    return (
        "is blocked for ever, for everybody, and all that is certified for it is revoked"
        if reason == "keyCompromise"
        else "may be certified again"
    )
