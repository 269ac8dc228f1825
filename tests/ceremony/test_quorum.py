"""Tokens that only quorums open: PINs in shares, tokens initialised with them, and what happens to a mistyped share."""

import hashlib
import itertools
import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pkcs11 import TokenFlag

from ceremonies import SHARES, Cast, Domain, read_entries
from powerloss import Cut, cut_power
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.holders import parse_holders
from sealwright.ceremony.officers import parse_officers
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.record import CeremonyRecord
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.room import SecretQuestion
from sealwright.ceremony.script import Kind
from sealwright.ceremony.shamir import PIN_LENGTH, Collector, Division, combine, pin_of, split
from sealwright.ceremony.site import parse_site
from sealwright.ceremony.sitting import rehearse, run
from sealwright.ceremony.tokens import LivingTokens
from sealwright.errors import InputError, PolicyViolation, TokenError
from sealwright.hsm import token
from sealwright.hsm.cryptoki import CKU_USER, Cryptoki
from sealwright.hsm.initialise import WELL_KNOWN, check_default_pin_is_refused, init_token
from sealwright.hsm.pin import Pin
from sealwright.hsm.session import TokenSession
from sealwright.hsm.token import Token, find_token

pytestmark = pytest.mark.xdist_group("ceremony")


def test_every_subset_gives_the_secret_and_fewer_give_none() -> None:
    shares = split(Division(3, 5))
    secrets = {combine(subset) for subset in itertools.combinations(shares, 3)}
    assert len(secrets) == 1
    for subset in itertools.combinations(shares, 2):
        with pytest.raises(InputError):
            combine(subset)
    (secret,) = secrets
    assert len(secret) * 8 >= 128
    assert len(pin_of(secret).reveal()) == PIN_LENGTH


@pytest.mark.parametrize(("threshold", "shares"), [(1, 3), (3, 2), (2, 17), (0, 0)])
def test_a_division_that_is_no_quorum_is_refused(threshold: int, shares: int) -> None:
    with pytest.raises(PolicyViolation, match="CER-SHARES"):
        Division(threshold, shares)


def test_a_wrong_share_is_found_and_not_quoted() -> None:
    shares, others = split(Division(2, 3)), split(Division(2, 3))
    words = shares[0].split()
    wrong = {
        "19 words": " ".join(words[1:]),
        "no word of the list: word 3": " ".join([*words[:2], "hunter2", *words[3:]]),
        "the checksum is wrong": " ".join([words[1], words[0], *words[2:]]),
        "of another set": others[1],
        "given already": shares[1],
    }
    for reason, typed in wrong.items():
        collector = Collector()
        collector.take(shares[1])
        with pytest.raises(InputError, match=reason) as refused:
            collector.take(typed)
        assert "hunter2" not in f"{refused.value} {refused.value.hint} {refused.value.__context__}"
        assert collector.missing == 1
        assert collector.take(shares[2].upper().replace(" ", "  ")) == 3
        assert collector.missing == 0
        assert collector.pin() == pin_of(combine(shares[:2]))
        assert not any(word in repr(collector) for word in shares[1].split())


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"mary", "rosa", "ken"', '"mary", "rosa", "ada"', "share of both PINs"),
        ('"ada", "grace", "lin"', '"ada", "grace", "mallory"', "is no officer"),
        ('"ada", "grace", "lin"', '"ada", "grace", "grace"', "names a holder twice"),
        ('"ada", "grace", "lin"', '"ada", "grace"', "one lost paper"),
        ("threshold = 2", "threshold = 1", "2 or more"),
        (
            '[so]\nthreshold = 2\nholders = ["mary", "rosa", "ken"]',
            '[so]\nthreshold = 2\nholders = ["mary"]',
            "2 or mo",
        ),
    ],
)
def test_holders_that_are_no_dual_control_are_refused(domain: Domain, old: str, new: str, why: str) -> None:
    officers = parse_officers(domain.officers["officers.toml"].read_bytes())
    assert parse_holders(SHARES.format(label="root").encode(), officers).so == ("mary", "rosa", "ken")
    with pytest.raises(PolicyViolation, match=why) as refused:
        parse_holders(SHARES.format(label="root").replace(old, new, 1).encode(), officers)
    assert refused.value.rule == "CER-SHARES"


