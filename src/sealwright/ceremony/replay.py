"""Replay: everything again, from the record alone, with no token. This is what an auditor runs, ten years later.

The chain is checked, the state machine walked, every to-be-signed byte rebuilt from script, preparation and inputs,
every output verified by the library and by OpenSSL. Whatever cannot be known from the record is said.
"""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sealwright.ceremony.actions import check_inputs
from sealwright.ceremony.conduct import conduct
from sealwright.ceremony.day import check_recorded
from sealwright.ceremony.folder import OUTPUTS, QUARANTINE, TRANSCRIPT, load_folder, read_laid_down
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.materials import Materials
from sealwright.ceremony.opening import Opening
from sealwright.ceremony.prepared import Mode
from sealwright.ceremony.recorded import recorded_room
from sealwright.ceremony.script import Kind
from sealwright.ceremony.signing import Signatory, find_signatories, missing_signatures, verify_signatures
from sealwright.ceremony.software import describe_software
from sealwright.ceremony.transcript import LENGTH_LIMIT, Recorded, parse_transcript
from sealwright.durable import read_file
from sealwright.errors import InputError, IntegrityError, NotFound, NotReady, PolicyViolation, SealwrightError

CANNOT_KNOW = (
    "who the people were: names are as they were typed",
    "that the clock was right: times only never run backwards",
    "that nobody copied the token, or watched a PIN being typed",
    "that the record is not a forgery as a whole: keep its head on paper, or in the next ceremony's header",
    "that the rehearsal which production names took place: replay that record, and compare its head",
    "that the inputs are the outputs of the record before: replay that one, too",
    "that this was the only time the key signed: a token keeps no account",
)

OLD_FORMS: Mapping[int, tuple[str, ...]] = {
    1: ("what later forms record: this one is of form 1, which had no signatures by people and no resumption",),
}


@dataclass(frozen=True, slots=True)
class Findings:
    """A record that verifies. ``claims`` are the things that were done again and came out the same."""

    kind: Kind
    mode: Mode
    head: str
    started: str
    ended: str
    outputs: Mapping[str, bytes]
    script: str
    attended: bool
    software: Mapping[str, str]
    version: int
    """Of the transcript's form, by whose rules it was replayed."""
    interruptions: int
    claims: tuple[str, ...]
    cannot_know: tuple[str, ...]
    signatories: Mapping[str, Signatory]
    """Those who were there at the end with a key, by name."""
    signed: tuple[Signatory, ...]
    """Those of them who signed the head."""
    unsigned: str
    """Who a production record still wants; empty for one that counts."""

    @property
    def same_software(self) -> bool:
        """Whether the software that replays is the one that conducted, file by file."""
        return dict(self.software) == describe_software()

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "mode": self.mode,
            "head": self.head,
            "started": self.started,
            "ended": self.ended,
            "outputs": sorted(self.outputs),
            "script": self.script,
            "attended": self.attended,
            "software": dict(self.software),
            "same_software": self.same_software,
            "version": self.version,
            "interruptions": self.interruptions,
            "signed_by": [str(each) for each in self.signed],
            "unsigned": self.unsigned,
            "claims": list(self.claims),
            "cannot_know": list(self.cannot_know),
        }


