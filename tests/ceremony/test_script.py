"""Scripts: a closed set of actions, read strictly; and the state machine that misses every safeguard taken out."""

import re
from pathlib import Path

import pytest

from ceremonies import CHECKOUT
from sealwright.ceremony.kinds import KINDS
from sealwright.ceremony.rules import check_order
from sealwright.ceremony.script import Kind, Script, parse_script
from sealwright.ceremony.site import parse_site
from sealwright.errors import InputError, PolicyViolation


def text_of(kind: Kind) -> str:
    return (CHECKOUT / "ceremonies" / kind / "script.toml").read_text()


def blocks(kind: Kind) -> tuple[str, list[str]]:
    """Everything before the first step, and each step."""
    head, *steps = re.split(r"(?m)^\[\[steps\]\]\n", text_of(kind))
    return head, steps


SIGNING = [kind for kind in Kind if KINDS[kind].signed()]


def script_of(head: str, steps: list[str]) -> Script:
    return parse_script("".join([head, *(f"[[steps]]\n{step}" for step in steps)]).encode())


@pytest.mark.parametrize("kind", list(Kind))
def test_the_reviewed_script_of_each_kind_can_be_walked(kind: Kind) -> None:
    script = parse_script(text_of(kind).encode())
    check_order(script)
    assert script.kind is kind


@pytest.mark.parametrize("kind", list(Kind))
def test_a_script_with_any_one_step_taken_out_is_refused(kind: Kind) -> None:
    head, steps = blocks(kind)
    for place in range(len(steps)):
        with pytest.raises(PolicyViolation) as refused:
            check_order(script_of(head, steps[:place] + steps[place + 1 :]))
        assert refused.value.rule == "CER-ORDER"


@pytest.mark.parametrize("kind", SIGNING)
def test_the_refusal_names_the_step_that_could_not_be_taken(kind: Kind) -> None:
    head, steps = blocks(kind)
    place = next(number for number, step in enumerate(steps) if 'action = "open-token"' in step)
    with pytest.raises(
        PolicyViolation, match=rf"step {place + 1} \(.*\) needs, and no earlier step gives: token \w+ is open"
    ):
        check_order(script_of(head, steps[:place] + steps[place + 1 :]))


@pytest.mark.parametrize("kind", SIGNING)
def test_steps_in_the_wrong_order_are_refused(kind: Kind) -> None:
    head, steps = blocks(kind)
    signing = next(number for number, step in enumerate(steps) if 'action = "sign-' in step)
    steps.insert(2, steps.pop(signing))
    with pytest.raises(PolicyViolation):
        check_order(script_of(head, steps))


def test_nothing_is_signed_twice_and_nothing_happens_after_the_end() -> None:
    head, steps = blocks(Kind.ROOT_GENESIS)
    signing = next(number for number, step in enumerate(steps) if 'action = "sign-certificate"' in step)
    for changed in ([*steps[: signing + 1], *steps[signing:]], [*steps, steps[0]]):
        with pytest.raises(PolicyViolation) as refused:
            check_order(script_of(head, changed))
        assert refused.value.rule == "CER-ORDER"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('action = "attendance"', 'action = "run-shell"', "run-shell"),
        ('action = "attendance"', 'action = "attendance"\ncommand = "rm -rf /"', "command is unknown"),
        ('action = "attendance"\n', "", "steps.0"),
        ('kind = "root-genesis"', 'kind = "root-exchange"', "kind"),
        ('token = "root"\nwho', 'token = "../root"\nwho', "token"),
        ('title = "Root genesis"\n', "", "title is missing"),
        ('title = "Root genesis"', 'title = "Root genesis"\ntitle = "again"', "Cannot overwrite a value"),
        ("valid_days = 365", "valid_days = 366", "valid_days"),
        ("valid_days = 365", 'valid_days = "365"', "valid_days"),
    ],
)
def test_what_a_script_cannot_say_is_refused_by_name(old: str, new: str, said: str) -> None:
    text = text_of(Kind.ROOT_GENESIS)
    assert old in text
    with pytest.raises(InputError, match=re.escape(said)) as refused:
        parse_script(text.replace(old, new, 1).encode())
    assert "ceremonies/" in refused.value.hint


