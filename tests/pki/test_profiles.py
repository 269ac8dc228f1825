"""Profiles are data, and data that is wrong is refused with the field's name."""

import hashlib
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from sealwright.errors import InputError, PolicyViolation, SealwrightError
from sealwright.pki.approval import ApprovalRule
from sealwright.pki.keys import KeyKind
from sealwright.pki.profiles import CertificateProfile, ProfileKind, load_profile, load_profiles
from sealwright.pki.tomlfile import LARGEST_FILE
from softpki import CA_FOLDER, profiles, settings

GOOD = """\
name = "nightly"
kind = "code-signing"
keys = ["rsa-3072", "p-384"]
validity_days = 460
common_name = "{organisation} {team} {project}"
software_keys = false
attested_keys = false
attestation_roots = []
approvals = 1
live_certificates = 10
renewal_window_days = 30
renewed_by = "team"
renewal_approval = true
"""

BLACKOUT = '[[blackouts]]\nbegins = "{}"\nends = "{}"\nreason = "holidays"\n'


def load(text: str) -> object:
    return load_profile(text.encode(), source="nightly.toml")


def approvals(profile: CertificateProfile) -> int:
    return profile.people.everybody.approval.approvals


def test_ca_has_a_profile_of_each_kind_and_one_for_development_alone_takes_software_keys() -> None:
    own = profiles()
    assert {profile.kind for profile in own.values()} == set(ProfileKind)
    assert (approvals(own["code-signing"]), approvals(own["code-signing-release"])) == (1, 2)
    assert [name for name, each in own.items() if each.software_keys] == ["code-signing-development"]
    assert own["code-signing"].keys == (KeyKind.RSA_3072, KeyKind.RSA_4096, KeyKind.P256, KeyKind.P384, KeyKind.P521)
    assert (own["root"].keys, own["issuing-ca"].keys) == ((KeyKind.RSA_4096,), (KeyKind.RSA_4096,))
    assert (own["ocsp-responder"].keys, own["ocsp-responder"].validity_days) == ((KeyKind.P256,), 14)
    assert (own["root-ocsp"].keys, own["root-ocsp"].validity_days) == ((KeyKind.P256,), 366)


def test_a_new_profile_needs_no_python() -> None:
    profile = load_profile(GOOD.encode(), source="nightly.toml")
    assert (profile.name, profile.validity_days, profile.software_keys) == ("nightly", 460, False)
    assert profile.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()


def test_a_profile_may_allow_renewal_at_any_time() -> None:
    assert load_profile(GOOD.replace("days = 30", "days = 460").encode(), source="x").renewal_window_days == 460


@pytest.mark.parametrize("field", [line.split(" = ")[0] for line in GOOD.splitlines()])
def test_names_the_field_that_is_missing(field: str) -> None:
    text = "".join(line for line in GOOD.splitlines(keepends=True) if not line.startswith(field))
    with pytest.raises(InputError, match=rf"nightly\.toml: .*{field}"):
        load(text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("approvers = 2", "field code-signing.approvers is unknown"),
        ("name = 'x'", "not the TOML that was wanted"),
        ("[section]", "unknown"),
        ("since = 2026-01-01", "not the TOML that was wanted"),
        ("=", "not the TOML that was wanted"),
    ],
    ids=["unknown", "twice", "unknown table", "a date", "not TOML"],
)
def test_refuses_a_line_too_many(line: str, said: str) -> None:
    with pytest.raises(InputError, match=said) as refusal:
        load(f"{GOOD}{line}\n")
    assert refusal.value.hint


@pytest.mark.parametrize(
    ("good", "bad"),
    [
        ('name = "nightly"', 'name = "../nightly"'),
        ('name = "nightly"', 'name = "nightly\\n"'),
        ('kind = "code-signing"', 'kind = "tls"'),
        ('"p-384"', '"rsa-2048"'),
        ("validity_days = 460", 'validity_days = "460"'),
        ("validity_days = 460", "validity_days = 460.0"),
        ("validity_days = 460", "validity_days = 0"),
        ("validity_days = 460", "validity_days = -1"),
        ("approvals = 1", "approvals = true"),
        ("software_keys = false", "software_keys = 0"),
        ("renewal_window_days = 30", "renewal_window_days = -1"),
    ],
)
def test_converts_nothing(good: str, bad: str) -> None:
    with pytest.raises(InputError, match=bad.split(" ", maxsplit=1)[0].strip('"') if good != '"p-384"' else "keys"):
        load(GOOD.replace(good, bad))


