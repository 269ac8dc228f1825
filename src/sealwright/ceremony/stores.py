"""Which tokens: production's by serial number, a rehearsal's from a SoftHSM store of its own or from one thrown away.

A token that the ceremony makes a key on is made here when it is not there yet; one whose key should exist already
must be there from an earlier rehearsal. PINs are random, in files that only their owner reads; the security
officer's PIN is thrown away, so that nobody can reset the user's. Never used in production.
"""

import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from sealwright.ceremony.kinds import KINDS, KindRule
from sealwright.ceremony.script import Script
from sealwright.ceremony.site import Site
from sealwright.ceremony.tokens import LivingTokens
from sealwright.errors import InputError, NotReady, StorageError, TokenError, TokenNotFound
from sealwright.hsm.initialise import init_token
from sealwright.hsm.module import find_softhsm, load_module
from sealwright.hsm.pin import Pin
from sealwright.hsm.softhsm import copy_token, current_store, erase_token, has_token, make_store, use_store
from sealwright.hsm.token import list_tokens

_PIN_OCTETS = 12
ORIGINAL = "root"
"""The token whose key is copied, by the name that every kind gives it. Copies are opened by what opens it."""


def token_label(name: str) -> str:
    """How a rehearsal's token is labelled. Production refuses every token with this mark."""
    return f"REHEARSAL {name}"


@contextmanager
def rehearsal_tokens(script: Script, site: Site, *, again: bool = False) -> Iterator[LivingTokens]:
    """The rehearsal's tokens, ready to be inspected and opened. A throw-away store is gone afterwards.

    ``again``: those of a rehearsal that was interrupted, which are there. Raises ``NotReady`` when they are gone.
    """
    conf, throw_away, before = site.softhsm_conf, None, current_store()
    if again and conf is None:
        raise NotReady(
            "this rehearsal's tokens were to be thrown away, and are gone",
            hint="rehearse from the beginning; with [rehearsal] softhsm_conf in site.toml tokens stay",
        )
    if conf is None:
        throw_away = Path(tempfile.mkdtemp(prefix="sealwright-rehearsal-"))
        conf = throw_away / "softhsm2.conf"
    try:
        rule, conf = KINDS[script.kind].among(script.tokens), conf.absolute()
        make_store(conf)
        use_store(find_softhsm(), conf)
        stores = {name: _copy_store(name, site, conf) for name in script.tokens if rule.is_copy(name)}
        copies = dict.fromkeys(stores, ORIGINAL)
        serials = {
            name: _token(name, script, site, conf, again=again)
            for name in script.tokens
            if name not in rule.fresh() and name not in stores
        }
        serials |= _serials_of_copies(rule, site, stores, serials)
        if not again:
            _clear_copies(rule, site, stores, serials)
        if rule.destroys:
            stores = _doubles(stores, serials, conf, again=again)
        tokens = LivingTokens(
            module=find_softhsm(),
            serials=serials,
            pin_of=lambda name: Pin.from_file(_pin_path(copies.get(name, name), site, conf)),
            activation={name: site.activation(name, rehearsal=True) for name in script.tokens},
            kept=_folder_of_pins(conf),
            stores=stores,
            home=conf,
            copied=frozenset(script.tokens),
            papers={name: site.rehearsed_as(copies.get(name, name)) for name in script.tokens},
        )
        try:
            yield tokens
        finally:
            tokens.close_all()
    finally:
        if throw_away is not None:
            shutil.rmtree(throw_away, ignore_errors=True)
        if before is not None and before.is_file():
            use_store(find_softhsm(), before)


def _copy_store(name: str, site: Site, conf: Path) -> Path:
    """Where a rehearsal has this copy: where the site says, or beside the other tokens."""
    return (site.rehearsal_store(name) or conf.parent / site.rehearsed_as(name) / conf.name).absolute()


def _serials_of_copies(
    rule: KindRule, site: Site, stores: Mapping[str, Path], serials: Mapping[str, str]
) -> dict[str, str]:
    """Of copies that are there, looked up in their stores; a copy to come will have its original's."""
    module, home, found = find_softhsm(), current_store(), {}
    label = token_label(site.rehearsed_as(ORIGINAL))
    for name in (each for each in rule.sealed if each in stores):
        if not stores[name].is_file():
            raise TokenNotFound(
                f"there is no rehearsal store {stores[name]} with the copy {name}",
                hint="rehearse the ceremony that makes it first, with the same [rehearsal] in site.toml",
            )
        use_store(module, stores[name])
        labelled = [token for token in list_tokens(load_module(module)) if token.label == label]
        if len(labelled) != 1:
            raise TokenError(f"the rehearsal store {stores[name]} has {len(labelled)} copies; wanted one")
        found[name] = labelled[0].serial
    if home is not None:
        use_store(module, home)
    for name, source in rule.copies.items():
        found[name] = (found | dict(serials))[source]
    return found


