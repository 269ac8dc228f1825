"""What ``decide-revocation`` does: nobody revokes an issuing CA without having read which one, since when, and at
what price."""

from collections.abc import Sequence
from datetime import datetime

from sealwright.ceremony import script as s
from sealwright.ceremony.act import Act
from sealwright.ceremony.clock import format_time, parse_time
from sealwright.ceremony.register import RegisteredCertificate
from sealwright.ceremony.revocation import Decision
from sealwright.ceremony.room import Question
from sealwright.errors import InputError

_SHOWN = 40


def decide_revocation(step: s.DecideRevocation, act: Act) -> None:
    """Show it; then every officer types the serial number, those of the same key, and by itself the date."""
    decision = act.materials.decision()
    if decision is None:
        raise InputError(f"there is no {step.input}")
    at, date, dying = parse_time(act.materials.plan.at, "prepared.json"), decision.revocation_date, decision.killed()
    revoked = decision.revoked(act.materials.register())
    kin = [each for each in revoked if each.serial != decision.serial]
    act.show_digest("certificate to be revoked: issuing.pem", decision.certificate_sha256)
    act.room.people.tell(_what_it_means(decision, revoked, at))
    act.record(
        "decision",
        {
            "serial": decision.serial,
            # Only where it is something: records from before it go on verifying.
            **({"serials": [each.serial for each in revoked]} if len(revoked) > 1 else {}),
            "certificate_sha256": decision.certificate_sha256,
            "reason": decision.reason,
            "revocation_date": format_time(date),
            "decided_by": list(decision.decided_by),
            "killed": len(dying),
            "deadline": format_time(decision.deadline),
            "in_time": at <= decision.deadline,
        },
    )
    for name in act.state.present[s.Role.OFFICER]:
        _typed(name, "the serial number of the certificate that dies", decision.serial, act)
        for each in kin:
            _typed(name, f"the serial number of the one of the same key until {each.not_after}", each.serial, act)
        _typed(
            name,
            "the revocation date: every signature after it dies, every timestamped one before it lives",
            format_time(date),
            act,
        )


def _typed(name: str, what: str, wanted: str, act: Act) -> None:
    act.ask(
        Question(
            s.Role.OFFICER,
            f"{name}: type {what}, as it is shown",
            lambda text: text.strip() == wanted,
            wanted,
            f"exactly {wanted}",
        )
    )


def _what_it_means(decision: Decision, revoked: Sequence[RegisteredCertificate], at: datetime) -> str:
    found = next(each for each in revoked if each.serial == decision.serial)
    dying = decision.killed()
    late = "" if at <= decision.deadline else "  THIS CEREMONY IS LATE: revoke, and explain it in the report."
    lines = [f"    {each.serial}  until {each.not_after}  {each.subject}" for each in dying[:_SHOWN]]
    more = [f"    and {len(dying) - _SHOWN} more, in decision.toml"] if len(dying) > _SHOWN else []
    return "\n".join(
        (
            f"REVOKED WILL BE {found.subject}",
            f"  serial number   {found.serial}",
            f"  valid           {found.not_before} to {found.not_after}",
            *(
                f"  OF ITS KEY ALSO {each.serial}, valid {each.not_before} to {each.not_after}"
                for each in revoked
                if each is not found
            ),
            f"  reason          {decision.reason}",
            f"  revoked since   {format_time(decision.revocation_date)}",
            f"  decided by      {', '.join(decision.decided_by)}: {decision.why}",
            f"  24 h end at     {format_time(decision.deadline)}{late}",
            f"  with it die {len(dying)} certificates that would be good after that date:",
            *lines,
            *more,
        )
    )
