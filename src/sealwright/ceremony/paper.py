"""Paper: the script to read from before a ceremony, and the filled record after it. One HTML file, no script, no link.

It prints on A4 and on Letter from any browser. What it says comes from the files alone; the record is printed from a
transcript that was replayed. How it becomes pages is ``pages``'s.
"""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Final

import segno

from sealwright.ceremony import script as s
from sealwright.ceremony.answers import ANSWERS, describe_statuses, say_status
from sealwright.ceremony.clock import format_time
from sealwright.ceremony.folder import TRANSCRIPT, CeremonyFolder, load_folder
from sealwright.ceremony.materials import Materials
from sealwright.ceremony.opening import Opening
from sealwright.ceremony.pages import (
    LINE,
    ROOM,
    Block,
    blanks,
    bullets,
    digest,
    exception_sheet,
    heading,
    lay_out,
    lines,
    paragraph,
    table,
)
from sealwright.ceremony.prepared import Mode
from sealwright.ceremony.replay import replay_stopped, verify_folder
from sealwright.ceremony.sheets import (
    bags_and_seals,
    describe,
    everybody_there,
    everybody_wanted,
    left_at_the_end,
    signatures,
)
from sealwright.ceremony.transcript import LENGTH_LIMIT, parse_transcript
from sealwright.durable import read_file
from sealwright.errors import InputError

_SHEETS: Final = 2
"""Blank exception sheets with every script."""
_EXCEPTIONS: Final = frozenset({"stopped", "resumed", "deviation"})


def print_script(path: Path, mode: Mode | None = None) -> bytes:
    """The script of a prepared folder, to be read from: who acts, what is said and typed, room for times.

    ``mode``: for this one only. Without it, one paper for the rehearsal and for what it rehearses, and it says both.
    """
    folder = load_folder(path)
    file, prepared = folder.script.file, folder.prepared
    if mode is not None and mode not in prepared.modes:
        raise InputError(
            f"{path} is prepared for {' and '.join(prepared.modes)}, not for {mode}",
            hint="what came out of a rehearsal is never run in production",
        )
    modes = prepared.modes if mode is None else (mode,)
    officers = Materials(folder.script, prepared.plan, folder.inputs, modes[0]).officers()
    cover = (
        _title(file.title, modes),
        paragraph(file.purpose),
        paragraph(f"Takes place at {prepared.plan.at}."),
        Block(f'<div class="blanks">{blanks("place", "begun", "ended")}</div>', 9),
        heading("Who is here"),
        *table(("role", "does"), ((describe(duty), duty.does) for duty in file.roles)),
    )
    blocks = (
        heading("Who is here, by name"),
        *signatures(everybody_wanted(file.roles, officers)),
        heading("What was fixed at preparation"),
        *table(
            ("what", "value"),
            (
                ("takes place at", prepared.plan.at),
                ("serial number", prepared.plan.serial or "none"),
                *((f"serial number of {name}", serial) for name, serial in prepared.plan.serials.items()),
                ("CRL number", str(prepared.plan.crl_number or "none")),
                ("next update", prepared.plan.next_update or "none"),
                *_serials(folder, modes),
                *((f"CKA_ID of the new key on {token}", key_id) for token, key_id in prepared.plan.key_ids.items()),
                ("previous ceremony", _previous(folder)),
            ),
        ),
        heading("Digests (SHA-256)"),
        digest("script.toml", folder.script.sha256),
        digest("site.toml", folder.site.sha256),
        digest("prepared.json", prepared.sha256),
        *(digest(f"input {name}", value) for name, value in prepared.file.inputs.items()),
        *(
            digest(f"{mode}: to-be-signed bytes of {name}{_zeroed(folder)}", value)
            for mode in modes
            for name, value in prepared.file.digests[mode].items()
        ),
        *_revoked(folder, modes[0]),
        *_answers(folder),
        heading("Step by step", fresh=True),
        *(_step(number, step) for number, step in enumerate(folder.script.steps, 1)),
        *bags_and_seals(folder.script),
        *left_at_the_end(folder.script),
        *(block for number in range(1, _SHEETS + 1) for block in exception_sheet(number)),
    )
    return lay_out(f"{file.title}: script", modes, cover, blocks)