@pytest.mark.parametrize(
    ("good", "bad", "rule"),
    [
        ('["rsa-3072", "p-384"]', "[]", "PROFILE-KEYS"),
        ('"p-384"', '"ed25519"', "PROFILE-KEYS"),
        ('"p-384"', '"rsa-3072"', "PROFILE-KEYS"),
        ("validity_days = 460", "validity_days = 461", "PROFILE-VALIDITY"),
        ("attested_keys = false", "attested_keys = true", "PROFILE-KEY-LOCATION"),
        ("live_certificates = 10", "live_certificates = 0", "PROFILE-LIVE"),
        ("approvals = 1", "approvals = 0", "PROFILE-APPROVALS"),
        ("renewal_window_days = 30", "renewal_window_days = 461", "PROFILE-RENEWAL"),
        ("live_certificates = 10", "live_certificates = 10\ncrl_partitions = 1", "PROFILE-PARTITIONS"),
        ("{team} {project}", "{team}", "PROFILE-SUBJECT"),
        ("{organisation} ", "{person} ", "PROFILE-SUBJECT"),
        ("{organisation} ", "{organisation.__class__} ", "PROFILE-SUBJECT"),
        ("{organisation} ", "{organisation!r} ", "PROFILE-SUBJECT"),
        ("{organisation} ", "{organisation:>99} ", "PROFILE-SUBJECT"),
        ("{organisation} ", "{ ", "PROFILE-SUBJECT"),
    ],
)
def test_refuses_a_profile_weaker_than_its_kind(good: str, bad: str, rule: str) -> None:
    assert good in GOOD
    with pytest.raises(PolicyViolation, match=r"nightly\.toml") as refusal:
        load(GOOD.replace(good, bad))
    assert refusal.value.rule == rule


@pytest.mark.parametrize(
    ("kind", "keys", "longest"),
    [
        ("root", "rsa-4096", 12783),
        ("issuing-ca", "p-384", 5478),
        ("ocsp-responder", "rsa-3072", 14),
        ("root-ocsp", "p-256", 366),
    ],
)
def test_holds_each_kind_to_its_column(kind: str, keys: str, longest: int) -> None:
    text = f'name = "x"\nkind = "{kind}"\nkeys = ["{keys}"]\nvalidity_days = '
    assert load_profile(f"{text}{longest}".encode(), source="x").policy is None
    with pytest.raises(PolicyViolation) as refusal:
        load(f"{text}{longest + 1}")
    assert refusal.value.rule == "PROFILE-VALIDITY"
    with pytest.raises(PolicyViolation) as refusal:
        load(f"{text}{longest}".replace(keys, "p-521" if "ocsp" in kind else "rsa-3072"))
    assert refusal.value.rule == "PROFILE-KEYS"
    with pytest.raises(InputError, match="approvals is unknown"):
        load(f"{text}{longest}\napprovals = 1")


@pytest.mark.parametrize(
    ("tables", "rule"),
    [
        ("[groups]\na = 1\nb = 1\n", "PROFILE-GROUPS"),
        ("[teams.web]\napprovals = 0\nlive_certificates = 5\n", "PROFILE-APPROVALS"),
        ("[teams.web]\napprovals = 1\nlive_certificates = 11\n", "PROFILE-TEAM"),
        ("[groups]\na = 1\n[teams.web]\napprovals = 2\nlive_certificates = 5\n", "PROFILE-TEAM"),
        ("[teams.web]\napprovals = 1\nlive_certificates = 0\n", "PROFILE-LIVE"),
        ("[emergency]\napprovals = 1\n", "PROFILE-EMERGENCY"),
        ("[emergency]\napprovals = 3\n[teams.web]\napprovals = 3\nlive_certificates = 5\n", "PROFILE-EMERGENCY"),
        ("[groups]\na = 1\n[emergency]\napprovals = 3\n", "PROFILE-EMERGENCY"),
        (BLACKOUT.format("2026-12-24T00:00:00Z", "2026-12-24T00:00:00Z"), "PROFILE-BLACKOUT"),
        (BLACKOUT.format("2026-12-24T00:00:00Z", "2026-02-30T00:00:00Z"), "PROFILE-BLACKOUT"),
    ],
)
def test_refuses_a_policy_that_contradicts_itself(tables: str, rule: str) -> None:
    with pytest.raises(PolicyViolation, match=r"nightly\.toml") as refusal:
        load(f"{GOOD}{tables}")
    assert refusal.value.rule == rule


