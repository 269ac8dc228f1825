"""What an audit finds in an honest ledger, and what it says of whole-sale lies."""

import dataclasses
import json
import re
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from cast import CA_FOLDER
from exports import DictExport, Story, audit, write_files
from sealwright.audit.export import open_export, pack_export
from sealwright.audit.findings import CLAIMS, Findings
from sealwright.audit.verify import Evidence, verify_export
from sealwright.audit.walk import is_rule
from sealwright.errors import Conflict, InputError, NotFound
from sealwright.ledger.entries import DenialEntry, Entry, parse_entry
from sealwright.ledger.tiles import CHECKPOINT
from sealwright.pki.certificates import draft_certificate, lint_draft, sign_certificate
from sealwright.pki.keys import KeyKind, PublicKey
from sealwright.pki.names import ca_subject
from sealwright.pki.serials import new_serial
from softpki import NOW, profiles, soft_pki, software_key
from world import call, make_world


def problems(findings: Findings) -> list[tuple[str, str]]:
    return [(each.claim, each.where) for each in findings.problems]


def test_the_story_has_every_kind_of_entry(story: Story) -> None:
    from typing import get_args

    assert {type(parse_entry(data)) for data in story.entries} == set(get_args(Entry))


def test_an_honest_ledger_has_no_problem_and_every_claim_is_tried(story: Story) -> None:
    outputs = {name: story.trust[name] for name in ("anchor.json", "root.pem")}
    earlier = story.files(story.entries[:7])[CHECKPOINT].decode()
    findings = story.verify(story.files(), earlier=earlier, genesis=outputs, crls=story.crls)
    assert findings.problems == []
    assert {claim for claim in CLAIMS if findings.tried[claim]} == set(CLAIMS)
    assert findings.size == len(story.entries)
    assert findings.tried["AUDIT-ORDER"] == 4
    assert json.loads(json.dumps(findings.to_json()))["sound"] is True


def test_it_says_what_it_cannot_know_and_less_with_more_evidence(story: Story) -> None:
    bare = story.verify(story.files()).cannot_know
    outputs = {name: story.trust[name] for name in ("anchor.json", "root.pem")}
    more = story.verify(
        story.files(), earlier=story.files()[CHECKPOINT].decode(), genesis=outputs, crls=story.crls
    ).cannot_know
    assert set(more) < set(bare)
    assert len(bare) - len(more) == 3


def test_a_folder_and_its_zip_file_say_the_same_and_the_zip_is_made_the_same_twice(story: Story, tmp_path) -> None:
    write_files(tmp_path / "export", story.files())
    folder = open_export(tmp_path / "export")
    for name in ("one.zip", "two.zip"):
        pack_export(folder, tmp_path / name)
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    for export in (folder, open_export(tmp_path / "one.zip")):
        findings = verify_export(export, Evidence(pki_id=story.pki))
        assert (findings.problems, findings.size) == ([], len(story.entries))
    with pytest.raises(Conflict):
        pack_export(folder, tmp_path / "one.zip")


def test_what_is_no_export_is_said(tmp_path) -> None:
    with pytest.raises(NotFound):
        open_export(tmp_path / "nothing")
    (tmp_path / "text").write_text("no zip")
    with pytest.raises(InputError):
        open_export(tmp_path / "text")


def test_another_pki_is_named(story: Story) -> None:
    findings = verify_export(DictExport(story.files()), Evidence(pki_id="0" * 64))
    assert ("AUDIT-ANCHOR", "anchor.json") in problems(findings)


@pytest.mark.parametrize("keep", [0, 1, 2])
def test_a_ledger_before_its_first_roster_proves_nothing(story: Story, keep: int) -> None:
    findings = story.verify(story.files(story.entries[:keep]))
    assert ("AUDIT-CHECKPOINT", "checkpoint") in problems(findings)


def test_a_ledger_that_went_back_or_was_written_anew_is_told_from_an_earlier_checkpoint(story: Story) -> None:
    earlier = story.files()[CHECKPOINT].decode()
    shorter = story.verify(story.files(story.entries[:-1]), earlier=earlier)
    assert problems(shorter) == [("AUDIT-CONSISTENCY", "checkpoint")]
    place = story.index_of("refusal")
    other = story.entries[place].replace(b"issue", b"revoke", 1)
    anew = (*story.with_entry(place, other), story.entries[-1])
    rewritten = story.verify(story.files(anew), earlier=earlier)
    assert ("AUDIT-CONSISTENCY", "checkpoint") in problems(rewritten)


def test_a_checkpoint_of_somebody_else_proves_no_consistency(story: Story) -> None:
    earlier = story.files()[CHECKPOINT].decode().replace("sealwright/", "sealwrong/")
    assert problems(story.verify(story.files(), earlier=earlier)) == [("AUDIT-CONSISTENCY", "checkpoint")]


@pytest.mark.parametrize("name", ["anchor.json", "root.pem"])
def test_another_ceremony_is_named(story: Story, name: str) -> None:
    outputs = {each: story.trust[each] for each in ("anchor.json", "root.pem")} | {name: b"other"}
    assert problems(story.verify(story.files(), genesis=outputs)) == [("AUDIT-GENESIS", name)]


