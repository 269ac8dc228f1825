"""The signer as a process: token, ledger, recovery, then the socket and the CRL clock, until SIGTERM.

Everything that could refuse to start does so before the socket exists, so a client never meets half a signer.
"""

import base64
import logging
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from sealwright import __version__
from sealwright.channel import SignerCall, bind_socket, read_call, waiting_calls
from sealwright.errors import AccessDenied, Conflict, InputError, IntegrityError, PolicyViolation, SealwrightError
from sealwright.hsm.keys import private_key
from sealwright.hsm.module import load_module
from sealwright.hsm.session import Pin, TokenSession
from sealwright.hsm.supervision import Supervisor
from sealwright.installed import load_installed
from sealwright.issuing.authority import IssuingAuthority
from sealwright.issuing.clock import Clock, hear_operator, system_clock
from sealwright.issuing.crl import RESOLUTION, crl_due, crl_scopes, issue_crl
from sealwright.issuing.denials import deny
from sealwright.issuing.feed import answer_feed
from sealwright.issuing.fence import claim
from sealwright.issuing.issuance import Drafted, Issuance, begin, carry_through, draft_order
from sealwright.issuing.linters import Linters, how_many
from sealwright.issuing.recovery import record_start
from sealwright.issuing.responder import responder_certificate
from sealwright.issuing.revocation import revoke
from sealwright.issuing.rosters import publish_roster, suspend_person
from sealwright.issuing.setback import take_witness
from sealwright.issuing.tokens import TokenTrouble
from sealwright.ledger.log import Ledger
from sealwright.pki.keys import PrivateKey, key_kind, throwaway_key
from sealwright.pki.serials import format_serial
from sealwright.statements.canonical import canonical_bytes
from sealwright.statements.receipts import Receipt
from sealwright.statements.wire import format_time

log = logging.getLogger("sealwright.signer")

_CRL_CLOCK_SECONDS = 20.0
_WORKERS = 16
_SERIALS_SAID = 4000
"""Serials that the answer to an order names, of however many it revoked: more do not fit a message, and are counted."""


@dataclass(frozen=True, slots=True)
class TokenKey:
    """Where a key is: its token's serial number, its CKA_ID, the file that holds the token's PIN, and the token's
    PKCS#11 module if it is not the signer's ``module``."""

    token_serial: str
    key_id: bytes
    pin_file: Path
    module: Path | None = None


@dataclass(frozen=True, slots=True)
class SignerConfig:
    folder: Path
    socket: Path
    module: Path
    issuing: TokenKey
    ledger: TokenKey
    peers: frozenset[int]
    """The uids that may call."""
    presign_peers: frozenset[int]
    """The uids that may ask for a responder certificate."""
    status_peers: frozenset[int] = frozenset()
    """The uids that may ask how the signer is, and nothing else."""

    @property
    def callers(self) -> frozenset[int]:
        """Whoever may open a connection at all."""
        return self.peers | self.presign_peers | self.status_peers


def run_signer(config: SignerConfig, *, clock: Clock = system_clock, stop: threading.Event | None = None) -> None:
    """Serve until SIGTERM or SIGINT. Raises what refuses to start; see the classes in ``errors``."""
    stop = stop or stop_on_signals()
    with ExitStack() as opened:
        linters = opened.enter_context(Linters(how_many()))
        authority, tokens = _open_all(config, clock, opened)
        authority.linting = linters
        lost = record_start(authority)
        if lost:
            log.warning("a crash left %d open intents; their serials are revoked", len(lost))
        with Supervisor(tokens, TokenTrouble(authority).hear):
            serve(authority, config, stop, [token for token, _ in tokens])


@contextmanager
def opened_authority(config: SignerConfig, *, clock: Clock = system_clock) -> Iterator[IssuingAuthority]:
    """What a signer has before it starts, for an act without its socket. Raises as ``run_signer``."""
    with ExitStack() as opened:
        yield _open_all(config, clock, opened)[0]


def _open_all(
    config: SignerConfig, clock: Clock, opened: ExitStack
) -> tuple[IssuingAuthority, tuple[tuple[TokenSession, PrivateKey], ...]]:
    issuing_token = opened.enter_context(_open(config, config.issuing))
    ledger_token = opened.enter_context(_open(config, config.ledger))
    installed = load_installed(config.folder)
    ledger_key = private_key(ledger_token, config.ledger.key_id)
    if not isinstance(ledger_key, Ed25519PrivateKey):
        raise IntegrityError("the ledger key is not Ed25519", hint="is [signer.ledger] in sealwrightd.toml right?")
    issuing_key = private_key(issuing_token, config.issuing.key_id)
    ledger = opened.enter_context(Ledger.open(installed.ledger, installed.anchor.ledger_origin, ledger_key))
    authority = IssuingAuthority.open(installed, key=issuing_key, ledger=ledger, clock=clock)
    opened.enter_context(closing(authority))
    authority.fence = claim(issuing_token, installed.ledger, authority.index.epoch)
    return authority, ((issuing_token, issuing_key), (ledger_token, ledger_key))


