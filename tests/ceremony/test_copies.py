"""Backup and restore: a copy is proven to be one, is in somebody's custody, and a bag that is not the recorded one
stays shut."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest

from ceremonies import Cast, Domain, read_entries
from powerloss import Cut, cut_power
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.custody import Custody, RegisteredCopy, update_copies
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.record import CeremonyRecord
from sealwright.ceremony.register import parse_register
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.room import Question
from sealwright.ceremony.script import Kind
from sealwright.ceremony.site import parse_site
from sealwright.ceremony.sitting import rehearse, run
from sealwright.errors import Conflict, InputError, PolicyViolation, StorageError, TokenError, TokenNotFound
from sealwright.hsm import softhsm
from sealwright.hsm.generation import generate_key
from sealwright.hsm.keys import private_key
from sealwright.hsm.pin import Pin
from sealwright.hsm.session import TokenSession
from sealwright.hsm.softhsm import copy_token, erase_token, has_token, make_store, use_store
from sealwright.pki.keys import KeyKind, spki_sha256

pytestmark = pytest.mark.xdist_group("ceremony")


def folder_of(domain: Domain, kind: Kind, folder: Path, *, site: str | None = None) -> Path:
    records = domain.before(kind)
    new_folder(kind, folder, ca=domain.ca, records=records, site=domain.site)
    if site is not None:
        (folder / "site.toml").write_text(site)
    prepare(folder, at=utc_now(), previous=records[-1])
    return folder


def site_with(domain: Domain, place: Path, *copies: str) -> str:
    """A rehearsal whose copies are in stores of their own, beside the domain's tokens."""
    stores = "".join(f'{name} = "{place / name}.conf"\n' for name in copies)
    return f"{domain.site.read_text()}[rehearsal.stores]\n{stores}"


@pytest.mark.parametrize(("kind", "name"), [(Kind.BACKUP, "copy"), (Kind.RESTORE, "restored")])
def test_a_copy_has_the_key_signs_what_was_signed_and_is_in_custody(domain: Domain, kind: Kind, name: str) -> None:
    record = domain.records[kind]
    register = parse_register(record.read("register.json"))
    store = domain.softhsm.directory / name / "softhsm2.conf"
    use_store(domain.softhsm.module_path, store)
    try:
        pin = Pin.from_file(domain.pin_file("root"))
        with TokenSession.open(domain.softhsm.module, register.copies[-1].token_serial, pin) as session:
            key = private_key(session, bytes.fromhex(register.root.key_id))  # reads its attributes back
            assert spki_sha256(key.public_key()) == register.root.spki_sha256
    finally:
        use_store(domain.softhsm.module_path, domain.softhsm.config)
    operations = [
        (entry["operation"], entry.get("token")) for entry in read_entries(record.path) if entry["entry"] == "result"
    ]
    cloned = operations.index(("clone-token", name))
    assert ("prove-key", name) in operations[cloned:]
    assert ("read-back", name) in operations[cloned:]
    told = json.loads(record.read("custody.json"))["copies"][name]
    assert told["made_here"]
    assert register.copies[-1].custody == Custody(**{part: told[part] for part in ("holder", "bag", "seal")})


def test_the_register_knows_every_copy_and_its_newest_bag(domain: Domain) -> None:
    before, after = (
        parse_register(domain.records[kind].read("register.json")).copies for kind in (Kind.BACKUP, Kind.RESTORE)
    )
    assert (len(before), len(after)) == (1, 2)
    assert before[0].made == after[0].made
    assert before[0].custody.seal != after[0].custody.seal
    assert "copies" not in json.loads(domain.records[Kind.REVOKE_ISSUING_CA].read("register.json"))


def test_the_store_of_a_copy_is_its_owner_s_alone(domain: Domain) -> None:
    place = domain.softhsm.directory / "copy"
    assert place.stat().st_mode & 0o077 == 0
    modes = {path.stat().st_mode & 0o777 for path in (place / "tokens").rglob("*")}
    assert modes == {0o700, 0o600}


