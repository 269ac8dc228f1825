"""Other people hold the shares: new quorums open the token, old papers open nothing, and no power cut costs a token."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pkcs11 import TokenFlag
from pkcs11.exceptions import PKCS11Error

from ceremonies import SHARES, Cast, Domain, read_entries
from powerloss import Cut, cut_power
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.holders import parse_token
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.record import CeremonyRecord
from sealwright.ceremony.register import parse_register
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.room import SecretQuestion
from sealwright.ceremony.script import Kind
from sealwright.ceremony.shamir import combine, pin_of
from sealwright.ceremony.sitting import rehearse, rehearse_new, run
from sealwright.errors import InputError, PolicyViolation, TokenError, WrongPin
from sealwright.hsm import token
from sealwright.hsm.cryptoki import CKU_SO, CKU_USER, Cryptoki
from sealwright.hsm.initialise import count_objects_as_so, init_token
from sealwright.hsm.keys import private_key
from sealwright.hsm.pin import Pin
from sealwright.hsm.pins import change_pin, finish_change, is_useless
from sealwright.hsm.session import TokenSession
from sealwright.hsm.softhsm import copy_token
from sealwright.hsm.token import Token
from sealwright.pki.keys import spki_sha256

pytestmark = pytest.mark.xdist_group("ceremony")

KIND = Kind.OFFICERS_CHANGE


def next_shares(folder: Path, label: str) -> dict[str, Path]:
    """mary left; zoe holds her share."""
    path = folder.with_name(f"{folder.name}-next.toml")
    path.write_text(SHARES.format(label=label).replace("mary", "zoe"))
    return {"shares.toml": path}


class Papers(Cast):
    """Holders with what they wrote down: the old set, and the new one as it is shown to them."""

    def __init__(self, *wrong: tuple[str, list[str]], old: dict[str, str] | None = None) -> None:
        super().__init__(*wrong)
        self.old, self.new = old or {}, dict[str, str]()

    def show_secret(self, holder: str, what: str, secret: str) -> None:
        self.new[holder] = secret

    def ask_secret(self, question: SecretQuestion) -> str:
        self.asked.append(question.prompt)
        for part, answers in self.wrong.items():
            if part in question.prompt and answers:
                return answers.pop(0)
        return (self.old if "OLD" in question.prompt else self.new)[question.holder]


@dataclass
class Changed:
    """A production token whose root key exists, before and after the change."""

    serial: str
    genesis: CeremonyRecord
    record: CeremonyRecord
    people: Papers


@pytest.fixture(scope="module")
def changed(domain: Domain, tmp_path_factory: pytest.TempPathFactory) -> Changed:
    folder = tmp_path_factory.mktemp("change")
    module = f'module = "{domain.softhsm.module_path}"\n'

    def perform(kind: Kind, people: Cast, site: str, inputs: dict[str, Path], *after: CeremonyRecord) -> CeremonyRecord:
        new_folder(kind, folder / kind, ca=domain.ca, records=[each.path for each in after], inputs=inputs)
        (folder / kind / "site.toml").write_text(module + site)
        prepare(folder / kind, at=utc_now(), previous=after[-1].path if after else None)
        return run(folder / kind, people=people, rehearsals=(domain.record(kind),))

    (folder / "shares.toml").write_text(SHARES.format(label="changed"))
    first = Papers()
    inputs = {**domain.officers, "shares.toml": folder / "shares.toml"}
    initialised = perform(Kind.TOKEN_INIT, first, "", inputs)
    serial = str(json.loads(initialised.read("token.json"))["token_serial"])
    site = '[tokens.{name}]\nserial = "' + serial + '"\nactivation = "shamir"\n'
    genesis = perform(Kind.ROOT_GENESIS, first, site.format(name="root"), {}, initialised)
    people = Papers(
        ("Which holders of the so PIN so far", ["mary", "mary, zoe", "ken, rosa"]),
        ("ada: your OLD share", ["I lost it"]),
        old=first.new,
    )
    shares = next_shares(folder / "shares", "changed")
    record = perform(KIND, people, site.format(name="token"), shares, genesis, initialised)
    return Changed(serial, genesis, record, people)


def pins(papers: dict[str, str]) -> tuple[Pin, Pin]:
    so = [papers[name] for name in ("rosa", "ken")]
    return pin_of(combine([papers["ada"], papers["lin"]])), pin_of(combine(so))


def test_new_quorums_open_the_token_and_old_papers_open_nothing(changed: Changed, domain: Domain) -> None:
    module = domain.softhsm.module
    (old_user, old_so), (user, so) = pins(changed.people.old), pins(changed.people.new)
    register = parse_register(changed.genesis.read("register.json"))
    with TokenSession.open(module, changed.serial, user) as session:
        key = private_key(session, bytes.fromhex(register.root.key_id))
        assert spki_sha256(key.public_key()) == register.root.spki_sha256  # the key is what it was
    assert count_objects_as_so(module, changed.serial, so) == 0
    with pytest.raises(WrongPin):
        TokenSession.open(module, changed.serial, old_user)
    with pytest.raises(WrongPin):
        count_objects_as_so(module, changed.serial, old_so)
    told = parse_token(changed.record.read("token.json"))
    assert (told.token_serial, told.holders.so) == (changed.serial, ("zoe", "rosa", "ken"))


def test_the_record_tells_who_gave_and_who_got_and_no_word_of_a_share(changed: Changed) -> None:
    entries = read_entries(changed.record.path)
    tried = [
        (entry["token"], entry["which"], entry["holders"])
        for entry in entries
        if entry.get("operation") == "try-quorum" and entry["entry"] == "intent"
    ]
    assert tried == [
        ("old-token", "user", ["ada", "grace"]),
        ("old-token", "so", ["ken", "rosa"]),
        ("token", "user", ["ada", "grace"]),
        ("token", "user", ["lin", "grace"]),
        ("token", "so", ["zoe", "rosa"]),
    ]
    assert [entry["refused"] for entry in entries if "refused" in entry] == [True, True]
    got = {entry["holder"] for entry in entries if entry["entry"] == "handed-over" and entry["accepted"]}
    assert got == {"ada", "grace", "lin", "zoe", "rosa", "ken"}
    text = (changed.record.path / "transcript.jsonl").read_text()
    for share in (*changed.people.old.values(), *changed.people.new.values()):
        assert " ".join(share.split()[2:5]) not in text
    assert verify_folder(changed.record.path).head == changed.record.head


def change_of(domain: Domain, folder: Path, label: str, site: str | None = None) -> Path:
    """A token of its own, initialised in a rehearsal, and the folder in which its holders change."""
    shares = folder.with_name(f"{folder.name}-shares.toml")
    shares.write_text(SHARES.format(label=label))
    before = rehearse_new(
        Kind.TOKEN_INIT,
        folder.with_name(f"{folder.name}-init"),
        inputs={**domain.officers, "shares.toml": shares},
        site=domain.site,
    )
    records = [domain.record(Kind.ROOT_GENESIS), before.path]
    new_folder(KIND, folder, records=records, inputs=next_shares(folder, label))
    text = domain.site.read_text().replace('rehearsed_as = "spare"', f'rehearsed_as = "{label}"')
    (folder / "site.toml").write_text(site or text)
    prepare(folder, at=utc_now(), previous=before.path)
    return folder


def test_old_shares_that_still_open_end_it(domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sealwright.ceremony.tokens.is_useless", lambda *_, **__: False)
    folder = change_of(domain, tmp_path / "change", "stubborn")
    with pytest.raises(PolicyViolation, match="the old shares still open the token token") as refused:
        rehearse(folder, unattended=True)
    assert refused.value.rule == "CER-SHARES-OLD"
    assert not (folder / "rehearsal-1/outputs").exists()


def test_holders_change_again_and_again(domain: Domain, tmp_path: Path) -> None:
    """In a rehearsal the new papers take the place of the old ones."""
    first = change_of(domain, tmp_path / "one", "again")
    record = rehearse(first, unattended=True)
    records = [domain.record(Kind.ROOT_GENESIS), record.path]
    folder = tmp_path / "two"
    new_folder(KIND, folder, records=records, inputs=next_shares(folder, "again"), site=first / "site.toml")
    prepare(folder, at=utc_now(), previous=record.path)
    assert rehearse(folder, unattended=True).head


def edit(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    return lambda told: told.update({key: value})


@pytest.mark.parametrize(
    ("key", "value", "rule", "why"),
    [
        ("label", "other", "CER-SHARES", "shares.toml is for a token labelled"),
        ("mode", "PRODUCTION", "CER-MODE", "token.json is of a PRODUCTION"),
    ],
)
def test_a_change_is_of_the_token_that_it_names(
    domain: Domain, tmp_path: Path, key: str, value: str, rule: str, why: str
) -> None:
    folder = tmp_path / "other"
    new_folder(KIND, folder, records=domain.before(KIND), inputs=domain.new_shares)
    prepare(folder, at=utc_now())
    path = folder / "inputs/token.json"
    told = {**json.loads(path.read_bytes()), key: value}
    path.write_text(json.dumps(told, sort_keys=True, separators=(",", ":")))
    with pytest.raises(PolicyViolation, match=why) as refused:
        prepare(folder, at=utc_now())
    assert refused.value.rule == rule


def test_another_token_s_holders_are_not_changed(domain: Domain, tmp_path: Path) -> None:
    folder = change_of(domain, tmp_path / "change", "right")
    path = folder / "inputs/token.json"
    told = {**json.loads(path.read_bytes()), "token_serial": "0123456789abcdef"}
    path.write_text(json.dumps(told, sort_keys=True, separators=(",", ":")))
    prepare(folder, at=utc_now())
    with pytest.raises(PolicyViolation, match=r"token.json is of 0123456789abcdef") as refused:
        rehearse(folder, unattended=True)
    assert refused.value.rule == "CER-SHARES"


@pytest.mark.parametrize("text", [b"", b"{}", b'{"label":"x"}', b"[]", b"\xff"])
def test_garbage_for_a_token_file_is_an_error_and_not_a_crash(text: bytes) -> None:
    with pytest.raises(InputError, match=r"token\.json"):
        parse_token(text)


# On the token


@dataclass
class Tries:
    """Logins as the token saw them: as whom, and whether it took the PIN."""

    made: list[tuple[int, bool]]


@pytest.fixture
def tries(monkeypatch: pytest.MonkeyPatch) -> Tries:
    seen = Tries([])
    login = Cryptoki.login

    def count(self: Cryptoki, session: int, user: int, pin: bytes | None) -> None:
        try:
            login(self, session, user, pin)
        except PKCS11Error:
            seen.made.append((user, False))
            raise
        seen.made.append((user, True))

    monkeypatch.setattr(Cryptoki, "login", count)
    return seen


USER, SO, NEW_USER, NEW_SO = (
    Pin("the users old one"),
    Pin("the officers old one"),
    Pin("a users new one"),
    Pin("a new so"),
)


def make_token(domain: Domain) -> str:
    return init_token(domain.softhsm.module_path, label="pins", so_pin=SO, user_pin=USER)


@pytest.mark.parametrize("done", [False, True])
def test_a_change_that_was_cut_off_costs_one_wrong_try_at_most(domain: Domain, tries: Tries, done: bool) -> None:
    module, serial = domain.softhsm.module, make_token(domain)
    if done:
        change_pin(module, serial, "user", old=USER, new=NEW_USER)
    tries.made.clear()
    assert finish_change(module, serial, "user", old=USER, new=NEW_USER, old_so=SO) is False
    assert tries.made == [(CKU_SO, True)]  # the user's PIN was not tried at all
    if done:
        change_pin(module, serial, "so", old=SO, new=NEW_SO)
    tries.made.clear()
    assert finish_change(module, serial, "so", old=SO, new=NEW_SO, old_so=SO) is done
    assert tries.made == ([(CKU_SO, True)] if done else [(CKU_SO, False), (CKU_SO, True)])
    with TokenSession.open(module, serial, NEW_USER):
        pass
    assert count_objects_as_so(module, serial, NEW_SO) == 0


def test_a_try_that_is_meant_to_be_refused_is_made_once_between_two_right_ones(domain: Domain, tries: Tries) -> None:
    module, serial = domain.softhsm.module, make_token(domain)
    assert is_useless(module, serial, "user", old=Pin("never was its PIN"), new=USER)
    assert tries.made[-3:] == [(CKU_USER, True), (CKU_USER, False), (CKU_USER, True)]
    assert not is_useless(module, serial, "so", old=SO, new=SO)
    with pytest.raises(WrongPin, match="refused its new user PIN"):
        is_useless(module, serial, "user", old=USER, new=Pin("not this one"))
    with pytest.raises(WrongPin, match="does not change its so PIN"):
        change_pin(module, serial, "so", old=Pin("not this one"), new=NEW_SO)


@pytest.mark.parametrize("flag", [TokenFlag.USER_PIN_FINAL_TRY, TokenFlag.USER_PIN_LOCKED])
def test_nothing_is_tried_when_a_wrong_one_could_lock_it(
    domain: Domain, tries: Tries, flag: TokenFlag, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, serial = domain.softhsm.module, make_token(domain)
    look = token._read_tokens

    def few(*arguments: Any) -> list[Token]:
        return [replace(each, flags=each.flags | flag) for each in look(*arguments)]

    monkeypatch.setattr(token, "_read_tokens", few)
    tries.made.clear()
    for act in (
        lambda: change_pin(module, serial, "user", old=USER, new=NEW_USER),
        lambda: is_useless(module, serial, "user", old=USER, new=NEW_USER),
    ):
        with pytest.raises(TokenError, match="nothing is tried"):
            act()
    assert tries.made == []
    change_pin(module, serial, "so", old=SO, new=NEW_SO)  # the other PIN is well


@pytest.mark.slow
def test_the_power_goes_at_either_side_of_every_change(domain: Domain, tmp_path: Path) -> None:
    """Papers are typed again; in the end the token opens by the new ones, and by no others."""
    prepared = change_of(domain, tmp_path / "prepared", "cut")
    serial = parse_token((prepared / "inputs/token.json").read_bytes()).token_serial
    places = {"store": domain.softhsm.config, "kept": domain.softhsm.directory / "pins"}
    copy_token(places["store"], serial, tmp_path / "pristine/softhsm2.conf")
    shutil.copytree(places["kept"], tmp_path / "pristine/pins")
    entries = read_entries(rehearse(prepared, unattended=True).path)
    shutil.rmtree(prepared / "rehearsal-1")
    table = []
    for place, entry in enumerate(entries):
        if entry.get("operation") in ("change-pin", "try-old", "try-quorum") or entry["entry"] in ("void", "splitting"):
            side = "after" if entry["entry"] in ("intent", "splitting") else "before"
            room = tmp_path / f"{place}-{side}"
            shutil.copytree(prepared, room)
            shutil.copytree(tmp_path / "pristine/pins", room / "store/pins")
            copy_token(tmp_path / "pristine/softhsm2.conf", serial, room / "store/softhsm2.conf")
            (room / "site.toml").write_text(
                f'[rehearsal]\nsofthsm_conf = "{room}/store/softhsm2.conf"\n'
                '[tokens.token]\nrehearsed_as = "cut"\nactivation = "shamir"\n'
            )
            told = "-".join(str(entry.get(part, "")) for part in ("operation", "which"))
            table.append(Cut(f"{place}-{side}-{told}", str(room), place, side))
    assert len(table) > 20
    assert cut_power(table) == {}
    adopted: dict[str, list[bool]] = {}
    for cut in table:
        record = Path(cut.folder) / "rehearsal-1"
        assert verify_folder(record).interruptions == 1
        changes = [each for each in read_entries(record) if each.get("operation") == "change-pin" and "adopted" in each]
        adopted[cut.name.partition("-")[2]] = [each["adopted"] for each in changes]
    assert adopted["before-change-pin-so"] == [False, True]
    assert adopted["after-change-pin-so"] == [False, False]
    assert adopted["before-change-pin-user"] == [False, False]
