"""``new``: a ceremony folder from the reviewed script of its kind, with as many of its inputs as can be found.

Inputs come from ``ca/`` (settings and profiles), from the outputs of earlier records (each replayed first), or by
name. What is still to be put in is said; nothing is made up.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sealwright.ceremony.fitting import fit_to_tokens
from sealwright.ceremony.folder import INPUTS, SCRIPT, SITE, make_folder
from sealwright.ceremony.kinds import KINDS, NEW
from sealwright.ceremony.record import load_record
from sealwright.ceremony.script import Kind, Script, parse_script
from sealwright.ceremony.site import parse_site
from sealwright.ceremony.tworoots import sort_by_root
from sealwright.durable import read_file, write_new
from sealwright.errors import InputError, NotFound

_PLACES = (Path(__file__).parents[3] / "ceremonies", Path(sys.prefix) / "share/sealwright/ceremonies")
"""In a checkout, and where a wheel puts them."""

_SITE = """\
# What differs from room to room. No secret belongs in here.
# Relative paths start from this file's folder.

# Production: the PKCS#11 module, and each token by its serial number. A rehearsal in this folder has tokens of its own.
# module = "/usr/lib/softhsm/libsofthsm2.so"
"""
_DEVICE = """
# [tokens.{name}]
# serial = "0123456789abcdef"
# pin_file = "/run/pins/{name}"     # 0400 or 0600; without it the PIN is asked for
# activation = "shamir"              # its holders type their shares; or "external": at the token's own keypad
# driver = "softhsm"                 # who clones and erases it: this program. Without it: people, with its maker's tool
# softhsm_conf = "/safe/softhsm2.conf"   # the SoftHSM store it is in, where that is not SOFTHSM2_CONF's
"""
_REHEARSAL = """
# Whoever consents signs with a key of their own: where its file is, when it is not to be asked for.
# [signers.ada]
# key = "/media/ada/id_ed25519_sk"

# Rehearsals: a SoftHSM store that outlives one of them, so that the next finds its tokens. It is made when it is not
# there, with tokens/ and pins/ beside it. Without this the tokens are thrown away at the end.
# [rehearsal]
# softhsm_conf = "../rehearsal/softhsm2.conf"
"""


def template(kind: Kind) -> bytes:
    """The reviewed script of a kind, as it came with this software."""
    for place in _PLACES:
        if (place / kind / SCRIPT).is_file():
            return read_file(place / kind / SCRIPT)
    raise NotFound(f"the script of {kind} did not come with this installation", hint="name one with --script FILE")


def new_folder(
    kind: Kind,
    path: Path,
    *,
    ca: Path | None = None,
    records: Sequence[Path] = (),
    inputs: Mapping[str, Path] | None = None,
    script: Path | None = None,
    site: Path | None = None,
) -> tuple[str, ...]:
    """Make the folder; gives the names of the inputs that are still to be put into it.

    Of several sources a later one wins: ``ca``, then ``records`` in their order, then ``inputs``.
    """
    text = read_file(script) if script else template(kind)
    parsed = parse_script(text, source=str(script or SCRIPT))
    if parsed.kind is not kind:
        raise InputError(f"{script} is a script of kind {parsed.kind}; wanted {kind}")
    site_text = read_file(site) if site else _site(parsed)
    parse_site(site_text, folder=path, source=str(site or SITE))
    found = _collect(parsed, ca, records, inputs or {})
    if KINDS[kind].destroys and script is None and {"destruction.toml", "register.json"} <= found.keys():
        text = fit_to_tokens(text, found["destruction.toml"], found["register.json"])
        parsed = parse_script(text)
        site_text = site_text if site else _site(parsed)
    make_folder(path)
    write_new(path / SCRIPT, text)
    write_new(path / SITE, site_text)
    make_folder(path / INPUTS)
    for name, data in found.items():
        write_new(path / INPUTS / name, data)
    return tuple(name for name in parsed.inputs if name not in found)


def _site(script: Script) -> bytes:
    tokens = "".join(_DEVICE.format(name=name) for name in script.tokens)
    return (_SITE + tokens + _REHEARSAL).encode()


def _collect(script: Script, ca: Path | None, records: Sequence[Path], inputs: Mapping[str, Path]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    if ca is not None:
        if not ca.is_dir():
            raise NotFound(f"{ca} is not a folder", hint="--ca names the folder with pki.toml and profiles/")
        for name in script.inputs:
            place = ca / name if name == "pki.toml" else ca / "profiles" / name
            if place.is_file():
                found[name] = read_file(place)
    replayed = [load_record(record) for record in records]
    if any(name.startswith(NEW) for name in script.inputs):
        found |= sort_by_root(replayed, script.inputs)
    else:
        for record in replayed:
            found |= {name: record.outputs[name] for name in script.inputs if name in record.outputs}
    for name, place in inputs.items():
        if name not in script.inputs:
            raise InputError(
                f"{script.kind} has no input {name}; it has {', '.join(script.inputs)}", hint="--input NAME=PATH"
            )
        found[name] = read_file(place)
    return found
