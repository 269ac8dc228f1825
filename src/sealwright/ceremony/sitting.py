"""A ceremony that takes place: record folder, tokens, people, transcript; and what is left when it stops half-way.

``rehearse`` and ``run`` differ in mode, tokens and people; ``resume`` goes on with either after an interruption.
Everything between is ``conduct``.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.bench import QuarantineBench
from sealwright.ceremony.certificate import print_certificate
from sealwright.ceremony.check import check, find_rehearsal
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.conduct import Ceremony, conduct
from sealwright.ceremony.console import people_here
from sealwright.ceremony.continued import ContinuedRoom
from sealwright.ceremony.day import check_when
from sealwright.ceremony.folder import (
    TRANSCRIPT,
    CeremonyFolder,
    begin_record,
    load_folder,
    next_record,
    read_laid_down,
)
from sealwright.ceremony.opening import Opening, activations, drivers
from sealwright.ceremony.paper import print_record
from sealwright.ceremony.people import NobodyPresent, ask_pin, say_stopped
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.prepared import Mode
from sealwright.ceremony.record import CeremonyRecord, load_record
from sealwright.ceremony.recorded import recorded_room
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.room import People, Room
from sealwright.ceremony.script import Kind, Role
from sealwright.ceremony.second import OtherTools
from sealwright.ceremony.signing import RECORD, Signatory, lay_signature
from sealwright.ceremony.software import describe_software
from sealwright.ceremony.stores import production_tokens, rehearsal_tokens
from sealwright.ceremony.tokens import LivingTokens
from sealwright.ceremony.transcript import LENGTH_LIMIT, RESUMABLE, Continued, Transcript, parse_written
from sealwright.durable import read_file, replace_file
from sealwright.errors import InputError, IntegrityError, NotFound, NotReady, SealwrightError
from sealwright.hsm.pin import Pin
from sealwright.statements.ssh import verify_signature


def rehearse(
    path: Path, *, people: People | None = None, record: Path | None = None, unattended: bool = False
) -> CeremonyRecord:
    """Rehearse a prepared folder, and replay the record. Without people: unattended, or those at the terminal."""
    folder, _ = check(path, "REHEARSAL")
    present = people or (NobodyPresent() if unattended else people_here(key_files=folder.site.key_file))
    return _sit(folder, "REHEARSAL", present, record, rehearsal_tokens(folder.script, folder.site), None)


def run(
    path: Path,
    *,
    people: People | None = None,
    record: Path | None = None,
    rehearsals: tuple[Path, ...] = (),
    pin_of: Callable[[str], Pin] = ask_pin,
) -> CeremonyRecord:
    """Production. Raises ``NotReady`` without a rehearsal of the very same script."""
    folder, _ = check(path, "PRODUCTION")
    check_when(folder.prepared.plan, utc_now())
    head = find_rehearsal(folder, rehearsals)
    tokens = production_tokens(folder.script, folder.site, pin_of)
    return _sit(folder, "PRODUCTION", people or people_here(key_files=folder.site.key_file), record, tokens, head)


def rehearse_new(
    kind: Kind,
    path: Path,
    *,
    ca: Path | None = None,
    records: Sequence[Path] = (),
    inputs: Mapping[str, Path] | None = None,
    script: Path | None = None,
    site: Path | None = None,
    people: People | None = None,
    at: datetime | None = None,
) -> CeremonyRecord:
    """New, prepare, check and an unattended rehearsal in one call: now, or as of ``at``; after the last of
    ``records``."""
    new_folder(kind, path, ca=ca, records=records, inputs=inputs, script=script, site=site)
    prepare(path, at=at or utc_now(), previous=records[-1] if records else None)
    return rehearse(path, people=people, unattended=True)


def resume(
    path: Path,
    *,
    people: People | None = None,
    folder: Path | None = None,
    unattended: bool = False,
    pin_of: Callable[[str], Pin] = ask_pin,
) -> CeremonyRecord:
    """Take an interrupted ceremony up again, where its record ends, and bring it to its end.

    ``folder``: where the relative paths of ``site.toml`` start from, when it is not the record's parent. Raises
    ``NotReady`` when there is nothing to go on from, ``IntegrityError`` when the record is not true, and what a
    ceremony raises.
    """
    written = parse_written(read_file(path / TRANSCRIPT, limit=LENGTH_LIMIT, hint="name the record: rehearsal-1, ..."))
    if not written.entries:
        raise NotReady("nothing was recorded before the interruption", hint="no token was touched: begin again")
    if written.entries[-1]["entry"] == "closed":
        return _print(path, people or _who_comes(path, folder, written.entries[0]))
    last = written.entries[-1]
    if last["entry"] == "stopped" and last.get("error") not in RESUMABLE:
        raise NotReady(
            f"this ceremony stopped for good at step {last.get('step')}: {last.get('message')}",
            hint="a check that failed cannot be waived; find out why, and begin again in a new record",
        )
    opening, record = Opening.of(written.entries[0]), load_folder(path, site_folder=folder or path.absolute().parent)
    if dict(opening.software) != describe_software():
        raise NotReady(
            f"the ceremony was begun by version {opening.software['version']} "
            f"({opening.software['sha256'][:16]}...), which is not this one",
            hint="resume with the software that began it",
        )
    if unattended and opening.attended:
        raise InputError("people began this ceremony, and people have to go on with it", hint="without --unattended")
    if opening.mode == "PRODUCTION":
        check_when(record.prepared.plan, utc_now())
        tokens = production_tokens(record.script, record.site, pin_of)
    else:
        tokens = rehearsal_tokens(record.script, record.site, again=True)
    present = people or _who_comes(path, folder, written.entries[0])
    journal = Continued(path / TRANSCRIPT, utc_now, written)
    with tokens as living:
        room = ContinuedRoom(
            journal,
            recorded_room(journal, read_laid_down(path), record.inputs),
            Room(journal, present, living, QuarantineBench(path, again=True), OtherTools()),
        )
        _conduct(opening.ceremony(record), room, journal, path)
    return _print(path, present)


def _who_comes(path: Path, folder: Path | None, header: Mapping[str, Any]) -> People:
    """To go on: nobody, where nobody was."""
    if not Opening.of(header).attended:
        return NobodyPresent()
    return people_here(key_files=load_folder(path, site_folder=folder or path.absolute().parent).site.key_file)


def _sit(
    folder: CeremonyFolder,
    mode: Mode,
    people: People,
    record: Path | None,
    tokens: AbstractContextManager[LivingTokens],
    rehearsal: str | None,
) -> CeremonyRecord:
    place = record or next_record(folder.path, mode)
    begin_record(folder, place)
    with _only_with_tokens(place, tokens) as living:
        journal = Transcript(place / TRANSCRIPT, utc_now)
        ceremony = Ceremony(
            script=folder.script,
            prepared=folder.prepared,
            inputs=folder.inputs,
            site_sha256=folder.site.sha256,
            mode=mode,
            software=describe_software(),
            rehearsal=rehearsal,
            attended=not isinstance(people, NobodyPresent),
            activation=activations(folder, mode),
            drivers=drivers(folder, mode),
        )
        _conduct(ceremony, Room(journal, people, living, QuarantineBench(place), OtherTools()), journal, place)
    return _print(place, people)


def _conduct(ceremony: Ceremony, room: Room, journal: Transcript | Continued, place: Path) -> None:
    try:
        conduct(ceremony, room)
    except (Exception, KeyboardInterrupt) as error:
        _record_stop(journal, error)
        if isinstance(error, SealwrightError):
            error.hint = f"{error.hint} (the record of what was done is {place})"
        else:
            say_stopped(place)
        raise
    finally:
        journal.close()


def sign_record(path: Path, name: str, people: People) -> None:
    """``name``'s signature over the head of a record in which they were present.

    Raises ``NotFound`` for who was not, ``InputError``, ``Conflict``.
    """
    findings = verify_folder(path)
    if name not in findings.signatories:
        raise NotFound(
            f"{name} was not there with a key; there were {', '.join(findings.signatories) or 'nobody'}",
            hint="a record is signed by its officers and its witness",
        )
    _sign_as(findings.signatories[name], path, findings.head, people, required=True)


def _sign_as(signatory: Signatory, place: Path, head: str, people: People, *, required: bool) -> None:
    """Raises ``InputError`` for another key than theirs: no harm is done, a hand has slipped."""
    name, message = signatory.name, signatory.message(head)
    armored = people.sign(name, RECORD, message, str(signatory.key), required=required)
    if armored is None:
        return
    try:
        verify_signature(armored, message, RECORD, signatory.key)
    except IntegrityError as error:
        gives = "the anchor" if signatory.role is Role.OFFICER else "the transcript"
        raise InputError(
            error.message, hint=f"`sign RECORD --as {name} --key FILE` wants the key that {gives} gives to {name}"
        ) from error
    lay_signature(place, name, armored)


def _sign_head(place: Path, people: People) -> None:
    """Those who are still there sign at once; in a rehearsal, whoever brought a key."""
    findings = verify_folder(place)
    for signatory in findings.signatories.values():
        if signatory not in findings.signed:
            _sign_as(signatory, place, findings.head, people, required=bool(findings.unsigned))


def _print(place: Path, people: People) -> CeremonyRecord:
    _sign_head(place, people)
    done = load_record(place)
    replace_file(place / "record.html", print_record(place))
    if certificate := print_certificate(place):
        replace_file(place / "certificate.html", certificate)
    return done


@contextmanager
def _only_with_tokens(place: Path, tokens: AbstractContextManager[LivingTokens]) -> Iterator[LivingTokens]:
    """A record of a ceremony that could not even begin, because a token is missing, is taken away again."""
    try:
        living = tokens.__enter__()
    except BaseException:
        shutil.rmtree(place, ignore_errors=True)
        raise
    try:
        yield living
    finally:
        tokens.__exit__(None, None, None)


def _record_stop(journal: Transcript | Continued, error: BaseException) -> None:
    """The last line of a ceremony that stopped: where, and on what. Never a secret: no error of ours holds one."""
    if isinstance(journal, Continued) and not journal.live:
        return  # it was not taken up: the record stays as it was found
    message = error.message if isinstance(error, SealwrightError) else type(error).__name__
    try:
        journal.record("stopped", {"step": journal.step, "error": type(error).__name__, "message": message[:400]})
    except SealwrightError:
        return  # the disk that failed first; the transcript then ends without an end, and replay says so
