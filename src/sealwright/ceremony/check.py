"""``check``: could this ceremony succeed? Static: no token is opened, nobody is asked, nothing is written.

The script's order, the quorum, the inputs against their pins, what would be signed against what was announced, the
tools that are needed, and whether the outputs are still to be made.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from sealwright.ceremony import script as s
from sealwright.ceremony.actions import check_inputs
from sealwright.ceremony.artefacts import draft_with_software_keys
from sealwright.ceremony.conduct import check_belongs
from sealwright.ceremony.day import check_when
from sealwright.ceremony.folder import CeremonyFolder, load_folder
from sealwright.ceremony.keyinputs import check_key_inputs
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.materials import Materials, key_kind_on
from sealwright.ceremony.prepared import Mode
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.rules import check_order
from sealwright.ceremony.script import Script
from sealwright.ceremony.second import check_tool
from sealwright.ceremony.stores import serials_wanted
from sealwright.errors import Conflict, IntegrityError, NotReady, PolicyViolation, SealwrightError


def check(path: Path, mode: Mode | None = None) -> tuple[CeremonyFolder, tuple[str, ...]]:
    """Gives the folder and what was established. Raises the first thing that stands against it, naming the step.

    ``mode`` None: every mode that the folder was prepared for.
    """
    folder = load_folder(path)
    script = folder.script
    check_order(script)
    established = [f"all {len(script.steps)} steps have what they need from earlier ones"]
    with _in_step(script, s.VerifyInputs):
        _check_pins(folder)
    established.append(f"{len(folder.inputs)} inputs are those that were prepared")
    for each in (mode,) if mode else folder.prepared.modes:
        check_belongs(script, folder.prepared, each)
        check_key_inputs(Materials(script, folder.prepared.plan, folder.inputs, each))
        _check_digests(folder, each)
        established.append(f"{each}: what would be signed was built and linted, and is what was announced")
    with _in_step(script, s.Attendance):
        officers = Materials(script, folder.prepared.plan, folder.inputs, folder.prepared.modes[0]).officers()
    established += [f"{each.threshold} of {len(each.keys)} officers are a quorum" for each in officers.boards]
    _check_names(folder)
    for step in script.steps:
        if isinstance(step, s.VerifySecond):
            check_tool(step.tool, needed_by=name_step(script, step))
    established.append("the tools of the second implementation are installed")
    with _in_step(script, s.Promote):
        if done := sorted(path.glob("production-*/outputs")):
            raise Conflict(
                f"the outputs exist: {done[0]}", hint="this ceremony was performed; make a new folder for the next one"
            )
    established.append("the outputs are still to be made")
    return folder, tuple(established)


def still_wanted(folder: CeremonyFolder, now: datetime) -> tuple[str, ...]:
    """What `run` will want besides: nothing of it is wrong, it is only not there yet."""
    if "PRODUCTION" not in folder.prepared.modes:
        return ()
    wanted = []
    if folder.site.module is None:
        wanted.append("site.toml: module, the token's PKCS#11 library")
    elif not folder.site.module.is_file():
        wanted.append(f"the PKCS#11 library {folder.site.module}, which is not on this machine")
    wanted += [f"site.toml: [tokens.{token}] serial" for token in serials_wanted(folder.script, folder.site)]
    for token in folder.script.tokens:
        pin_file = folder.site.pin_file(token)
        if pin_file is not None and not pin_file.is_file():
            wanted.append(f"the PIN file of {token}, {pin_file}")
    for attempt in (lambda: find_rehearsal(folder, ()), lambda: check_when(folder.prepared.plan, now)):
        try:
            attempt()
        except (NotReady, PolicyViolation) as error:
            wanted.append(error.message)
    return tuple(wanted)


def name_step(script: Script, step: s.Step) -> str:
    """As every refusal names a step: its number, from 1, and its action."""
    return f"step {script.steps.index(step) + 1} ({step.action})"


@contextmanager
def _in_step(script: Script, action: type[object], output: str | None = None) -> Iterator[None]:
    """Whatever is refused inside would be refused in the first step of this action, and says so."""
    try:
        yield
    except SealwrightError as error:
        step = next(
            step
            for step in script.steps
            if isinstance(step, action) and output in (None, getattr(step, "output", None))
        )
        error.message = f"{name_step(script, step)}: {error.message}"
        error.args = (error.message,)
        raise


def _check_pins(folder: CeremonyFolder) -> None:
    pinned = folder.prepared.file.inputs
    for name in folder.script.inputs:
        if name not in pinned:
            raise IntegrityError(f"the input {name} is not pinned in prepared.json", hint="run `prepare` again")
    for name in pinned:
        if name not in folder.script.inputs:
            raise IntegrityError(f"prepared.json pins {name}, which the script does not take", hint="`prepare` again")
    check_inputs(folder.inputs, pinned)


def _check_names(folder: CeremonyFolder) -> None:
    """CER-TOKEN-TWICE, before anybody stands there with one token in hand and two names for it."""
    named, rule = dict[str, str](), KINDS[folder.script.kind]
    for step in folder.script.steps:
        if not isinstance(step, s.InspectToken):
            continue
        if rule.is_copy(step.token) and folder.site.driver(step.token, rehearsal=False) == "softhsm":
            continue  # it has its original's number: `copying` looks at it in the room
        serial = folder.site.token(step.token).serial
        if serial is not None and named.setdefault(serial, step.token) != step.token:
            raise PolicyViolation(
                f"{name_step(folder.script, step)}: site.toml has the serial {serial} for {step.token}, "
                f"and for {named[serial]}",
                rule="CER-TOKEN-TWICE",
                hint="each token of the script is a token of its own",
            )


def _check_digests(folder: CeremonyFolder, mode: Mode) -> None:
    materials = Materials(folder.script, folder.prepared.plan, folder.inputs, mode)
    for token in KINDS[folder.script.kind].new_keys:
        key_kind_on(token, materials)
    for name, drafted in draft_with_software_keys(materials).items():
        if folder.prepared.file.digests[mode].get(name) != drafted.template_sha256:
            with _in_step(folder.script, s.Draft, name):
                raise IntegrityError(
                    f"{name} is not what was prepared: its digest is {drafted.template_sha256}",
                    hint="run `prepare` again",
                )


def find_rehearsal(folder: CeremonyFolder, records: tuple[Path, ...]) -> str:
    """The head of a rehearsal of this very script. Raises ``NotReady`` when there is none."""
    reasons = []
    for record in records or tuple(sorted(folder.path.glob("rehearsal-*"))):
        try:
            findings = verify_folder(record)
        except SealwrightError as error:
            reasons.append(f"{record.name}: {error.message}")
            continue
        if findings.mode == "REHEARSAL" and findings.script == folder.script.sha256:
            return findings.head
        reasons.append(f"{record.name}: of another script")
    raise NotReady(
        f"no rehearsal of this script (SHA-256 {folder.script.sha256[:16]}...) verifies"
        + (f": {'; '.join(reasons)}" if reasons else ""),
        hint="rehearse the same script.toml first; --rehearsal RECORD names one that is elsewhere",
    )
