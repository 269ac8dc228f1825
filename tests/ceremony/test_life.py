"""A PKI lives its whole life on a simulated clock. At each point OpenSSL, GnuTLS and Java say the same, which is what
was decided; and each ledger's audit passes, from its first entry to its last."""

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509

from ceremonies import read_entries
from lifetime import Life, Online, days, hours
from moments import ask_all
from sealwright.ceremony.record import CeremonyRecord
from sealwright.ceremony.register import parse_register
from sealwright.ceremony.script import Kind
from sealwright.errors import PolicyViolation
from sealwright.hsm.softhsm import erase_token, use_store
from softhsm import TokenFactory
from verifiers import GOOD, REFUSED, REVOKED
from world import call

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("ceremony")]

Link = bytes | x509.Certificate


def moment(day: str) -> datetime:
    return datetime.fromisoformat(day).replace(hour=9, tzinfo=UTC)


@dataclass
class Story:
    """``old`` and ``new``: the two roots. ``one`` and ``two`` issue under the old one, ``three`` under the new."""

    old: Life
    new: Life
    online: dict[str, Online] = field(default_factory=dict)
    leaves: dict[str, x509.Certificate] = field(default_factory=dict)

    def output(self, record: str, name: str) -> bytes:
        return self.old.records[record].read(name)

    def work(self, name: str, at: datetime) -> x509.Certificate:
        """A day at the office: one certificate, and that day's CRL."""
        online = self.online[name]
        with online.at_work(at) as world:
            self.leaves[name] = online.issue(world)
        return self.leaves[name]

    def publish(self, name: str, at: datetime) -> None:
        """A day on which nothing happens but the CRL."""
        with self.online[name].at_work(at):
            pass

    def issuing(self, record: str) -> bytes:
        return self.output(record, "issuing.pem")

    def ask(self, name: str, at: datetime, verdict: str, *chain: Link, root: int = 1, lists: str = "") -> None:
        """``root``: which is trusted, alone. ``lists``: the issuing CAs whose CRLs are shown beside the roots'."""
        crls = [life.files["root.crl"].read_bytes() for life in (self.old, self.new) if "root.crl" in life.files]
        crls += [self.online[each].crls[-1] for each in lists.split()]
        anchor = self.output(f"genesis-{root}", "root.pem")
        self.old.ask(name, at, verdict, chain=list(chain), anchor=anchor, crls=crls)

    def audit(self) -> None:
        for name, online in self.online.items():
            assert online.audit().problems == [], name


@pytest.fixture
def story(softhsm: TokenFactory, tmp_path: Path) -> Iterator[Story]:
    assert softhsm.module  # its store is in use before ours: the one to come back to
    life = Life.begin(tmp_path / "life", softhsm.module_path)
    yield Story(life, life.other())
    use_store(softhsm.module_path, softhsm.config)


def test_a_pki_lives_and_everybody_agrees_at_each_point(story: Story) -> None:
    chapters = (
        the_first_day,
        the_yearly_crl_and_an_officer_who_leaves,
        the_issuing_ca_is_renewed,
        the_issuing_ca_gets_a_new_key,
        the_root_s_token_dies_and_the_copy_is_restored,
        the_second_issuing_ca_is_compromised,
        the_new_root_takes_over,
        the_years_go_by,
        the_old_root_s_key_is_destroyed,
    )
    for chapter in chapters:
        chapter(story)
        story.audit()
    said = ask_all(story.old.folder / "shown", [question for question, _ in story.old.questions])
    wrong = {
        (question.name, verifier): verdict
        for question, wanted in story.old.questions
        for verifier, verdict in said[question.name].items()
        if verdict.split()[0].strip(":") != wanted
    }
    assert wrong == {}
    assert len(said) == len(story.old.questions) >= 20
    crls = [x509.load_der_x509_crl(data) for data in story.old.crls]
    numbers = [crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number for crl in crls]
    assert numbers == list(range(1, len(numbers) + 1))
    for before, after in itertools.pairwise(crls):
        assert before.next_update_utc is not None
        assert after.last_update_utc < before.next_update_utc, "there was a day without a root CRL"