@dataclass
class Initialised:
    """A token-init that was performed, and what its holders have on paper."""

    record: CeremonyRecord
    people: "Papers"


class Papers(Cast):
    """Holders who write down what they are shown, and type it from the paper."""

    def __init__(self, *wrong: tuple[str, list[str]]) -> None:
        super().__init__(*wrong)
        self.papers: dict[str, str] = {}

    def show_secret(self, holder: str, what: str, secret: str) -> None:
        self.papers[holder] = secret

    def ask_secret(self, question: SecretQuestion) -> str:
        self.asked.append(question.prompt)
        for part, answers in self.wrong.items():
            if part in question.prompt and answers:
                return answers.pop(0)
        return self.papers[question.holder].upper()


def token_init(domain: Domain, folder: Path, label: str) -> Path:
    shares = folder.with_name(f"{folder.name}-shares.toml")
    shares.write_text(SHARES.format(label=label))
    new_folder(Kind.TOKEN_INIT, folder, inputs={**domain.officers, "shares.toml": shares}, site=domain.site)
    prepare(folder, at=utc_now())
    return folder


@pytest.fixture(scope="module")
def initialised(domain: Domain, tmp_path_factory: pytest.TempPathFactory) -> Initialised:
    """In production, after an unattended rehearsal of the same script."""
    folder = tmp_path_factory.mktemp("token") / "init"
    token_init(domain, folder, "vault-root")
    rehearse(folder, unattended=True)
    (folder / "site.toml").write_text(f'module = "{domain.softhsm.module_path}"\n')
    people = Papers(("type share 2 back", ["I did not write it down"]), ("lin: your share", ["hunter2 and so on"]))
    return Initialised(run(folder, people=people), people)


def serial_of(initialised: Initialised) -> str:
    return str(json.loads(initialised.record.read("token.json"))["token_serial"])


def test_a_token_is_initialised_and_opened_by_two_quorums(initialised: Initialised, domain: Domain) -> None:
    entries = read_entries(initialised.record.path)
    tried = [entry for entry in entries if entry.get("operation") == "try-quorum" and entry["entry"] == "intent"]
    assert [(entry["which"], entry["holders"]) for entry in tried] == [
        ("user", ["ada", "grace"]),
        ("user", ["lin", "grace"]),
        ("so", ["mary", "rosa"]),
    ]
    back = [entry for entry in entries if entry["entry"] == "handed-over"]
    assert {entry["holder"] for entry in back if entry["accepted"]} == {"ada", "grace", "lin", "mary", "rosa", "ken"}
    assert sum(not entry["accepted"] for entry in back) == 1
    default = [entry["entry"] for entry in entries if entry.get("operation") == "refuse-default-pin"]
    assert default == ["intent", "result"]
    assert find_token(domain.softhsm.module, serial_of(initialised)).label == "vault-root"
    assert initialised.record.read("officers.toml") == domain.officers["officers.toml"].read_bytes()


def test_no_share_and_no_pin_is_in_the_record(initialised: Initialised) -> None:
    papers = initialised.people.papers
    shares = [papers[name] for name in ("ada", "grace", "lin", "mary", "rosa", "ken")]
    pins = [pin_of(combine(shares[:2])).reveal(), pin_of(combine(shares[3:5])).reveal()]
    secrets = [*(share.encode() for share in shares), *pins, *(combine(two) for two in (shares[:2], shares[3:5]))]
    for path in initialised.record.path.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            assert not any(secret in data for secret in secrets)
            assert not any(hashlib.sha256(secret).hexdigest().encode() in data for secret in secrets)
            assert b"hunter2" not in data
            assert not any(" ".join(share.split()[2:5]).encode() in data for share in shares)