def print_record(path: Path) -> bytes:
    """The record of a ceremony that verifies, step by step as it happened; or up to where it stopped.

    Raises as ``verify_folder``, but for one that stopped.
    """
    if (stopped := replay_stopped(path)) is not None:
        return _print_stopped(path, *stopped)
    findings, folder = verify_folder(path), load_folder(path)
    entries, _ = parse_transcript(read_file(path / TRANSCRIPT, limit=LENGTH_LIMIT))
    title = f"{folder.script.file.title}: record"
    cover = (
        _title(title, (findings.mode,)),
        _code(f"sealwright {findings.kind} {findings.mode} {findings.head}"),
        paragraph(
            f"Began {findings.started}, ended {findings.ended}, "
            f"{'with people in the room' if findings.attended else 'unattended'}, "
            f"by Sealwright {findings.software['version']}."
        ),
        digest("head of the transcript", findings.head),
        digest("the software's files", findings.software["sha256"]),
    )
    blocks = (
        heading("Step by step"),
        *_steps(folder, entries),
        heading("Exceptions"),
        *_exceptions(entries),
        heading("What was done again from this record, and came out the same"),
        *bullets(findings.claims),
        heading("What a record cannot show"),
        *bullets(findings.cannot_know),
        heading("Signatures"),
        *signatures(everybody_there(_present(entries), folder.script.file.roles)),
    )
    return lay_out(title, (findings.mode,), cover, blocks)


def _print_stopped(path: Path, entries: Sequence[Mapping[str, Any]], head: str) -> bytes:
    """Why there were two: an auditor asks it of whoever holds the first."""
    folder, opening, last = load_folder(path), Opening.of(entries[0]), entries[-1]
    mode = opening.mode
    title = f"{folder.script.file.title}: record of one that stopped"
    cover = (
        _title(title, (mode,)),
        _code(f"sealwright {folder.script.kind} {mode} stopped {head}"),
        paragraph(f"Began {entries[0]['at']}, stopped {last['at']} at step {last['step']}: {last['message']}"),
        paragraph("Nothing came of it: it has no outputs, and what lies in its quarantine is not to be used."),
        digest("head of the transcript", head),
        digest("the software's files", opening.software["sha256"]),
    )
    blocks = (
        heading("Step by step, as far as it came"),
        *_steps(folder, entries),
        heading("Exceptions"),
        *_exceptions(entries),
        heading("Signatures"),
        *signatures(everybody_there(_present(entries), folder.script.file.roles)),
    )
    return lay_out(title, (mode,), cover, blocks)


def _steps(folder: CeremonyFolder, entries: Sequence[Mapping[str, Any]]) -> Iterable[Block]:
    """Those that were begun."""
    by_step: dict[int, list[Mapping[str, Any]]] = {}
    for entry in entries:
        by_step.setdefault(entry.get("step", 0), []).append(entry)
    for number, step in enumerate(folder.script.steps, 1):
        if number in by_step:
            yield from _done(number, step, by_step[number])


def _revoked(folder: CeremonyFolder, mode: Mode) -> Iterable[Block]:
    """Where an issuing CA is revoked: every certificate of its key that the CRL will list for it."""
    materials = Materials(folder.script, folder.prepared.plan, folder.inputs, mode)
    if decision := materials.decision():
        since = format_time(decision.revocation_date)
        yield heading(f"What the root revokes, since {since}: {decision.reason}")
        rows = ((each.serial, each.subject, each.not_after) for each in decision.revoked(materials.register()))
        yield from table(("CA certificate", "subject", "valid until"), rows)


def _answers(folder: CeremonyFolder) -> Iterable[Block]:
    """Where OCSP answers are signed: what each says, for the witness to compare with what is read aloud."""
    if ANSWERS not in folder.script.outputs:
        return
    prepared = folder.prepared
    said = describe_statuses(Materials(folder.script, prepared.plan, folder.inputs, prepared.modes[0]))
    yield heading(f"What the root will say, until {prepared.plan.next_update}")
    rows = ((each["serial"], each["subject"], say_status(each)) for each in said)
    yield from table(("CA certificate", "subject", "status"), rows)


def _title(title: str, modes: Iterable[Mode]) -> Block:
    marks = " ".join(f'<span class="mode">{mode}</span>' for mode in modes)
    return Block(f"<h1>{escape(title)}</h1><p>{marks}</p>", 18)


def _code(text: str) -> Block:
    """What a camera reads: the record's head, to be compared with a file that comes by another way."""
    drawing = segno.make(text, error="m", micro=False).svg_inline(omitsize=True)
    return Block(f'<div class="qr" title="{escape(text)}">{drawing}</div>', 0)


