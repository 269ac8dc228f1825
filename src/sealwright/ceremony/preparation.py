"""``prepare``: fix all that would otherwise be chosen on the day, pin the inputs, compute and lint what gets signed.

No token is touched. The result is ``prepared.json``; preparing again replaces it, as long as nothing was performed
in production.
"""

import hashlib
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

from sealwright.ceremony import script as s
from sealwright.ceremony.answers import next_update
from sealwright.ceremony.artefacts import draft_with_software_keys
from sealwright.ceremony.clock import format_time
from sealwright.ceremony.folder import PREPARED, read_inputs, read_script
from sealwright.ceremony.holders import parse_holders
from sealwright.ceremony.keyinputs import check_key_inputs
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.materials import Materials
from sealwright.ceremony.officers import parse_officers
from sealwright.ceremony.prepared import Mode, Plan, Prepared, PreparedFile, Previous, parse_prepared
from sealwright.ceremony.record import load_record
from sealwright.ceremony.rules import check_order
from sealwright.durable import replace_file
from sealwright.errors import Conflict, InputError
from sealwright.pki.serials import format_serial, new_serial
from sealwright.statements.anchor import load_anchor

_KEY_ID_OCTETS = 16


def prepare(
    path: Path,
    *,
    at: datetime,
    previous: Path | None = None,
    random: Callable[[int], bytes] = os.urandom,
) -> Prepared:
    """Write ``prepared.json`` for a ceremony that takes place ``at`` a moment. ``previous``: the record before it.

    Raises ``InputError`` and ``PolicyViolation`` for what is wrong with script or inputs, ``Conflict`` when the
    ceremony was performed in production already.
    """
    script = read_script(path)
    check_order(script)
    if done := sorted(path.glob("production-*")):
        raise Conflict(
            f"{path} was performed already: {done[0].name}", hint="make a new folder for a new ceremony, with `new`"
        )
    inputs = read_inputs(path, script)
    if "shares.toml" in inputs and "officers.toml" in inputs:
        parse_holders(inputs["shares.toml"], parse_officers(inputs["officers.toml"]))
    plan = _plan(script, inputs, at, random)
    for mode in _modes(inputs):
        check_key_inputs(Materials(script, plan, inputs, mode))
    digests: dict[Mode, dict[str, str]] = {}
    for mode in _modes(inputs):
        drafts = draft_with_software_keys(Materials(script, plan, inputs, mode))
        digests[mode] = {name: drafted.template_sha256 for name, drafted in drafts.items()}
    record = load_record(previous) if previous else None
    if record and record.mode not in digests:
        raise InputError(f"{previous} is a {record.mode} record, and the inputs are not")
    file = PreparedFile(
        kind=script.kind,
        script=script.sha256,
        inputs={name: hashlib.sha256(data).hexdigest() for name, data in inputs.items()},
        previous=Previous(kind=record.kind, head=record.head) if record else None,
        plan=plan,
        digests=digests,
    )
    data = file.to_bytes()
    replace_file(path / PREPARED, data)
    return parse_prepared(data)


def _plan(script: s.Script, inputs: dict[str, bytes], at: datetime, random: Callable[[int], bytes]) -> Plan:
    rule = KINDS[script.kind]
    made = {output.made for output in rule.outputs.values()}
    certificates = [name for name, output in rule.outputs.items() if output.made == "certificate"]
    days = next((step.valid_days for step in script.steps if isinstance(step, s.Draft) and step.valid_days), None)
    ends = at + timedelta(days=days) if days else None
    if "answers" in made:
        ends = next_update(inputs["root.crl"])
    return Plan(
        at=format_time(at),
        serial=format_serial(new_serial(random)) if len(certificates) == 1 else None,
        crl_number=_next_number(inputs) if "crl" in made else None,
        next_update=format_time(ends) if ends else None,
        key_ids={token: random(_KEY_ID_OCTETS).hex() for token in rule.new_keys},
        serials={name: format_serial(new_serial(random)) for name in certificates} if len(certificates) > 1 else {},
    )


def _next_number(inputs: dict[str, bytes]) -> int:
    if "root.crl" not in inputs:
        return 1
    try:
        crl = x509.load_der_x509_crl(inputs["root.crl"])
        return crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
    except (ValueError, x509.ExtensionNotFound) as error:
        raise InputError(f"inputs/root.crl is not a DER CRL with a number: {error}") from None


def _modes(inputs: dict[str, bytes]) -> tuple[Mode, ...]:
    """Both, until there is an anchor: from then on, the anchor's."""
    if "anchor.json" not in inputs:
        return ("REHEARSAL", "PRODUCTION")
    return (load_anchor(inputs["anchor.json"]).mode,)
