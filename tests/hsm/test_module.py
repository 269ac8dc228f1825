"""Loading a module, and finding tokens in it."""

import threading

import pytest
from pkcs11.exceptions import PKCS11Error, RandomNoRNG, SlotIDInvalid

from sealwright.errors import InputError, TokenError, TokenNotFound
from sealwright.hsm.cryptoki import CryptokiError, error_name
from sealwright.hsm.initialise import init_token
from sealwright.hsm.locking import SharedLock
from sealwright.hsm.module import StaleGeneration, find_softhsm, load_module
from sealwright.hsm.pin import Pin
from sealwright.hsm.token import find_token, list_tokens, pick_token


def test_a_module_is_loaded_once(softhsm, tmp_path):
    link = tmp_path / "module.so"
    link.symlink_to(softhsm.module_path)
    assert load_module(softhsm.module_path) is load_module(link) is softhsm.module
    assert find_softhsm().name == "libsofthsm2.so"


def test_a_module_that_is_absent_is_named_with_what_to_install(tmp_path):
    with pytest.raises(TokenError, match=r"module .*absent\.so is not there") as caught:
        load_module(tmp_path / "absent.so")
    assert "apt install softhsm2" in caught.value.hint


def test_a_file_that_is_no_module_is_refused(tmp_path, child):
    text = tmp_path / "text.so"
    text.write_text("not a library")
    with pytest.raises(TokenError, match=r"text\.so cannot be used: .*(invalid ELF header|file too short)"):
        load_module(text)
    done = child(
        "import ctypes.util, glob, sys; from pathlib import Path\n"
        "from sealwright.errors import TokenError; from sealwright.hsm.module import load_module\n"
        "try: load_module(Path(glob.glob('/lib/*/libm.so.6')[0]))\n"
        "except TokenError as error: print(error)\n"
    )
    assert "libm" in done.stdout, done.stderr
    assert "cannot be used" in done.stdout, done.stderr


def test_softhsm_without_a_usable_configuration_says_what_to_look_at(child):
    done = child(
        "import os; os.environ['SOFTHSM2_CONF'] = '/nonexistent/softhsm2.conf'\n"
        "from sealwright.errors import TokenError; from sealwright.hsm.module import find_softhsm, load_module\n"
        "try: load_module(find_softhsm())\n"
        "except TokenError as error: print(error, '|', error.hint)\n"
    )
    assert "cannot be used: CKR_GENERAL_ERROR | is SOFTHSM2_CONF set" in done.stdout, done.stderr


def test_a_token_is_found_by_its_serial_number(softhsm):
    serials = [softhsm.new_token("twins")[0] for _ in range(2)]

    found = [find_token(softhsm.module, serial) for serial in serials]

    assert [token.serial for token in found] == serials
    assert {token.label for token in found} == {"twins"}
    assert {softhsm.token_directory(serial) for serial in serials} <= set(softhsm.tokens.iterdir())


def test_a_token_that_is_absent_is_answered_with_those_that_are_there(softhsm):
    serial, _ = softhsm.new_token("the other one")
    with pytest.raises(TokenNotFound, match="no token with serial number 0000000000000000; found: ") as caught:
        find_token(softhsm.module, "0000000000000000")
    assert f"{serial} ('the other one', SoftHSM project SoftHSM v2)" in caught.value.message


def test_without_any_token_the_answer_says_none_and_hints_at_the_configuration():
    with pytest.raises(TokenNotFound, match="found: none") as caught:
        pick_token((), "0123")
    assert "SOFTHSM2_CONF" in caught.value.hint


def test_two_tokens_with_one_serial_number_are_refused(softhsm):
    serial, _ = softhsm.new_token("double")
    token = find_token(softhsm.module, serial)
    with pytest.raises(TokenError, match=f"2 slots hold a token with serial number {serial}; wanted one"):
        pick_token((token, token), serial)