def found(life: Life, root: int, issuing: int, at: datetime) -> None:
    """A root and its issuing CA, on tokens with these numbers, and the CRL that knows of both."""
    ca, tokens, shared = life.ca(root, issuing), {"root": f"root-{root}"}, SHARED if root == 2 else ()
    officers = {"officers.toml": life.folder / "officers.toml"}
    life.perform(f"genesis-{root}", Kind.ROOT_GENESIS, at, ca=ca, inputs=officers, tokens=tokens, shared=shared)
    make_key(life, ca, issuing, at)
    life.perform(f"ca-{issuing}", Kind.ISSUING_CA, at + hours(1), ca=ca, tokens=tokens, shared=shared)
    yearly_crl(life, ca, at + hours(2))


SHARED = ("root",)
"""In the second root's own ceremonies: its token is opened by shares."""


def shares(life: Life, officer: str) -> dict[str, Path]:
    """Who opens the token in reserve."""
    path = life.folder / f"shares-{officer}.toml"
    path.write_text(
        f'label = "root-2"\n[user]\nthreshold = 2\nholders = ["olga", "omar", "{officer}"]\n'
        '[so]\nthreshold = 2\nholders = ["bob", "carol", "nina"]\n'
    )
    return {"shares.toml": path}


def make_key(life: Life, ca: Path, issuing: int, at: datetime) -> None:
    keys = {name: f"{name}-{issuing}" for name in ("issuing", "ocsp", "ledger")}
    life.perform(f"key-{issuing}", Kind.ISSUING_KEY, at, ca=ca, tokens=keys)


def yearly_crl(life: Life, ca: Path, at: datetime, kind: Kind = Kind.ROOT_CRL, **inputs: Path) -> CeremonyRecord:
    """``ca`` is ca-ROOT-ISSUING."""
    number = ca.name.split("-")[1]
    name, tokens = f"crl-{number}-{at:%Y-%m-%d}", {"root": f"root-{number}"}
    shared = SHARED if number == "2" else ()
    return life.perform(name, kind, at, ca=ca, tokens=tokens, inputs=inputs, shared=shared)


# The chapters


def the_first_day(story: Story) -> None:
    """A token in reserve, opened by shares; root, issuing CA, a CRL that knows of it; a copy of the root's key for
    the safe."""
    at, old = moment("2027-01-11"), story.old
    ca, officers = old.ca(1, 1), {"officers.toml": old.folder / "officers.toml"}
    old.perform("reserve", Kind.TOKEN_INIT, at, ca=ca, inputs=officers | shares(old, "odile"))
    found(old, 1, 1, at)
    safe = {"copy": old.folder / "safe/softhsm2.conf"}
    old.perform("backup", Kind.BACKUP, at + hours(3), ca=old.ca(1, 1), tokens={"root": "root-1"}, stores=safe)
    at = moment("2027-01-12")
    records = ["genesis-1", "key-1", "ca-1", "crl-1-2027-01-11"]
    one = story.online["one"] = old.go_online("one", records, old.ca(1, 1), "-1", at)
    with one.at_work(at) as world:
        leaf, lost = one.issue(world), one.issue(world)
        world.clock.pass_(hours=1)
        one.revoke(world, lost)
    story.leaves["one"] = leaf
    for name, certificate, verdict in (("first", leaf, GOOD), ("lost", lost, REVOKED)):
        story.ask(name, at + hours(2), verdict, certificate, story.issuing("ca-1"), lists="one")


def the_yearly_crl_and_an_officer_who_leaves(story: Story) -> None:
    """odile leaves: the others sign the roster without odile, whose word counts no more; and wanda has a share of
    the token in reserve, of which odile's paper opens nothing any more."""
    at, one, issuing = moment("2027-12-20"), story.online["one"], story.issuing("ca-1")
    one.take(yearly_crl(story.old, story.old.ca(1, 1), at), at)
    story.publish("one", at)
    story.ask("first-year", at + hours(1), GOOD, story.leaves["one"], issuing, lists="one")
    at = moment("2028-01-10")
    one.officers = ("olga", "omar", "wanda")
    with one.at_work(at) as world:
        roster = world.roster(one.roster + 1, officers=one.named())
        with pytest.raises(PolicyViolation):
            call(world, "publish-roster", roster=world.signed(roster, "olga", "odile").to_wire())
        story.leaves["one"] = one.issue(world)
    token = {"token": "root-2"}
    given, by_shares = shares(story.old, "wanda"), ("token",)
    story.old.perform(
        "change", Kind.OFFICERS_CHANGE, at, ca=story.old.ca(1, 1), inputs=given, tokens=token, shared=by_shares
    )
    story.ask("after-odile", at + hours(1), GOOD, story.leaves["one"], issuing, lists="one")


