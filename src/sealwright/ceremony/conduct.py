"""A ceremony from its first line to its last, in whichever room: header, step after step, closed.

The same few lines conduct a production ceremony, a rehearsal and a replay; only the room differs.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from sealwright.ceremony.act import Act, State
from sealwright.ceremony.actions import perform
from sealwright.ceremony.materials import Materials
from sealwright.ceremony.pace import HANDS, planned_minutes, planned_until
from sealwright.ceremony.prepared import Mode, Prepared
from sealwright.ceremony.room import Room, Scene
from sealwright.ceremony.rules import Facts, check_order, check_step
from sealwright.ceremony.script import Script, Step
from sealwright.ceremony.takeup import take_up
from sealwright.errors import IntegrityError

VERSION = 2
"""Of the transcript's form. 1: a ceremony could not be taken up again, and nothing was signed by people."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceremony:
    """What is conducted. ``rehearsal``: the head of the one that production relies on. ``attended``: people answer."""

    script: Script
    prepared: Prepared
    inputs: Mapping[str, bytes]
    site_sha256: str
    mode: Mode
    software: Mapping[str, str]
    rehearsal: str | None
    attended: bool
    version: int = VERSION
    activation: Mapping[str, str] = field(default_factory=dict)
    """How each token is opened, where it is not by PIN."""
    drivers: Mapping[str, str] = field(default_factory=dict)
    """Who clones and erases each token, where that is not its maker's tool."""


def conduct(ceremony: Ceremony, room: Room) -> dict[str, bytes]:
    """Perform the whole script. Gives the outputs. Raises at the first thing that is not as it must be."""
    script, prepared = ceremony.script, ceremony.prepared
    previous = prepared.file.previous
    room.journal.record(
        "header",
        {
            "version": ceremony.version,
            "kind": script.kind,
            "mode": ceremony.mode,
            "script": script.sha256,
            "site": ceremony.site_sha256,
            "prepared": prepared.sha256,
            "previous": previous.model_dump(mode="json") if previous else None,
        },
        {
            "software": dict(ceremony.software),
            "rehearsal": ceremony.rehearsal,
            "attended": ceremony.attended,
        },
    )
    check_order(script)
    check_belongs(script, prepared, ceremony.mode)
    materials = Materials(script, prepared.plan, ceremony.inputs, ceremony.mode)
    state, facts = (
        State(materials, prepared, ceremony.version, ceremony.activation, ceremony.drivers),
        Facts(script.kind, script.tokens),
    )
    room.journal.when_interrupted(lambda: take_up(Act(state.step, state, room)))
    for number, step in enumerate(script.steps, 1):
        check_step(number, step, facts)
        room.journal.record("step", {"step": number, "action": step.action, "who": step.who})
        state.step = number
        room.people.begin_step(_scene(ceremony, number, step))
        if step.action in HANDS:
            room.people.wait()
        perform(step, Act(number, state, room))
        facts.apply(step)
    outputs = {name: materials.outputs[name] for name in script.outputs}
    room.journal.record(
        "closed", {"outputs": {name: hashlib.sha256(data).hexdigest() for name, data in outputs.items()}}
    )
    return outputs


def _scene(ceremony: Ceremony, number: int, step: Step) -> Scene:
    steps = ceremony.script.steps
    following = steps[number] if number < len(steps) else None
    return Scene(
        mode=ceremony.mode,
        title=ceremony.script.file.title,
        number=number,
        total=len(steps),
        action=step.action,
        who=step.who,
        say=step.say,
        planned_before=planned_until(ceremony.script, number - 1),
        planned_here=planned_minutes([step]),
        planned_all=planned_minutes(steps),
        next_action=following.action if following else None,
        next_who=following.who if following else None,
    )


def check_belongs(script: Script, prepared: Prepared, mode: Mode) -> None:
    """Raises ``IntegrityError`` when script and preparation are not of one another, or not of this mode."""
    if prepared.file.script != script.sha256 or prepared.file.kind is not script.kind:
        raise IntegrityError(
            f"script.toml was changed after preparation: its SHA-256 is {script.sha256}; prepared was "
            f"{prepared.file.script}",
            hint="run `prepare` again, review again, and rehearse again",
        )
    if mode not in prepared.modes:
        raise IntegrityError(
            f"this folder was prepared for {', '.join(prepared.modes) or 'nothing'}, and this is {mode}",
            hint="what came out of a rehearsal stays in rehearsals; prepare a folder with inputs of the other mode",
        )