def test_a_mistyped_share_never_reaches_the_token(
    initialised: Initialised, domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """root-genesis on that token: the site says that it opens by shares."""
    logins: list[int] = []
    login = Cryptoki.login
    monkeypatch.setattr(
        Cryptoki, "login", lambda self, session, user, pin: (logins.append(user), login(self, session, user, pin))[1]
    )
    folder = tmp_path / "genesis"
    site = tmp_path / "site.toml"
    site.write_text(
        f'module = "{domain.softhsm.module_path}"\n[tokens.root]\nserial = "{serial_of(initialised)}"\n'
        'activation = "shamir"\n'
    )
    new_folder(Kind.ROOT_GENESIS, folder, ca=domain.ca, records=[initialised.record.path], site=site)
    prepare(folder, at=utc_now(), previous=initialised.record.path)
    share = initialised.people.papers["ada"].split()
    wrong = " ".join([share[0], share[2], share[1], *share[3:]])
    people = Papers(("ada: your share", [wrong] * 3))
    people.papers = initialised.people.papers
    rehearsals = (domain.record(Kind.ROOT_GENESIS),)
    with pytest.raises(PolicyViolation, match="gave 3 shares that were none") as refused:
        run(folder, people=people, rehearsals=rehearsals)
    assert refused.value.rule == "CER-SHARES"
    assert logins == []
    people = Papers(("ada: your share", [wrong]), ("grace: your share", [" ".join(share)]))
    people.papers = initialised.people.papers
    record = run(folder, people=people, rehearsals=rehearsals)
    assert logins == [CKU_USER]
    entries = read_entries(record.path)
    given = [(entry["holder"], entry["accepted"]) for entry in entries if entry["entry"] == "share"]
    assert given == [("ada", False), ("ada", True), ("grace", False), ("grace", True)]
    assert verify_folder(record.path).head == record.head
    assert entries[0]["previous"] == {"kind": "token-init", "head": initialised.record.head}
    shares = [initialised.people.papers[name] for name in ("ada", "grace", "lin")]
    assert not any(part.encode() in (record.path / "transcript.jsonl").read_bytes() for part in shares)


def test_a_share_of_the_other_pin_opens_nothing(initialised: Initialised) -> None:
    collector = Collector()
    collector.take(initialised.people.papers["ada"])
    with pytest.raises(InputError, match="another set"):
        collector.take(initialised.people.papers["mary"])


def test_a_token_with_short_pins_refuses_shares(
    domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = token_init(domain, tmp_path / "init", "short")
    monkeypatch.setattr(Cryptoki, "pin_lengths", lambda self, slot: (4, 8))
    with pytest.raises(PolicyViolation, match="takes PINs of 4 to 8 octets") as refused:
        rehearse(folder, unattended=True)
    assert refused.value.rule == "CER-PIN-LENGTH"


def test_a_token_that_holds_something_is_not_new(
    domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither before it is initialised nor, which only a token that lies could do, after it."""
    inspect, try_quorum = LivingTokens.inspect_new, LivingTokens.try_quorum
    with monkeypatch.context() as patch:
        patch.setattr(
            LivingTokens,
            "inspect_new",
            lambda self, token, label: replace(inspect(self, token, label), objects=1),
        )
        with pytest.raises(PolicyViolation, match="holds 1 objects; a new one is empty") as refused:
            rehearse(token_init(domain, tmp_path / "used", "used"), unattended=True)
    assert refused.value.rule == "CER-TOKEN-EMPTY"
    assert not [e for e in read_entries(tmp_path / "used/rehearsal-1") if e["entry"] == "splitting"]
    with monkeypatch.context() as patch:
        patch.setattr(LivingTokens, "try_quorum", lambda *words: try_quorum(*words) + 1)
        with pytest.raises(PolicyViolation, match="holds 1 objects, and is new") as refused:
            rehearse(token_init(domain, tmp_path / "lies", "lies"), unattended=True)
    assert refused.value.rule == "CER-TOKEN-EMPTY"


def test_a_label_that_is_taken_is_refused_before_anything_is_split(domain: Domain, tmp_path: Path) -> None:
    with pytest.raises(TokenError, match="labelled 'REHEARSAL root' already"):
        rehearse(token_init(domain, tmp_path / "init", "root"), unattended=True)
    assert not [e for e in read_entries(tmp_path / "init/rehearsal-1") if e["entry"] == "splitting"]


def test_a_pin_that_everybody_knows_is_found(domain: Domain) -> None:
    serial = init_token(
        domain.softhsm.module_path, label="factory", so_pin=Pin("another-one"), user_pin=Pin(WELL_KNOWN[0])
    )
    with pytest.raises(PolicyViolation, match="that everybody knows") as refused:
        check_default_pin_is_refused(domain.softhsm.module, serial)
    assert refused.value.rule == "CER-PIN-DEFAULT"


def test_a_pin_in_shares_lies_in_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has a pin_file and is opened by shamir"):
        parse_site(b'[tokens.root]\npin_file = "x"\nactivation = "shamir"\n', folder=tmp_path)


def test_a_token_with_a_keypad_is_opened_without_a_pin(domain: Domain, monkeypatch: pytest.MonkeyPatch) -> None:
    """No such token is at hand: a double stands for it, SoftHSM with a keypad on which somebody types."""
    serial, pin = domain.softhsm.new_token("keypad")
    with pytest.raises(TokenError, match="no keypad"):
        TokenSession.open(domain.softhsm.module, serial, None)

    typed: list[bytes | None] = []
    login, look = Cryptoki.login, token._read_tokens

    def at_the_keypad(self: Cryptoki, session: int, user: int, value: bytes | None) -> None:
        typed.append(value)
        login(self, session, user, pin.reveal())

    def with_keypad(*arguments: Any) -> list[Token]:
        return [replace(each, flags=each.flags | TokenFlag.PROTECTED_AUTHENTICATION_PATH) for each in look(*arguments)]

    monkeypatch.setattr(Cryptoki, "login", at_the_keypad)
    monkeypatch.setattr(token, "_read_tokens", with_keypad)
    tokens = LivingTokens(
        module=domain.softhsm.module_path,
        serials={"root": serial},
        pin_of=lambda name: pytest.fail("a PIN was asked for"),
        activation={"root": "external"},
    )
    assert tokens.open("root") == 0
    tokens.close_all()
    assert typed == [None]


@pytest.mark.slow
def test_the_power_goes_anywhere_in_a_token_init(domain: Domain, tmp_path: Path) -> None:
    """Shares that were handed out before are void, or typed again; in the end one token opens by what is on paper."""
    prepared = token_init(domain, tmp_path / "prepared", "root")

    def room(name: str) -> str:
        place = tmp_path / name
        shutil.copytree(prepared, place)
        (place / "site.toml").write_text(f'[rehearsal]\nsofthsm_conf = "{place}/store/softhsm2.conf"\n')
        return str(place)

    count = 90
    table = [Cut(f"{place}", room(f"cut-{place}"), place, "after") for place in range(8, count, 7)]
    table += [Cut(f"{place}-before", room(f"before-{place}"), place, "before") for place in range(9, count, 7)]
    said = cut_power(table)
    ended = {name: text for name, text in said.items() if "was not killed" not in text}
    assert ended == {}
    assert len(said) < len(table) // 2
    for cut in table:
        if cut.name not in said:
            assert verify_folder(Path(cut.folder) / "rehearsal-1").interruptions == 1
