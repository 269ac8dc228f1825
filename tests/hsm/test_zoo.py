"""Other people's tokens, each with its own character, and what a person is told of it.

Their modules can take a process with them, and their daemons own fixed places: each test runs in namespaces of its own.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from debian import need

pytestmark = pytest.mark.slow

BEGIN = """
import glob, json, subprocess, sys
from pathlib import Path
from sealwright.errors import SealwrightError
from sealwright.hsm.attributes import wrong_attributes
from sealwright.hsm.census import list_objects
from sealwright.hsm.generation import generate_key
from sealwright.hsm.module import load_module
from sealwright.hsm.pin import Pin
from sealwright.hsm.session import TokenSession
from sealwright.hsm.token import find_token, list_tokens
from sealwright.pki.keys import KeyKind

said = {}

def note(name, call):
    try:
        said[name] = ["done", str(call()), ""]
    except SealwrightError as error:
        said[name] = [type(error).__name__, error.message, error.hint]

"""
END = "\nprint(json.dumps(said))\n"

OPENCRYPTOKI = """
set -e
cp -a /var/lib/opencryptoki lib; rm -rf lib/swtok/*; mkdir lib/swtok/TOK_OBJ; mount --bind lib /var/lib/opencryptoki
mount -t tmpfs tmpfs /run; mkdir -p /run/lock/opencryptoki/swtok; chmod -R 770 /run/lock/opencryptoki
mount -t tmpfs tmpfs /dev/shm
[ -d /var/lock/opencryptoki ] || { mount -t tmpfs tmpfs /var/lock; mkdir -p /var/lock/opencryptoki/swtok; }
pkcsslotd -f >slotd.log 2>&1 &
for _ in $(seq 100); do pkcsconf -t >/dev/null 2>&1 && break; sleep 0.1; done
echo zoo | pkcsconf -I -c 3 -S 87654321 >/dev/null
pkcsconf -P -c 3 -S 87654321 -n 11112222
pkcsconf -u -c 3 -S 11112222 -n 33334444
pkcsconf -p -c 3 -U 33334444 -n 55556666
exec "$0" child.py
"""

NSS = """
set -e
mkdir db modules; echo nss-pin >pin
certutil -N -d "sql:$PWD/db" -f pin
module=$(ls /usr/lib/*/libsoftokn3.so /usr/lib/*/nss/libsoftokn3.so 2>/dev/null | head -n 1)
arguments="configdir='sql:$PWD/db' certPrefix='' keyPrefix='' secmod='secmod.db' flags="
printf "module: %s\\nx-init-reserved: %s\\n" "$module" "$arguments" >modules/nss.module
mount --bind modules /usr/share/p11-kit/modules
exec "$0" child.py
"""

TPM = """
set -e
mkdir state store
export TPM2_PKCS11_STORE="$PWD/store" TPM2_PKCS11_TCTI="swtpm:path=$PWD/tpm" TPM2TOOLS_TCTI="swtpm:path=$PWD/tpm"
swtpm socket --tpm2 --tpmstate dir="$PWD/state" --flags not-need-init,startup-clear --daemon \\
  --server type=unixio,path="$PWD/tpm" --ctrl type=unixio,path="$PWD/tpm.ctrl"
exec "$0" child.py
"""


def in_a_room_of_its_own(folder: Path, setting: str, child: str) -> dict[str, list[str]]:
    """``setting`` (shell) and then ``child`` (Python) in fresh mount, IPC and process namespaces. What it noted."""
    assert os.geteuid() == 0, "namespaces of its own need root"
    (folder / "child.py").write_text(BEGIN + child + END)
    done = subprocess.run(
        ["unshare", "--mount", "--ipc", "--pid", "--fork", "--kill-child", "sh", "-c", setting, sys.executable],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-1500:] + done.stdout[-500:]
    noted: dict[str, list[str]] = json.loads(done.stdout.splitlines()[-1])
    return noted


def test_opencryptoki_is_never_locked_by_us_and_says_how_its_pin_stands(tmp_path: Path) -> None:
    """It locks the PIN at the third wrong try: we try twice, and not a third time."""
    need("opencryptoki")
    noted = in_a_room_of_its_own(
        tmp_path,
        OPENCRYPTOKI,
        """
module = load_module(Path(glob.glob("/usr/lib/*/pkcs11/libopencryptoki.so")[0]))
serial = list_tokens(module)[0].serial