def test_a_team_and_an_emergency_want_more() -> None:
    tables = "[groups]\na = 1\n[teams.web]\napprovals = 2\nlive_certificates = 5\ngroups = { a = 1, b = 1 }\n"
    tables += "[emergency]\napprovals = 3\ngroups = { a = 2, b = 1 }\n"
    tables += BLACKOUT.format("2026-12-24T00:00:00Z", "2026-12-27T00:00:00Z")
    people = load_profile(f"{GOOD}{tables}".encode(), source="x").people
    assert (people.of("web").approval, people.of("api").approval) == (
        ApprovalRule(2, {"a": 1, "b": 1}),
        ApprovalRule(1, {"a": 1}),
    )
    assert people.groups == {"a": 2, "b": 1}
    assert people.blackout_at(datetime(2026, 12, 24, tzinfo=UTC)) is not None
    assert people.blackout_at(datetime(2026, 12, 27, tzinfo=UTC)) is None


def test_a_file_is_called_as_its_profile_is() -> None:
    with pytest.raises(InputError, match=r"other\.toml: name is 'nightly'"):
        load_profiles({"profiles/other.toml": GOOD.encode()})
    assert set(load_profiles({"profiles/nightly.toml": GOOD.encode()})) == {"nightly"}


def test_the_subject_follows_from_who_asks() -> None:
    profile = profiles()["code-signing"]
    subject = profile.subject(settings(), "web", "shop", rehearsal=True)
    assert subject.rfc4514_string() == "CN=REHEARSAL Example Corp web shop,O=Example Corp,L=Berlin,C=DE"
    assert profile.subject(settings(), "web", "shop", rehearsal=False).rdns[-1].rfc4514_string() == (
        "CN=Example Corp web shop"
    )
    assert profile.san_uri(settings(), "web", "shop") == "https://pki.example.org/id/web/shop"


def test_refuses_a_subject_that_is_too_long_to_be_one() -> None:
    with pytest.raises(PolicyViolation, match=r"CN of the subject has 8\d characters; wanted at most 64") as refusal:
        profiles()["code-signing"].subject(settings(), "w" * 30, "s" * 30, rehearsal=True)
    assert refusal.value.rule == "PKI-SUBJECT-VALUE"


def test_a_ca_profile_has_no_subject_of_its_own() -> None:
    with pytest.raises(InputError, match=r"ca/pki\.toml"):
        profiles()["root"].subject(settings(), rehearsal=True)


def test_every_attribute_of_a_subject_is_there_once() -> None:
    subject = profiles()["code-signing"].subject(settings(), "web", "shop", rehearsal=True)
    assert [each.oid for each in subject] == [
        NameOID.COUNTRY_NAME,
        NameOID.LOCALITY_NAME,
        NameOID.ORGANIZATION_NAME,
        NameOID.COMMON_NAME,
    ]


_FILES = [path.read_text() for path in sorted((CA_FOLDER / "profiles").glob("*.toml"))]
_PIECES = st.sampled_from(
    [*GOOD.splitlines(), "x = 1", "[a]", "[[keys]]", "keys.x = 1", "kind = 1", "a = " + "[" * 2000]
)


@given(st.one_of(st.binary(max_size=200), st.lists(_PIECES, max_size=12).map(lambda lines: "\n".join(lines).encode())))
def test_raises_only_our_errors_for_any_file(data: bytes) -> None:
    with suppress(SealwrightError):
        load_profile(data, source="fuzz")


@given(st.sampled_from(_FILES), st.integers(0, 2000), st.characters())
def test_raises_only_our_errors_for_a_profile_with_one_character_changed(text: str, at: int, character: str) -> None:
    at %= len(text)
    with suppress(SealwrightError):
        load_profile((text[:at] + character + text[at + 1 :]).encode("utf-8", "surrogatepass"), source="fuzz")


def test_refuses_a_file_that_is_too_large_or_has_numbers_that_are() -> None:
    with pytest.raises(InputError, match="at most"):
        load_profile(b"#" * (LARGEST_FILE + 1), source="x")
    with pytest.raises(InputError, match="wanted"):
        load("validity_days = 0x" + "f" * 5000)