def test_a_bag_whose_numbers_are_not_the_registered_ones_is_not_opened(domain: Domain, tmp_path: Path) -> None:
    folder = folder_of(domain, Kind.RESTORE, tmp_path / "restore")
    people = Cast(("The bag of the token copy", ["BAG-1 SEAL-9"] * 3))
    with pytest.raises(PolicyViolation, match="one that differs is not opened") as refused:
        rehearse(folder, people=people)
    assert refused.value.rule == "CER-ANSWER"
    assert not [entry for entry in read_entries(folder / "rehearsal-1") if entry["entry"] == "intent"]


def test_without_a_registered_copy_nothing_is_restored(domain: Domain, tmp_path: Path) -> None:
    folder = tmp_path / "restore"
    records = [domain.record(each) for each in (Kind.ROOT_GENESIS, Kind.REVOKE_ISSUING_CA)]
    new_folder(Kind.RESTORE, folder, ca=domain.ca, records=records, site=domain.site)
    prepare(folder, at=utc_now())
    with pytest.raises(PolicyViolation, match="the register knows no copy") as refused:
        rehearse(folder, unattended=True)
    assert refused.value.rule == "CER-COPY"


def test_a_number_is_read_by_two_and_used_once(domain: Domain, tmp_path: Path) -> None:
    people = Cast(
        ("The number of the bag of the token restored", ["BAG-1", "B-77"]),  # that one is of the old copy's bag
        ("The witness reads the number of the same seal", ["SEAL-99"]),
    )
    record = rehearse(folder_of(domain, Kind.RESTORE, tmp_path / "restore"), people=people)
    assert "Two different numbers" in "\n".join(people.told)
    wrong = [entry["question"] for entry in read_entries(record.path) if entry.get("accepted") is False]
    assert wrong == ["The number of the bag of the token restored, as it is printed on it"]
    never = Cast(("The witness reads the number of the same seal", ["SEAL-99"] * 3))
    with pytest.raises(PolicyViolation, match="was read in two ways, 3 times") as refused:
        rehearse(folder_of(domain, Kind.RESTORE, tmp_path / "never"), people=never)
    assert refused.value.rule == "CER-CUSTODY"


def registered(bag: str, seal: str) -> RegisteredCopy:
    custody = Custody(holder="rosa", bag=bag, seal=seal)
    return RegisteredCopy(token_serial="77", made="2026-12-01T09:00:00Z", custody=custody)


@pytest.mark.parametrize("bag", ["BAG-1", "SEAL-1", "SEAL-3"])
def test_no_register_has_one_number_twice(bag: str) -> None:
    def update(bag: str) -> tuple[RegisteredCopy, ...]:
        custody = {"copy": Custody(holder="rosa", bag=bag, seal="SEAL-3")}
        return update_copies(
            (registered("BAG-1", "SEAL-1"),),
            taken={},
            custody=custody,
            serials={"copy": "78"},
            at="2027-01-01T00:00:00Z",
        )

    assert [copy.token_serial for copy in update("BAG-3")] == ["77", "78"]
    with pytest.raises(PolicyViolation, match=f"the number {bag} is of another") as refused:
        update(bag)
    assert refused.value.rule == "CER-CUSTODY"


