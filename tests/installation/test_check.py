"""What ``sealwrightd check`` says of the signer's CRLs when one of them grows old."""

from datetime import timedelta

from sealwright.installation.check import _oldest_crl
from sealwright.installation.observed import Observed
from softpki import NOW, settings


def test_a_crl_of_any_scope_that_grows_old_is_said() -> None:
    def states(hours: float, **facts: str) -> list[str]:
        observed = {"signer": Observed("signer", "", facts)}
        return [each.state for each in _oldest_crl(settings(), observed, NOW + timedelta(hours=hours))]

    made = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
    assert states(36, crl_made=made) == []
    assert states(36.1, crl_made=made) == ["warning"]
    assert states(1000, crl_made="") == states(1000) == []