def _open(config: SignerConfig, key: TokenKey) -> TokenSession:
    module = load_module(key.module or config.module)
    return TokenSession.open(module, key.token_serial, Pin.from_file(key.pin_file))


def serve(
    authority: IssuingAuthority, config: SignerConfig, stop: threading.Event, tokens: Sequence[TokenSession] = ()
) -> None:
    """The socket and the CRL clock. Returns when ``stop`` is set; calls that were accepted are answered."""
    renew_crl = threading.Event()
    service = SignerService(authority, config, renew_crl.set, tokens)
    crl_clock = threading.Thread(target=_keep_crl, args=(authority, renew_crl, stop), name="crl")
    try:
        with bind_socket(config.socket) as listener, ThreadPoolExecutor(_WORKERS, "call") as workers:
            crl_clock.start()
            log.info("the signer answers on %s", config.socket)
            for connection in waiting_calls(listener, stop):
                workers.submit(service.take, connection)
        authority.line.close()
    finally:
        stop.set()  # whatever went wrong: half a signer is none
        renew_crl.set()
    crl_clock.join()
    config.socket.unlink(missing_ok=True)


class SignerService:
    """What each call means."""

    def __init__(
        self,
        authority: IssuingAuthority,
        config: SignerConfig,
        renew_crl: Callable[[], None],
        tokens: Sequence[TokenSession] = (),
    ) -> None:
        self._authority, self._config, self._renew_crl = authority, config, renew_crl
        self._tokens = tokens
        self._calls: Mapping[str, Callable[[SignerCall], Mapping[str, Any]]] = {
            "issue": self._issue,
            "deny": self._deny,
            "revoke": self._revoke,
            "publish-roster": self._publish_roster,
            "suspend": self._suspend,
            "responder-certificate": self._responder_certificate,
            "entries": self._entries,
            "status": self._status,
            "witness": self._witness,
            "stand-down": self._stand_down,
        }

    def answer(self, call: SignerCall) -> Mapping[str, Any]:
        """Answer a call; a refusal by rule goes into the ledger before it goes into the answer."""
        return self._answer(call, lambda: self._carry_out(call))

    def take(self, connection: socket.socket) -> None:
        """Read a call and answer it. An order is put into the line, which answers it: no thread waits for that."""
        waiting = read_call(connection, self._config.callers)
        if waiting is None:
            return
        if waiting.call.name != "issue":
            waiting.answer(self.answer)
            return
        call = waiting.call

        def tell() -> None:
            waiting.answer(lambda call: self._answer(call, lambda: _receipt(issuance.result())))

        issuance = Issuance(lambda: self._draft(call), tell)
        begin(self._authority, issuance)

    def _answer(self, call: SignerCall, act: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any]:
        try:
            return act()
        except PolicyViolation as error:
            self._authority.record_refusal(call.name, canonical_bytes(dict(call.arguments)), error)
            log.warning("refused %s by %s: %s", call.name, error.rule, error.message)
            raise
        except SealwrightError:
            raise
        except Exception as error:
            log.exception("%s failed", call.name)
            raise SealwrightError(
                f"the signer could not finish this call ({type(error).__name__})",
                hint="its log has the details",
            ) from None

    def _carry_out(self, call: SignerCall) -> Mapping[str, Any]:
        self._check_peer(call)
        return self._calls[call.name](call)

    def _check_peer(self, call: SignerCall) -> None:
        """Orders come from the registry's uid; whoever only watches may only ask for the status."""
        asked = call.name in ("status", "responder-certificate")  # the latter has a rule of its own
        if not asked and call.peer_uid not in self._config.peers:
            raise AccessDenied(
                f"uid {call.peer_uid} may not call {call.name!r}",
                hint="the uids that may are in sealwrightd.toml, [signer] peers",
            )

    def _issue(self, call: SignerCall) -> Mapping[str, Any]:
        """For who waits for it; ``take`` lets nobody wait."""
        return _receipt(carry_through(self._authority, lambda: self._draft(call)))

    def _draft(self, call: SignerCall) -> Drafted:
        self._check_peer(call)
        _only(call, "order")
        return draft_order(self._authority, call.arguments["order"])

    def _deny(self, call: SignerCall) -> Mapping[str, Any]:
        _only(call, "request", "decision")
        return {"entry": deny(self._authority, call.arguments)}

    def _revoke(self, call: SignerCall) -> Mapping[str, Any]:
        _only(call, "order")
        records = revoke(self._authority, call.arguments)
        self._renew_crl()
        serials = [serial for record in records for serial in record.serials]
        return {
            "act": records[0].type,
            "serials": serials[:_SERIALS_SAID],
            "more": len(serials[_SERIALS_SAID:]),
            "reason": records[0].reason,
            "revocation_date": format_time(records[0].revocation_date),
        }

    def _publish_roster(self, call: SignerCall) -> Mapping[str, Any]:
        _only(call, "roster")
        roster = publish_roster(self._authority, call.arguments)
        self._renew_crl()
        return {"version": roster.version}

    def _suspend(self, call: SignerCall) -> Mapping[str, Any]:
        _only(call, "suspension")
        roster = suspend_person(self._authority, call.arguments)
        return {"version": roster.version, "suspended": list(roster.suspended)}

    def _responder_certificate(self, call: SignerCall) -> Mapping[str, Any]:
        _only(call)
        if call.peer_uid not in self._config.presign_peers:
            raise PolicyViolation(f"uid {call.peer_uid} is not presign's", rule="STANDING-PEER")
        certificate = responder_certificate(self._authority)
        return {"certificate": base64.b64encode(certificate.public_bytes(Encoding.DER)).decode()}

    def _entries(self, call: SignerCall) -> Mapping[str, Any]:
        _only(call, "start", "count")
        with self._authority.lock:
            size, checkpoint = self._authority.ledger.size, self._authority.ledger.checkpoint
        return answer_feed(self._authority.ledger, size, checkpoint, call.arguments)

    def _witness(self, call: SignerCall) -> Mapping[str, Any]:
        _only(call, "checkpoint")
        return take_witness(self._authority, call.arguments)

    def _stand_down(self, call: SignerCall) -> Mapping[str, Any]:
        """That is for a standby. A signer ends by SIGTERM, from who may send it."""
        raise Conflict(f"uid {call.peer_uid} asks the active signer to stand down", hint="`sealwrightd takeover`")

    def _status(self, call: SignerCall) -> Mapping[str, Any]:
        _only(call)
        authority, index = self._authority, self._authority.index
        reading = authority.read_clock()
        with suppress(SealwrightError):  # so that one which nobody asks for anything hears of a takeover too
            authority.check_fence(signing=False)
        return {
            "role": "signer",
            "epoch": authority.fence.epoch if authority.fence else index.epoch,
            "fenced": authority.fence.lost if authority.fence else "",
            "problem": authority.problem,
            "pki": authority.installed.anchor.pki_id,
            "mode": authority.installed.anchor.mode,
            "version": __version__,
            "roster_version": authority.roster.version if authority.roster else 0,
            "roster_expires": _time(authority.roster.expires_at) if authority.roster else "",
            "ledger_size": authority.ledger.size,
            "crl_number": index.crl_number,
            "crl_made": _time(min(each.at for each in index.last_crls.values())) if index.last_crls else "",
            "open_intents": len(index.intents),
            "refusals": index.refusals,
            "clock": reading.state,
            "time_believed": _time(reading.now),
            "tokens": [each.health().to_wire() for each in self._tokens],
            "issued": index.answered,
            "revoked": len(index.revoked),
            "latest_serial": format_serial(newest) if (newest := index.issued.newest) else "",
        }


