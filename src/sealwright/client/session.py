"""A sitting at the registry: configuration, connection, pen, and what this client believes, opened together."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sealwright.client.config import ClientConfig, load_config
from sealwright.client.signing import Pen
from sealwright.client.transport import RegistryClient, utc_now
from sealwright.client.trust import Identity, Trust, fetch_policy, load_identity, refresh_trust
from sealwright.statements.orders import VerifiedRequest, verify_request
from sealwright.statements.pinned import PinnedPolicy
from sealwright.statements.signed import SignedStatement


@dataclass(frozen=True, slots=True)
class Sitting:
    folder: Path
    config: ClientConfig
    registry: RegistryClient
    pen: Pen
    identity: Identity

    def trust(self) -> Trust:
        """With the newest roster, verified; whether it is in force is another question."""
        return refresh_trust(self.registry, self.folder, self.identity)

    def policy(self, trust: Trust) -> PinnedPolicy:
        """Raises ``PolicyViolation`` (ROSTER-EXPIRED, ROSTER-PIN)."""
        return fetch_policy(self.registry, self.folder, trust.in_force(utc_now()))

    def verify(self, signed: SignedStatement, trust: Trust, policy: PinnedPolicy) -> VerifiedRequest:
        """A request as the signer will judge it."""
        return verify_request(
            signed,
            roster=trust.roster,
            profiles=policy.profiles,
            settings=policy.settings,
            rehearsal=self.identity.rehearsal,
            now=utc_now(),
        )


@contextmanager
def open_sitting(folder: Path) -> Iterator[Sitting]:
    """Raises ``NotReady`` before ``sealwright init``. Connects when something is asked."""
    config = load_config(folder)
    identity, pen = load_identity(folder, config.pki_id), Pen(config)
    with RegistryClient(config.server, tls_ca=config.tls_ca, login=pen.login) as registry:
        yield Sitting(folder, config, registry, pen, identity)