def verify_folder(path: Path) -> Findings:
    """Replay a record.

    Raises ``NotReady`` when the ceremony stopped or was cut off, and ``IntegrityError`` for the first claim in it
    that is false.
    """
    check_own_files(path)
    entries, head = _read_transcript(path)
    last = entries[-1]
    if last["entry"] == "stopped":
        _replay_up_to_the_stop(path, entries)
        raise NotReady(
            f"this ceremony stopped at step {last.get('step')}: {last.get('message')}",
            hint="up to there it was done again, and came out the same. It has no outputs: do not use its quarantine. "
            "`print` makes the paper of it, for the auditor",
        )
    header = entries[0]
    opening = Opening.of(header)
    software = opening.software
    folder = load_folder(path)
    outputs = _outputs(path)
    check_inputs(folder.inputs, folder.prepared.file.inputs)
    journal = Recorded(entries)
    try:
        if opening.mode == "PRODUCTION":
            check_recorded(folder.prepared.plan, entries)
        made = conduct(opening.ceremony(folder), recorded_room(journal, outputs, folder.inputs))
        journal.finish()
    except (PolicyViolation, InputError) as error:
        # A ceremony cannot have gone on past a refusal: whoever wrote that it did wrote it afterwards.
        raise IntegrityError(f"done again, this ceremony is refused: {error}", hint=_other(software)) from error
    except IntegrityError as error:
        error.hint = error.hint or _other(software)
        raise
    if (path / QUARANTINE).exists():
        raise IntegrityError("there is a quarantine folder beside the promoted outputs")
    officers = Materials(folder.script, folder.prepared.plan, folder.inputs, opening.mode).officers()
    signatories = find_signatories(entries, officers.keys)
    signed = verify_signatures(path, head, signatories)
    wanted = opening.mode == "PRODUCTION" and opening.version > 1
    return Findings(
        kind=folder.script.kind,
        mode=opening.mode,
        head=head,
        started=header["at"],
        ended=last["at"],
        outputs=made,
        script=folder.script.sha256,
        attended=opening.attended,
        software=software,
        version=opening.version,
        interruptions=sum(entry["entry"] == "resumed" for entry in entries),
        claims=_claims(entries, folder.script.kind, made, signed),
        cannot_know=(*CANNOT_KNOW, *_about_hands(entries, signed), *OLD_FORMS.get(opening.version, ())),
        signatories=signatories,
        signed=signed,
        unsigned=missing_signatures(signed, officers) if wanted else "",
    )


def replay_stopped(path: Path) -> tuple[tuple[dict[str, Any], ...], str] | None:
    """The transcript and its head, of a ceremony that stopped; None when it did not.

    It was done again up to there. Raises as ``verify_folder``.
    """
    check_own_files(path)
    entries, head = _read_transcript(path)
    if entries[-1]["entry"] != "stopped":
        return None
    _replay_up_to_the_stop(path, entries)
    return entries, head


def check_own_files(path: Path) -> None:
    """A record holds its files itself, under names that anybody can read: a link leads out of it, a pipe has no end,
    and what looks like one name may be another. Raises ``IntegrityError``."""
    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            place = Path(folder, name)
            said = ascii(str(place.relative_to(path)))[1:-1]
            if not (name.isascii() and name.isprintable()):
                raise IntegrityError(f"the record has a file whose name is not plain: {said}")
            mode = place.lstat().st_mode
            if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                what = "a link" if stat.S_ISLNK(mode) else "no file"
                raise IntegrityError(
                    f"{said} is {what}: a record holds its files itself",
                    hint="copy the record again from where it was made, files and not links",
                )


def _replay_up_to_the_stop(path: Path, entries: tuple[dict[str, Any], ...]) -> None:
    """Raises ``IntegrityError`` when something before the stop does not come out again, or anything came of it.

    Why it stopped often cannot: who looked away, or a token that was not there. That a check failed comes out again.
    """
    _check_nothing_promoted(path)
    opening, folder, journal = Opening.of(entries[0]), load_folder(path), Recorded(entries)
    check_inputs(folder.inputs, folder.prepared.file.inputs)
    try:
        conduct(opening.ceremony(folder), recorded_room(journal, read_laid_down(path), folder.inputs))
    except SealwrightError as error:
        if journal.stopped_here():
            return
        if isinstance(error, IntegrityError):
            raise
        raise IntegrityError(f"done again, this ceremony is refused: {error}", hint=_other(opening.software)) from error
    raise IntegrityError("done again, this ceremony comes to its end, and it says that it stopped")


