"""A token in use: one login, one attempt, rebuilt once.

What finalises or initialises the module again runs in a process of its own, with tokens of its own.
"""

import dataclasses

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from cryptography.hazmat.primitives.hashes import SHA256
from pkcs11 import Attribute, ObjectClass, TokenFlag
from pkcs11.exceptions import DeviceError

from sealwright.errors import TokenError, TokenNotFound, WrongPin
from sealwright.hsm.failures import is_recoverable, token_error
from sealwright.hsm.generation import generate_key
from sealwright.hsm.login import check_pin_may_be_tried
from sealwright.hsm.pin import Pin
from sealwright.hsm.pool import MOST_WORKERS
from sealwright.hsm.session import TokenSession
from sealwright.hsm.token import find_token
from sealwright.pki.keys import KeyKind

PREPARED = """
import os, sys, threading, time, warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
import pkcs11, pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
from pkcs11 import Attribute, ObjectClass
from sealwright.errors import TokenError, TokenNotFound, WrongPin
from sealwright.hsm.generation import generate_key
from sealwright.hsm.keys import private_key
from sealwright.hsm.pin import Pin
from sealwright.hsm.session import TokenSession
from sealwright.pki.keys import KeyKind
from softhsm import TokenFactory

softhsm = TokenFactory(Path(sys.argv[1]))
module = softhsm.module
serial, pin = softhsm.new_token("one")
session = TokenSession.open(module, serial, pin)
key = generate_key(session, KeyKind.P256, key_id=b"one", label="one")
sha256 = ECDSA(hashes.SHA256())

def sign(key=key, data=b"data"):
    key.public_key().verify(key.sign(data, sha256), data, sha256)

def wait_for_the_next_attempt():
    time.sleep(0.6)

def lose_every_handle():  # as a restarted token daemon does
    module.cryptoki.finalize(); module.cryptoki.initialize_with_locking()

sign()
"""


@pytest.fixture
def prove(child, tmp_path):
    """Run the source after PREPARED in a child; it must end well, and say "proven"."""

    def run(source: str) -> None:
        done = child(PREPARED + source + "\nprint('proven')\n", str(tmp_path))
        assert (done.returncode, done.stdout, done.stderr) == (0, "proven\n", "")

    return run


def test_a_wrong_pin_is_tried_once_and_says_so(softhsm):
    serial, pin = softhsm.new_token("guess")
    with pytest.raises(WrongPin, match=rf"token {serial} .*refused the PIN \(CKR_PIN_INCORRECT\)") as caught:
        TokenSession.open(softhsm.module, serial, Pin("not the pin"))
    assert "tried once and not again" in caught.value.hint
    assert "not the pin" not in f"{caught.value} {caught.value.hint}"

    # SoftHSM shows after a wrong try that the count is low, and never locks; the right PIN resets it.
    assert find_token(softhsm.module, serial).flags & TokenFlag.USER_PIN_COUNT_LOW
    with pytest.raises(WrongPin, match="few tries were left even before"):
        TokenSession.open(softhsm.module, serial, Pin("again wrong"))
    with TokenSession.open(softhsm.module, serial, pin):
        assert not find_token(softhsm.module, serial).flags & TokenFlag.USER_PIN_COUNT_LOW


@pytest.mark.parametrize(
    ("flag", "message", "hint"),
    [
        (
            TokenFlag.USER_PIN_FINAL_TRY,
            "one PIN try left, .*: not tried",
            "own tool and the right PIN",
        ),
        (TokenFlag.USER_PIN_LOCKED, "is locked", "security officer"),
    ],
)
def test_a_pin_that_one_wrong_try_would_lock_is_not_tried(softhsm, flag, message, hint):
    serial, _ = softhsm.new_token("almost locked")
    token = find_token(softhsm.module, serial)
    check_pin_may_be_tried(token)  # SoftHSM never sets these flags by itself: its own are the passing edge
    with pytest.raises(WrongPin, match=message) as caught:
        check_pin_may_be_tried(dataclasses.replace(token, flags=token.flags | flag))
    assert hint in caught.value.hint


