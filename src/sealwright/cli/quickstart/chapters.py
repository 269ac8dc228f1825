"""The story in order. Each chapter runs once for a folder; a second run goes on after the last complete one."""

import shlex
from collections.abc import Callable
from functools import partial
from pathlib import Path

from sealwright.cli.quickstart import offline, online
from sealwright.cli.quickstart.cast import APPROVER, CEREMONIES, PROJECT, REQUESTER, TEAM
from sealwright.cli.quickstart.place import Place
from sealwright.cli.quickstart.servers import Servers
from sealwright.cli.quickstart.signing import sign_files
from sealwright.cli.quickstart.status import ask_everybody, keep_evidence
from sealwright.cli.quickstart.story import Story
from sealwright.hsm.module import find_softhsm

Chapter = Callable[[], dict[str, str]]
"""Tells one chapter; returns the facts that later ones need."""


def tell_chapters(place: Place, story: Story, servers: Servers, source: Path) -> None:
    """Tell every chapter that this folder has not seen, and start the servers in any case."""
    chapters: tuple[tuple[str, str, Chapter], ...] = (
        (
            "people",
            "People with keys of their own, and what this PKI is",
            partial(offline.make_people, place, story, source),
        ),
        *(
            (kind, f"Ceremony, rehearsed: {kind}", partial(offline.rehearse_ceremony, place, story, kind))
            for kind in CEREMONIES
        ),
        ("install", "The online half pins what the ceremonies made", partial(offline.install, place, story)),
        ("roster", "Two of three officers sign who may do what", partial(online.sign_roster, place, story, servers)),
        ("request", "Alice asks; her key is made on a token and stays there", partial(online.request, place, story)),
        ("approve", "Bob looks, and signs for it too", partial(online.approve, place, story)),
        ("sign", "A real file is signed, and verified", partial(sign_files, place, story)),
        ("ask", "Verifiers ask", partial(ask_everybody, place, story, "leaf", revoked=False)),
        ("renew", "Renewal: the same key, and two people sign again", partial(online.renew, place, story)),
        ("revoke", "Revocation, from now on", partial(online.revoke, place, story)),
        ("evidence", "Everything once more from outside, and kept", partial(keep_evidence, place, story)),
    )
    offline.start_over_if_interrupted(place, story)
    if place.is_done("roster"):
        with story.chapter("The same PKI as before, started again"):
            story.tell(f"PKI id {place.state.facts['pki']}")
            servers.start()
    for key, title, tell in chapters:
        if not place.is_done(key):
            with story.chapter(title):
                place.finish(key, **tell())


def what_next(place: Place, source: Path, *, up: bool) -> str:
    """Commands that work as they stand, in the folder where this one was given."""
    here = Path.cwd()

    def name(path: Path) -> str:
        return shlex.quote(str(path.relative_to(here) if path.is_relative_to(here) else path))

    def be(person: str) -> str:
        return f"export SEALWRIGHT_HOME={name(Path(place.home(person)['SEALWRIGHT_HOME']))}"

    programs, record = source / ".venv" / "bin", name(place.record("root-genesis"))
    sealwright, folder = name(programs / "sealwright"), name(place.folder)
    token = f"--module {find_softhsm()} --token-serial {place.state.facts['team_token']}"
    token += f" --pin-file {name(place.pins / 'team.pin')}"
    start = f"start the same PKI again, and leave it up\n  $ {name(source / 'scripts/quickstart')} --dir {folder}\n"
    return f"""see what was made, and what each verifier said
  $ cat {name(place.evidence / "evidence.json")}
read the paper of the root ceremony in a browser: {record}/record.html
replay that ceremony without its token
  $ {name(programs / "sealwright-ceremony")} verify {record}
{"" if up else start}while it is up, in another terminal: see how the servers are, and be alice, who asks for one more
  $ {name(programs / "sealwrightd")} check --dir {name(place.pki)}
  $ {be(REQUESTER)} SOFTHSM2_CONF={name(Path(place.environment["SOFTHSM2_CONF"]))}
  $ {sealwright} certificates
  $ {sealwright} request --profile code-signing --team {TEAM} --project {PROJECT} {token}
then be bob: `sealwright show` and `approve` take the id that is listed; and check the whole ledger for yourself
  $ {be(APPROVER)}
  $ {sealwright} requests --state open
  $ {sealwright} audit verify
each command has --help with examples"""
