"""Where the key of a request lives: what is claimed, what a token attests, what an officer excepts.

  REQ-KEY-LOCATION REQ-ATTESTATION EXC-OFFICER EXC-SCOPE, and ATTEST-... of ``pki``

An exception is one officer's statement about one key, inside the request that needs it: approvers read it, the ledger
keeps it. It eases where the key lives and nothing else.
"""

from dataclasses import dataclass
from datetime import datetime

from sealwright.errors import PolicyViolation
from sealwright.pki.attestation import KeyAttestation, check_attestation
from sealwright.pki.keys import PublicKey, spki_sha256
from sealwright.pki.profiles import CertificateProfile
from sealwright.statements.checks import check_signer, check_statement
from sealwright.statements.kinds import ExceptionStatement, RequestStatement
from sealwright.statements.roster import VerifiedRoster
from sealwright.statements.signed import SignedStatement
from sealwright.statements.wire import decode_base64


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """What is known of it. Without an attestation it is what the requester says."""

    claimed: str
    attestation: KeyAttestation | None
    exception: ExceptionStatement | None

    def __str__(self) -> str:
        if self.attestation is not None:
            return f"attested: {self.attestation}"
        said = "on a token" if self.claimed == "token" else "in software"
        by = f", by an exception of officer {self.exception.person!r}" if self.exception else ""
        return f"claimed to live {said} (nothing attests it){by}"


def check_place(
    request: RequestStatement,
    public_key: PublicKey,
    *,
    profile: CertificateProfile,
    roster: VerifiedRoster,
    now: datetime,
) -> KeyPlace:
    """Raises ``PolicyViolation`` when the key may not live there, or the proof of it is none."""
    attestation = None
    if request.attestation:
        if request.key_location != "token":
            raise PolicyViolation(
                "the key is said to be in software, and an attestation says that it is on a token",
                rule="REQ-ATTESTATION",
                hint="--key-location token",
            )
        chain = tuple(decode_base64(each) for each in request.attestation)
        attestation = check_attestation(chain, public_key, roots=profile.attestation_roots, now=now)
    exception = _check_exception(request, public_key, roster, now) if request.exception is not None else None
    allowed = exception.allows if exception else ""
    if request.key_location == "software" and not profile.software_keys and allowed != "software":
        raise PolicyViolation(
            f"the key is said to be in software; profile {profile.name!r} wants it on a token",
            rule="REQ-KEY-LOCATION",
            hint="make the key on a token, take a profile for software keys, or ask an officer for an exception",
        )
    if request.key_location == "token" and profile.attested_keys and attestation is None and not allowed:
        raise PolicyViolation(
            f"nothing attests that the key is on a token; profile {profile.name!r} wants that",
            rule="REQ-ATTESTATION",
            hint="--attestation FILE, with the certificates of `ykman piv keys attest` up to the root",
        )
    return KeyPlace(request.key_location, attestation, exception)


def _check_exception(
    request: RequestStatement, public_key: PublicKey, roster: VerifiedRoster, now: datetime
) -> ExceptionStatement:
    signed = SignedStatement.parse(request.exception)
    exception = check_statement(signed, ExceptionStatement, pki_id=roster.pki_id, now=now)
    officer = roster.officer(exception.person)
    if officer is None:
        raise PolicyViolation(
            f"the exception is by {exception.person!r}, who is no officer of roster {roster.version}",
            rule="EXC-OFFICER",
            hint="an officer makes one with `sealwright exception`",
        )
    check_signer(signed, exception, (officer.key,))
    roster.check_not_suspended(exception)
    got = (exception.profile, exception.team, exception.project, exception.spki_sha256)
    if (
        got != (request.profile, request.team, request.project, spki_sha256(public_key))
        or officer.name == request.person
    ):
        raise PolicyViolation(
            f"the exception is for {exception.team}/{exception.project}, profile {exception.profile!r}, key"
            f" {exception.spki_sha256[:16]}…, which is not what this request asks for; or the requester made it",
            rule="EXC-SCOPE",
            hint="an exception is for one key, one profile and one project, by another person",
        )
    return exception
