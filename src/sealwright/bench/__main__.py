"""``scripts/bench SUBJECT``: what things cost, measured on this machine.

A subject is a module beside this one with ``add_arguments(parser)`` and ``measure(arguments)``, which yields rows; its
docstring says what is measured and against what.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Final, Protocol, cast

from sealwright.bench.report import Row, head, line, markdown, write_json

SUBJECTS: Final[Mapping[str, str]] = {
    "issuance": "issuances a second through the real signer, and what each of its steps costs",
    "crl": "a CRL of a million entries after one more revocation, beside openssl's",
    "presign": "OCSP answers signed ahead of time, beside the raw signatures of the token",
    "ocsp": "OCSP requests a second beside nginx, of a million certificates and of a thousand",
    "ledger": "appending to the ledger and starting from it, at ten thousand and at a million entries",
}


class Subject(Protocol):
    def add_arguments(self, parser: argparse.ArgumentParser) -> None: ...

    def measure(self, arguments: argparse.Namespace) -> Iterator[Row]: ...


def main() -> None:
    listed = "\n".join(f"  {name:10} {what}" for name, what in SUBJECTS.items())
    parser = argparse.ArgumentParser(
        prog="scripts/bench",
        description=f"What things cost, measured on this machine.\n\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="scripts/bench SUBJECT --help says more",
    )
    parser.add_argument("subject", choices=SUBJECTS, metavar="SUBJECT")
    name = parser.parse_args(sys.argv[1:2]).subject
    module = import_module(f"sealwright.bench.{name}")
    _run(name, cast("Subject", module), module.__doc__ or "", sys.argv[2:])


def _run(name: str, subject: Subject, about: str, words: list[str]) -> None:
    parser = argparse.ArgumentParser(
        prog=f"scripts/bench {name}", description=about, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows there too, with the machine's facts")
    parser.add_argument("--markdown", action="store_true", help="print a table for a README at the end")
    subject.add_arguments(parser)
    arguments = parser.parse_args(words)
    rows: list[Row] = []
    _tell(head())
    for row in subject.measure(arguments):
        rows.append(row)
        _tell(line(row))
    if arguments.markdown:
        _tell("\n" + markdown(rows))
    if arguments.json:
        write_json(arguments.json, name, rows)


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