def test_a_token_with_another_key_is_no_copy(domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As if the clone had taken the wrong partition: a key with the root's CKA_ID, and not the root's."""
    register = parse_register(domain.records[Kind.BACKUP].read("register.json"))

    def other_key(source: Path, serial: str, destination: Path) -> None:
        copy_token(source, serial, destination)
        use_store(domain.softhsm.module_path, destination)
        with TokenSession.open(domain.softhsm.module, serial, Pin.from_file(domain.pin_file("root"))) as session:
            session.call_once(
                lambda worker: [each.destroy() for each in list(worker.native.get_objects({}))], doing="losing the key"
            )
            generate_key(session, KeyKind.P256, key_id=bytes.fromhex(register.root.key_id), label="other")

    monkeypatch.setattr("sealwright.ceremony.tokens.copy_token", other_key)
    folder = folder_of(domain, Kind.BACKUP, tmp_path / "backup", site=site_with(domain, tmp_path, "copy"))
    with pytest.raises(PolicyViolation, match="is not the root's: it is no copy") as refused:
        rehearse(folder, unattended=True)
    assert refused.value.rule == "CER-COPY"
    assert not (folder / "rehearsal-1/outputs").exists()


def test_a_copy_without_the_key_is_refused(domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(source: Path, serial: str, destination: Path) -> None:
        copy_token(source, serial, destination)
        for path in softhsm._folder(destination, serial).glob("*-*.object"):  # type: ignore[union-attr]  # it is there
            path.unlink()

    monkeypatch.setattr("sealwright.ceremony.tokens.copy_token", nothing)
    folder = folder_of(domain, Kind.BACKUP, tmp_path / "backup", site=site_with(domain, tmp_path, "copy"))
    with pytest.raises(PolicyViolation, match="the token copy holds 0 private keys; wanted 1") as refused:
        rehearse(folder, unattended=True)
    assert refused.value.rule == "CER-TOKEN-KEYS"


def test_no_copy_is_written_over_another(domain: Domain, tmp_path: Path) -> None:
    site = site_with(domain, tmp_path, "copy")
    rehearse(folder_of(domain, Kind.BACKUP, tmp_path / "one", site=site), unattended=True)
    with pytest.raises(Conflict, match="has a token with serial number"):
        rehearse(folder_of(domain, Kind.BACKUP, tmp_path / "two", site=site), unattended=True)


def test_a_production_site_says_where_a_softhsm_s_copy_goes() -> None:
    with pytest.raises(InputError, match="has the driver softhsm, and no softhsm_conf"):
        parse_site(b'[tokens.copy]\ndriver = "softhsm"\n', folder=Path())
    text = b'[tokens.copy]\ndriver = "softhsm"\nsofthsm_conf = "copy/softhsm2.conf"\n'
    site = parse_site(text, folder=Path("/room"))
    assert site.store("copy") == Path("/room/copy/softhsm2.conf")
    assert (site.driver("copy", rehearsal=False), site.driver("root", rehearsal=False)) == ("softhsm", "vendor")


# A token's folder


def test_a_token_is_copied_whole_or_not_at_all(domain: Domain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    serial, _ = domain.softhsm.new_token("whole")
    conf = tmp_path / "softhsm2.conf"
    make_store(conf)
    copied: list[str] = []
    copy_file = softhsm._copy_file

    def fails(path: Path, copy: Path) -> None:
        copied.append(path.name)
        if len(copied) == 2:
            raise OSError(28, "No space left on device")
        copy_file(path, copy)

    with monkeypatch.context() as full:
        full.setattr(softhsm, "_copy_file", fails)
        with pytest.raises(StorageError, match="No space left"):
            copy_token(domain.softhsm.config, serial, conf)
    assert not has_token(conf, serial)
    copy_token(domain.softhsm.config, serial, conf)
    assert has_token(conf, serial)
    original = domain.softhsm.token_directory(serial)
    (copy,) = (tmp_path / "tokens").iterdir()
    assert {path.name: path.read_bytes() for path in copy.iterdir()} == {
        path.name: path.read_bytes() for path in original.iterdir()
    }
    assert sorted(path.name for path in tmp_path.iterdir()) == ["softhsm2.conf", "tokens"]
    with pytest.raises(TokenNotFound, match="has no token with serial number 0123"):
        copy_token(domain.softhsm.config, "0123456789abcdef", conf)
    (original / "link").symlink_to("/etc/passwd")
    try:
        with pytest.raises(StorageError, match="is no file"):
            copy_token(domain.softhsm.config, serial, tmp_path / "other/softhsm2.conf")
    finally:
        (original / "link").unlink()
    erase_token(conf, serial)
    erase_token(conf, serial)
    assert not has_token(conf, serial)
    assert list((tmp_path / "tokens").iterdir()) == []


def test_nobody_is_logged_out_by_a_look_into_another_store(domain: Domain, tmp_path: Path) -> None:
    make_store(tmp_path / "softhsm2.conf")
    with (
        domain.softhsm.open_token("busy"),
        pytest.raises(TokenError, match="is logged in to a token of the SoftHSM store"),
    ):
        use_store(domain.softhsm.module_path, tmp_path / "softhsm2.conf")
    assert softhsm.current_store() == domain.softhsm.config


# Production, and the power


@dataclass
class Production:
    """A root of production, which here is SoftHSM's too. ``site``: its token, and how to open it."""

    domain: Domain
    folder: Path
    genesis: CeremonyRecord
    serial: str
    pin: Pin

    def perform(self, kind: Kind, name: str, site: str, people: Cast, *after: CeremonyRecord) -> CeremonyRecord:
        folder = self.folder / name
        records = [self.genesis.path, *(record.path for record in after)]
        new_folder(kind, folder, ca=self.domain.ca, records=records)
        (folder / "site.toml").write_text(f'module = "{self.domain.softhsm.module_path}"\n{site}')
        prepare(folder, at=utc_now(), previous=records[-1])
        return run(folder, people=people, rehearsals=(self.domain.record(kind),), pin_of=lambda _: self.pin)


@pytest.fixture(scope="module")
def production(domain: Domain, tmp_path_factory: pytest.TempPathFactory) -> Production:
    folder = tmp_path_factory.mktemp("production")
    serial, pin = domain.softhsm.new_token("vault root")
    new_folder(Kind.ROOT_GENESIS, folder / "genesis", ca=domain.ca, inputs=domain.officers)
    (folder / "genesis/site.toml").write_text(
        f'module = "{domain.softhsm.module_path}"\n[tokens.root]\nserial = "{serial}"\n'
    )
    prepare(folder / "genesis", at=utc_now())
    genesis = run(
        folder / "genesis",
        people=Cast(),
        rehearsals=(domain.record(Kind.ROOT_GENESIS),),
        pin_of=lambda _: pin,
    )
    return Production(domain, folder, genesis, serial, pin)


def test_in_production_a_softhsm_is_copied_and_restored_to_stores_of_its_own(production: Production) -> None:
    root = f'[tokens.root]\nserial = "{production.serial}"\n'
    copy = f'[tokens.copy]\ndriver = "softhsm"\nsofthsm_conf = "{production.folder}/safe/softhsm2.conf"\n'
    restored = f'[tokens.restored]\ndriver = "softhsm"\nsofthsm_conf = "{production.folder}/new/softhsm2.conf"\n'
    backup = production.perform(Kind.BACKUP, "backup", root + copy, Cast())
    site = f'{copy}serial = "{production.serial}"\n{restored}'
    done = production.perform(Kind.RESTORE, "restore", site, Cast(), backup)
    assert softhsm.current_store() == production.domain.softhsm.config
    assert len(parse_register(done.read("register.json")).copies) == 2
    for record in (backup, done):
        assert verify_folder(record.path).mode == "PRODUCTION"
        cloned = next(each for each in read_entries(record.path) if each.get("operation") == "clone-token")
        assert (cloned["driver"], cloned["serial"]) == ("softhsm", production.serial)


class Vendor(Cast):
    """Clones when it is asked to, as a maker's tool does: the same objects, on a token with a number of its own."""

    def __init__(self, production: Production, serial: str, *wrong: tuple[str, list[str]]) -> None:
        super().__init__(*wrong)
        self._production, self._serial = production, serial

    def ask(self, question: Question) -> str:
        if question.prompt.startswith("Clone the token"):
            old = self._production.domain.softhsm.token_directory(self._production.serial)
            new = old.with_name(f"{old.name[:19]}{self._serial[:4]}-{self._serial[4:]}")
            if not new.exists():
                shutil.copytree(old, new)
                token = new / "token.object"
                token.write_bytes(token.read_bytes().replace(self._production.serial.encode(), self._serial.encode()))
        return super().ask(question)


def test_a_vendor_s_clone_is_the_operator_s_work_and_is_proven_all_the_same(production: Production) -> None:
    serial = "00c0ffee00c0ffee"
    site = f'[tokens.root]\nserial = "{production.serial}"\n[tokens.copy]\nserial = "{serial}"\n'
    people = Vendor(production, serial, ("When the tool says that it is done", ["it failed"]))
    record = production.perform(Kind.BACKUP, "vendor", site, people)
    (copy,) = parse_register(record.read("register.json")).copies
    assert copy.token_serial == serial
    entries = read_entries(record.path)
    said = [(each["answer"], each["accepted"]) for each in entries if "Clone the token" in str(each.get("question"))]
    assert said == [("it ...", False), ("cloned", True)]
    consents = [each for each in entries if each["entry"] == "signature" and each.get("to") == "clone"]
    assert {(each["by"], each["serial"]) for each in consents} == {
        ("ada", production.serial),
        ("grace", production.serial),
    }


def test_a_vendor_s_clone_that_is_the_same_token_is_none(production: Production) -> None:
    site = f'[tokens.root]\nserial = "{production.serial}"\n[tokens.copy]\nserial = "{production.serial}"\n'
    with pytest.raises(PolicyViolation, match=r"site.toml has the serial .* for copy, and for root") as refused:
        production.perform(Kind.BACKUP, "same", site, Cast())
    assert refused.value.rule == "CER-TOKEN-TWICE"


@pytest.mark.slow
@pytest.mark.parametrize("kind", [Kind.BACKUP, Kind.RESTORE])
def test_the_power_goes_at_either_side_of_every_token_operation(domain: Domain, kind: Kind, tmp_path: Path) -> None:
    prepared, table = folder_of(domain, kind, tmp_path / "prepared"), []
    for place, entry in enumerate(read_entries(domain.record(kind))):
        sides = {"intent": "after", "result": "before", "custody": "before", "closed": "before"}
        if (side := sides.get(entry["entry"])) is None:
            continue
        room = tmp_path / f"{place}-{side}"
        shutil.copytree(prepared, room)
        shutil.copytree(domain.softhsm.tokens, room / "store/tokens")
        if kind is Kind.RESTORE:
            shutil.copytree(domain.softhsm.directory / "copy/tokens", room / "store/copy/tokens")
            (room / "store/copy/softhsm2.conf").write_text(conf(room / "store/copy/tokens"))
        (room / "site.toml").write_text(
            f'[rehearsal]\nsofthsm_conf = "{room}/store/softhsm2.conf"\n'
            f'[tokens.root]\npin_file = "{domain.pin_file("root")}"\n'
        )
        told = "-".join(str(entry.get(part, "")) for part in ("operation", "token")).strip("-")
        table.append(Cut(f"{place}-{side}-{told}", str(room), place, side))
    assert len(table) > 20
    assert cut_power(table) == {}
    adopted = {}
    for cut in table:
        record = Path(cut.folder) / "rehearsal-1"
        assert verify_folder(record).interruptions == 1
        cloned = next(
            entry
            for entry in read_entries(record)
            if (entry["entry"], entry.get("operation")) == ("result", "clone-token")
        )
        adopted[cut.name.partition("-")[2]] = cloned["adopted"]
    name = "copy" if kind is Kind.BACKUP else "restored"
    assert adopted[f"before-clone-token-{name}"] is True
    assert adopted[f"after-clone-token-{name}"] is False


def conf(tokens: Path) -> str:
    return f"directories.tokendir = {tokens}\nobjectstore.backend = file\nlog.level = ERROR\n"
