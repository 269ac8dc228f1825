"""``sealwright revoke``, ``correct`` and ``countersign``: what dies is shown first, and agreed to exactly."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from sealwright.cli.team.options import (
    AsJSON,
    Comment,
    Module,
    PinFile,
    Timeout,
    TokenSerial,
    UntilRevoked,
    ask_exactly,
    check_yes,
)
from sealwright.cli.team.orders import agree, count_words, finish, print_victims
from sealwright.cli.team.show import print_facts, stderr
from sealwright.errors import InputError, Unavailable

if TYPE_CHECKING:
    from sealwright.client.revocations import NamedKey, Selection, Victim
    from sealwright.client.session import Sitting
    from sealwright.pki.keys import PrivateKey
    from sealwright.statements.revocations import RevocationOrder

Reason = Literal["keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation", "privilegeWithdrawn"]
Since = Annotated[
    str | None,
    typer.Option("--from", metavar="MOMENT", help="Dead from this moment on (UTC): 2026-11-23T13:30:00Z, or a day."),
]
Out = Annotated[
    Path | None, typer.Option("--out", metavar="FILE", help="Write the signed order to a file instead of sending it.")
]

_TWO = "two people, one of them an officer: --out FILE, then the other runs `sealwright countersign FILE`"


def revoke(
    serial: Annotated[
        str | None, typer.Argument(metavar="SERIAL", help="A serial number in hex, or the certificate's file.")
    ] = None,
    reason: Annotated[
        Reason | None, typer.Option("--reason", help="Why; keyCompromise also blocks the key for ever.")
    ] = None,
    since: Since = None,
    key: Annotated[
        str | None,
        typer.Option(
            "--key",
            metavar="FILE|SHA256",
            help="All that is certified for this key. Its private key is proof enough, for anybody, from now on.",
        ),
    ] = None,
    key_id: Annotated[
        str | None,
        typer.Option("--key-id", metavar="HEX", help="The same, on a token: the CKA_ID."),
    ] = None,
    module: Module = None,
    token_serial: TokenSerial = None,
    pin_file: PinFile = None,
    team: Annotated[str | None, typer.Option("--team", metavar="NAME", help="All of this team.")] = None,
    issued_between: Annotated[
        tuple[str, str] | None, typer.Option("--issued-between", metavar="A B", help="All issued from A to B.")
    ] = None,
    approved_by: Annotated[
        str | None, typer.Option("--approved-by", metavar="PERSON", help="All that this person approved.")
    ] = None,
    approved_since: Annotated[
        str | None, typer.Option("--since", metavar="MOMENT", help="Of those, the ones issued from this moment on.")
    ] = None,
    out: Out = None,
    yes: Annotated[
        str | None,
        typer.Option(
            "--yes",
            metavar="WORD",
            help="Agree without being asked: the serial; for several, how many; for a private key, its SHA-256.",
        ),
    ] = None,
    comment: Comment = "",
    wait: UntilRevoked = True,
    timeout: Timeout = 120.0,
    as_json: AsJSON = False,
) -> None:
    """Revoke certificates for ever.

    One person of its team, or an officer, revokes one certificate from now on; for keyCompromise that takes along every
    other certificate of the same key. An earlier moment (--from), and several
    at once, want two people, one of them an officer: --out FILE, and `sealwright countersign FILE` by the other.
    Whoever holds a certificate's private key may revoke it with that alone.

    It ends when a verified OCSP answer says so of each. With the registry down, --out FILE, and an operator runs
    `sealwrightd revoke FILE`.
    """
    from sealwright.client.config import home
    from sealwright.client.revocations import Selection, find, load_key, parse_moment, select, with_key
    from sealwright.client.session import open_sitting

    named = load_key(key) if key is not None else None
    begin, end = map(parse_moment, issued_between) if issued_between else (None, None)
    if approved_since is not None:
        if approved_by is None or begin is not None:
            raise InputError("--since goes with --approved-by alone", hint="--issued-between A B takes any certificate")
        begin = parse_moment(approved_since)
    selection = Selection(
        key=named.sha256 if named else None,
        team=team,
        issued_from=begin,
        issued_until=end,
        approved_by=approved_by,
    )
    with open_sitting(home()) as sitting, ExitStack() as stack:
        holder = _held_key(stack, named, key_id, (module, token_serial, pin_file))
        if holder is not None:
            _check_only_key(serial, selection, since, reason, approved_by)
            order = _by_key(sitting, holder, yes, comment)
            finish(sitting, (order,), (), out, wait=wait, timeout=timeout, as_json=as_json)
            return
        if (serial is None) == (selection == Selection()):
            raise InputError(
                "which certificates? a SERIAL, or --key, --team, --issued-between, --approved-by",
                hint="one of these, and only one",
            )
        if reason is None:
            raise InputError("--reason is missing", hint="--reason keyCompromise, superseded …")
        date = parse_moment(since) if since else None
        victims: tuple[Victim, ...]
        if serial is None:
            victims = select(sitting, selection)
            serials = tuple(each.serial for each in victims)
        else:
            victims = _look(sitting, (serial,), out, find)
            serials = tuple(each.serial for each in victims) or (_plain(serial),)
        if reason == "keyCompromise":
            victims = with_key(sitting, victims)  # the signer takes them along
        shown = tuple(each.serial for each in victims) or serials
        if out is None and (date is not None or len(serials) > 1):
            print_victims("would be revoked", shown, victims, reason, date)
            raise InputError(
                f"{count_words(serials)} from {since or 'now'}: this wants {_TWO}", hint="nothing was signed"
            )
        if yes is None or not as_json:
            print_victims("to be revoked", shown, victims, reason, date)
        if victims and all(each.revocation for each in victims):  # the registry's word: nobody is held up by it
            typer.echo("the registry says: revoked already. `sealwright correct` changes since when, and why", err=True)
        agree(shown, yes)
        orders = _sign(sitting, serials, lambda part: sitting.pen.revocation(part, reason, date, comment))
        finish(sitting, orders, victims, out, wait=wait, timeout=timeout, as_json=as_json)


def correct(
    serials: Annotated[list[str], typer.Argument(metavar="SERIAL", help="Revoked certificates, in hex.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="The signed order, for the second person.")],
    reason: Annotated[Reason | None, typer.Option("--reason", help="The right reason; as before without it.")] = None,
    since: Since = None,
    yes: Annotated[
        str | None, typer.Option("--yes", metavar="WORD", help="Agree unasked: the serial; for several, how many.")
    ] = None,
    comment: Comment = "",
    as_json: AsJSON = False,
) -> None:
    """Correct the date or the reason of a revocation. It stays one: nothing is ever un-revoked.

    Two people, one of them an officer: the other runs `sealwright countersign FILE`.
    """
    from sealwright.client.config import home
    from sealwright.client.revocations import find_named, parse_moment
    from sealwright.client.session import open_sitting

    if reason is None and since is None:
        raise InputError("what is to be corrected?", hint="--from MOMENT, --reason REASON, or both")
    with open_sitting(home()) as sitting:
        victims = find_named(sitting, tuple(_plain(serial) for serial in serials))
        for each in victims:
            if not each.revocation:
                raise InputError(
                    f"certificate {each.serial} is not revoked", hint="`sealwright revoke` takes --from too"
                )
        date = parse_moment(since) if since else parse_moment(_same(victims, "revocation_date"))
        why: Any = reason or _same(victims, "reason")
        names = tuple(each.serial for each in victims)
        if yes is None or not as_json:
            print_victims("to be corrected", names, victims, why, date)
        agree(names, yes)
        orders = _sign(sitting, names, lambda part: sitting.pen.correction(part, why, date, comment))
        finish(sitting, orders, victims, out, wait=False, timeout=0, as_json=as_json)


def countersign(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An order that another person signed.")],
    out: Out = None,
    yes: Annotated[
        str | None,
        typer.Option("--yes", metavar="SHA256", help="Agree unasked: the statement's SHA-256, 16 digits or more."),
    ] = None,
    comment: Comment = "",
    wait: UntilRevoked = True,
    timeout: Timeout = 120.0,
    as_json: AsJSON = False,
) -> None:
    """Look at another person's revocation or correction, sign for it, and send it.

    Of the two of you, one has to be an officer. With --out, it is written for `sealwrightd revoke` and not sent.
    """
    from sealwright.client.config import home
    from sealwright.client.revocations import countersign as sign_order
    from sealwright.client.revocations import find_named, load_order, with_key
    from sealwright.client.session import open_sitting
    from sealwright.statements.kinds import KeyRevocationStatement

    order = load_order(file)
    statement = order.statement
    if isinstance(statement, KeyRevocationStatement):
        raise InputError("a key's own revocation needs no second person")
    digest = order.revocation.sha256
    with open_sitting(home()) as sitting:
        if statement.pki != sitting.config.pki_id:
            raise InputError(f"{file} is for another PKI than yours", hint="is it of the rehearsal?")
        victims = _look(sitting, statement.serials, out, lambda sitting, _: find_named(sitting, statement.serials))
        if statement.kind == "revocation" and statement.reason == "keyCompromise":
            victims = with_key(sitting, victims)
        if yes is None or not as_json:
            what = "to be revoked" if statement.kind == "revocation" else "to be corrected"
            shown = tuple(each.serial for each in victims) or statement.serials
            print_victims(what, shown, victims, statement.reason, statement.revocation_date)
            print_facts(
                f"what {statement.person} signed",
                [
                    ("SHA-256", digest),
                    ("comment", statement.comment),
                    ("signed at", f"{statement.issued_at:%Y-%m-%d %H:%M:%S}Z"),
                    ("good until", f"{statement.expires_at:%Y-%m-%d %H:%M:%S}Z"),
                ],
                console=stderr(),
            )
        if yes is None:
            ask_exactly(digest[:16], "This cannot be undone.")
        else:
            check_yes(yes, digest)
        full = sign_order(sitting, order, comment)
        finish(sitting, (full,), victims, out, wait=wait, timeout=timeout, as_json=as_json)


def _plain(serial: str) -> str:
    return serial.replace(":", "").lower().lstrip("0")


def _same(victims: "Sequence[Victim]", field: str) -> str:
    """What the registry says of all of them."""
    values = {str(each.revocation.get(field)) for each in victims}
    if len(values) != 1 or values == {"None"}:
        raise InputError(
            f"they do not have one {field.replace('_', ' ')}: {', '.join(sorted(values))}",
            hint="say both, --from and --reason",
        )
    return values.pop()


def _look(sitting: "Sitting", serials: Sequence[str], out: Path | None, finder: Any) -> "tuple[Victim, ...]":
    """The certificates; nothing, and a warning, when the registry is down and the order goes to a file."""
    try:
        found = finder(sitting, serials[0])
    except Unavailable:
        if out is None:
            raise
        typer.echo("the registry does not answer: this machine cannot show the certificates", err=True)
        return ()
    return found if isinstance(found, tuple) else (found,)


def _sign(sitting: "Sitting", serials: Sequence[str], signer: Any) -> "tuple[RevocationOrder, ...]":
    from sealwright.client.revocations import split
    from sealwright.statements.revocations import RevocationOrder

    return tuple(RevocationOrder(revocation=signer(part)) for part in split(serials))


def _held_key(
    stack: ExitStack, named: "NamedKey | None", key_id: str | None, token: tuple[Path | None, str | None, Path | None]
) -> "PrivateKey | None":
    from sealwright.cli.team.asking import check_key_id, token_place
    from sealwright.client.keys import open_key

    if key_id is None:
        return named.private if named else None
    if named is not None:
        raise InputError("--key and --key-id exclude each other")
    check_key_id(key_id)
    return stack.enter_context(open_key(token_place(*token), key_id))


def _check_only_key(
    serial: str | None, selection: "Selection", since: str | None, reason: str | None, approved_by: str | None
) -> None:
    others = (serial, selection.team, selection.issued_from, selection.issued_until, approved_by, since)
    if any(each is not None for each in others) or reason not in {None, "keyCompromise"}:
        raise InputError(
            "a private key revokes all that is certified for it, for keyCompromise, from now on, and no more",
            hint="to choose otherwise, name the certificate or public key in its place",
        )


def _by_key(sitting: "Sitting", key: "PrivateKey", yes: str | None, comment: str) -> "RevocationOrder":
    from sealwright.client.impact import describe_key
    from sealwright.pki.keys import describe_key as name_key
    from sealwright.pki.keys import spki_sha256
    from sealwright.statements.revocations import RevocationOrder

    digest = spki_sha256(key.public_key())
    if yes is None:
        print_facts(
            f"{name_key(key.public_key())} key {digest}, compromised",
            [
                ("revoked", "every certificate for it, from now on"),
                ("what it kills", "every signature made from now on, and those of before that carry no time stamp"),
                ("the key", describe_key("keyCompromise")),
            ],
            console=stderr(),
        )
        ask_exactly(digest[:16], "This cannot be undone.")
    else:
        check_yes(yes, digest)
    return RevocationOrder(revocation=sitting.pen.key_revocation(key, comment))
