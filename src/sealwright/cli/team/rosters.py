"""``sealwright roster``: for officers. A draft, signatures of a quorum, then it is in force."""

from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from sealwright.cli.edge import examples, print_json
from sealwright.cli.team.options import AsJSON, Comment, ask_exactly, check_yes
from sealwright.cli.team.show import print_facts, stderr
from sealwright.errors import InputError, NotFound, NotReady, Unavailable

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Who may ask, who may approve, and which policy counts: signed by a quorum of officers.",
    epilog=examples(
        "sealwright roster edit --ca ca --out roster-2.json",
        "sealwright roster sign roster-2.json    # each officer",
        "sealwright roster publish roster-2.json",
    ),
)

RosterFile = Annotated[Path, typer.Argument(metavar="FILE", help="The roster that `roster edit` made.")]


@app.command(
    "show",
    short_help="Show the roster in force, or a file.",
    epilog=examples(
        "sealwright roster show",
        "sealwright roster show roster-2.json",
    ),
)
def show_roster(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A roster file; else the one in force.")] = None,
    as_json: AsJSON = False,
) -> None:
    """Show the roster in force, verified from the PKI id on; or what a file says."""
    from sealwright.client.config import home
    from sealwright.client.drafts import load_roster_file, signers
    from sealwright.client.session import open_sitting

    if file is not None:
        statement, signatures = load_roster_file(file)
        suspended: tuple[str, ...] = ()
        title = f"roster {statement.version}, a file: nothing of it is verified"
    else:
        with open_sitting(home()) as sitting:
            roster = sitting.trust().roster
        statement, signatures = roster.statement, roster.signed.signatures
        title = f"roster {statement.version}, verified"
        suspended = roster.suspended
    if as_json:
        said = {"roster": statement.to_wire(), "sha256": statement.sha256, "verified": file is None}
        print_json({**said, "suspended": list(suspended)})
    else:
        print_facts(title, [*_facts(statement, signers(statement, signatures)), ("suspended", ", ".join(suspended))])


@app.command(
    "edit",
    short_help="Make the next roster from ca/roster.toml.",
    epilog=examples(
        "sealwright roster edit --ca ca --out roster-2.json",
        "sealwright roster edit --ca ca --anchor genesis/outputs/anchor.json --keys"
        " issuing-key/outputs/keys.json --issuing issuing-ca/outputs/issuing.pem --person olga --out roster-1.json",
    ),
)
def edit_roster(
    out: Annotated[Path, typer.Option(metavar="FILE", help="The new roster, unsigned.")],
    ca: Annotated[Path, typer.Option(metavar="DIR", help="Folder with roster.toml and the policy.")] = Path("ca"),
    keys: Annotated[
        Path | None, typer.Option(metavar="FILE", help="keys.json of the issuing-key record; for the first roster.")
    ] = None,
    anchor: Annotated[
        Path | None, typer.Option(metavar="FILE", help="anchor.json of the root-genesis record: no server is asked.")
    ] = None,
    issuing: Annotated[
        Path | None, typer.Option(metavar="FILE", help="issuing.pem of the issuing-ca record, with --anchor.")
    ] = None,
    person: Annotated[str | None, typer.Option(metavar="NAME", help="The officer who drafts; else you.")] = None,
    days: Annotated[int, typer.Option(metavar="DAYS", min=1, max=90, help="How long it is good: 1 to 90.")] = 90,
    as_json: AsJSON = False,
) -> None:
    """Make the next roster from ca/roster.toml, pinning every policy file in ca/.

    With --anchor, --keys and --issuing it makes the first one, before there is a server.
    """
    from sealwright.client.drafts import Occasion, draft_roster, save_draft
    from sealwright.client.transport import utc_now

    officers: tuple[str, ...] = ()
    if anchor is not None:
        pki_id, version, authority = _first(anchor, keys, issuing)
        who = person
    else:
        pki_id, version, authority, me, officers = _next(keys)
        who = person or me
    if not who:
        raise InputError("who drafts this roster?", hint="--person NAME, the name of an officer")
    statement = draft_roster(ca, authority, Occasion(pki_id, who, version, utc_now(), days, officers))
    save_draft(statement, out)
    if as_json:
        print_json({"file": str(out), "version": statement.version, "sha256": statement.sha256})
        return
    print_facts(f"roster {statement.version} drafted in {out}", _facts(statement, ()))
    typer.echo(f"officers sign it with: sealwright roster sign {out}")