@pytest.mark.parametrize(
    ("old", "new", "rule"),
    [
        ('inputs = ["pki.toml", "root.toml", "officers.toml"]', 'inputs = ["pki.toml", "root.toml"]', "CER-KIND"),
        ('outputs = ["root.pem", ', 'outputs = ["root.pem", "second.pem", ', "CER-KIND"),
        ('tokens = ["root"]', 'tokens = ["root", "spare"]', "CER-KIND"),
        ('role = "witness"\ndoes', 'role = "operator"\ndoes', "CER-ROLES"),
        ('output = "root.pem"\ntoken = "root"', 'output = "root.crl"\ntoken = "root"', "CER-SCOPE"),
        ('profile = "root.toml"\n', "", "CER-SCOPE"),
        ('profile = "root.toml"\n', 'profile = "root.toml"\nkind = "rsa-3072"\n', "CER-SCOPE"),
        ('to = "sign"\noutput = "root.pem"', 'to = "use-token"\noutput = "root.pem"', "CER-SCOPE"),
        ('profile = "root.toml"\n', 'kind = "p-256"\n', "CER-SCOPE"),
        ("valid_days = 365\n", "", "CER-SCOPE"),
        ('action = "write-anchor"', 'action = "write-keys"', "CER-SCOPE"),
        ('role = "officer"\nto = "sign"', 'role = "operator"\nto = "sign"', "CER-ORDER"),
    ],
)
def test_a_script_that_could_not_be_trusted_is_refused_by_rule(old: str, new: str, rule: str) -> None:
    text = text_of(Kind.ROOT_GENESIS)
    assert old in text
    with pytest.raises(PolicyViolation) as refused:
        check_order(parse_script(text.replace(old, new, 1).encode()))
    assert refused.value.rule == rule


@pytest.mark.parametrize("text", ["", "kind", "\x00", "kind = 1\n", "[[steps]]\n" * 200, "a=1\n" * 20000])
def test_garbage_for_a_script_is_an_error_and_not_a_crash(text: str) -> None:
    with pytest.raises(InputError):
        parse_script(text.encode())


def test_a_site_has_no_place_for_a_pin() -> None:
    with pytest.raises(InputError, match=r"tokens\.root\.pin is unknown"):
        parse_site(b'[tokens.root]\npin = "1234"\n', folder=Path())


def test_paths_in_a_site_start_from_its_folder() -> None:
    site = parse_site(
        b'[tokens.root]\npin_file = "pins/root"\n[rehearsal]\nsofthsm_conf = "/etc/conf"\n', folder=Path("/room")
    )
    assert site.pin_file("root") == Path("/room/pins/root")
    assert site.softhsm_conf == Path("/etc/conf")
    assert site.pin_file("other") is None


def test_every_test_that_the_assurance_table_names_exists() -> None:
    text = (CHECKOUT / "ceremonies/README.md").read_text()
    table = text[text.index("## What holds") : text.index("## Refusals")]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| claim")]
    assert len(rows) >= 15
    for row in rows:
        claim, _, where, proof = (cell.strip() for cell in row.strip("|").split(" | "))
        for module in re.findall(r"`(\w+)`", where):
            assert (CHECKOUT / f"src/sealwright/ceremony/{module}.py").is_file(), claim
        named = re.findall(r"`(test_\w+\.py)::(test_\w+)`", proof)
        assert named, claim
        for file, test in named:
            code = (CHECKOUT / "tests/ceremony" / file).read_text()
            assert re.search(rf"^def {test}\(", code, re.MULTILINE), f"{claim}: {file}::{test}"


def test_every_refusal_of_the_room_is_in_its_readme_and_none_that_is_not() -> None:
    rooms = (CHECKOUT / "src/sealwright/ceremony", CHECKOUT / "src/sealwright/hsm")
    code = "".join(path.read_text() for room in rooms for path in room.glob("*.py"))
    raised = set(re.findall(r'rule="(CER-[A-Z-]+)"', code))
    told = set(re.findall(r"`(CER-[A-Z-]+)`", (CHECKOUT / "ceremonies/README.md").read_text()))
    assert raised == told


def test_the_site_file_of_the_handbook_is_one(tmp_path: Path) -> None:
    text = (CHECKOUT / "ceremonies/README.md").read_text()
    (written,) = (block for block in re.findall(r"```toml\n(.*?)```", text, re.DOTALL) if block.startswith("module"))
    site = parse_site(written.encode(), folder=tmp_path)
    assert site.activation("root", rehearsal=False) == "shamir"
    assert site.key_file("ada") == Path("/media/ada/id_ed25519_sk")
