"""Presign as a process: follows the ledger, keeps every OCSP answer fresh, and publishes what the signer wrote.

Holds the OCSP key and no other; asks the signer for nothing but its own certificate. A revocation goes before all other
work. What goes wrong with one thing (signer away, file not there yet) is said once and does not stop the rest.
"""

import logging
import signal
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sealwright.channel import SignerChannel
from sealwright.errors import IntegrityError, PolicyViolation, SealwrightError, Unavailable, WrongPin
from sealwright.hsm.keys import private_key
from sealwright.hsm.module import load_module
from sealwright.hsm.session import Pin, TokenSession
from sealwright.hsm.supervision import Supervisor
from sealwright.installed import Installed, load_installed
from sealwright.ledger.reader import LedgerReader
from sealwright.pki.keys import PrivateKey, spki_sha256
from sealwright.pki.serials import SerialNumber, format_serial
from sealwright.pki.settings import PKISettings, load_settings
from sealwright.publication.answers import AnswerSigner, SignedPart
from sealwright.publication.config import PresignConfig
from sealwright.publication.files import CRLFile, publish_ca_certificate
from sealwright.publication.lock import only_presign
from sealwright.publication.responder import Responder
from sealwright.publication.root_answers import RootAnswers
from sealwright.publication.status import tell_status, wire_time
from sealwright.publication.statuses import DueSerial, LedgerStatuses
from sealwright.publication.writer import Writer
from sealwright.store.publication import REVOKED, Publication, clear_publication, open_publication
from sealwright.store.roles import OWNER

log = logging.getLogger("sealwright.presign")

Clock = Callable[[], datetime]

BATCH = 500
"""Serials signed between two looks at the ledger: some 60 ms, so that a revocation does not wait."""
_REFUSED_AGAIN = timedelta(seconds=60)
_TELL_SECONDS = 2.0


def system_clock() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def run_presign(config: PresignConfig, *, clock: Clock = system_clock, stop: threading.Event | None = None) -> None:
    """Work until SIGTERM or SIGINT. Raises what refuses to start, and what must not be worked on with."""
    stop = stop or _stop_on_signals()
    with _opened(config) as (installed, publication, ledger, token, key), Supervisor([(token, key)]):
        channel = SignerChannel(config.socket)
        with closing(Presign(installed, publication, ledger, key, channel, clock, config.state)) as presign:
            log.info("following the ledger from entry %d; %d serials", ledger.size, len(presign.statuses))
            told = 0.0
            while not stop.is_set():
                more = presign.work()
                if config.status is not None and time.monotonic() - told > _TELL_SECONDS:
                    told = time.monotonic()
                    tell_status(config.status, presign.facts(), token.health(), clock())
                if not more:
                    stop.wait(config.poll_seconds)


def rebuild_publication(config: PresignConfig, *, owner: str = OWNER, clock: Clock = system_clock) -> int:
    """Forget what is published, and make it again from the ledger: CA certificates, CRLs, an answer for every serial.

    Returns how many serials are answered for. Raises as ``run_presign``, before anything is forgotten, and
    ``Unavailable`` when not all could be made: presign then makes the rest. What validation serves meanwhile is its
    snapshot, which goes on. ``owner``: PostgreSQL's role that may delete; presign's own may not.
    """
    with _opened(config) as (installed, publication, ledger, _, key):
        clear_publication(config.publication, owner=owner)
        with closing(Presign(installed, publication, ledger, key, SignerChannel(config.socket), clock)) as presign:
            while presign.work():
                pass
            if presign.troubles:
                raise Unavailable(
                    f"the publication database is not complete yet: {'; '.join(presign.troubles)}",
                    hint="is the signer running? presign makes the rest when it can",
                )
            return len({each.serial for each in publication.answer_states(presign.settings.issuing.id)})


