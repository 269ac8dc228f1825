"""``sealwrightd check``: one page that says how an installed PKI stands, line by line, with what to do.

It reads; it changes nothing and opens no token (a second login would count as a PIN attempt): how the tokens are is
what the processes that hold them say. Run it as root, or as a user who may read the installed folder.
"""

import shutil
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from cryptography import x509

from sealwright.errors import SealwrightError
from sealwright.installation.config import DaemonConfig
from sealwright.installation.observed import ASK_SECONDS, Observed, observe, read_time
from sealwright.installation.root_answers import answers_end
from sealwright.installed import Installed, load_installed
from sealwright.ledger.reader import LedgerReader
from sealwright.pki.settings import PKISettings, load_settings

State = Literal["ok", "warning", "problem"]
_EXPIRY = timedelta(days=30)
_ROSTER = timedelta(days=14)
_DISK_FREE = 0.05
_OTHER = "does another PKI of this machine have that address?"


@dataclass(frozen=True, slots=True)
class Finding:
    area: str
    state: State
    text: str


def check(folder: Path, config: DaemonConfig, now: datetime) -> tuple[Finding, ...]:
    """Every finding, in the order of the page. Raises only what makes the folder no installed PKI."""
    installed = load_installed(folder)
    settings = load_settings(installed.pinned_files()["pki.toml"], source="ca/pki.toml")
    observed = {each.process: each for each in observe(config, now)}
    return (
        *_processes(observed, installed.anchor.pki_id),
        *_tokens(observed),
        *_clock(observed),
        *_keys(installed, observed, now),
        *_roster(observed, now),
        *_crls(config, settings, installed, now),
        *_oldest_crl(settings, observed, now),
        *_ocsp(settings, observed, now),
        *_root_answers(installed, settings, now),
        *_ledger(installed, observed),
        *_standby(observed),
        *_files(folder, config),
    )


def to_json(findings: tuple[Finding, ...]) -> dict[str, Any]:
    return {"well": is_well(findings), "findings": [asdict(each) for each in findings]}


def is_well(findings: tuple[Finding, ...]) -> bool:
    return all(each.state != "problem" for each in findings)


def _processes(observed: dict[str, Observed], pki: str) -> Iterator[Finding]:
    for each in observed.values():
        other = each.facts.get("pki", pki) != pki  # signer and registry say it; of validation the CRLs do
        problem = f"this is of another PKI, {each.facts['pki'][:16]}…: {_OTHER}" if other else each.problem
        yield Finding("process", "problem" if problem else "ok", f"{each.process}: {problem or 'well'}")


def _tokens(observed: dict[str, Observed]) -> Iterator[Finding]:
    for each in observed.values():
        for token in each.facts.get("tokens", ()):
            text = f"{token['label']} ({token['serial']}, {each.process}): {token['state']}"
            if token["state"] == "well":
                yield Finding("token", "ok", f"{text}, {token['outages']} outages, {token['logins']} logins")
            else:
                yield Finding("token", "problem", f"{text} since {token['since'] or 'its start'}: {token['reason']}")


def _clock(observed: dict[str, Observed]) -> Iterator[Finding]:
    facts = observed["signer"].facts
    if "clock" not in facts:
        return  # a standby believes nothing
    if facts["clock"] != "well":
        yield Finding(
            "clock",
            "problem",
            f"{facts['clock']}: the signer believes that it is {facts['time_believed']}, and issues nothing:"
            " set the clock, or see `sealwrightd clock`",
        )
    else:
        yield Finding("clock", "ok", f"the signer believes it: {facts['time_believed']}")


def _keys(installed: Installed, observed: dict[str, Observed], now: datetime) -> Iterator[Finding]:
    yield _until("key", "root certificate", installed.root.not_valid_after_utc, now, _EXPIRY)
    yield _until("key", "issuing certificate", installed.issuing.not_valid_after_utc, now, _EXPIRY)
    responder = observed["presign"].facts.get("responder_expires")
    if responder:
        yield _until("key", "OCSP responder certificate", read_time(responder), now, timedelta(days=2))


def _roster(observed: dict[str, Observed], now: datetime) -> Iterator[Finding]:
    facts = observed["signer"].facts
    if not facts:
        yield Finding("roster", "warning", "not known: the signer does not answer")
    elif not facts["roster_version"]:
        yield Finding("roster", "problem", "there is none yet: officers publish one with `sealwright roster publish`")
    else:
        yield _until("roster", f"version {facts['roster_version']}", read_time(facts["roster_expires"]), now, _ROSTER)


def _until(area: str, what: str, end: datetime, now: datetime, warn: timedelta) -> Finding:
    state: State = "problem" if now >= end else "warning" if now >= end - warn else "ok"
    word = "expired" if now >= end else "expires"
    return Finding(area, state, f"{what} {word} {end:%Y-%m-%d %H:%M} UTC ({(end - now).days} days)")