def the_issuing_ca_is_renewed(story: Story) -> None:
    """With its own key: what it issued before verifies under either certificate, and so does what it issues now."""
    at, old, one, root = moment("2028-06-01"), story.old, story.online["one"], {"root": "root-1"}
    same = old.script(Kind.ISSUING_CA_RENEWAL, '\nkey = "new"', '\nkey = "same"')
    one.take(old.perform("renewal", Kind.ISSUING_CA_RENEWAL, at, ca=old.ca(1, 1), script=same, tokens=root), at)
    before, after = story.leaves["one"], story.work("one", at + days(1))
    for name, leaf in (("before", before), ("after", after)):
        for issuer in ("ca-1", "renewal"):
            story.ask(f"{name}-by-{issuer}", at + days(1.1), GOOD, leaf, story.issuing(issuer), lists="one")


def the_issuing_ca_gets_a_new_key(story: Story) -> None:
    """And with it a new name, new tokens and a ledger of its own, beside the one that goes on answering."""
    at, old, ca = moment("2028-09-01"), story.old, story.old.ca(1, 2)
    make_key(old, ca, 2, at)
    old.perform("ca-2", Kind.ISSUING_CA_RENEWAL, at + hours(1), ca=ca, tokens={"root": "root-1"})
    at = at + days(1)
    records = ["genesis-1", "key-2", "ca-2", "crl-1-2027-12-20"]
    story.online["two"] = old.go_online("two", records, ca, "-2", at)
    for name, issuer in (("two", "ca-2"), ("one", "renewal")):
        leaf = story.work(name, at)
        story.ask(f"rekeyed-{name}", at + hours(1), GOOD, leaf, story.issuing(issuer), lists=name)


def the_root_s_token_dies_and_the_copy_is_restored(story: Story) -> None:
    """The copy comes out of the safe; from then on the restored token is the root's."""
    at, old = moment("2028-12-09"), story.old
    erase_token(old.store, parse_register(old.files["register.json"].read_bytes()).root.token_serial)
    stores = {"copy": old.folder / "safe/softhsm2.conf", "restored": old.folder / "restored/softhsm2.conf"}
    old.perform("restore", Kind.RESTORE, at, ca=old.ca(1, 1), tokens={"root": "root-1"}, stores=stores)
    old.store = story.new.store = stores["restored"]
    at = moment("2028-12-10")
    record = yearly_crl(old, old.ca(1, 1), at)
    for name, issuer in (("one", "renewal"), ("two", "ca-2")):
        story.online[name].take(record, at)
        leaf = story.work(name, at + hours(1))
        story.ask(f"restored-{name}", at + hours(2), GOOD, leaf, story.issuing(issuer), lists=name)


def the_second_issuing_ca_is_compromised(story: Story) -> None:
    """Known one morning, revoked before the next: everything under it dies, and nothing under the other."""
    known, old = moment("2029-03-10"), story.old
    at = known + hours(20)
    decision = old.decide(story.issuing("ca-2"), known)
    dying = {"decision.toml": decision, "issuing.pem": old.records["ca-2"].path / "outputs/issuing.pem"}
    record = yearly_crl(old, old.ca(1, 1), at, Kind.REVOKE_ISSUING_CA, **dying)
    (decided,) = [entry for entry in read_entries(record.path) if entry["entry"] == "decision"]
    assert decided["in_time"]
    for name, issuer, verdict in (("one", "renewal", GOOD), ("two", "ca-2", REVOKED)):
        story.online[name].take(record, at)
        story.publish(name, at + hours(1))
        leaf = story.leaves[name]
        story.ask(f"compromised-{name}", at + hours(2), verdict, leaf, story.issuing(issuer), lists=name)