def test_a_token_without_a_user_pin_is_not_logged_in_to(softhsm):
    token = find_token(softhsm.module, softhsm.new_token("no pin")[0])
    with pytest.raises(TokenError, match="has no user PIN"):
        check_pin_may_be_tried(dataclasses.replace(token, flags=token.flags & ~TokenFlag.USER_PIN_INITIALIZED))


def test_a_token_that_is_not_there_is_not_opened(softhsm):
    with pytest.raises(TokenNotFound, match="no token with serial number ffff; found: "):
        TokenSession.open(softhsm.module, "ffff", Pin("user-pin"))


def test_a_token_is_open_once_in_a_process_and_again_after_it_was_closed(softhsm):
    serial, pin = softhsm.new_token("one login")
    with TokenSession.open(softhsm.module, serial, pin) as session:
        key = generate_key(session, KeyKind.P256, key_id=b"k", label="k")
        with pytest.raises(TokenError, match=f"token {serial} is already open in this process"):
            TokenSession.open(softhsm.module, serial, pin)
        assert "closed" not in repr(session)
    session.close()
    assert repr(session) == f"TokenSession('{serial}', 'one login', closed)"
    with pytest.raises(TokenError, match=f"token {serial} was closed by this process"):
        key.sign(b"", ECDSA(SHA256()))
    TokenSession.open(softhsm.module, serial, pin).close()


def test_a_refused_pin_leaves_the_token_free_for_the_right_one(softhsm):
    serial, pin = softhsm.new_token("refused first")
    with pytest.raises(WrongPin):
        TokenSession.open(softhsm.module, serial, Pin("wrong"))
    TokenSession.open(softhsm.module, serial, pin).close()


def test_workers_are_shared_and_bounded(key_ring):
    pool = key_ring.session._login.pool
    assert len(pool._idle) <= MOST_WORKERS
    key_ring.keys[KeyKind.ED25519].sign(b"")
    before = len(pool._idle)
    for _ in range(20):
        key_ring.keys[KeyKind.ED25519].sign(b"")
    assert len(pool._idle) == before


def test_a_failure_that_no_login_cures_is_named_and_not_repeated(session):
    runs = []

    def fail(worker):
        runs.append(worker)
        worker.native.create_object({Attribute.CLASS: ObjectClass.DATA, Attribute.TOKEN: True})

    with pytest.raises(TokenError, match=f"token {session.serial} failed while writing: CKR_SESSION_READ_ONLY"):
        session.call(fail, doing="writing")
    assert len(runs) == 1
    assert runs[0] not in session._login.pool._idle  # an operation may still be active on it


def test_the_named_failures_are_recoverable_and_pin_failures_never_are():
    from pkcs11 import exceptions

    for name in (
        *("SessionHandleInvalid", "ObjectHandleInvalid", "KeyHandleInvalid", "UserNotLoggedIn", "DeviceError"),
        *("GeneralError", "FunctionFailed", "HostMemory", "NoSuchKey"),
    ):
        assert is_recoverable(getattr(exceptions, name)()), name
    for name in ("PinIncorrect", "PinLocked", "PinLenRange", "ArgumentsBad", "MechanismInvalid", "SessionCount"):
        assert not is_recoverable(getattr(exceptions, name)()), name
    assert "failed while signing: CKR_DEVICE_ERROR" in str(token_error(DeviceError(), token="t", doing="signing"))


def test_lost_handles_are_found_again_with_one_login_for_all_threads(prove):
    prove("""
lose_every_handle()
with ThreadPoolExecutor(8) as threads:
    for done in [threads.submit(sign) for _ in range(64)]:
        done.result()
assert module.generation == 2, module.generation
""")