@contextmanager
def _opened(config: PresignConfig) -> Iterator[tuple[Installed, Publication, LedgerReader, TokenSession, PrivateKey]]:
    installed = load_installed(config.folder)
    publication = open_publication(config.publication)
    try:
        publication.state()
        ledger = LedgerReader(installed.ledger, installed.anchor.ledger_origin, installed.ledger_key)
        module = load_module(config.module)
        with (
            only_presign(config.pin_file),
            TokenSession.open(module, config.token_serial, Pin.from_file(config.pin_file)) as token,
        ):
            key = private_key(token, config.key_id)
            if spki_sha256(key.public_key()) != spki_sha256(installed.ocsp_key):
                raise IntegrityError(
                    "the key on the OCSP token is not the one that installation pinned",
                    hint="is [presign.ocsp] in sealwrightd.toml right?",
                )
            yield installed, publication, ledger, token, key
    finally:
        publication.close()


class Presign:
    """One step is ``work``. Everything it knows it can learn again from the ledger and the publication database."""

    def __init__(
        self,
        installed: Installed,
        publication: Publication,
        ledger: LedgerReader,
        key: PrivateKey,
        channel: SignerChannel,
        clock: Clock,
        state: Path | None = None,
    ) -> None:
        """``state``: the file of ``LedgerStatuses``; None: it is learnt again at every start."""
        self._installed, self._publication, self._ledger, self._clock = installed, publication, ledger, clock
        self._key = key
        self._said: dict[str, str] = {}
        self._refused: set[SerialNumber] = set()
        self.statuses = LedgerStatuses(state)
        self.statuses.catch_up(ledger)
        self.settings = self._settings_in_force(None)
        self._responder = Responder(installed.issuing, key.public_key(), lambda: channel.call("responder-certificate"))
        self._signer: AnswerSigner | None = None
        self._writer = Writer(publication, self.statuses)
        self._more = False
        self._incomplete = state is None
        self._compare_if_needed()
        self._root_crl = self._begin_files(self.settings)

    def work(self) -> bool:
        """One step: follow, publish files, sign what is pending. True when there is more to sign at once."""
        self._try("database", self._make_up)
        self._try("ledger", self._follow_on)
        self._try("files", self._publish_files)
        self._try("answers", self._sign_due)
        return self._more and "answers" not in self._said

    def close(self) -> None:
        """End the writing of what is signed."""
        self._writer.close()
        self.statuses.close()

    @property
    def troubles(self) -> tuple[str, ...]:
        """What could not be done at the last step."""
        return tuple(self._said.values())

    def facts(self) -> dict[str, Any]:
        """How the work stands: for people and their alarms."""
        oldest, responders = self.statuses.oldest_answer(), self.statuses.responders
        return {
            "followed": self.statuses.followed,
            "serials": len(self.statuses),
            "pending": self.statuses.pending(self._clock()),
            "refused": len(self._refused),
            "oldest_answer": wire_time(oldest) if oldest else "",
            "responder_expires": wire_time(responders[-1].not_valid_after_utc) if responders else "",
            "problems": dict(self._said),
        }

    # (1) the ledger

    def _follow_on(self) -> None:
        if not self._ledger.refresh():
            return
        rosters = self.statuses.rosters
        self.statuses.catch_up(self._ledger)
        if self.statuses.rosters != rosters:
            self.settings = self._settings_in_force(self.settings)
            self._responder.ask_soon()

    def _settings_in_force(self, before: PKISettings | None) -> PKISettings:
        """``ca/pki.toml`` as the roster in force pins it; the former settings when the file is another."""
        settings = load_settings(self._installed.pinned_files()["pki.toml"], source="ca/pki.toml")
        pin = self.statuses.settings_pin
        if pin in (None, settings.sha256):
            return settings
        violation = PolicyViolation(
            f"ca/pki.toml has SHA-256 {settings.sha256}; the roster in force pins {pin}",
            rule="ROSTER-PIN",
            hint="put the pinned file back, or have the officers sign a roster that pins this one",
        )
        if before is None:
            raise violation
        log.error("%s; going on with the settings that were pinned before", violation)
        return before

    # (2) files

    def _begin_files(self, settings: PKISettings) -> CRLFile:
        """What is published of the CAs themselves. The issuing CA's CRLs come when the ledger names them."""
        root, issuing = self._installed.root, self._installed.issuing
        publish_ca_certificate(self._publication, settings.root.id, root)
        publish_ca_certificate(self._publication, settings.issuing.id, issuing)
        self._root_answers = RootAnswers(self._installed.folder, settings.root.id, root)
        self._crls: dict[str, CRLFile] = {}
        return CRLFile(self._installed.crls, settings.root.id, root, None)

    def _publish_files(self) -> None:
        self._root_crl.publish(self._publication)
        self._root_answers.publish(self._publication)
        standing, ca_id = self.settings.standing, self.settings.issuing.id
        for scope, sha256 in self.statuses.last_crls.items():
            if scope not in self._crls:
                interval = timedelta(hours=standing.crl_interval_hours)
                crls, issuing = self._installed.crls, self._installed.issuing
                self._crls[scope] = CRLFile(crls, ca_id, issuing, interval, scope=scope)
            self._crls[scope].publish(self._publication, sha256)

    # (3) answers

    def _make_up(self) -> None:
        """Publish again what a promoted standby or a restored backup does not have."""
        if self._compare_if_needed():
            self._root_crl = self._begin_files(self.settings)

    def _compare_if_needed(self) -> bool:
        """True when all that is published was compared with the ledger: this database is another than the one that
        was written last, or went back behind it."""
        identity, change = self._publication.state()
        seen = self.statuses.published_up_to()
        if seen is not None and seen[0] == identity and change >= seen[1] and not self._incomplete:
            return False
        if seen is not None:
            log.error("the publication database lost what was published last; comparing all of it with the ledger")
        self._incomplete = True
        self._writer.land()
        self.statuses.compare(self._publication.answer_states(self.settings.issuing.id))
        self.statuses.put_published_up_to(identity, change)
        self._incomplete = False
        return True

    def _sign_due(self) -> None:
        now = self._clock()
        renew_before = timedelta(days=self.settings.standing.responder_renew_before_days)
        # Asked at every step, also with nothing to sign: renewal does not wait for work.
        template = self._responder.template(self.statuses.responders, renew_before, now)
        if self._signer is None or (self._signer.template, self._signer.settings) != (template, self.settings):
            self._signer = AnswerSigner(template=template, key=self._key, settings=self.settings)
        batch = self._writer.not_under_way(self.statuses.due(now, BATCH + self._writer.under_way))[:BATCH]
        parts = self._sign(self._signer, batch, now)
        self._more = len(batch) == BATCH
        # While one batch is written the next is signed.
        self._writer.write(batch, parts)
        if not self._more:
            self._writer.land()

    def _sign(self, signer: AnswerSigner, batch: Sequence[DueSerial], now: datetime) -> list[SignedPart]:
        answered = [each.answered for each in batch]
        try:
            parts = signer.sign_many([each.status for each in batch], now=now, answered=answered)
        except PolicyViolation:
            parts = self._sign_one_by_one(signer, batch, now)
        else:
            if self._refused:
                self._refused -= {each.status.serial for each in batch}
        revoked = [row[0] for part in parts for row in part.groups[0].rows if part.groups[0].status == REVOKED]
        if revoked:
            log.info("revoked: %s%s", ", ".join(revoked[:20]), " and more" if len(revoked) > 20 else "")
        return parts

    def _sign_one_by_one(self, signer: AnswerSigner, batch: Sequence[DueSerial], now: datetime) -> list[SignedPart]:
        """None for a serial that a rule refuses, so that the others get theirs."""
        parts, refused = [], []
        for place, each in enumerate(batch):
            serial = each.status.serial
            try:
                made = signer.sign_many([each.status], now=now, answered=[each.answered])
            except PolicyViolation as error:
                if serial not in self._refused:
                    log.warning("no answer for serial %s: %s", format_serial(serial), error)
                self._refused.add(serial)
                refused.append(each)
            else:
                self._refused.discard(serial)
                parts += [replace(part, places=[place]) for part in made]
        self.statuses.put_off(refused, now + _REFUSED_AGAIN)
        return parts

    def _try(self, name: str, step: Callable[[], None]) -> None:
        """What may pass by itself is said once and tried again; what may not ends the process."""
        try:
            step()
        except (IntegrityError, WrongPin):
            raise
        except (SealwrightError, sqlite3.Error) as error:
            if self._said.get(name) != str(error):
                hint = getattr(error, "hint", "")
                log.warning("%s: %s%s", name, error, f" ({hint})" if hint else "")
                self._said[name] = str(error)
        else:
            if self._said.pop(name, None):
                log.info("%s: well again", name)


def _stop_on_signals() -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    return stop