def _read_transcript(path: Path) -> tuple[tuple[dict[str, Any], ...], str]:
    if not (path / TRANSCRIPT).is_file():
        beside = sorted(found.parent.name for found in path.glob(f"*/{TRANSCRIPT}"))
        raise NotFound(
            f"{path} has no {TRANSCRIPT}: it is not a record",
            hint=f"records here: {', '.join(f'{path / name}' for name in beside)}"
            if beside
            else "name the folder that `rehearse` or `run` made",
        )
    entries, head = parse_transcript(read_file(path / TRANSCRIPT, limit=LENGTH_LIMIT))
    if entries[-1]["entry"] not in ("closed", "stopped"):
        raise NotReady(
            "the transcript has no end: the ceremony is taking place, or was cut off",
            hint="what lies in quarantine is not to be trusted; begin again in a new record",
        )
    return entries, head


def _other(software: Mapping[str, str]) -> str:
    """What to try when a record of other software does not come out again."""
    if dict(software) == describe_software():
        return ""
    return (
        f"it was made by version {software['version']} ({software['sha256'][:16]}...), which is not this one: "
        "replay it with that one, too"
    )


def _outputs(path: Path) -> dict[str, bytes]:
    if not (path / OUTPUTS).is_dir():
        raise IntegrityError("the transcript is closed, and the outputs are not there")
    return {found.name: read_file(found) for found in sorted((path / OUTPUTS).iterdir())}


def _check_nothing_promoted(path: Path) -> None:
    if (path / OUTPUTS).exists():
        raise IntegrityError("this ceremony stopped, and has outputs nevertheless: do not trust them")


def _about_hands(entries: tuple[dict[str, Any], ...], signed: tuple[Signatory, ...]) -> tuple[str, ...]:
    given = [entry for entry in entries if entry["entry"] == "signature" and entry["accepted"]]
    unsigned = sum(entry["signature"] is None for entry in given)
    shares = any(entry["entry"] in ("share", "handed-over") for entry in entries)
    return (
        *(("whose hand held a key that signed: whoever has the key, and its passphrase, signs",) if signed else ()),
        *(("who else stood behind the record: nobody has signed its head",) if not signed else ()),
        *((f"that officers consented, {unsigned} times: no key was brought to this rehearsal",) if unsigned else ()),
        *(("that the shares were right, beyond the token having opened: none is recorded",) if shares else ()),
    )


def _claims(
    entries: tuple[dict[str, Any], ...], kind: Kind, outputs: Mapping[str, bytes], signed: tuple[Signatory, ...]
) -> tuple[str, ...]:
    answers = sum(entry["entry"] == "answer" for entry in entries)
    wrong = sum(entry["entry"] == "answer" and not entry["accepted"] for entry in entries)
    steps = sum(entry["entry"] == "step" for entry in entries)
    deviations = sum(entry["entry"] == "deviation" for entry in entries)
    consents = sum(bool(entry.get("signature")) for entry in entries if entry.get("accepted"))
    resumed = sum(entry["entry"] == "resumed" for entry in entries)
    was = " was" if deviations == 1 else "s were"
    again = "everybody was asked again, and the quorum consented to go on"
    return (
        f"the {len(entries)} lines of the transcript are one unbroken chain",
        f"all {steps} steps of the {kind} script were taken, in order, each with what it needs",
        "script, site, preparation and every input are those that the transcript names",
        "every to-be-signed byte was built again from them and linted again, and is what was signed",
        *(
            f"output {name}: signed by the right key, verified again by the library and by OpenSSL"
            if KINDS[kind].outputs[name].token
            else f"output {name}: composed again, octet for octet"
            for name in outputs
        ),
        *(
            f"what was decided is revoked: {', '.join(entry.get('serials', [entry['serial']]))}"
            for entry in entries
            if entry["entry"] == "decision"
        ),
        f"{answers} answers were judged again, {wrong} of them wrong ones that were recorded",
        *(
            (f"{consents} consents carry the officer's own signature, over all that stands before them",)
            if consents
            else ()
        ),
        *((f"{deviations} deviation{was} written down, each agreed to by two",) if deviations else ()),
        *((f"the head is signed by {', '.join(map(str, signed))}",) if signed else ()),
        *((f"{resumed} interruption{'s' if resumed > 1 else ''}: {again}",) if resumed else ()),
    )