def _previous(folder: CeremonyFolder) -> str:
    previous = folder.prepared.file.previous
    return f"{previous.kind}, head {previous.head}" if previous else "none"


def _serials(folder: CeremonyFolder, modes: Iterable[Mode]) -> Iterable[tuple[str, str]]:
    """What the operator reads off the token, and the seal's number beside it: of the real ones."""
    if "PRODUCTION" in modes:
        for name in folder.script.tokens:
            if serial := folder.site.token(name).serial:
                yield f"serial number of the token {name}, in production", serial


def _present(entries: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """By role, the last time that everybody said who they are."""
    return {str(each["role"]): list(each["people"]) for each in entries if each["entry"] == "present"}


def _zeroed(folder: CeremonyFolder) -> str:
    return ", key-dependent octets zeroed" if folder.prepared.plan.key_ids else ""


def _step(number: int, step: s.Step) -> Block:
    phrase = f"<p>types: <code>{escape(step.phrase)}</code></p>" if isinstance(step, s.Consent) else ""
    about = "; ".join(f"{name}: {value}" for name, value in _parameters(step))
    html = (
        f'<div class="step"><div class="head"><b>{number} · {escape(step.action)}</b><span>{escape(about)}</span></div>'
        f'<span class="box"></span><p class="say"><b>{step.who}</b>: {escape(step.say)}</p>{phrase}'
        f'<div class="blanks">{blanks("time", "initials", "note")}</div></div>'
    )
    return Block(html, 18 + 5.8 * lines(step.say, 74) + (7 if phrase else 0) + LINE * (lines(about, 60) - 1))


def _parameters(step: s.Step) -> Iterable[tuple[str, object]]:
    for name, value in step.model_dump(mode="json").items():
        if name not in ("who", "say", "action", "phrase") and value is not None:
            yield name.replace("_", " "), value


def _done(number: int, step: s.Step, entries: list[Mapping[str, Any]]) -> Iterable[Block]:
    """A step as it happened, in as many pieces as its entries need."""
    at = entries[0]["at"] if entries else ""
    title, said = f"{number} · {step.action}", f"<p><b>{step.who}</b>: {escape(step.say)}</p>"
    top = 14 + LINE * lines(step.say)
    rows: list[str] = []
    height = top
    for entry in entries:
        if entry["entry"] == "step":
            continue
        row, need = _entry(entry)
        if height + need > ROOM * 0.8 and rows:
            yield _piece(title, at, said, rows, height)
            title, said, rows, height = f"{number} · {step.action}, continued", "", [], 14.0
        rows.append(row)
        height += need
    yield _piece(title, at, said, rows, height)


def _piece(title: str, at: str, said: str, rows: Iterable[str], height: float) -> Block:
    head = f'<div class="head"><b>{escape(title)}</b><span>{at}</span></div>'
    return Block(f'<div class="step">{head}{said}<table>{"".join(rows)}</table></div>', height)


def _entry(entry: Mapping[str, Any]) -> tuple[str, float]:
    wrong = ' class="wrong"' if entry.get("accepted") is False else ""
    fields = _fields(entry)
    time = str(entry["at"])[11:19]
    row = f"<tr{wrong}><td>{time}</td><td>{escape(entry['entry'])}</td><td><code>{escape(fields)}</code></td></tr>"
    return row, 4.6 * lines(fields, 70) + 1.5


def _fields(entry: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{name.replace('_', ' ')}: {_plain(value)}"
        for name, value in sorted(entry.items())
        if name not in ("n", "prev", "at", "entry", "step")
    )


def _exceptions(entries: Iterable[Mapping[str, Any]]) -> Iterable[Block]:
    """What did not go as written: wrong answers, interruptions, deviations."""
    found = [each for each in entries if each.get("accepted") is False or each["entry"] in _EXCEPTIONS]
    if not found:
        yield paragraph("None: every answer was the one that the script wants, and nothing was interrupted.")
        return
    rows = ((str(each["at"]), str(each.get("step", "")), each["entry"], _fields(each)) for each in found)
    yield from table(("time", "step", "what", "in full"), rows)
    yield paragraph("Each has its exception sheet, filled in by hand, behind this record.")


def _plain(value: object) -> str:
    match value:
        case True | False | None:
            return {True: "yes", False: "no", None: "none"}[value]
        case list():
            return ", ".join(map(str, value))
        case _:
            return str(value)
