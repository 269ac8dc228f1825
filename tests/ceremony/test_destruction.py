"""The root's key ends: on every token that has it, when nothing depends on it, and it is looked for again."""

import itertools
import json
import re
import shutil
from datetime import timedelta
from pathlib import Path

import pytest
from pkcs11 import Attribute

from ceremonies import Cast, Domain, read_entries
from powerloss import Cut, cut_power
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.certificate import print_certificate
from sealwright.ceremony.check import check
from sealwright.ceremony.clock import parse_time
from sealwright.ceremony.custody import Custody, RegisteredCopy
from sealwright.ceremony.destruction import Destruction, Lost, accept_destruction
from sealwright.ceremony.fitting import fit_to_tokens
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.register import Register, RegisteredCertificate, Revocation, parse_register
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.rules import check_order
from sealwright.ceremony.script import Kind, parse_script
from sealwright.ceremony.sitting import rehearse
from sealwright.ceremony.tokens import LivingTokens
from sealwright.errors import InputError, PolicyViolation
from sealwright.hsm import attributes, generation
from sealwright.hsm.census import count_halves, list_private_key_ids
from sealwright.hsm.destruction import destroy_key
from sealwright.hsm.generation import generate_key
from sealwright.hsm.pin import Pin
from sealwright.hsm.session import TokenSession
from sealwright.hsm.softhsm import copy_token, erase_token, has_token, use_store
from sealwright.pki.keys import KeyKind

pytestmark = pytest.mark.xdist_group("ceremony")

KIND = Kind.KEY_DESTRUCTION
LOST = '[[lost]]\nwhat = "{what}"\n{seal}since = "2026-12-01T00:00:00Z"\nwhy = "it fell into a lake"\n'


def lost_copy(seal: str) -> str:
    return LOST.format(what="copy", seal=f'seal = "{seal}"\n')


LOST_ORIGINAL = LOST.format(what="original", seal="")


def folder_of(domain: Domain, folder: Path, lost: str = "", *, before: tuple[Kind, ...] = ()) -> Path:
    records = [domain.record(each) for each in before] or domain.before(KIND)
    folder.parent.mkdir(exist_ok=True)
    inputs = domain.destruction(folder.parent, lost=lost)
    new_folder(KIND, folder, ca=domain.ca, records=records, inputs=inputs, site=domain.site_of(KIND))
    prepare(folder, at=domain.time_of(KIND), previous=records[-1])
    return folder


def test_the_key_is_gone_from_every_token(domain: Domain) -> None:
    record = domain.records[KIND]
    told = json.loads(record.read("destruction.json"))
    assert set(told["tokens"]) == {"root", "copy", "copy-2"}
    assert all(each["destroyed"] and each["erased"] for each in told["tokens"].values())
    entries = read_entries(record.path)
    for name in told["tokens"]:
        results = [e for e in entries if e["entry"] == "result" and e.get("token") == name]
        operations = [each["operation"] for each in results]
        assert operations[operations.index("prove-key") :] == [
            "prove-key",
            "destroy-key",
            "close-token",
            "prove-destroyed",
            "erase-token",
        ]
        assert next(each for each in results if each["operation"] == "prove-destroyed")["keys"] == 0
        double = domain.softhsm.directory / "destroyed" / name / "softhsm2.conf"
        assert not has_token(double, told["tokens"][name]["token_serial"])
    register = parse_register(record.read("register.json"))
    assert register.destroyed == told["at"]


def test_a_rehearsal_destroys_doubles(domain: Domain, tmp_path: Path) -> None:
    """So that the next rehearsal finds the tokens."""
    seal = parse_register(domain.records[Kind.RESTORE].read("register.json")).copies[1].custody.seal
    record = rehearse(folder_of(domain, tmp_path / "again", lost_copy(seal)), unattended=True)
    assert set(json.loads(record.read("destruction.json"))["tokens"]) == {"root", "copy"}
    pin = Pin.from_file(domain.pin_file("root"))
    serial = parse_register(record.read("register.json")).root.token_serial
    with TokenSession.open(domain.softhsm.module, serial, pin) as session:
        assert len(list_private_key_ids(session)) == 1