def _first(anchor: Path, keys: Path | None, issuing: Path | None) -> tuple[str, int, Any]:
    from cryptography import x509

    from sealwright.client.drafts import load_authority
    from sealwright.durable import read_file
    from sealwright.statements.anchor import load_anchor

    if keys is None or issuing is None:
        raise InputError("--anchor wants --keys and --issuing beside it", hint="they are in the ceremony records")
    try:
        certificate = x509.load_pem_x509_certificate(read_file(issuing))
    except ValueError as error:
        raise InputError(f"{issuing} is not a certificate in PEM: {error}") from error
    return load_anchor(read_file(anchor)).pki_id, 1, load_authority(keys, certificate)


def _next(keys: Path | None) -> tuple[str, int, Any, str, tuple[str, ...]]:
    from cryptography.hazmat.primitives.hashes import SHA256

    from sealwright.client.config import home
    from sealwright.client.drafts import load_authority
    from sealwright.client.session import open_sitting

    with open_sitting(home()) as sitting:
        try:
            roster = sitting.trust().roster
        except NotReady:
            roster = None
        if roster is None and keys is None:
            raise InputError("the first roster wants --keys", hint="keys.json is in the issuing-key record's outputs")
        version = roster.version + 1 if roster else 1
        if keys is not None or roster is None:
            authority = load_authority(keys or Path(), sitting.identity.issuing)
        else:  # the CA's certificate may be a later one than the roster in force names
            newest = sitting.identity.issuing.fingerprint(SHA256()).hex()
            authority = roster.authority.model_copy(update={"issuing_sha256": newest})
        officers = tuple(each.name for each in roster.statement.officers) if roster else ()
        return sitting.config.pki_id, version, authority, sitting.config.person, officers


@app.command(
    "sign",
    short_help="Look at a roster and sign it.",
    epilog=examples(
        "sealwright roster sign roster-1.json --key ~/.ssh/olga --ca ca",
        "sealwright roster sign --from-server --ca ca",
    ),
)
def sign_command(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The roster that `roster edit` made; or --from-server.")
    ] = None,
    from_server: Annotated[
        bool, typer.Option("--from-server", help="The roster that waits at the registry; your signature goes there.")
    ] = False,
    which: Annotated[
        str | None, typer.Option("--roster", metavar="SHA256", help="Which one, when several wait there.")
    ] = None,
    key: Annotated[Path | None, typer.Option(metavar="FILE", help="Your SSH key; else that of `init`.")] = None,
    ca: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Compare its pins with this folder before signing.")
    ] = None,
    yes: Annotated[
        str | None,
        typer.Option("--yes", metavar="SHA256", help="Agree unasked: the roster's SHA-256, 16 digits or more."),
    ] = None,
    as_json: AsJSON = False,
) -> None:
    """Look at a roster and add your signature: to its file, or to the one that waits at the registry."""
    from sealwright.client.config import home, load_config
    from sealwright.client.drafts import load_roster_file, sign_roster, signers

    if from_server:
        if file is not None or key is not None:
            raise InputError("--from-server takes neither FILE nor --key", hint="it signs with the key of `init`")
        _sign_from_server(which, ca, yes, as_json=as_json)
        return
    if file is None or which is not None:
        raise InputError("which roster?", hint="name its FILE, or --from-server for the one that waits at the registry")
    statement, signatures = load_roster_file(file)
    _agree(statement, signatures, _in_force(), ca, yes, as_json=as_json)
    signed = sign_roster(file, statement, key.expanduser() if key else load_config(home()).key_file)
    names = signers(statement, signed.signatures)
    if as_json:
        print_json({"file": str(file), "version": statement.version, "sha256": signed.sha256, "signed_by": list(names)})
    else:
        typer.echo(f"{file} is signed by {', '.join(names)}; this roster's threshold is {statement.threshold}")


