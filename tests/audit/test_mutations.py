"""Mutations of an export, one for each field of each kind of entry and one for each file: detected, and named.

Twice: by somebody who holds the export (the hashes tell), and by somebody who holds the ledger key too, and signs the
forgery (what people signed tells). What only an earlier checkpoint tells stands in ``ONLY_AN_EARLIER_CHECKPOINT``.
"""

import base64
import binascii
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from exports import Story
from sealwright.audit.findings import Findings
from sealwright.ledger.tiles import CHECKPOINT, bundles_of
from sealwright.statements.canonical import canonical_bytes, parse_json

Path = tuple[str | int, ...]

ONLY_AN_EARLIER_CHECKPOINT = {
    ("start", "version"),
    ("start", "epoch"),
    ("refusal", "call"),
    ("refusal", "message"),
    ("refusal", "sha256"),
    ("token", "token"),
    ("token", "happened"),
    ("token", "reason"),
}
"""Words of the signer that nothing else speaks of."""

KINDS: dict[str, tuple[str, int]] = {
    "start": ("start", 0),
    "policy": ("policy", 0),
    "roster": ("roster", 0),
    "intent": ("intent", 0),
    "responder": ("intent", 2),
    "certificate": ("certificate", 0),
    "revocation": ("revocation", 0),
    "crash": ("revocation", 1),
    "correction": ("correction", 0),
    "suspension": ("suspension", 0),
    "token": ("token", 0),
    "crl-intent": ("crl-intent", 1),
    "crl": ("crl", 1),
    "denial": ("denial", 0),
    "withdrawal": ("denial", 1),
    "refusal": ("refusal", 0),
    "loss": ("loss", 0),
    "lost": ("revocation", 3),
}
"""Name here -> which entry of the story."""

NAMED_BY: dict[str, set[str]] = {
    "start": {"AUDIT-START"},
    "policy": {"AUDIT-POLICY"},
    "roster": {"AUDIT-ROSTER"},
    "intent": {"AUDIT-INTENT", "AUDIT-ORDER"},
    "responder": {"AUDIT-INTENT", "AUDIT-RESPONDER"},
    "certificate": {"AUDIT-CERTIFICATE"},
    "revocation": {"AUDIT-REVOCATION"},
    "crash": {"AUDIT-REVOCATION"},
    "correction": {"AUDIT-REVOCATION"},
    "suspension": {"AUDIT-ROSTER"},
    "token": set(),
    "crl-intent": {"AUDIT-CRL"},
    "crl": {"AUDIT-CRL"},
    "denial": {"AUDIT-DENIAL"},
    "withdrawal": {"AUDIT-DENIAL"},
    "refusal": {"AUDIT-REFUSAL"},
    "loss": {"AUDIT-LOSS"},
    "lost": {"AUDIT-REVOCATION"},
}
"""Or AUDIT-ENTRY, where the field cannot be read any more, or AUDIT-TIME."""