def _doubles(stores: Mapping[str, Path], serials: Mapping[str, str], conf: Path, *, again: bool) -> dict[str, Path]:
    """What a rehearsal destroys is a double of each token, so that the next rehearsal finds them all."""
    doubles = {name: conf.parent / "destroyed" / name / conf.name for name in serials}
    for name, double in doubles.items():
        if not again:
            if has_token(double, serials[name]):
                erase_token(double, serials[name])
            copy_token(stores.get(name, conf), serials[name], double)
    return doubles


def _clear_copies(rule: KindRule, site: Site, stores: Mapping[str, Path], serials: Mapping[str, str]) -> None:
    """What an earlier rehearsal copied to the place that no site names is its rehearsal's, and makes room."""
    for name in rule.copies:
        if site.rehearsal_store(name) is None and has_token(stores[name], serials[name]):
            erase_token(stores[name], serials[name])


@contextmanager
def production_tokens(script: Script, site: Site, ask_pin: Callable[[str], Pin]) -> Iterator[LivingTokens]:
    """The real tokens, by the serial numbers in ``site.toml``."""
    known = [name for name in script.tokens if name not in KINDS[script.kind].fresh()]
    lacking = serials_wanted(script, site)
    if site.module is None or lacking:
        what = "module" if site.module is None else f"[tokens.{lacking[0]}] serial"
        raise InputError(
            f"site.toml does not say {what}", hint="production takes tokens by serial number: never by label or slot"
        )
    serials = {name: site.token(original(name, script, site)).serial or "" for name in known}

    def pin_of(name: str) -> Pin:
        path = site.pin_file(name)
        return Pin.from_file(path) if path else ask_pin(name)

    tokens = LivingTokens(
        module=site.module,
        serials=serials,
        pin_of=pin_of,
        activation={name: site.activation(name, rehearsal=False) for name in script.tokens},
        stores={name: place for name in script.tokens if (place := site.store(name)) is not None},
        home=current_store(),
        copied=frozenset(name for name in script.tokens if site.driver(name, rehearsal=False) == "softhsm"),
    )
    before = current_store()
    try:
        yield tokens
    finally:
        tokens.close_all()
        if tokens.stores and before is not None:
            use_store(site.module, before)


def serials_wanted(script: Script, site: Site) -> list[str]:
    """Tokens that the site does not name by serial number, and has to."""
    fresh = KINDS[script.kind].fresh()
    return [
        name for name in script.tokens if name not in fresh and site.token(original(name, script, site)).serial is None
    ]


def original(name: str, script: Script, site: Site) -> str:
    """Whose serial number this token has: its own, except a SoftHSM's copy, which has its original's."""
    source = KINDS[script.kind].copies.get(name)
    own = source is None or site.token(name).serial is not None
    return name if own or site.driver(name, rehearsal=False) != "softhsm" else str(source)


def _token(name: str, script: Script, site: Site, conf: Path, *, again: bool) -> str:
    """The serial of the rehearsal's token of this name."""
    module = find_softhsm()
    label = token_label(site.rehearsed_as(name))
    found = [token for token in list_tokens(load_module(module)) if token.label == label]
    wanted = site.rehearsed(name).serial
    if wanted is not None:
        found = [token for token in found if token.serial == wanted]
    if len(found) > 1:
        raise TokenError(f"the rehearsal store has {len(found)} tokens labelled {label!r}; wanted one")
    if found:
        return found[0].serial
    shared = site.activation(name, rehearsal=True) == "shamir"
    if again or shared or wanted is not None or name not in KINDS[script.kind].new_keys:
        raise TokenNotFound(
            f"the rehearsal store {conf} has no token {label!r}" + (f" with serial {wanted}" if wanted else ""),
            hint=f"rehearse {'token-init' if shared else 'the ceremony that makes its key'} first, with the same "
            "[rehearsal] in site.toml",
        )
    path = _pin_path(name, site, conf)
    if not path.exists():
        _write_pin(path)
    return init_token(module, label=label, so_pin=Pin(secrets.token_urlsafe(_PIN_OCTETS)), user_pin=Pin.from_file(path))


def _pin_path(name: str, site: Site, conf: Path) -> Path:
    return site.pin_file(name, rehearsal=True) or _folder_of_pins(conf) / f"{site.rehearsed_as(name)}.pin"


def _folder_of_pins(conf: Path) -> Path:
    return conf.absolute().parent / "pins"


def _write_pin(path: Path) -> None:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_urlsafe(_PIN_OCTETS) + "\n")
    except OSError as error:
        raise StorageError(f"cannot write the rehearsal's PIN file {path}: {error.strerror}") from error