def the_new_root_takes_over(story: Story) -> None:
    """Whoever trusts one root alone, either one, accepts what lives under both, and refuses what was revoked."""
    at, old, new, ca = moment("2029-12-01"), story.old, story.new, story.old.ca(2, 3)
    old.move_token("root-2", json.loads(story.output("change", "token.json"))["token_serial"])
    found(new, 2, 3, at)
    inputs = {f"new-{name}": new.files[name] for name in ("anchor.json", "root.pem", "register.json", "issuing.pem")}
    inputs |= {"new-pki.toml": ca / "pki.toml", "issuing.pem": old.records["renewal"].path / "outputs/issuing.pem"}
    tokens = {"root": "root-1", "new-root": "root-2"}
    at = at + days(1)
    done = old.perform(
        "rollover", Kind.ROOT_ROLLOVER, at, ca=old.ca(1, 1), inputs=inputs, tokens=tokens, shared=("new-root",)
    )
    new.files["register.json"] = done.path / "outputs/new-register.json"
    at = at + days(1)
    story.online["three"] = new.go_online("three", ["genesis-2", "key-3", "ca-3", "crl-2-2029-12-01"], ca, "-3", at)
    story.work("three", at)
    story.publish("one", at)
    story.publish("two", at)
    for name, issuer, own, other, cross, verdict in (
        ("one", "renewal", 1, 2, "old-with-new.pem", GOOD),
        ("two", "ca-2", 1, 2, "old-with-new.pem", REVOKED),
        ("three", "ca-3", 2, 1, "new-with-old.pem", GOOD),
    ):
        chain = (story.leaves[name], story.issuing(issuer))
        story.ask(f"rolled-{name}", at + hours(1), verdict, *chain, root=own, lists=name)
        story.ask(f"crossed-{name}", at + hours(1), verdict, *chain, done.read(cross), root=other, lists=name)


def the_years_go_by(story: Story) -> None:
    """The old root issues nothing more, and makes its CRL each year, as long as anything under it is answered for."""
    old, end = story.old, x509.load_pem_x509_certificate(story.issuing("renewal")).not_valid_after_utc
    cross = story.output("rollover", "new-with-old.pem")
    at = moment("2030-03-01")
    while at < moment("2042-06-01"):
        yearly_crl(old, old.ca(1, 1), at)
        living = at + hours(1) < end
        story.ask(f"living-{at:%Y-%m-%d}", at + hours(1), GOOD if living else REFUSED, story.issuing("renewal"))
        if living:
            story.ask(f"dead-{at:%Y-%m-%d}", at + hours(1), REVOKED, story.issuing("ca-2"))
        at += days(360)
    yearly_crl(story.new, old.ca(2, 3), at - days(100))  # of the new root's years only this last one is asked about
    story.ask("late", at - days(99), GOOD, story.issuing("ca-3"), cross)


def the_old_root_s_key_is_destroyed(story: Story) -> None:
    """Nothing under it is valid any more. The new one stands alone, and needs nobody's word."""
    old, cross = story.old, story.output("rollover", "new-with-old.pem")
    end = x509.load_pem_x509_certificate(story.output("genesis-1", "root.pem")).not_valid_after_utc
    decision = old.folder / "destruction.toml"
    digest = parse_register(old.files["register.json"].read_bytes()).root.sha256
    decision.write_text(
        f'root_sha256 = "{digest}"\ndecided_by = ["olga", "omar"]\nwhy = "root 2 took over long ago"\n'
        '[[lost]]\nwhat = "original"\nsince = "2028-12-08T00:00:00Z"\nwhy = "its chip died; protocol 8/2028"\n'
    )
    stores = {"copy": old.folder / "safe/softhsm2.conf", "copy-2": old.folder / "restored/softhsm2.conf"}
    at = end.replace(minute=0, second=0) + days(2)

    def destroy(at: datetime) -> CeremonyRecord:
        return old.perform(
            f"destruction-{at:%Y}",
            Kind.KEY_DESTRUCTION,
            at,
            ca=old.ca(1, 1),
            inputs={"destruction.toml": decision},
            tokens={"root": "root-1"},
            stores=stores,
        )

    with pytest.raises(PolicyViolation) as refused:  # while the new root's certificate by the old one is valid
        destroy(moment("2042-06-02"))
    assert refused.value.rule == "CER-DEPENDS"
    destroyed = json.loads(destroy(at).read("destruction.json"))
    assert set(destroyed["tokens"]) == {"copy", "copy-2"}
    yearly_crl(story.new, old.ca(2, 3), at)
    story.ask("alone", at + hours(1), REFUSED, story.issuing("ca-3"), cross)