def _receipt(receipt: Receipt) -> Mapping[str, Any]:
    return {"receipt": receipt.model_dump(mode="json")}


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def _only(call: SignerCall, *names: str) -> None:
    if set(call.arguments) != set(names):
        raise InputError(
            f"{call.name} takes {', '.join(names) or 'nothing'}, got {', '.join(sorted(call.arguments)) or 'nothing'}"
        )


def _keep_crl(authority: IssuingAuthority, renew: threading.Event, stop: threading.Event) -> None:
    """Make a CRL when one is due. A failure is logged and tried again; the last good CRL stays meanwhile.

    All that is revoked within a second is on the next one together (``RESOLUTION``).
    """
    throwaway_key(key_kind(authority.installed.issuing.public_key()))  # a second of work that no order should wait for
    while not stop.is_set():
        made = False
        try:
            hear_operator(authority)
            made = _issue_due(authority)
        except SealwrightError as error:
            log.error("no new CRL: %s", error)  # noqa: TRY400  # the message is the whole story
        except Exception:
            log.exception("no new CRL")
        if made:
            stop.wait(RESOLUTION.total_seconds())
        renew.wait(_CRL_CLOCK_SECONDS)
        renew.clear()


def _issue_due(authority: IssuingAuthority) -> bool:
    """Was one made? The lock is free between two: a revocation waits for one CRL and not for all partitions."""
    if authority.roster is None:
        return False
    made, wanted = False, authority.index.crls_wanted
    for scope in sorted(crl_scopes(authority), key=lambda each: each not in wanted):
        with authority.lock:
            if crl_due(authority, authority.time_for_revocation(), scope):
                issue_crl(authority, scope)
                made = True
    return made


def stop_on_signals() -> threading.Event:
    """Set by SIGTERM and SIGINT."""
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    return stop