def test_a_renewed_issuing_ca_is_the_one_that_older_rosters_name_when_its_earlier_certificate_is_shown(
    story: Story,
) -> None:
    """The same key and name, a later certificate: in the export stands the new one, and every roster named the old."""
    pki, old = soft_pki(issuing_key=None), story.trust["issuing.pem"]

    def certified(key: PublicKey) -> bytes:
        draft = draft_certificate(
            dataclasses.replace(profiles()["issuing-ca"], keys=(KeyKind.P384,)),
            issuer=pki.root_record,
            subject=ca_subject(pki.settings, "issuing", rehearsal=True),
            public_key=key,
            serial=new_serial(),
            not_before=NOW + timedelta(days=1),
        )
        return sign_certificate(lint_draft(draft), pki.root_key).public_bytes(Encoding.PEM)

    files = story.files() | {"issuing.pem": certified(pki.issuing_key.public_key())}
    rosters = [place for place, data in enumerate(story.entries) if parse_entry(data).type == "roster"]
    assert problems(story.verify(files)) == [("AUDIT-CA", f"entry {place}") for place in rosters]
    assert problems(story.verify(files, renewed=[old])) == []
    other = certified(software_key(KeyKind.P384, "another").public_key())
    assert ("AUDIT-CA", "earlier certificate 1") in problems(story.verify(files, renewed=[other]))
    foreign = soft_pki(label="foreign ").issuing.public_bytes(Encoding.PEM)
    assert ("AUDIT-CA", "earlier certificate 2") in problems(story.verify(files, renewed=[old, foreign]))


def test_a_crl_that_the_ledger_does_not_have_is_named(story: Story) -> None:
    findings = story.verify(story.files(story.entries[: story.index_of("crl-intent", 1)]), crls=story.crls)
    assert [claim for claim, where in problems(findings)] == ["AUDIT-CRL"]
    assert "no entry" in findings.problems[0].message


def test_a_revocation_that_was_left_out_is_missed_by_the_crl(story: Story) -> None:
    place = story.index_of("revocation")
    entries = (*story.entries[:place], *story.entries[place + 1 :])
    findings = story.verify(story.files(entries), crls=story.crls)
    assert any(each.claim == "AUDIT-CRL" and story.serials[0] in each.message for each in findings.problems)


def test_a_certificate_for_a_denied_request_is_named(tmp_path) -> None:
    """A signer that forgets what it recorded, and one that denies what it issued."""
    world = make_world(tmp_path)
    authority = world.start()
    call(world, "publish-roster", roster=world.signed(world.roster(), "olga", "omar").to_wire())
    request = world.signed(world.request())
    yes, no = (world.signed(world.decision(request, verdict=verdict)) for verdict in ("approve", "deny"))
    denied = call(world, "deny", request=request.to_wire(), decision=no.to_wire())["entry"]
    authority.index.denied.clear()
    call(world, "issue", order={"request": request.to_wire(), "decisions": [yes.to_wire()]})
    authority.record(DenialEntry(at=world.clock(), request=request, decision=no))
    world.stop()
    findings = audit(world)
    assert [(each.claim, each.where, each.rule) for each in findings.problems] == [
        ("AUDIT-USE", f"entry {denied + 1}", "ORDER-DENIED"),
        ("AUDIT-CERTIFICATE", f"entry {denied + 2}", ""),
        ("AUDIT-DENIAL", f"entry {denied + 3}", ""),
    ]


def test_an_intent_left_open_is_named_at_the_next(story: Story) -> None:
    place = story.index_of("certificate")
    findings = story.verify(story.files((*story.entries[:place], *story.entries[place + 1 :])))
    assert any(claim == "AUDIT-INTENT" and where != f"entry {place}" for claim, where in problems(findings))


@pytest.mark.parametrize("kind", ["certificate", "revocation", "denial", "crl-intent", "crl", "intent", "roster"])
def test_an_entry_that_stands_twice_is_named(story: Story, kind: str) -> None:
    place = story.index_of(kind)
    findings = story.verify(story.files((*story.entries[: place + 1], *story.entries[place:])))
    assert any(where == f"entry {place + 1}" for _, where in problems(findings))


def test_every_claim_stands_in_the_policy_as_it_is_printed() -> None:
    policy = (CA_FOLDER / "policy.md").read_text()
    for claim, says in CLAIMS.items():
        assert f"| {claim} | {says} |" in policy


def test_every_rule_of_the_policy_is_one_that_a_refusal_may_name() -> None:
    rules = re.findall(r"^\| ([A-Z][A-Z0-9-]+) \|", (CA_FOLDER / "policy.md").read_text(), re.MULTILINE)
    assert "SUSPENDED" in rules
    assert [rule for rule in rules if not is_rule(rule)] == []
    assert is_rule("PKILINT:pkix.some_code")
    assert not is_rule("no rule")
