"""The offline half: people and their keys, the four ceremonies, and the installation that pins what they made."""

import json
import re
import shutil
from pathlib import Path

from sealwright.cli.quickstart.cast import APPROVER, CEREMONIES, OFFICERS, REQUESTER
from sealwright.cli.quickstart.place import Place
from sealwright.cli.quickstart.story import Story
from sealwright.errors import SealwrightError, StorageError
from sealwright.hsm.module import find_softhsm


def make_people(place: Place, story: Story, source: Path) -> dict[str, str]:
    """SSH keys, and ``ca/`` with this machine's loopback addresses in it."""
    for folder in (place.people, place.work):
        folder.mkdir(exist_ok=True)
    try:
        shutil.copytree(source / "ca", place.ca, dirs_exist_ok=True)
    except OSError as error:
        raise StorageError.of(error, f"cannot copy ca/ to {place.ca}") from error
    _replace(place.ca / "pki.toml", r'^base = "[^"]*"', f'base = "{place.validation}"')
    # Renewal is shown in the first minute, so its window opens with the certificate.
    profile = place.ca / "profiles" / "code-signing.toml"
    days = re.search(r"^validity_days = (\d+)", profile.read_text(encoding="utf-8"), re.MULTILINE)
    _replace(profile, r"^renewal_window_days = \d+", f"renewal_window_days = {days.group(1) if days else ''}")
    for person in (*OFFICERS, REQUESTER, APPROVER):
        if not place.key(person).exists():
            command = "ssh-keygen -q -t ed25519 -C {person} -f {key} -N"
            story.run(command, "", person=person, key=place.key(person), show=person == OFFICERS[0])
    story.tell(f"officers {', '.join(OFFICERS)} (two of three decide), requester {REQUESTER}, approver {APPROVER}")
    story.tell(f"verifiers will ask {place.validation}: that goes into the certificates")
    officers = [f'[[officers]]\nname = "{name}"\nkey = "{place.public_key(name)}"\n' for name in OFFICERS]
    (place.work / "officers.toml").write_text("threshold = 2\n\n" + "\n".join(officers), encoding="utf-8")
    (place.work / "site.toml").write_text(
        f'[rehearsal]\nsofthsm_conf = "{place.environment["SOFTHSM2_CONF"]}"\n', encoding="utf-8"
    )
    return {}


def start_over_if_interrupted(place: Place, story: Story) -> None:
    """A ceremony that was stopped in its middle leaves a key that no record tells of.

    Nothing is built on the rehearsals before the installation, so until then they are simply made again, all of them.
    """
    if place.is_done("install") or all(
        place.is_done(kind) for kind in CEREMONIES if (place.ceremonies / kind).exists()
    ):
        return
    story.tell("the last run was stopped in the middle of a ceremony: its rehearsals are thrown away and made again")
    for folder in (place.ceremonies, place.tokens, place.pins):
        shutil.rmtree(folder, ignore_errors=True)
    Path(place.environment["SOFTHSM2_CONF"]).unlink(missing_ok=True)
    place.forget(*CEREMONIES)


def rehearse_ceremony(place: Place, story: Story, kind: str) -> dict[str, str]:
    """new, prepare, check, rehearse and print, as officers do; its record is what the next one builds on."""
    folder = place.ceremonies / kind
    place.ceremonies.mkdir(exist_ok=True)
    earlier = [place.record(each) for each in CEREMONIES[: CEREMONIES.index(kind)]]
    inputs = [f"--input=officers.toml={place.work / 'officers.toml'}"] if kind == "root-genesis" else []
    site, record = place.work / "site.toml", place.record(kind)
    new = "sealwright-ceremony new {kind} {folder} --ca {ca} --site {site}"
    sources = [f"--from={each}" for each in earlier]
    story.run(new, *inputs, *sources, kind=kind, folder=folder, ca=place.ca, site=site)
    previous = [f"--previous={earlier[-1]}"] if earlier else []
    story.run("sealwright-ceremony prepare {folder}", *previous, folder=folder)
    story.run("sealwright-ceremony check {folder}", folder=folder)
    story.run("sealwright-ceremony rehearse {folder} --unattended --record {record}", folder=folder, record=record)
    verified = json.loads(story.run("sealwright-ceremony verify {record} --json", record=record))
    story.run("sealwright-ceremony print {record}", record=record, show=False)
    story.tell(f"replayed without the token: {len(verified['claims'])} claims hold; paper in {kind}/record.html")
    return {}


def install(place: Place, story: Story) -> dict[str, str]:
    if place.pki.exists():
        shutil.rmtree(place.pki)
    records = [f"--record={place.record(kind)}" for kind in CEREMONIES[1:]]
    pins = [f"--{name}-pin={place.pins / name}.pin" for name in ("issuing", "ocsp", "ledger")]
    said = story.run(
        "sealwrightd install --rehearsal --dir {pki} --genesis {genesis} --ca {ca} --module {module} --environment "
        "SOFTHSM2_CONF={softhsm} --registry-listen {registry} --validation-listen {validation} --json",
        *records,
        *pins,
        pki=place.pki,
        genesis=place.record(CEREMONIES[0]),
        ca=place.ca,
        module=find_softhsm(),
        softhsm=place.environment["SOFTHSM2_CONF"],
        registry=place.registry.removeprefix("http://"),
        validation=place.validation.removeprefix("http://"),
    )
    pki = json.loads(said)["pki"]
    story.tell(f"PKI id {pki}: every statement from here on carries it")
    return {"pki": pki}


def _replace(path: Path, pattern: str, replacement: str) -> None:
    """Exactly one line of a file."""
    text, count = re.subn(pattern, replacement, path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    if count != 1:
        raise SealwrightError(f"{path} has {count} lines like {pattern!r}; wanted one")
    path.write_text(text, encoding="utf-8")
