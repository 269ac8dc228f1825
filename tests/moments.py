"""What OpenSSL, GnuTLS and Java say of a path at a moment that is not now: for a life on a simulated clock.

OpenSSL takes the moment on its command line, Java in its parameters. GnuTLS's program knows only now; its library can
be given another clock, so it is asked in a process of its own, by ``ctypes``.
"""

import ctypes
import ctypes.util
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from verifiers import GOOD, REFUSED, REVOKED, run

JAVA_LIFE = Path(__file__).parent / "java" / "CheckLife.java"


@dataclass(frozen=True)
class Question:
    """``chain``: leaf, issuing CA, and whatever leads on; PEM. ``crls``: DER. All are files of one folder."""

    name: str
    at: datetime
    chain: tuple[str, ...]
    anchor: str
    crls: tuple[str, ...]


def ask_all(folder: Path, questions: Iterable[Question]) -> dict[str, dict[str, str]]:
    """By question: verifier -> verdict."""
    asked = list(questions)
    java, gnutls = ask_java(folder, asked), ask_gnutls(folder, asked)
    return {
        each.name: {"openssl": ask_openssl(folder, each), "gnutls": gnutls[each.name], "java": java[each.name]}
        for each in asked
    }


def ask_openssl(folder: Path, question: Question) -> str:
    named = [part for each in question.chain[1:] for part in ("-untrusted", each)]
    named += [part for each in question.crls for part in ("-CRLfile", f"{each}.pem")]
    alone = ("-no-CApath", "-no-CAstore", "-CAfile", question.anchor)
    moment = ("-attime", str(int(question.at.timestamp())))
    strict = ("openssl", "verify", "-x509_strict", "-crl_check_all", *moment, *alone)
    text = run(*strict, *named, question.chain[0], folder=folder)
    if "certificate revoked" in text:
        return REVOKED
    return GOOD if f"{question.chain[0]}: OK" in text else f"{REFUSED}: {text}"


def ask_java(folder: Path, questions: list[Question]) -> dict[str, str]:
    lines = [
        " ".join((each.name, f"{each.at:%Y-%m-%dT%H:%M:%SZ}", ",".join(each.chain), each.anchor, ",".join(each.crls)))
        for each in questions
    ]
    (folder / "questions.txt").write_text("\n".join(lines))
    said = run("java", JAVA_LIFE, "questions.txt", folder=folder).splitlines()
    return {name: verdict for name, _, verdict in (line.partition(" ") for line in said) if verdict}


def ask_gnutls(folder: Path, questions: list[Question]) -> dict[str, str]:
    asked = [
        {
            "name": each.name,
            "at": int(each.at.timestamp()),
            "chain": "".join((folder / name).read_text() for name in each.chain),
            "anchor": (folder / each.anchor).read_text(),
            "crls": "".join((folder / f"{name}.pem").read_text() for name in each.crls),
        }
        for each in questions
    ]
    done = subprocess.run(
        [sys.executable, __file__], input=json.dumps(asked), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, str] = json.loads(done.stdout)
    return found


# In the process of its own. Constants are those of gnutls.h and x509.h.

_PEM, _REVOKED = 1, 1 << 5


class _Datum(ctypes.Structure):
    _fields_ = (("data", ctypes.c_char_p), ("size", ctypes.c_uint))


def _datum(text: str) -> _Datum:
    data = text.encode()
    return _Datum(data, len(data))


def _judge(library: ctypes.CDLL, question: dict[str, str]) -> str:
    trust, certificates = ctypes.c_void_p(), ctypes.POINTER(ctypes.c_void_p)()
    count, status = ctypes.c_uint(), ctypes.c_uint()
    anchor, crls, chain = (_datum(question[name]) for name in ("anchor", "crls", "chain"))
    assert library.gnutls_x509_trust_list_init(ctypes.byref(trust), 0) == 0
    # Without flags, as certtool does: with GNUTLS_TL_VERIFY_CRL only a CRL of the anchor itself is taken.
    added = library.gnutls_x509_trust_list_add_trust_mem(trust, ctypes.byref(anchor), ctypes.byref(crls), _PEM, 0, 0)
    assert added == 1 + question["crls"].count("BEGIN"), added
    read = library.gnutls_x509_crt_list_import2(
        ctypes.byref(certificates), ctypes.byref(count), ctypes.byref(chain), _PEM, 0
    )
    assert read >= 0, read
    assert library.gnutls_x509_trust_list_verify_crt(trust, certificates, count, 0, ctypes.byref(status), None) == 0
    if status.value & _REVOKED:
        return REVOKED
    return GOOD if status.value == 0 else f"{REFUSED}: {status.value:#x}"


def _main() -> None:
    library = ctypes.CDLL(ctypes.util.find_library("gnutls") or "libgnutls.so.30")
    clock_type = ctypes.CFUNCTYPE(ctypes.c_long, ctypes.POINTER(ctypes.c_long))
    verdicts = {}
    for question in json.load(sys.stdin):

        def now(place: object, moment: int = question["at"]) -> int:
            if place:
                place[0] = moment  # type: ignore[index]  # time_t *
            return moment

        clock = clock_type(now)
        library.gnutls_global_set_time_function(clock)
        verdicts[question["name"]] = _judge(library, question)
    print(json.dumps(verdicts))


if __name__ == "__main__":
    _main()
