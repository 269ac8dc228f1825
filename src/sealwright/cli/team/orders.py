"""What the revoking commands share: the preview, the exact answer, and what becomes of the order."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from sealwright.cli.edge import print_json
from sealwright.cli.team.options import ask_exactly
from sealwright.cli.team.show import print_facts, stderr
from sealwright.errors import AccessDenied, InputError

if TYPE_CHECKING:
    from sealwright.client.revocations import Victim
    from sealwright.client.session import Sitting
    from sealwright.statements.revocations import RevocationOrder


def count_words(serials: Sequence[str]) -> str:
    return f"certificate {serials[0]}" if len(serials) == 1 else f"{len(serials)} certificates"


def agree(serials: Sequence[str], yes: str | None) -> None:
    word = serials[0] if len(serials) == 1 else str(len(serials))
    if yes is None:
        ask_exactly(word, "This cannot be undone.")
    elif yes.lower() != word:
        raise InputError(f"--yes says {yes}; this is {word}: nothing was signed or sent")


def print_victims(
    what: str, serials: Sequence[str], victims: "Sequence[Victim]", reason: str, date: datetime | None
) -> None:
    """Which certificates, and from which moment their signatures die."""
    from sealwright.client.impact import describe_impact, describe_key

    when = "now" if date is None else f"{date:%Y-%m-%d %H:%M:%S}Z"
    print_facts(
        f"{count_words(serials)} {what} for {reason}, from {when} on",
        [("its key" if len(serials) == 1 else "their keys", describe_key(reason))],
        console=stderr(),
    )
    for each in victims:
        certificate, said = each.certificate, each.said
        revoked = each.revocation
        print_facts(
            f"certificate {each.serial}",
            [
                ("subject", certificate.subject.rfc4514_string()),
                ("good", f"{certificate.not_valid_before_utc:%Y-%m-%d} to {certificate.not_valid_after_utc:%Y-%m-%d}"),
                ("what it kills", describe_impact(certificate, date)),
                ("until now", f"revoked from {revoked['revocation_date']}, {revoked['reason']}" if revoked else ""),
                (
                    "the registry says (unverified)",
                    f"{said.get('state')}; asked for by {said.get('person')}" if said else "",
                ),
            ],
            style="dim",
            console=stderr(),
        )
    if not victims:
        for serial in serials:
            typer.echo(f"  certificate {serial}", err=True)


def finish(
    sitting: "Sitting",
    orders: "Sequence[RevocationOrder]",
    victims: "Sequence[Victim]",
    out: Path | None,
    *,
    wait: bool,
    timeout: float,
    as_json: bool,
) -> None:
    """To files, or to the registry and on until OCSP says so."""
    from sealwright.client.revocations import find_named, save_orders, send
    from sealwright.statements.wire import parse_time

    if out is not None:
        paths = save_orders(out, orders)
        if as_json:
            print_json({"files": [str(path) for path in paths], "sha256": [each.revocation.sha256 for each in orders]})
        for path, order in zip(paths, orders, strict=True) if not as_json else ():
            typer.echo(f"signed, not sent: {path}, SHA-256 {order.revocation.sha256}")
        return
    (order,) = orders
    done = send(sitting, order)
    if len(done["serials"]) == 1:
        done["serial"] = done["serials"][0]
    if not as_json:
        verb = "corrected" if done.get("act") == "correction" else "revoked"
        names = ", ".join(done["serials"]) or "nothing new; the key is blocked"
        names += f" and {done['more']} more of the same key" if done.get("more") else ""
        typer.echo(f"{verb}: {names}, from {done.get('revocation_date')}; it is in the ledger")
    if wait and done["serials"]:
        try:
            known = {each.serial: each for each in victims}
            missing = [serial for serial in done["serials"] if serial not in known]
            known |= {each.serial: each for each in (find_named(sitting, missing) if missing else ())}
            gone = [known[serial] for serial in done["serials"]]
        except AccessDenied:  # the key's holder may be anybody
            stderr().print(
                "You are not on the roster, so the certificates cannot be looked up here: ask OCSP yourself."
            )
        else:
            done |= _wait(sitting, gone, parse_time(done["revocation_date"]), timeout, as_json=as_json)
    if as_json:
        print_json(done)


def _wait(
    sitting: "Sitting", victims: "Sequence[Victim]", since: datetime, timeout: float, *, as_json: bool
) -> dict[str, Any]:
    from sealwright.client.status import wait_until_revoked

    trust = sitting.trust()
    certificates = [each.certificate for each in victims]
    with stderr().status("waiting until OCSP says so"):
        status, seconds = wait_until_revoked(certificates, trust, since=since, seconds=timeout)
    if not as_json:
        whom = "" if len(certificates) == 1 else f" of all {len(certificates)}"
        typer.echo(f"OCSP says revoked{whom}, verified, after {seconds:.1f} s ({status.url})")
    return {"ocsp": status.status, "ocsp_url": status.url, "seconds": round(seconds, 1)}