def _agree(
    statement: Any, signatures: tuple[str, ...], before: Any, ca: Path | None, yes: str | None, *, as_json: bool
) -> None:
    from sealwright.client.drafts import check_pins, signers

    if ca is not None:
        check_pins(statement, ca)
    if not as_json or yes is None:
        title = f"roster {statement.version}, to be signed"
        print_facts(title, _facts(statement, signers(statement, signatures)), console=stderr())
        _print_changes(statement, before)
    if yes is None:
        ask_exactly("sign", "This roster says who may ask and who may approve.")
    else:
        check_yes(yes, statement.sha256)


def _in_force() -> Any:
    """The verified roster, as far as this client can know it; None before ``init``, before the first, or offline."""
    from sealwright.client.config import home
    from sealwright.client.session import open_sitting

    with suppress(NotReady, Unavailable), open_sitting(home()) as sitting:
        return sitting.trust().roster
    return None


def _print_changes(statement: Any, before: Any) -> None:
    from sealwright.client.roster_changes import list_changes

    if before is None:
        print_facts("no roster in force is known here: everything in it is new", [], console=stderr())
        return
    changes = list_changes(before.statement, statement)
    changes += tuple(
        f"{name} is suspended, and will be no more" for name in before.suspended if name in _named(statement)
    )
    title = f"what it changes of roster {before.version}, which is in force"
    print_facts(title, [("change", each) for each in changes] or [("change", "nothing")], console=stderr())


def _named(statement: Any) -> set[str]:
    return {each.name for each in (*statement.officers, *statement.people)}


def _sign_from_server(which: str | None, ca: Path | None, yes: str | None, *, as_json: bool) -> None:
    from sealwright.client.config import home
    from sealwright.client.proposals import find_proposal, sign_proposal
    from sealwright.client.session import open_sitting

    with open_sitting(home()) as sitting:
        statement, signatures = find_proposal(sitting, which)
        _agree(statement, signatures, _in_force(), ca, yes, as_json=as_json)
        said = sitting.registry.post("/v1/roster", sign_proposal(sitting, statement))
    _print_standing(statement.version, said, as_json=as_json)


