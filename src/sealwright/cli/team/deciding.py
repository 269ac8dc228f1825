"""``sealwright requests``, ``show``, ``approve``, ``deny``, ``withdraw``: for approvers, and whoever wants to look."""

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from sealwright.cli.edge import print_json
from sealwright.cli.team.options import AsJSON, Comment, Limit, ask_exactly, check_yes
from sealwright.cli.team.show import REQUEST_COLUMNS, print_facts, print_next, print_table, stderr, stdout
from sealwright.errors import PolicyViolation, SealwrightError

if TYPE_CHECKING:
    from collections.abc import Callable

    from sealwright.client.requests import Examined
    from sealwright.client.session import Sitting
    from sealwright.client.trust import Trust
    from sealwright.statements.orders import VerifiedRequest

RequestID = Annotated[str, typer.Argument(metavar="ID", help="The request's id, or its SHA-256.")]
Yes = Annotated[
    str | None,
    typer.Option("--yes", metavar="SHA256", help="Agree unasked: the request's SHA-256, 16 digits or more."),
]


def requests(
    state: Annotated[
        str | None, typer.Option(metavar="STATE", help="open, approved, issued, denying, denied, refused or expired.")
    ] = None,
    after: Annotated[str | None, typer.Option(metavar="ID", help="The next page: `next` of the page before.")] = None,
    limit: Limit = 500,
    as_json: AsJSON = False,
) -> None:
    """List requests, the newest first, a page of them, as the registry has them."""
    from sealwright.client.config import home
    from sealwright.client.session import open_sitting

    with open_sitting(home()) as sitting:
        said = sitting.registry.get("/v1/requests", state=state, after=after, limit=limit)
    if as_json:
        print_json(said)
    else:
        print_table(REQUEST_COLUMNS, said.get("requests", ()), nothing="there are no such requests")
        print_next(said.get("next"))


def show(key: RequestID, as_json: AsJSON = False) -> None:
    """Show a request: what this machine decoded and linted, and what the registry says of it."""
    from sealwright.client.config import home
    from sealwright.client.requests import examine, fetch_signed
    from sealwright.client.session import open_sitting

    with open_sitting(home()) as sitting:
        try:
            examined, _ = examine(sitting, key)
        except SealwrightError as error:
            # An expired or superseded request is still looked at, and marked as what it is.
            signed, said = fetch_signed(sitting, key)
            problem = str(error)
        else:
            signed, said, problem = examined.request.signed, dict(examined.said), ""
    if as_json:
        wanted = {} if problem else {"approvals": str(examined.request.approval), "missing": list(examined.missing)}
        print_json({**said, **wanted, "verified": not problem, "problem": problem or None})
    elif problem:
        print_facts(f"request {signed.statement.get('id')}", [("would be refused now", problem)], style="bold red")
        _print_said(said, stdout())
    else:
        print_request(examined, stdout())


def approve(key: RequestID, yes: Yes = None, comment: Comment = "", as_json: AsJSON = False) -> None:
    """Look at a request and sign for it. At the profile's quorum the certificate is issued."""
    from sealwright.client.requests import check_may_decide

    _decide(key, "approve", check_may_decide, yes, comment, as_json=as_json)


def deny(key: RequestID, yes: Yes = None, comment: Comment = "", as_json: AsJSON = False) -> None:
    """Look at a request and sign that it shall not be. That closes it."""
    from sealwright.client.requests import check_may_decide

    _decide(key, "deny", check_may_decide, yes, comment, as_json=as_json)


def withdraw(key: RequestID, yes: Yes = None, comment: Comment = "", as_json: AsJSON = False) -> None:
    """Take back your own request: sign that it shall not be. That closes it, for ever."""
    from sealwright.client.requests import check_may_withdraw

    def may(sitting: "Sitting", _trust: "Trust", request: "VerifiedRequest") -> None:
        check_may_withdraw(sitting, request)

    _decide(key, "withdraw", may, yes, comment, as_json=as_json)


