"""What ``draft-answers`` shows: certificate by certificate, what the root is about to say of it.

One digest over all answers is announced and agreed to; that of each is recorded here, so that every one can be found
again in what was reviewed.
"""

import hashlib

from sealwright.ceremony.act import Act
from sealwright.ceremony.answers import describe_statuses, say_status
from sealwright.ceremony.artefacts import Drafted
from sealwright.pki.ocsp_query import CertIDForm


def show_answers(drafted: Drafted, act: Act) -> None:
    """Tell the room, and record it."""
    plan, crl = act.materials.plan, act.materials.register().crl
    said = describe_statuses(act.materials)
    lines = [f"  {each['serial']}  {each['subject']}\n    {say_status(each)}" for each in said]
    act.room.people.tell(
        "\n".join((f"THE ROOT WILL SAY from {plan.at} until {plan.next_update}, as its CRL {crl.number} does:", *lines))
    )
    digests = iter([hashlib.sha256(message).hexdigest() for message in drafted.messages])
    for each in said:
        own = {f"{form}_tbs_sha256": next(digests) for form in CertIDForm}
        act.record("status", {"output": drafted.name, **each, **own})
