"""The registry says early what the signer will say: what is missing, what is too many, what has to wait."""

import base64
import re
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from office import Office
from sealwright.errors import PolicyViolation
from sealwright.registration.decisions import decide, missing_for
from sealwright.registration.requests import find_request, submit_request
from sealwright.registration.rosters import publish_roster
from sealwright.registration.upkeep import Retries, keep_up_once
from world import wire_time


def policy(office: Office, tables: str = "", **changes: Any) -> None:
    """The officers change the everyday profile, and give carol the group "release"."""
    path = office.world.folder / "ca/profiles/code-signing.toml"
    text = path.read_text()
    for name, value in changes.items():
        text = re.sub(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
    path.write_text(f"{text}\n{tables}")
    roster = office.world.roster(version=2)
    roster["people"] = [{**each, "groups": ["release"] if each["name"] == "carol" else []} for each in roster["people"]]
    assert publish_roster(office.registry, office.sign(roster, "olga", "omar")).in_force


def test_says_which_approvals_are_missing_and_from_which_group(office: Office) -> None:
    policy(office, "[groups]\nrelease = 1\n", approvals=2)
    request = office.request()
    record = submit_request(office.registry, request)
    assert missing_for(office.registry, record) == ("2 in all", "1 of group release")
    record = decide(office.registry, office.decision(request, "bob"))
    assert (record.row.state, missing_for(office.registry, record)) == ("open", ("1 in all", "1 of group release"))
    record = decide(office.registry, office.decision(request, "carol"))
    assert (record.row.state, missing_for(office.registry, record)) == ("issued", ())


def test_a_renewal_that_needs_no_approval_is_issued_by_itself(office: Office) -> None:
    policy(office, renewal_approval="false", renewal_window_days=397)
    key = ec.generate_private_key(ec.SECP256R1())
    csr = base64.b64encode(office.world.csr(key=key)).decode()
    first = office.request(csr=csr)
    submit_request(office.registry, first)
    serial = decide(office.registry, office.decision(first)).row.serial
    same, other = office.request(csr=csr, renews=serial), office.request(renews=serial)
    assert submit_request(office.registry, other).row.state == "open"
    assert submit_request(office.registry, same).row.state == "approved"
    keep_up_once(office.registry, Retries())
    assert find_request(office.registry, same.sha256).row.state == "issued"


def test_a_team_that_holds_enough_hears_of_it_when_it_asks(office: Office) -> None:
    policy(office, live_certificates=1)
    request = office.request()
    submit_request(office.registry, request)
    decide(office.registry, office.decision(request))
    with pytest.raises(PolicyViolation) as caught:
        submit_request(office.registry, office.request())
    assert caught.value.rule == "ORDER-LIVE"


def test_an_approval_in_a_blackout_is_not_spent(office: Office) -> None:
    now = office.world.clock()
    request_first = office.request
    ends = wire_time(now.replace(hour=now.hour + 2))
    policy(office, f'[[blackouts]]\nbegins = "{wire_time(now)}"\nends = "{ends}"\nreason = "freeze"\n')
    request = request_first()
    submit_request(office.registry, request)
    with pytest.raises(PolicyViolation) as caught:
        decide(office.registry, office.decision(request))
    assert caught.value.rule == "ORDER-BLACKOUT"
    assert find_request(office.registry, request.sha256).row.state == "open"
    office.world.clock.pass_(hours=3)
    assert decide(office.registry, office.decision(request)).row.state == "issued"