def _decide(
    key: str,
    act: str,
    check: "Callable[[Sitting, Trust, VerifiedRequest], None]",
    yes: str | None,
    comment: str,
    *,
    as_json: bool,
) -> None:
    """``check``: whether this person may."""
    from sealwright.client.config import home
    from sealwright.client.requests import decide, examine
    from sealwright.client.session import open_sitting
    from sealwright.client.transport import printable

    with open_sitting(home()) as sitting:
        examined, trust = examine(sitting, key)
        check(sitting, trust, examined.request)
        if yes is None:
            print_request(examined, stderr())
            ask_exactly(act, f"You are {sitting.config.person}, and sign with your SSH key.")
        else:
            if not as_json:
                print_request(examined, stderr())
            check_yes(yes, examined.request.sha256)
        said = decide(sitting, trust, examined.request, "approve" if act == "approve" else "deny", comment)
    if as_json:
        print_json(said)
    else:
        certificate = f": certificate {said['serial']}" if said.get("serial") else ""
        typer.echo(f"request {said.get('id')} is {said.get('state')}{certificate}")
        if said.get("missing"):
            typer.echo(f"approvals still missing: {', '.join(map(printable, said['missing']))}")
        if said.get("state") == "denying":
            typer.echo(f"it is not in the ledger yet, and sent again until it is: {said.get('reason') or 'it waits'}")
        if said.get("state") == "approved":
            typer.echo(f"it is not issued yet, and asked for again until it is: {said.get('reason') or 'it waits'}")
    if said.get("state") == "refused":
        reason, rule = said.get("reason") or "it gave no reason", said.get("rule") or "ORDER"
        raise PolicyViolation(f"the signer refused: {reason}", rule=str(rule))


def print_request(examined: "Examined", console: Console) -> None:
    """What an approver sees before signing: first what is verified, then, marked, what is not."""
    from sealwright.client.transport import utc_now
    from sealwright.pki.keys import describe_key

    verified, request = examined.request, examined.request.request
    start = utc_now()
    end = start + timedelta(days=verified.profile.validity_days) - timedelta(seconds=1)
    print_facts(
        f"request {request.id}: verified, decoded and linted on this machine",
        [
            ("who", f"{request.person}, signed with {verified.key}"),
            ("team, project", f"{request.team} / {request.project}"),
            ("subject", verified.subject.rfc4514_string()),
            ("identity", verified.san_uri),
            ("key", f"{describe_key(verified.csr.public_key)}, {verified.place}"),
            (
                "profile",
                f"{verified.profile.name} (SHA-256 {verified.profile.sha256[:16]}…), "
                f"{verified.approval} approval(s) besides the requester",
            ),
            ("emergency", "yes: it may be issued in a blackout, and needs more people" if request.emergency else ""),
            ("missing approvals", ", ".join(examined.missing) or "none"),
            ("validity", f"{verified.profile.validity_days} days: {start:%Y-%m-%d} to {end:%Y-%m-%d} if issued now"),
            ("renews", request.renews),
            ("comment", request.comment),
            ("asked", f"{request.issued_at:%Y-%m-%d %H:%M:%S}Z, good until {request.expires_at:%Y-%m-%d %H:%M:%S}Z"),
            ("CSR SHA-256", verified.csr.sha256),
            ("request SHA-256", verified.sha256),
            ("lint", "our rules and pkilint find nothing"),
        ],
        console=console,
    )
    _print_said(dict(examined.said), console)


def _print_said(said: dict[str, Any], console: Console) -> None:
    held = [each for each in said.get("team_certificates", ()) if isinstance(each, dict)]
    print_facts(
        "the registry says (unverified)",
        [
            ("state", said.get("state")),
            ("reason", said.get("reason")),
            ("certificate", said.get("serial")),
            *(("decision", f"{each.get('person')}: {each.get('verdict')}") for each in said.get("decisions", ())),
            ("team holds", f"{sum(each.get('state') == 'valid' for each in held)} valid certificate(s)"),
            *(
                ("", f"{each.get('serial')} {each.get('project')}, {each.get('state')}, until {each.get('not_after')}")
                for each in held[:10]
            ),
        ],
        style="bold yellow",
        console=console,
    )