def test_a_token_made_by_another_process_is_found_while_nobody_is_logged_in(softhsm, child):
    done = child(
        "from pathlib import Path; import sys, os\n"
        "from sealwright.hsm.initialise import init_token; from sealwright.hsm.pin import Pin\n"
        "from sealwright.hsm.module import load_module, find_softhsm; from sealwright.hsm.token import find_token\n"
        "from sealwright.hsm.session import TokenSession; import subprocess\n"
        "module = load_module(find_softhsm())\n"
        "made = subprocess.run([sys.executable, '-c', 'from sealwright.hsm.module import find_softhsm; '\n"
        "  'from sealwright.hsm.initialise import init_token; from sealwright.hsm.pin import Pin; '\n"
        '  \'print(init_token(find_softhsm(), label="later", so_pin=Pin("so-pin"), user_pin=Pin("user-pin")))\'],\n'
        "  capture_output=True, text=True, check=True).stdout.strip()\n"
        "with TokenSession.open(module, made, Pin('user-pin')) as session: print(session)\n"
    )
    assert "'later'" in done.stdout, done.stderr


def test_every_listed_token_is_initialised(softhsm):
    softhsm.new_token("listed")
    assert all(token.serial and token.label for token in list_tokens(softhsm.module))


@pytest.mark.parametrize("label", ["", "x" * 33, "ä" * 17, "a\nb"])
def test_a_token_label_fits_its_field(softhsm, label):
    with pytest.raises(InputError, match="token label"):
        init_token(softhsm.module_path, label=label, so_pin=Pin("so-pin"), user_pin=Pin("user-pin"))


def test_a_pin_that_the_token_cannot_take_is_refused_before_anything_changes(softhsm):
    before = list_tokens(softhsm.module)
    with pytest.raises(InputError, match="it takes 4 to 255 octets"):
        init_token(softhsm.module_path, label="short", so_pin=Pin("so-pin"), user_pin=Pin("123"))
    assert [token.serial for token in list_tokens(softhsm.module)] == [token.serial for token in before]


def test_two_threads_make_two_tokens(softhsm):
    made = []
    threads = [threading.Thread(target=lambda: made.append(softhsm.new_token("race")[0])) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 4
    assert set(made) <= {token.serial for token in list_tokens(softhsm.module)}


def test_an_old_handle_is_refused_in_a_new_generation(softhsm):
    module = softhsm.module
    with module.calling(module.generation):
        pass
    with pytest.raises(StaleGeneration), module.calling(module.generation - 1):
        pass


def test_nobody_is_inside_while_one_is_exclusive_and_a_waiting_one_goes_first():
    lock, seen = SharedLock(), []
    inside, leave = threading.Event(), threading.Event()

    def reader() -> None:
        with lock.shared():
            inside.set()
            assert leave.wait(10)
            seen.append("reader out")

    def writer() -> None:
        with lock.exclusive():
            seen.append("exclusive")

    def late_reader() -> None:
        with lock.shared():
            seen.append("late reader")

    first = threading.Thread(target=reader)
    first.start()
    assert inside.wait(10)
    second = threading.Thread(target=writer)
    second.start()
    while not lock._exclusive:
        pass
    third = threading.Thread(target=late_reader)
    third.start()
    leave.set()
    for thread in (first, second, third):
        thread.join(10)
    assert seen == ["reader out", "exclusive", "late reader"]


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (CryptokiError(0xA0), "CKR_PIN_INCORRECT"),
        (CryptokiError(0x8000_0001), "CKR 0x80000001"),
        (SlotIDInvalid(), "CKR_SLOT_ID_INVALID"),
        (RandomNoRNG(), "CKR_RANDOM_NO_RNG"),
        (PKCS11Error("Unmapped error code 0x190"), "CKR_CRYPTOKI_NOT_INITIALIZED"),
        (PKCS11Error("Unmapped error code 0x80000001"), "CKR 0x80000001"),
        (PKCS11Error("OS exception while loading"), "OS exception while loading"),
        (PKCS11Error(), "PKCS11Error"),
        (StaleGeneration(), "StaleGeneration"),
        (OSError(), "OSError"),
    ],
)
def test_a_failure_always_has_a_name(error, name):
    assert error_name(error) == name