def test_the_certificate_of_destruction_says_on_paper_what_the_document_says(domain: Domain) -> None:
    page = (domain.record(KIND) / "certificate.html").read_text()
    told = json.loads(domain.records[KIND].read("destruction.json"))
    for name, each in told["tokens"].items():
        assert name in page
        assert each["token_serial"] in page
    assert told["serial"] in page
    assert all(name in page for name in ("ada", "grace", "rehearsal-witness"))
    assert print_certificate(domain.record(Kind.ROOT_CRL)) is None
    assert "REHEARSAL" in page
    assert page.count("none was there when it was opened again") == 3
    assert "<script" not in page
    assert "http" not in re.sub(r"<!doctype.*?>", "", page)


def test_no_ceremony_begins_with_a_register_that_is_closed(domain: Domain, tmp_path: Path) -> None:
    folder = tmp_path / "crl"
    records = [domain.record(each) for each in (Kind.ROOT_GENESIS, Kind.REVOKE_ISSUING_CA, KIND)]
    new_folder(Kind.ROOT_CRL, folder, ca=domain.ca, records=records)
    with pytest.raises(PolicyViolation, match="the root's key was destroyed on") as refused:
        prepare(folder, at=domain.time_of(KIND))
    assert refused.value.rule == "CER-DESTROYED"


def test_every_officer_types_which_root_it_is_and_consents_for_each_token(domain: Domain, tmp_path: Path) -> None:
    people = Cast(("grace: type the serial number of the root", ["1234"]))
    record = rehearse(folder_of(domain, tmp_path / "all"), people=people)
    told = "\n".join(people.told)
    assert "DESTROYED WILL BE THE KEY OF CN=REHEARSAL Example Code Signing Root" in told
    entries = read_entries(record.path)
    typed = [
        (e["question"].partition(":")[0], e["accepted"]) for e in entries if "type the serial" in str(e.get("question"))
    ]
    assert typed == [("ada", True), ("grace", False), ("grace", True)]
    consents = [e["question"] for e in entries if "to destroy the root's key on the token" in str(e.get("question"))]
    assert len(consents) == 6


# What it depends on


@pytest.fixture
def register(domain: Domain) -> Register:
    """With the issuing CA revoked, and two copies."""
    return parse_register(domain.records[Kind.RESTORE].read("register.json"))


def accept(register: Register, at: str, *lost: Lost, tokens: tuple[str, ...] = ("root", "copy", "copy-2")) -> None:
    decision = Destruction(register.root.sha256, ("ada", "grace"), "it is over", lost)
    accept_destruction(decision, register, root_sha256=register.root.sha256, tokens=tokens, at=parse_time(at, "test"))


def with_certificate(register: Register, *, not_after: str, revoked: bool) -> Register:
    (first, *_) = register.certificates
    revocation = Revocation(date=first.not_before, reason=None) if revoked else None
    changed: RegisteredCertificate = first.model_copy(update={"not_after": not_after, "revoked": revocation})
    return register.model_copy(update={"certificates": (changed,)})


def test_a_key_that_something_depends_on_is_not_destroyed(domain: Domain, tmp_path: Path, register: Register) -> None:
    now = "2030-01-01T00:00:00Z"
    accept(with_certificate(register, not_after=now, revoked=False), now)  # it has expired, at this very moment
    with pytest.raises(PolicyViolation, match="nobody could revoke it any more") as refused:
        accept(with_certificate(register, not_after="2030-01-01T00:00:01Z", revoked=False), now)
    assert refused.value.rule == "CER-DEPENDS"
    inputs = domain.destruction(tmp_path)
    folder = tmp_path / "too-early"
    records = [domain.record(each) for each in (Kind.ROOT_GENESIS, Kind.ISSUING_CA)]
    new_folder(KIND, folder, ca=domain.ca, records=records, inputs=inputs)
    with pytest.raises(PolicyViolation, match="CER-DEPENDS"):
        prepare(folder, at=parse_time(register.crl.this_update, "test") + timedelta(hours=1))