def _print_standing(version: int, said: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(said)
    elif said.get("in_force"):
        typer.echo(f"roster {version} is in force")
    else:
        typer.echo(f"roster {version} waits: {said.get('waiting')}")


@app.command(
    "publish",
    short_help="Send a signed roster.",
    epilog=examples(
        "sealwright roster publish roster-1.json",
    ),
)
def publish(file: RosterFile, as_json: AsJSON = False) -> None:
    """Send a signed roster; at the officers' quorum the signer puts it in force. Signatures may come one by one."""
    from sealwright.client.config import home
    from sealwright.client.drafts import load_roster_file
    from sealwright.client.session import open_sitting
    from sealwright.statements.signed import SignedStatement

    statement, signatures = load_roster_file(file)
    if not signatures:
        raise InputError(f"nobody has signed {file} yet", hint=f"sealwright roster sign {file}")
    with open_sitting(home()) as sitting:
        said = sitting.registry.post("/v1/roster", SignedStatement.of(statement, *signatures))
    _print_standing(statement.version, said, as_json=as_json)


def suspend(
    person: Annotated[str, typer.Argument(metavar="PERSON", help="Who counts no more, from now on.")],
    yes: Annotated[
        str | None, typer.Option("--yes", metavar="PERSON", help="Agree without being asked: the name once more.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write it to a file instead of sending it.")
    ] = None,
    comment: Comment = "",
    as_json: AsJSON = False,
) -> None:
    """Suspend a person at once, as one officer: nothing that they signed or sign counts, until a later roster.

    Requests and approvals that are not used yet are dead, too. A person may be an officer. With the registry down, or
    in other hands: --out FILE, and an operator runs `sealwrightd suspend FILE`.
    """
    from sealwright.client.config import home
    from sealwright.client.files import write_file
    from sealwright.client.session import open_sitting

    with open_sitting(home()) as sitting:
        if out is None:
            roster = sitting.trust().roster
            if not roster.keys_of(person):
                raise NotFound(
                    f"nobody called {person!r} is on roster {roster.version}", hint="`sealwright roster show`"
                )
        if yes is None:
            ask_exactly(person, "From now on nothing counts that this person signs; the next roster can lift it.")
        elif yes != person:
            raise InputError(f"--yes says {yes}; this is {person}: nothing was signed or sent")
        signed = sitting.pen.suspension(person, comment)
        if out is not None:
            write_file(out, signed.to_bytes())
            if as_json:
                print_json({"file": str(out), "sha256": signed.sha256})
            else:
                typer.echo(f"signed, not sent: {out}, SHA-256 {signed.sha256}")
            return
        said = sitting.registry.post("/v1/suspensions", signed)
    if as_json:
        print_json(said)
    else:
        typer.echo(f"suspended: {person}; it is in the ledger")


def except_key(
    csr: Annotated[Path, typer.Option(metavar="FILE", help="The CSR of the key (PEM or DER).")],
    profile: Annotated[str, typer.Option(metavar="NAME", help="For this profile alone.")],
    team: Annotated[str, typer.Option(metavar="NAME", help="For this team.")],
    project: Annotated[str, typer.Option(metavar="NAME", help="And this project.")],
    allow: Annotated[
        Literal["software", "unattested"],
        typer.Option(help="software: the key may be a file; unattested: a token's word for it is not needed."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="For the requester, who gives it to --exception.")],
    comment: Comment = "",
    as_json: AsJSON = False,
) -> None:
    """Let one key live where its profile would not have it, as one officer, for thirty days.

    The request carries it, its approvers read it, the ledger keeps it. No approval is spared.
    """
    from sealwright.client.config import home, load_config
    from sealwright.client.files import write_file
    from sealwright.client.signing import Pen
    from sealwright.durable import read_file
    from sealwright.pki.keys import spki_sha256
    from sealwright.pki.requests import LARGEST_CSR, parse_csr

    digest = spki_sha256(parse_csr(read_file(csr, limit=4 * LARGEST_CSR)).public_key)
    signed = Pen(load_config(home())).exception(
        profile=profile, team=team, project=project, spki=digest, allows=allow, comment=comment
    )
    write_file(out, signed.to_bytes())
    if as_json:
        print_json({"file": str(out), "sha256": signed.sha256, "spki_sha256": digest})
    else:
        typer.echo(f"{out}: the key {digest[:16]}… may be {allow} for {team}/{project}, profile {profile}")


def _facts(statement: Any, signed_by: tuple[str, ...]) -> list[tuple[str, Any]]:
    from sealwright.client.roster_changes import list_officers, list_people, say

    return [
        ("PKI id", statement.pki),
        ("SHA-256", statement.sha256),
        ("drafted by", statement.person),
        ("good", f"{statement.issued_at:%Y-%m-%d} to {statement.expires_at:%Y-%m-%d}"),
        *(("officer", f"{name}: {say(said)}") for name, said in list_officers(statement).items()),
        ("threshold", statement.threshold),
        *(("person", f"{name}: {say(said)}") for name, said in list_people(statement).items()),
        *(("team", f"{each.name}: {', '.join(each.projects)}") for each in statement.teams),
        *(("pins", f"{digest[:16]}… {name}") for name, digest in sorted(statement.pins.items())),
        ("issuing CA", statement.authority.issuing_sha256),
        ("signed by", ", ".join(signed_by)),
    ]
