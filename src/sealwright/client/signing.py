"""Statements made and signed on this machine, with the person's own SSH key."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sealwright.client.config import ClientConfig
from sealwright.client.transport import utc_now
from sealwright.pki.keys import PrivateKey, spki_sha256
from sealwright.statements.kinds import (
    CorrectionStatement,
    CountersignatureStatement,
    DecisionStatement,
    ExceptionStatement,
    KeyRevocationStatement,
    LoginStatement,
    RequestStatement,
    RevocationStatement,
    Statement,
    SuspendStatement,
    namespace_of,
    new_statement_id,
)
from sealwright.statements.signed import SignedStatement
from sealwright.statements.ssh_keygen import sign_message
from sealwright.statements.ssh_sign import sign_with_key

REQUEST_LIFE = timedelta(days=30)
DECISION_LIFE = timedelta(days=7)
REVOCATION_LIFE = timedelta(days=1)
"""Long enough for the second person to be found."""
SUSPENSION_LIFE = timedelta(days=1)
EXCEPTION_LIFE = timedelta(days=30)
LOGIN_LIFE = timedelta(minutes=3)


def sign(statement: Statement, key_file: Path) -> SignedStatement:
    """``ssh-keygen`` may ask for a passphrase or a touch."""
    return SignedStatement.of(statement, add_signature(statement.to_bytes(), statement.kind, key_file))


def add_signature(statement_bytes: bytes, kind: str, key_file: Path) -> str:
    return sign_message(key_file, namespace_of(kind), statement_bytes)


@dataclass(frozen=True, slots=True)
class Pen:
    """Who signs, for which PKI."""

    config: ClientConfig

    def login(self, server: str, challenge: str) -> SignedStatement:
        fields = self._fields(LOGIN_LIFE)
        return self._sign(LoginStatement(kind="login", server=server, challenge=challenge, **fields))

    def request(
        self,
        *,
        profile: str,
        profile_sha256: str,
        team: str,
        project: str,
        csr: str,
        key_location: Any,
        attestation: tuple[str, ...],
        exception: dict[str, Any] | None,
        renews: str | None,
        emergency: bool,
        comment: str,
    ) -> SignedStatement:
        return self._sign(
            RequestStatement(
                kind="request",
                profile=profile,
                profile_sha256=profile_sha256,
                team=team,
                project=project,
                csr=csr,
                key_location=key_location,
                attestation=attestation,
                exception=exception,
                renews=renews,
                emergency=emergency,
                comment=comment,
                **self._fields(REQUEST_LIFE),
            )
        )

    def decision(self, request_sha256: str, verdict: Any, comment: str) -> SignedStatement:
        fields = self._fields(DECISION_LIFE)
        return self._sign(
            DecisionStatement(
                kind="decision", request_sha256=request_sha256, verdict=verdict, comment=comment, **fields
            )
        )

    def revocation(self, serials: tuple[str, ...], reason: Any, date: datetime | None, comment: str) -> SignedStatement:
        return self._sign(
            RevocationStatement(
                kind="revocation",
                serials=serials,
                reason=reason,
                revocation_date=date,
                comment=comment,
                **self._fields(REVOCATION_LIFE),
            )
        )

    def suspension(self, suspended: str, comment: str) -> SignedStatement:
        fields = self._fields(SUSPENSION_LIFE)
        return self._sign(SuspendStatement(kind="suspend", suspended=suspended, comment=comment, **fields))

    def exception(
        self, *, profile: str, team: str, project: str, spki: str, allows: Any, comment: str
    ) -> SignedStatement:
        return self._sign(
            ExceptionStatement(
                kind="exception",
                profile=profile,
                team=team,
                project=project,
                spki_sha256=spki,
                allows=allows,
                comment=comment,
                **self._fields(EXCEPTION_LIFE),
            )
        )

    def correction(self, serials: tuple[str, ...], reason: Any, date: datetime, comment: str) -> SignedStatement:
        return self._sign(
            CorrectionStatement(
                kind="correction",
                serials=serials,
                reason=reason,
                revocation_date=date,
                comment=comment,
                **self._fields(REVOCATION_LIFE),
            )
        )

    def countersignature(self, statement_sha256: str, comment: str) -> SignedStatement:
        return self._sign(
            CountersignatureStatement(
                kind="countersignature",
                statement_sha256=statement_sha256,
                comment=comment,
                **self._fields(REVOCATION_LIFE),
            )
        )

    def key_revocation(self, key: PrivateKey, comment: str) -> SignedStatement:
        """Signed with the certificate's own key, not with the person's."""
        statement = KeyRevocationStatement(
            kind="key-revocation",
            spki_sha256=spki_sha256(key.public_key()),
            comment=comment,
            **self._fields(REVOCATION_LIFE),
        )
        return SignedStatement.of(statement, sign_with_key(key, namespace_of(statement.kind), statement.to_bytes()))

    def _sign(self, statement: Statement) -> SignedStatement:
        return sign(statement, self.config.key_file)

    def _fields(self, life: timedelta) -> dict[str, Any]:
        now: datetime = utc_now()
        return {
            "pki": self.config.pki_id,
            "id": new_statement_id(),
            "person": self.config.person,
            "issued_at": now,
            "expires_at": now + life,
        }