def open_with(pin):
    TokenSession.open(module, serial, Pin(pin)).close()

def state():
    return list_tokens(module)[0].pin_state

def make():
    with TokenSession.open(module, serial, Pin("55556666")) as session:
        generate_key(session, KeyKind.RSA_3072, key_id=b"k" * 16, label="zoo")

note("right", lambda: open_with("55556666"))
note("make", make)
note("first", lambda: open_with("00000000")); note("after first", state)
note("second", lambda: open_with("00000000")); note("after second", state)
note("third", lambda: open_with("00000000")); note("after third", state)
subprocess.run(["pkcsconf", "-p", "-c", "3", "-U", "00000000", "-n", "77778888"], capture_output=True)
note("locked", state)
note("open locked", lambda: open_with("55556666"))
""",
    )
    assert noted["right"][0] == "done"
    assert noted["make"][0] == "TokenError"
    assert "CKR_MECHANISM_INVALID" in noted["make"][1]
    assert "take a token of another model" in noted["make"][2]
    for name in ("first", "second"):
        assert noted[name][0] == "WrongPin"
        assert "tried once and not again" in noted[name][2]
    assert "few tries were left even before" in noted["second"][1]
    assert [noted[f"after {name}"][1] for name in ("first", "second", "third")] == ["low", "final-try", "final-try"]
    assert noted["third"][0] == "WrongPin"
    assert "one PIN try left, and a wrong one would lock it: not tried" in noted["third"][1]
    assert noted["locked"][1] == "locked"
    assert noted["open locked"][0] == "WrongPin"
    assert "is locked" in noted["open locked"][1]
    assert "the security officer sets a new one" in noted["open locked"][2]


def test_nss_is_refused_because_its_keys_are_not_local_and_its_slots_share_a_serial_number(tmp_path: Path) -> None:
    need("p11-kit", "p11-kit-modules", "libnss3", "libnss3-tools")
    noted = in_a_room_of_its_own(
        tmp_path,
        NSS,
        """
from asn1crypto import core
from pkcs11 import Attribute, KeyType, MechanismFlag

module = load_module(Path(glob.glob("/usr/lib/*/p11-kit-proxy.so")[0]))
note("serial", lambda: find_token(module, list_tokens(module)[0].serial))
(token,) = (each for each in list_tokens(module) if each.label == "NSS Certificate DB")

def attributes():
    with token.native.open(rw=True, user_pin="nss-pin") as session:
        curve = core.ObjectIdentifier("1.2.840.10045.3.1.7").dump()
        parameters = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: curve}, local=True)
        _, private = parameters.generate_keypair(
            store=True, id=b"k" * 16, label="zoo", capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
            private_template={Attribute.PRIVATE: True, Attribute.SENSITIVE: True, Attribute.EXTRACTABLE: False},
        )
        return "; ".join(wrong_attributes(private))

note("attributes", attributes)
""",
    )
    assert noted["serial"][0] == "TokenError"
    assert "2 slots hold a token with serial number 0000000000000000; wanted one" in noted["serial"][1]
    assert noted["attributes"][0] == "done"
    assert "CKA_LOCAL is False, wanted True" in noted["attributes"][1]


def test_a_tpm_is_refused_because_its_keys_also_decrypt_and_its_tokens_share_a_serial_number(tmp_path: Path) -> None:
    """tpm2-pkcs11 takes its dictionary lockout for a locked PIN, and never says that few tries are left."""
    need("libtpm2-pkcs11-1", "libtss2-tcti-swtpm0", "swtpm", "tpm2-tools")
    noted = in_a_room_of_its_own(
        tmp_path,
        TPM,
        """
from asn1crypto import core
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag
from sealwright.hsm.initialise import describe_new_token, init_token

path = Path(glob.glob("/usr/lib/*/pkcs11/libtpm2_pkcs11.so")[0])
module = load_module(path)