def _crls(config: DaemonConfig, settings: PKISettings, installed: Installed, now: datetime) -> Iterator[Finding]:
    late = timedelta(hours=1.5 * settings.standing.crl_interval_hours)
    for ca_id, wanted, ca in ((settings.root.id, None, installed.root), (settings.issuing.id, late, installed.issuing)):
        url = f"http://{config.validation.listen}/crl/{ca_id}.crl"
        try:
            with build_opener(ProxyHandler({})).open(url, timeout=ASK_SECONDS) as answer:
                crl = x509.load_der_x509_crl(answer.read())
        except (URLError, OSError, ValueError) as error:
            yield Finding("crl", "problem", f"{ca_id}: not served at {url}: {getattr(error, 'reason', None) or error}")
            continue
        if not crl.is_signature_valid(ca.public_key()):  # type: ignore[arg-type]  # load_installed read it
            yield Finding("crl", "problem", f"{ca_id}: what {url} gives is not signed by this CA: {_OTHER}")
            continue
        end = crl.next_update_utc
        age = now - crl.last_update_utc
        if end is None or now >= end:
            yield Finding("crl", "problem", f"{ca_id}: nextUpdate {end} is over: verifiers refuse everything")
        elif wanted is not None and age > wanted:
            yield Finding("crl", "warning", f"{ca_id}: {age} old; a new one was due after half of that")
        else:
            yield _until("crl", f"{ca_id} ({len(crl)} entries)", end, now, timedelta(days=1))


def _oldest_crl(settings: PKISettings, observed: dict[str, Observed], now: datetime) -> Iterator[Finding]:
    """Of all scopes: partitions are made daily too."""
    made = observed["signer"].facts.get("crl_made")
    late = timedelta(hours=1.5 * settings.standing.crl_interval_hours)
    if made and now - read_time(made) > late:
        what = f"the signer's oldest CRL, full list or partition, is of {made}"
        yield Finding("crl", "warning", f"{what}: a new one was due {settings.standing.crl_interval_hours} h after")


def _ocsp(settings: PKISettings, observed: dict[str, Observed], now: datetime) -> Iterator[Finding]:
    facts = observed["presign"].facts
    if not facts:
        yield Finding("ocsp", "warning", "not known: presign has said nothing")
        return
    text = f"{facts['serials']} serials, {facts['pending']} to be signed, {facts['refused']} refused by a rule"
    if not facts["oldest_answer"]:
        yield Finding("ocsp", "ok", text)
        return
    age = now - read_time(facts["oldest_answer"])
    state: State = "ok"
    if age > timedelta(hours=settings.standing.ocsp_validity_hours):
        state = "problem"
    elif age > timedelta(hours=1.5 * settings.standing.ocsp_refresh_hours):
        state = "warning"
    yield Finding("ocsp", state, f"{text}; oldest answer {age} old")


def _root_answers(installed: Installed, settings: PKISettings, now: datetime) -> Iterator[Finding]:
    end = answers_end(settings.root.id, installed)
    if end is not None:
        yield _until("ocsp", "what the root says of its CAs", end, now, _EXPIRY)


def _ledger(installed: Installed, observed: dict[str, Observed]) -> Iterator[Finding]:
    try:
        reader = LedgerReader(installed.ledger, installed.anchor.ledger_origin, installed.ledger_key)
        size = reader.size
    except SealwrightError as error:
        yield Finding("ledger", "problem", str(error))
        return
    said = observed["signer"].facts.get("ledger_size")
    if said is not None and said < size:
        yield Finding("ledger", "problem", f"{size} entries on disk, and the signer knows {said}")
    else:
        yield Finding("ledger", "ok", f"{size} entries, checkpoint signed by the ledger key")
    usage = shutil.disk_usage(installed.ledger)
    if usage.free < _DISK_FREE * usage.total:
        yield Finding("ledger", "warning", f"its disk has {usage.free / usage.total:.0%} free")


def _standby(observed: dict[str, Observed]) -> Iterator[Finding]:
    facts = observed["signer"].facts
    if facts.get("role") == "standby":
        behind = facts["behind_entries"]
        text = (
            f"a standby: {facts['ledger_size']} entries, {behind} behind, heard {facts['source_silent_seconds']} s ago"
        )
        yield Finding("standby", "problem" if facts["problem"] else "warning" if behind else "ok", text)
    elif facts:
        yield Finding("standby", "problem" if facts["fenced"] else "ok", facts["fenced"] or f"epoch {facts['epoch']}")


def _files(folder: Path, config: DaemonConfig) -> Iterator[Finding]:
    wrong = []
    for name, place in (
        ("issuing", config.signer.issuing),
        ("ledger", config.signer.ledger),
        ("ocsp", config.presign.ocsp),
    ):
        mode = _mode(place.pin_file)
        if mode is None:
            wrong.append(f"PIN file of the {name} token is not there: {place.pin_file}")
        elif mode & 0o077:
            wrong.append(f"PIN file of the {name} token has mode {mode:04o}; wanted 0400: {place.pin_file}")
    for path in (folder, folder / "ledger", folder / "crl", folder / "ca", folder / "sealwrightd.toml"):
        mode = _mode(path)
        if mode is not None and mode & 0o022:
            wrong.append(f"{path} has mode {mode:04o}: others than its owner may write it")
    socket = _mode(config.signer.socket)
    if socket is not None and socket & 0o007:
        wrong.append(f"{config.signer.socket} has mode {socket:04o}; wanted 0660")
    for text in wrong:
        yield Finding("files", "problem", text)
    if not wrong:
        yield Finding("files", "ok", "PIN files, ledger, CRLs, policy and socket have the modes they should")


def _mode(path: Path) -> int | None:
    try:
        return stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