SPECIAL: dict[tuple[str, str], Any] = {
    ("intent", "standing"): "ocsp-responder",
    ("responder", "order"): {},
    ("responder", "profile"): "code-signing",
    ("intent", "profile"): "code-signing-release",
    ("revocation", "cause"): "crash",
    ("crash", "cause"): "order",
    ("lost", "cause"): "crash",
    ("lost", "reason"): "superseded",
    ("crash", "reason"): "superseded",
    ("revocation", "reason"): "keyCompromise",
    ("refusal", "rule"): "no rule",
    ("start", "mode"): "PRODUCTION",
    ("crl-intent", "number"): 1,
    ("policy", "part"): 2,
    ("policy", "name"): "profiles/other.toml",
}


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every field, down to the first of each list."""
    if isinstance(value, dict) and value:
        for name in value:
            yield from leaves(value[name], (*path, name))
    elif isinstance(value, list) and value:
        yield from leaves(value[0], (*path, 0))
    else:
        yield path


def at(value: Any, path: Path) -> Any:
    for step in path:
        value = value[step]
    return value


def replaced(value: Any, path: Path, new: Any) -> Any:
    if not path:
        return new
    step, *rest = path
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    copy[step] = replaced(value[step], tuple(rest), new)
    return copy


def changed(value: Any) -> Any:
    """Another value that looks as good."""
    match value:
        case None:
            return "1f"
        case bool():
            return not value
        case int():
            return value + 1
        case []:
            return ["other"]
        case str() if re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", value):
            return f"{int(value[:4]) + 1}{value[4:]}"
        case str() if re.fullmatch(r"[0-9a-f]{32,64}", value):
            return value[:-1] + ("0" if value[-1] != "0" else "1")
        case str() if len(value) > 40 and len(value) % 4 == 0 and _decodes(value):
            data = bytearray(base64.b64decode(value))
            data[len(data) // 2] ^= 1
            return base64.b64encode(data).decode()
        case str() if value.startswith("-----BEGIN"):
            lines = value.split("\n")
            lines[3] = lines[3][:-1] + ("A" if lines[3][-1] != "A" else "B")
            return "\n".join(lines)
        case str() if " " in value:
            return value[:-1] + ("A" if value[-1] != "A" else "B")
    return f"{value}x"


def _decodes(text: str) -> bool:
    try:
        return base64.b64encode(base64.b64decode(text, validate=True)).decode() == text
    except binascii.Error:
        return False


def mutations(story: Story, name: str) -> Iterator[tuple[int, Path, bytes]]:
    """Place, field, and the entry with that field changed: the whole table of one kind."""
    kind, nth = KINDS[name]
    place = story.index_of(kind, nth)
    entry = parse_json(story.entries[place], 1 << 20)
    for path in leaves(entry):
        if path == ("type",):
            new: Any = "crl" if kind != "crl" else "start"
        else:
            new = SPECIAL.get((name, str(path[0]))) if len(path) == 1 else None
            new = changed(at(entry, path)) if new is None else new
        yield place, path, canonical_bytes(replaced(entry, path, new))


def up_to(story: Story, name: str) -> Story:
    """The story until shortly after that entry: what comes later is not needed to name it."""
    end = max(story.index_of(*KINDS[name]), story.index_of("roster"))
    return replace(story, entries=story.entries[: end + 3])


def wheres(findings: Findings, *claims: str) -> set[str]:
    return {each.where for each in findings.problems if not claims or each.claim in claims}


@pytest.mark.parametrize("name", KINDS)
def test_who_holds_an_export_changes_no_field_unseen(story: Story, name: str) -> None:
    """The entry itself is named: its hash tile has another hash for it. Remaking the tiles only moves the alarm."""
    story = up_to(story, name)
    good = story.files()
    (bundle,) = bundles_of(len(story.entries))
    table = list(mutations(story, name))
    assert len(table) >= 5
    for place, path, entry in table:
        forged = story.files(story.with_entry(place, entry))
        naive = story.verify(good | {bundle.name: forged[bundle.name]})
        assert f"entry {place}" in wheres(naive, "AUDIT-TILES"), path
        assert "checkpoint" in wheres(naive, "AUDIT-CHECKPOINT"), path


@pytest.mark.parametrize("name", KINDS)
def test_who_holds_the_ledger_key_changes_no_field_unseen(story: Story, name: str) -> None:
    """Everything is hashed and signed anew. What people signed, and what other entries say, names the entry."""
    story = up_to(story, name)
    earlier = story.files()[CHECKPOINT].decode()
    crls = story.crls if name == "crl" else {}
    for place, path, entry in mutations(story, name):
        files = story.files(story.with_entry(place, entry))
        findings = story.verify(files, crls=crls)
        if (name, path[0]) in ONLY_AN_EARLIER_CHECKPOINT:
            assert findings.is_sound, (path, findings.problems)
            findings = story.verify(files, earlier=earlier)
            assert wheres(findings) == {"checkpoint"}, path
        elif path == ("at",) and name not in {"intent", "responder", "revocation", "crash", "crl-intent"}:
            assert f"entry {place + 1}" in wheres(findings, "AUDIT-TIME"), path  # the next one goes back
        else:
            here = wheres(findings, "AUDIT-ENTRY", *NAMED_BY[name])
            # A policy file under another name, or not whole, is what the roster then misses.
            missed = (name, path) in {("policy", ("name",)), ("policy", ("parts",))}
            named = story.index_of("roster") if missed else place
            assert f"entry {named}" in here, (name, path, findings.problems[:3])


FILES: dict[str, Callable[[bytes], bytes]] = {
    "anchor.json": lambda data: data.replace(b'"threshold":2', b'"threshold":3'),
    "root.pem": lambda data: data.replace(b"\nM", b"\nN", 1),
    "issuing.pem": lambda data: data.replace(b"\nM", b"\nN", 1),
    "checkpoint": lambda data: data.replace(b"\n", b"x\n", 1),
}


@pytest.mark.parametrize("name", FILES)
def test_a_changed_file_of_trust_is_named(story: Story, name: str) -> None:
    files = story.files()
    changed_file = FILES[name](files[name])
    assert changed_file != files[name]
    assert name in wheres(story.verify(files | {name: changed_file}))


@pytest.mark.parametrize(("name", "other"), [("root.pem", "issuing.pem"), ("issuing.pem", "root.pem")])
def test_another_ca_is_named(story: Story, name: str, other: str) -> None:
    findings = story.verify(story.files() | {name: story.trust[other]})
    # The root issued itself: that it is not the CA of this ledger, the rosters say.
    assert wheres(findings, "AUDIT-CA") & {name, f"entry {story.index_of('roster')}"}


@pytest.mark.parametrize("line", [0, 1, 2, 4])
def test_a_changed_line_of_the_checkpoint_is_named(story: Story, line: int) -> None:
    files = story.files()
    lines = files[CHECKPOINT].decode().split("\n")
    word = lines[line]
    lines[line] = str(int(word) - 1) if word.isdecimal() else word[:-8] + ("A" if word[-8] != "A" else "B") + word[-7:]
    findings = story.verify(files | {CHECKPOINT: "\n".join(lines).encode()})
    assert "checkpoint" in wheres(findings)


def test_a_flipped_bit_in_any_tile_is_named(story: Story) -> None:
    long = (*story.entries, *[story.entries[story.index_of("refusal")].replace(b"2026", b"2027")] * 250)
    files = story.files(long)
    tiles = [name for name in files if name.startswith("tile/")]
    assert {name.split("/")[1] for name in tiles} == {"entries", "0", "1"}
    for name in tiles:
        data = bytearray(files[name])
        data[-1] ^= 1
        findings = story.verify(files | {name: bytes(data)})
        assert any(each.where == name or each.claim == "AUDIT-TILES" for each in findings.problems), name


def test_a_missing_file_is_named_and_so_is_one_too_many(story: Story) -> None:
    files = story.files()
    for name in files:
        found = story.verify({each: data for each, data in files.items() if each != name})
        assert name in wheres(found), name
    assert "tile/0/001" in wheres(story.verify(files | {"tile/0/001": b""}), "AUDIT-FILES")


@pytest.mark.parametrize("cut", [1, 40])
def test_a_torn_bundle_is_named(story: Story, cut: int) -> None:
    files = story.files()
    (bundle,) = bundles_of(len(story.entries))
    assert bundle.name in wheres(story.verify(files | {bundle.name: files[bundle.name][:-cut]}), "AUDIT-FILES")


def test_a_size_that_is_not_meant_ends_soon(story: Story) -> None:
    files = story.files()
    huge = files[CHECKPOINT].replace(b"\n%d\n" % len(story.entries), b"\n999999999999\n")
    assert not story.verify(files | {CHECKPOINT: huge}).is_sound
