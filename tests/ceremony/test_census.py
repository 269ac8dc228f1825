"""The inventory as a ceremony: it looks, says what is strange, and changes nothing."""

import hashlib
import json
import re
from pathlib import Path

import pytest

from ceremonies import CHECKOUT, Cast, Domain, read_entries
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.register import parse_register
from sealwright.ceremony.rules import check_order
from sealwright.ceremony.script import Kind, parse_script
from sealwright.ceremony.sitting import rehearse
from sealwright.errors import PolicyViolation
from sealwright.hsm.generation import generate_key
from sealwright.hsm.pin import Pin
from sealwright.hsm.session import TokenSession
from sealwright.hsm.softhsm import use_store
from sealwright.pki.keys import KeyKind

pytestmark = pytest.mark.xdist_group("ceremony")

KIND = Kind.INVENTORY


def folder_of(domain: Domain, folder: Path) -> Path:
    """In a store of its own, with the root's token and no other."""
    site = domain.site_with_one_token(folder.with_name(f"{folder.name}-site.toml"), folder.with_name("store"))
    new_folder(KIND, folder, records=domain.before(KIND), site=site)
    prepare(folder, at=utc_now())
    return folder


def octets(store: Path) -> dict[str, str]:
    """All but ``token.object``, in which SoftHSM itself counts logins."""
    files = (path for path in store.rglob("*") if path.is_file() and path.name != "token.object")
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_census_lists_the_root_s_key_and_nothing_strange(domain: Domain) -> None:
    told = json.loads(domain.records[KIND].read("census.json"))
    register = parse_register(domain.records[Kind.RESTORE].read("register.json"))
    (token,) = told["tokens"]
    assert (token["serial"], token["findings"]) == (register.root.token_serial, [])
    assert [(each["class"], each["key_id"], each["wrong_attributes"]) for each in token["objects"]] == [
        ("private-key", register.root.key_id, []),
        ("public-key", register.root.key_id, []),
    ]
    assert told["root_sha256"] == register.root.sha256


def test_an_inventory_changes_nothing(domain: Domain, tmp_path: Path) -> None:
    folder = folder_of(domain, tmp_path / "look")
    before = octets(tmp_path / "store")
    record = rehearse(folder, unattended=True)
    assert octets(tmp_path / "store") == before
    operations = {entry["operation"] for entry in read_entries(record.path) if entry["entry"] == "intent"}
    assert operations == {"inspect-token", "list-tokens", "count-token", "promote"}


def test_what_the_register_does_not_know_is_said_and_stops_nothing(domain: Domain, tmp_path: Path) -> None:
    folder = folder_of(domain, tmp_path / "strange")
    serial = parse_register((folder / "inputs/register.json").read_bytes()).root.token_serial
    use_store(domain.softhsm.module_path, tmp_path / "store/softhsm2.conf")
    with TokenSession.open(domain.softhsm.module, serial, Pin.from_file(domain.pin_file("root"))) as session:
        generate_key(session, KeyKind.P256, key_id=b"x" * 16, label="whose is this?")
    use_store(domain.softhsm.module_path, domain.softhsm.config)
    people = Cast()
    record = rehearse(folder, people=people)
    (token,) = json.loads(record.read("census.json"))["tokens"]
    assert len(token["objects"]) == 4
    assert any("it holds 2 private keys; by the register it holds one" in line for line in token["findings"])
    assert "it holds 2 private keys" in "\n".join(people.told)


def test_a_token_that_the_register_does_not_know_is_said(domain: Domain, tmp_path: Path) -> None:
    folder = folder_of(domain, tmp_path / "unknown")
    path = folder / "inputs/register.json"
    register = parse_register(path.read_bytes())
    root = register.root.model_copy(update={"token_serial": "0123456789abcdef"})
    path.write_bytes(register.model_copy(update={"root": root, "copies": ()}).to_bytes())
    prepare(folder, at=utc_now())
    (token,) = json.loads(rehearse(folder, unattended=True).read("census.json"))["tokens"]
    assert token["findings"] == ["the register knows no token of this serial number"]


@pytest.mark.parametrize(
    "step",
    [
        'action = "open-token"',
        'action = "generate-key"\nkind = "p-384"',
        'action = "find-key"\ncertificate = "root.pem"',
        'action = "clone-token"\nsource = "root"',
        'action = "destroy-key"',
        'action = "erase-token"',
        'action = "initialise-token"',
        'action = "share-pin"\nwhich = "user"',
        'action = "change-pins"',
        'action = "sign-crl"\noutput = "census.json"',
    ],
)
def test_no_action_that_changes_anything_is_in_an_inventory(step: str) -> None:
    text = (CHECKOUT / "ceremonies/inventory/script.toml").read_text()
    added = f'[[steps]]\n{step}\ntoken = "root"\nwho = "operator"\nsay = "x"\n\n'
    for place in re.finditer(r"(?m)^\[\[steps\]\]", text):
        with pytest.raises(PolicyViolation) as refused:
            check_order(parse_script((text[: place.start()] + added + text[place.start() :]).encode()))
        assert refused.value.rule in ("CER-SCOPE", "CER-ORDER")


def test_nobody_opens_the_token_without_the_quorum(domain: Domain, tmp_path: Path) -> None:
    folder = folder_of(domain, tmp_path / "alone")
    with pytest.raises(PolicyViolation, match="CER-ANSWER"):
        rehearse(folder, people=Cast(("ada: to use the token root", ["no"] * 3)))
    assert not [e for e in read_entries(folder / "rehearsal-1") if e.get("operation") == "count-token"]


def test_an_inventory_is_of_the_anchor_s_root(domain: Domain, tmp_path: Path) -> None:
    folder = folder_of(domain, tmp_path / "other")
    path = folder / "inputs/register.json"
    register = parse_register(path.read_bytes())
    root = register.root.model_copy(update={"sha256": "0" * 64})
    path.write_bytes(register.model_copy(update={"root": root}).to_bytes())
    with pytest.raises(PolicyViolation, match=r"register\.json is of another root") as refused:
        prepare(folder, at=utc_now())
    assert refused.value.rule == "CER-REGISTER"


def test_copies_are_of_the_register_s_root(domain: Domain, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    new_folder(Kind.BACKUP, folder, ca=domain.ca, records=domain.before(Kind.BACKUP))
    path = folder / "inputs/register.json"
    register = parse_register(path.read_bytes())
    root = register.root.model_copy(update={"sha256": "0" * 64})
    path.write_bytes(register.model_copy(update={"root": root}).to_bytes())
    with pytest.raises(PolicyViolation, match=r"register\.json is of another root") as refused:
        prepare(folder, at=utc_now())
    assert refused.value.rule == "CER-REGISTER"