def test_a_lost_login_is_made_again(prove):
    prove("""
module.cryptoki.logout(session._login.keeper.handle)
sign()
assert module.generation == 2, module.generation
""")


def test_a_second_failure_is_an_error_with_its_name(prove):
    prove("""
def fail(worker):
    raise pkcs11.exceptions.DeviceError
with pytest.raises(TokenError, match=f"token {serial} failed while trying: CKR_DEVICE_ERROR"):
    session.call(fail, doing="trying")
assert module.generation == 2, module.generation
with pytest.raises(TokenError, match=f"token {serial} is away since .*Z: token {serial} failed while trying"):
    sign()
assert module.generation == 2, module.generation
wait_for_the_next_attempt()
sign()
assert module.generation == 3, module.generation
with pytest.raises(TokenError, match="failed while changing: CKR_DEVICE_ERROR"):
    session.call_once(fail, doing="changing")
assert module.generation == 3, module.generation  # what changes the token is not repeated, and nothing rebuilt
""")


def test_a_token_that_went_away_is_named_and_found_when_it_is_back(prove):
    prove("""
here, away = softhsm.token_directory(serial), softhsm.directory / "away"
here.rename(away)
lose_every_handle()
for _ in range(2):
    with pytest.raises(TokenNotFound, match=f"no token with serial number {serial}; found: none"):
        sign()
    wait_for_the_next_attempt()
away.rename(here)
sign()
""")


def test_a_module_that_does_not_come_up_is_named_and_tried_again(prove):
    prove("""
config = softhsm.config.read_text()
softhsm.config.unlink()
module.cryptoki.finalize()
for _ in range(2):
    with pytest.raises(TokenError, match="cannot be initialised: CKR_GENERAL_ERROR"):
        sign()
    wait_for_the_next_attempt()
softhsm.config.write_text(config)
sign()
""")


def test_a_pin_that_changed_is_tried_once_and_then_never(prove):
    prove("""
native = session._login.token.native.open(rw=True)
native.set_pin(pin.reveal().decode(), "another pin")
lose_every_handle()
with pytest.raises(WrongPin, match="refused the PIN"):
    sign()
generation = module.generation
for _ in range(3):
    with pytest.raises(WrongPin, match="refused the PIN"):
        sign()
assert module.generation == generation
session.close()
with TokenSession.open(module, serial, Pin("another pin")) as again:
    sign(private_key(again, b"one"))
""")


def test_a_key_that_was_there_and_is_gone_is_named(prove):
    prove("""
with session._login.pool.borrow(writing=True) as worker:
    for half in list(worker.native.get_objects({Attribute.ID: b"one"})):
        half.destroy()
with pytest.raises(TokenNotFound, match="failed while signing with key 6f6e65: NoSuchKey") as caught:
    sign()
assert "was on the token before" in caught.value.hint
""")


def test_another_key_under_the_same_id_is_not_used(prove):
    prove("""
with session._login.pool.borrow(writing=True) as worker:
    for half in list(worker.native.get_objects({Attribute.ID: b"one"})):
        half.destroy()
another = generate_key(session, KeyKind.P256, key_id=b"one", label="another")
with pytest.raises(TokenError, match="does not belong to the public key"):
    sign()
sign(another)
""")


def test_one_token_is_rebuilt_under_another_in_use_and_no_handle_is_mistaken(prove):
    prove("""
second_serial, second_pin = softhsm.new_token("two")
second = TokenSession.open(module, second_serial, second_pin)
other = generate_key(second, KeyKind.P256, key_id=b"one", label="the same id on another token")
stop = threading.Event()
def busy():
    done = 0
    while not stop.is_set():
        sign(other); done += 1
    return done
with ThreadPoolExecutor(4) as threads:
    signing = [threads.submit(busy) for _ in range(4)]
    try:
        for _ in range(20):
            module.reinitialise(module.generation)
            sign(key)
    finally:
        stop.set()
    assert all(done.result() for done in signing)
assert module.generation == 21, module.generation
""")