def test_an_ocsp_delegate_that_may_still_answer_is_something_that_depends_on_it(register: Register) -> None:
    late, later = "2099-01-01T00:00:00Z", "2099-01-01T00:00:01Z"
    for end in (late, later):
        delegate = register.certificates[0].model_copy(update={"not_after": end, "revoked": None})
        having = register.model_copy(update={"delegates": (delegate,)})
        if end == late:
            accept(having, late)
        else:
            with pytest.raises(PolicyViolation, match="CER-DEPENDS"):
                accept(having, late)


def test_the_last_crl_covers_the_life_of_what_is_revoked(register: Register) -> None:
    now, end = register.crl.this_update, register.crl.next_update
    accept(with_certificate(register, not_after=end, revoked=True), now)
    with pytest.raises(PolicyViolation, match="the last CRL ends at") as refused:
        accept(with_certificate(register, not_after=f"{int(end[:4]) + 1}{end[4:]}", revoked=True), now)
    assert refused.value.rule == "CER-CRL-COVERS"


def test_the_crl_is_the_last_one_of_the_register(domain: Domain, tmp_path: Path) -> None:
    with pytest.raises(PolicyViolation, match="CER-CRL-LAST"):
        folder_of(domain, tmp_path / "old", before=(Kind.RESTORE, Kind.ROOT_GENESIS, Kind.ROOT_CRL, Kind.BACKUP))


@pytest.mark.parametrize(
    ("lost", "tokens", "why"),
    [
        ((), ("root", "copy"), "by the register and the declared losses there are root, copy, copy-2"),
        ((), ("root", "copy", "copy-2", "copy-3"), "the script has the tokens"),
        (("SEAL-99",), ("root", "copy"), "no copy under the seal SEAL-99"),
        ((None,), ("root", "copy", "copy-2"), "the script has the tokens"),
        ((None, None), ("copy", "copy-2"), "declared lost twice"),
    ],
)
def test_every_copy_is_here_or_declared_lost(
    register: Register, lost: tuple[str | None, ...], tokens: tuple[str, ...], why: str
) -> None:
    late = "2099-01-01T00:00:00Z"

    def loss(seal: str | None) -> Lost:
        return Lost(what="copy" if seal else "original", seal=seal, since=late, why="a lake")

    accept(register, late)
    accept(register, late, loss(None), loss(register.copies[1].custody.seal), tokens=("copy",))
    with pytest.raises(PolicyViolation, match=why) as refused:
        accept(register, late, *map(loss, lost), tokens=tokens)
    assert refused.value.rule == "CER-COPIES"


def test_a_loss_is_named_as_it_is_and_something_is_left(register: Register) -> None:
    late = "2099-01-01T00:00:00Z"
    seals = [copy.custody.seal for copy in register.copies]
    for wrong in (Lost(what="copy", since=late, why="x"), Lost(what="original", seal=seals[0], since=late, why="x")):
        with pytest.raises(PolicyViolation, match="a lost copy is named by its seal"):
            accept(register, late, wrong)
    all_lost = (
        Lost(what="original", since=late, why="x"),
        *(Lost(what="copy", seal=s, since=late, why="x") for s in seals),
    )
    with pytest.raises(PolicyViolation, match="nothing is left to destroy"):
        accept(register, late, *all_lost)


def test_a_decision_about_another_root_is_refused(register: Register) -> None:
    decision = Destruction("0" * 64, ("ada",), "x", ())
    at = parse_time("2099-01-01T00:00:00Z", "test")
    with pytest.raises(PolicyViolation, match="the decision names 0000") as refused:
        accept_destruction(decision, register, root_sha256=register.root.sha256, tokens=("root",), at=at)
    assert refused.value.rule == "CER-DESTROY"
    with pytest.raises(PolicyViolation, match="CER-REGISTER"):
        accept_destruction(decision, register, root_sha256="0" * 64, tokens=("root",), at=at)