def flush():
    # The module leaves what it could not finish in the TPM, which has room for three: no resource manager is here.
    subprocess.run(["tpm2_flushcontext", "--transient-object"], check=True, capture_output=True)

def initialise(label):
    flush()
    return init_token(path, label=label, so_pin=Pin("the officer's"), user_pin=Pin("the user's"))

def open_with(pin):
    TokenSession.open(module, serial, Pin(pin)).close()

def state():
    return list_tokens(module)[0].pin_state

def make(kind):
    flush()
    with TokenSession.open(module, serial, Pin("the user's")) as session:
        generate_key(session, kind, key_id=b"k" * 16, label="zoo")

def count():
    with TokenSession.open(module, serial, Pin("the user's")) as session:
        return len(list_objects(session))

def attributes():
    flush()
    with find_token(module, serial).native.open(rw=True, user_pin="the user's") as session:
        curve = core.ObjectIdentifier("1.2.840.10045.3.1.7").dump()
        parameters = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: curve}, local=True)
        _, private = parameters.generate_keypair(
            store=True, id=b"k" * 16, label="zoo", mechanism=Mechanism.EC_KEY_PAIR_GEN,
            capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY | MechanismFlag.DECRYPT | MechanismFlag.ENCRYPT,
            public_template={Attribute.PRIVATE: False, Attribute.MODIFIABLE: False},
            private_template={
                Attribute.PRIVATE: True, Attribute.SENSITIVE: True,
                Attribute.EXTRACTABLE: False, Attribute.MODIFIABLE: False,
            },
        )
        return "; ".join(wrong_attributes(private))

note("new", lambda: describe_new_token(path))
note("initialise", lambda: initialise("root"))
serial = list_tokens(module)[0].serial
note("right", lambda: open_with("the user's"))
for kind in KeyKind:
    note(kind, lambda: make(kind))
note("left behind", count)
note("attributes", attributes)
for name in ("first", "second", "third", "fourth", "right and locked"):
    note(name, lambda: open_with("the user's" if name.startswith("right") else "somebody else's"))
    note(f"after {name}", state)
flush()
subprocess.run(["tpm2_dictionarylockout", "--clear-lockout"], check=True, capture_output=True)
note("right and unlocked", lambda: open_with("the user's"))
note("another", lambda: initialise("spare"))
note("two of them", lambda: find_token(module, serial))
""",
    )
    assert "IBM" in noted["new"][1]
    assert noted["initialise"][:2] == ["done", "0000000000000000"]
    assert noted["right"][0] == "done"
    said = {"rsa-4096": "CKR_ATTRIBUTE_VALUE_INVALID", "ed25519": "CKR_MECHANISM_INVALID"}
    for kind in ("rsa-3072", "rsa-4096", "p-256", "p-384", "p-521", "ed25519"):
        assert noted[kind][0] == "TokenError"
        assert said.get(kind, "CKR_GENERAL_ERROR") in noted[kind][1]
        assert noted[kind][2]
    assert noted["left behind"][:2] == ["done", "0"], "an order that was refused leaves half a pair nowhere"
    assert noted["attributes"][:2] == ["done", "CKA_DECRYPT is True, wanted False"]
    for name in ("first", "second", "third"):
        assert noted[name][0] == "WrongPin"
        assert "CKR_PIN_INCORRECT" in noted[name][1]
        assert "tried once and not again" in noted[name][2]
    for name in ("fourth", "right and locked"):
        assert noted[name][0] == "WrongPin"
        assert "is locked (CKR_PIN_LOCKED)" in noted[name][1]
        assert "a TPM: tpm2_dictionarylockout --clear-lockout" in noted[name][2]
    assert {noted[f"after {name}"][1] for name in ("first", "third", "fourth")} == {"set"}
    assert noted["right and unlocked"][0] == "done"
    assert noted["another"][:2] == ["done", "0000000000000000"]
    assert "2 slots hold a token with serial number 0000000000000000; wanted one" in noted["two of them"][1]
    assert "a token with a serial number of its own" in noted["two of them"][2]
