"""Whatever bytes a parser is given, it reads them or raises what it says; and no parser is forgotten."""

import ast
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parsers import Parser, make_parsers
from sealwright.errors import SealwrightError
from world import CHECKOUT, make_world

# A certificate that is odd in a certain way makes pyca warn, which is nobody's exception but a test's.
pytestmark = pytest.mark.filterwarnings("ignore::cryptography.utils.CryptographyDeprecationWarning")

NAMES = (
    "OCSP request", "OCSP answer", "root's OCSP answer", "root's list of OCSP answers", "CSR", "CRL",
    "attestation", "certificate", "verdict", "JSON", "canonical JSON",
    "signed statement", "issuance order", "revocation order", "revocation order's file", "roster's file", "anchor",
    "receipt", "SSH signature", "SSH public key", "SSH key blob", "call to the signer", "ledger entry", "checkpoint",
    "ledger bundle", "tile's name", "export", "monitor's state", "transcript", "transcript, cut",
)  # fmt: skip


@pytest.fixture(scope="session")
def parsers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Parser]:
    folder = tmp_path_factory.mktemp("parsers")
    made = make_parsers(make_world(folder / "world"), folder)
    assert tuple(made) == NAMES
    return made


DAMAGE = st.lists(
    st.tuples(
        st.sampled_from(["set", "cut", "insert", "swap", "repeat", "end", "digits"]),
        st.floats(0, 1, exclude_max=True),
        st.integers(0, 255),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=4,
)


def damaged(seed: bytes, damage: list[tuple[str, float, int, int]]) -> bytes:
    data = bytearray(seed)
    for kind, place, octet, length in damage:
        at = int(place * len(data))
        match kind:
            case "set" if data:
                data[at] = octet
            case "cut":
                del data[at : at + length]
            case "insert":
                data[at:at] = bytes((octet,)) * length
            case "swap":
                data[at : at + length] = data[at : at + length][::-1]
            case "repeat":
                data[at:at] = data[at : at + length] * 3
            case "end":
                del data[at:]
            case _:  # numbers that no number has to be, where text has one
                data[at:at] = b"9" * 30
    return bytes(data)


@pytest.mark.parametrize("name", NAMES)
def test_only_declared_errors_come_out(parsers: dict[str, Parser], name: str) -> None:
    parser = parsers[name]

    @settings(deadline=None, max_examples=60)
    @given(st.binary(max_size=300), DAMAGE, st.integers(0, 7), st.integers(0, 4))
    def feed(noise: bytes, damage: list[tuple[str, float, int, int]], which: int, depth: int) -> None:
        nested = b"[" * 10**depth if depth else b""
        for data in (noise, damaged(parser.seeds[which % len(parser.seeds)], damage), nested + noise):
            with suppress(SealwrightError):
                parser.read(data)

    feed()


@pytest.mark.parametrize("name", ["CRL", "certificate", "attestation"])
def test_each_octet_changed_in_each_way_that_matters_to_der(parsers: dict[str, Parser], name: str) -> None:
    """pyca reads lazily, and has exceptions that are no ValueError: a version, a tag in a name."""
    for at in range(min(len(parsers[name].seeds[0]), 400)):
        for octet in (0x00, 0x02, 0x31, 0x61, 0xFF):
            data = bytearray(parsers[name].seeds[0])
            data[at] = octet
            with suppress(SealwrightError):
                parsers[name].read(bytes(data))


@pytest.mark.parametrize("name", NAMES)
def test_the_seeds_are_read_further_than_their_first_octets(parsers: dict[str, Parser], name: str) -> None:
    """A seed that is refused at once would fuzz nothing: what comes of it is not what comes of noise."""

    def said(data: bytes) -> str:
        try:
            return repr(parsers[name].read(data))
        except SealwrightError as error:
            return str(error)

    for seed in parsers[name].seeds:
        assert said(seed) != said(b"\xfe\xdc") or name == "call to the signer"  # which answers whatever comes


# the table

ELSEWHERE = {
    "pki/serials.py:parse_serial": "tests/pki/test_serials.py: any text",
    "pki/settings.py:load_settings": "tests/pki/test_settings.py: any octets, and edited settings",
    "pki/profiles.py:load_profile": "tests/pki/test_profiles.py: any octets, and edited profiles",
    "pki/profiles.py:load_profiles": "the same",
    "pki/tomlfile.py:parse_toml": "by load_settings and load_profile",
    "pki/der.py:read": "by parse_ocsp_query, and it raises InputError alone",
    "pki/der.py:read_generalized_time": "of our own answers, after they were compared octet by octet",
    "statements/wire.py:parse_time": "by every statement",
    "statements/wire.py:decode_base64": "by every statement",
    "statements/wire.py:parse_model": "by every statement",
    "statements/kinds.py:parse_statement": "by parse_signed",
    "statements/people.py:parse_people": "by check_roster, of a statement that was read",
    "statements/people.py:parse_officers": "the same",
    "validation/acceptance.py:split_answer": "tests/validation/test_acceptance.py: no change of an octet is let in",
    "validation/snapshot.py:unpack": "of our own file, under a checksum; any flipped bit: tests/validation",
    "client/revocations.py:parse_moment": "a person's own input",
    "client/revocations.py:load_key": "a person's own file",
    "store/postgresql.py:parse_address": "an operator's own setting",
    "audit/export.py:read_bundle": "by the export, above",
    "audit/export.py:read_entries": "by the export, above",
    "audit/export.py:read_checkpoint": "by the export, above",
    "audit/export.py:read_size": "by the export, above",
}
ROOMS = ("pki", "statements", "ledger", "audit", "client", "store", "validation", "publication", "registration", "api")


def test_every_parser_of_the_online_rooms_has_a_fuzz_test(parsers: dict[str, Parser]) -> None:
    fed = {function for parser in parsers.values() for function in parser.reads}
    forgotten = []
    for room in ROOMS:
        for path in sorted((CHECKOUT / "src/sealwright" / room).rglob("*.py")):
            where = path.relative_to(CHECKOUT / "src/sealwright").as_posix()
            for node in ast.parse(path.read_text()).body:
                known = isinstance(node, ast.FunctionDef) and (node.name in fed or f"{where}:{node.name}" in ELSEWHERE)
                if isinstance(node, ast.FunctionDef) and _parses(node) and not known:
                    forgotten.append(f"{where}:{node.name}")
    assert forgotten == []


def _parses(node: ast.FunctionDef) -> bool:
    """``parse_`` anything, and whatever else begins so and takes bytes."""
    first = node.args.args[0] if node.args.args else None
    takes = ast.unparse(first.annotation) if first is not None and first.annotation is not None else ""
    if node.name.startswith("parse_"):
        return True
    return node.name.startswith(("read_", "load_", "split_", "decode_", "unpack")) and takes == "bytes"


def test_what_is_said_to_be_tested_elsewhere_is_there() -> None:
    for place, why in ELSEWHERE.items():
        file, _, function = place.partition(":")
        assert f"def {function}(" in (CHECKOUT / "src/sealwright" / file).read_text(), place
        if why.startswith("tests/"):
            assert "@given" in (CHECKOUT / why.partition(":")[0]).read_text(), place