def test_the_token_on_which_the_key_was_made_is_that_one(domain: Domain, tmp_path: Path) -> None:
    folder = folder_of(domain, tmp_path / "other")
    path = folder / "inputs/register.json"
    register = parse_register(path.read_bytes())
    root = register.root.model_copy(update={"token_serial": "0123456789abcdef"})
    path.write_bytes(register.model_copy(update={"root": root}).to_bytes())
    prepare(folder, at=domain.time_of(KIND))
    with pytest.raises(PolicyViolation, match="the key was made on 0123456789abcdef") as refused:
        rehearse(folder, unattended=True)
    assert refused.value.rule == "CER-COPIES"


@pytest.mark.parametrize(
    ("copies", "lost", "tokens"),
    [
        (0, "", ["root"]),
        (1, "", ["root", "copy"]),
        (3, "", ["root", "copy", "copy-2", "copy-3"]),
        (1, LOST_ORIGINAL, ["copy"]),
        (2, lost_copy("SEAL-0"), ["root", "copy"]),
    ],
)
def test_the_script_is_written_for_the_tokens_that_there_are(
    domain: Domain, tmp_path: Path, register: Register, copies: int, lost: str, tokens: list[str]
) -> None:
    custody = [Custody(holder="rosa", bag=f"BAG-{n}", seal=f"SEAL-{n}") for n in range(copies)]
    made = tuple(RegisteredCopy(token_serial="77", made="2026-12-01T09:00:00Z", custody=each) for each in custody)
    data = register.model_copy(update={"copies": made}).to_bytes()
    decision = domain.destruction(tmp_path, lost=lost)["destruction.toml"].read_bytes()
    template = (Path(__file__).parents[2] / "ceremonies/key-destruction/script.toml").read_bytes()
    script = parse_script(fit_to_tokens(template, decision, data))
    assert list(script.tokens) == tokens
    check_order(script)
    groups = [step.token for step in script.steps if step.action == "destroy-key"]
    assert groups == tokens
    order = [step.token for step in script.steps if getattr(step, "token", None)]
    assert list(dict.fromkeys(order)) == [name for name, _ in itertools.groupby(order)]  # one token after the other
    if copies == 1 and not lost:
        assert fit_to_tokens(template, decision, data) == template


def test_a_script_may_not_leave_one_of_its_tokens_alone(domain: Domain, tmp_path: Path) -> None:
    folder = folder_of(domain, tmp_path / "one-less")
    text = (folder / "script.toml").read_text()
    head, *steps = re.split(r"(?m)^\[\[steps\]\]\n", text)
    kept = [step for step in steps if 'token = "copy-2"' not in step]
    with pytest.raises(PolicyViolation, match="token copy-2 is erased") as refused:
        check_order(parse_script("".join([head, *(f"[[steps]]\n{step}" for step in kept)]).encode()))
    assert refused.value.rule == "CER-ORDER"


def test_no_other_kind_destroys_a_key(domain: Domain) -> None:
    text = (Path(__file__).parents[2] / "ceremonies/root-crl/script.toml").read_text()
    step = '[[steps]]\naction = "destroy-key"\ntoken = "root"\nwho = "operator"\nsay = "x"\n\n'
    place = text.index('[[steps]]\naction = "close-token"')
    with pytest.raises(PolicyViolation, match="no key ends in this kind") as refused:
        check_order(parse_script((text[:place] + step + text[place:]).encode()))
    assert refused.value.rule == "CER-SCOPE"


def test_check_says_before_the_room_what_would_be_refused_in_it(domain: Domain, tmp_path: Path) -> None:
    folder = folder_of(domain, tmp_path / "early")
    check(folder)
    path = folder / "prepared.json"
    at = json.loads(path.read_bytes())["plan"]["at"]
    path.write_bytes(path.read_bytes().replace(at.encode(), b"2027-01-01T00:00:00Z"))
    with pytest.raises(PolicyViolation, match="CER-CRL-COVERS"):
        check(folder)


# On the token


