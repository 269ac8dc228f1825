"""The online half: roster, request, approval, renewal, revocation, each by the person whose it is."""

import json
import os
import secrets
import shutil
import time
from pathlib import Path

from sealwright.cli.quickstart.cast import APPROVER, OFFICERS, PROJECT, REQUESTER, TEAM
from sealwright.cli.quickstart.place import Place
from sealwright.cli.quickstart.servers import Servers
from sealwright.cli.quickstart.status import ask_everybody, wait_for_crl
from sealwright.cli.quickstart.story import Story
from sealwright.cli.quickstart.verifiers import cms_is_revoked
from sealwright.hsm.initialise import init_token
from sealwright.hsm.module import find_softhsm
from sealwright.hsm.pin import Pin


def sign_roster(place: Place, story: Story, servers: Servers) -> dict[str, str]:
    """Draft, two signatures, the servers up, published: from here on there are people who may ask."""
    people = [f'[[officers]]\nname = "{name}"\nkey = "{place.public_key(name)}"\n' for name in OFFICERS]
    for name, role in ((REQUESTER, "requester"), (APPROVER, "approver")):
        key = place.public_key(name)
        people.append(f'[[people]]\nname = "{name}"\nkeys = ["{key}"]\nroles = ["{role}"]\nteams = ["{TEAM}"]\n')
    people.append(f'[[teams]]\nname = "{TEAM}"\nprojects = ["{PROJECT}"]\n')
    (place.ca / "roster.toml").write_text("threshold = 2\n\n" + "\n".join(people), encoding="utf-8")
    servers.start()
    for person in (OFFICERS[0], REQUESTER, APPROVER):
        _init(place, story, person)
    draft = place.work / "roster-1.json"
    draft.unlink(missing_ok=True)
    officer, keys = place.home(OFFICERS[0]), place.record("issuing-key") / "outputs" / "keys.json"
    edit = "sealwright roster edit --ca {ca} --keys {keys} --out {draft} --json"
    edited = story.run(edit, environment=officer, ca=place.ca, keys=keys, draft=draft)
    digest = json.loads(edited)["sha256"]
    sign = "sealwright roster sign {draft} --key {key} --ca {ca} --yes {digest}"
    for name in OFFICERS[:2]:
        story.run(sign, draft=draft, key=place.key(name), ca=place.ca, digest=digest)
    story.run("sealwright roster publish {draft}", environment=officer, output=True, draft=draft)
    return {}


def _init(place: Place, story: Story, person: str) -> None:
    """A person's client, which pins the PKI id that the officers gave out."""
    story.run(
        "sealwright init --server {server} --person {person} --key {key} --pki-id {pki} --replace",
        environment=place.home(person),
        show=person == REQUESTER,
        server=place.registry,
        person=person,
        key=place.key(person),
        pki=place.state.facts["pki"],
    )


def request(place: Place, story: Story) -> dict[str, str]:
    """A token of the team's own, a key that is made on it, and alice's signature under the request."""
    pin = place.make_pin("team")
    os.environ.update(place.environment)
    token = place.state.facts.get("team_token") or init_token(
        find_softhsm(), label="team payments", so_pin=Pin(secrets.token_urlsafe(12)), user_pin=Pin.from_file(pin)
    )
    place.remember(team_token=token)
    story.tell(f"the team's token has the serial number {token}")
    said = json.loads(
        story.run(
            "sealwright request --profile code-signing --team {team} --project {project} --json",
            *_token(place),
            environment=place.home(REQUESTER),
            team=TEAM,
            project=PROJECT,
        )
    )
    story.tell(f"request {said['id']} is {said['state']}; the key on the token has the CKA_ID {said['key_id']}")
    return {"request": said["id"], "key_id": said["key_id"]}


def _token(place: Place) -> tuple[str, ...]:
    serial = place.state.facts["team_token"]
    return (f"--module={find_softhsm()}", f"--token-serial={serial}", f"--pin-file={place.pins / 'team.pin'}")


def approve(place: Place, story: Story) -> dict[str, str]:
    story.tell("what Bob sees is decoded and linted on his own machine:")
    request = place.state.facts["request"]
    story.run("sealwright show {request}", environment=place.home(APPROVER), output=True, request=request)
    return {"leaf": _approve_and_fetch(place, story, request, "leaf")}


def _approve_and_fetch(place: Place, story: Story, request: str, name: str) -> str:
    """The approval, and the certificate in the requester's hands. Returns its serial."""
    alice, bob = place.home(REQUESTER), place.home(APPROVER)
    shown = json.loads(story.run("sealwright show {id} --json", environment=bob, show=False, id=request))
    if shown["state"] != "issued":  # else a run was stopped after the approval
        story.run("sealwright approve {id} --yes {sha256}", environment=bob, id=request, sha256=shown["sha256"])
    folder = place.work / name
    if folder.exists():
        shutil.rmtree(folder)
    fetch = "sealwright fetch {id} --out {folder} --json"
    fetched = json.loads(story.run(fetch, environment=alice, id=request, folder=folder))
    leaf = next(path for path in map(Path, fetched["files"]) if path.name.startswith("certificate"))
    shutil.copyfile(leaf, place.work / f"{name}.pem")
    story.tell(f"certificate {fetched['serial']}, entry {fetched['ledger_entry']} of the ledger, proof checked")
    return str(fetched["serial"])


def renew(place: Place, story: Story) -> dict[str, str]:
    said = json.loads(
        story.run(
            "sealwright renew {serial} --same-key --key-id {key_id} --json",
            *_token(place),
            environment=place.home(REQUESTER),
            serial=place.state.facts["leaf"],
            key_id=place.state.facts["key_id"],
        )
    )
    return {"renewed": _approve_and_fetch(place, story, said["id"], "renewed")}


def revoke(place: Place, story: Story) -> dict[str, str]:
    serial, start = place.state.facts["leaf"], time.monotonic()
    command = "sealwright revoke {serial} --reason superseded --yes {serial} --json"
    said = json.loads(story.run(command, environment=place.home(REQUESTER), serial=serial))
    story.tell(f"OCSP says {said['ocsp']}, verified, after {said['seconds']} s")
    wait_for_crl(place, serial)
    story.tell(f"and the CRL lists it {time.monotonic() - start:.1f} s after the command began")
    ask_everybody(place, story, "leaf", revoked=True)
    story.tell("the file that was signed has no time stamp, so from now on it is refused too:")
    trust = place.work / "root-and-crls.pem"
    trust.write_bytes((place.pki / "root.pem").read_bytes() + (place.work / "crls.pem").read_bytes())
    story.word(cms_is_revoked(place.work / "signed.p7s", place.work / "signed.bin", trust))
    return {}