def test_a_token_that_destroys_no_key_is_erased_whole(
    domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealwright.ceremony.tokens.destroy_key", lambda session, key_id: False)
    people = Cast()
    record = rehearse(folder_of(domain, tmp_path / "stubborn"), people=people)
    assert "destroys no single key (CKA_DESTROYABLE)" in "\n".join(people.told)
    told = json.loads(record.read("destruction.json"))["tokens"]
    assert {(each["destroyed"], each["erased"]) for each in told.values()} == {(False, True)}
    page = (record.path / "certificate.html").read_text()
    assert page.count("it destroys no single key; the token was erased, and is gone") == 3
    assert verify_folder(record.path).head == record.head


def test_a_token_that_neither_destroys_nor_is_erased_ends_it(
    domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LivingTokens, "erase", lambda self, token, serial: False)
    folder = folder_of(domain, tmp_path / "stays")
    with pytest.raises(PolicyViolation, match="is there still") as refused:
        rehearse(folder, unattended=True)
    assert refused.value.rule == "CER-DESTROY"
    assert not (folder / "rehearsal-1/outputs").exists()


def test_a_key_that_is_there_when_the_token_is_opened_again_ends_it(
    domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sealwright.ceremony.tokens.destroy_key", lambda session, key_id: True)
    with pytest.raises(PolicyViolation, match="was opened again and holds 1 private keys") as refused:
        rehearse(folder_of(domain, tmp_path / "liar"), unattended=True)
    assert refused.value.rule == "CER-DESTROY"


def test_both_halves_go_and_what_may_not_be_destroyed_stays_and_is_said(
    domain: Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    key_id = bytes(range(16))
    with domain.softhsm.open_token("destroy") as session:
        generate_key(session, KeyKind.P256, key_id=key_id, label="goes")
        assert destroy_key(session, key_id)
        assert count_halves(session, key_id) == (0, 0)
        assert destroy_key(session, key_id)  # again, after an interruption
    template = {**attributes.PRIVATE_TEMPLATE, Attribute.DESTROYABLE: False}
    monkeypatch.setattr(generation, "PRIVATE_TEMPLATE", template)
    with domain.softhsm.open_token("keep") as session:
        generate_key(session, KeyKind.P256, key_id=key_id, label="stays")
        assert not destroy_key(session, key_id)
        assert count_halves(session, key_id) == (1, 1)


def test_no_token_is_looked_for_without_its_number(domain: Domain) -> None:
    with pytest.raises(InputError, match="without a serial number"):
        erase_token(domain.softhsm.config, "")


@pytest.mark.slow
def test_the_power_goes_at_either_side_of_the_end_of_a_key(domain: Domain, tmp_path: Path) -> None:
    copies = parse_register(domain.records[Kind.RESTORE].read("register.json")).copies
    prepared = folder_of(domain, tmp_path / "prepared", lost_copy(copies[1].custody.seal))
    pattern = rehearse(prepared, unattended=True).path
    entries, table = read_entries(pattern), []
    shutil.rmtree(pattern)
    ends = {"destroy-key", "prove-destroyed", "erase-token", "close-token", "promote"}
    stores = {"store": domain.softhsm.config, "store/copy": domain.softhsm.directory / "copy/softhsm2.conf"}
    for place, entry in enumerate(entries):
        if entry.get("operation") not in ends or entry["entry"] not in ("intent", "result"):
            continue
        side = "after" if entry["entry"] == "intent" else "before"
        room = tmp_path / f"{place}-{side}"
        shutil.copytree(prepared, room)
        for name, source in stores.items():
            copy_token(source, copies[0].token_serial, room / name / "softhsm2.conf")
        (room / "site.toml").write_text(
            f'[rehearsal]\nsofthsm_conf = "{room}/store/softhsm2.conf"\n'
            f'[tokens.root]\npin_file = "{domain.pin_file("root")}"\n'
        )
        table.append(Cut(f"{place}-{side}-{entry['operation']}-{entry.get('token')}", str(room), place, side))
    assert len(table) == 18
    assert cut_power(table) == {}
    for cut in table:
        record = Path(cut.folder) / "rehearsal-1"
        assert verify_folder(record).interruptions == 1
        for name in ("root", "copy"):
            assert not has_token(Path(cut.folder) / f"store/destroyed/{name}/softhsm2.conf", copies[0].token_serial)
    use_store(domain.softhsm.module_path, domain.softhsm.config)
