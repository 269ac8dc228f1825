"""What ``sealwrightd check`` says of CRLs that grow old, and of servers that are another PKI's."""

import dataclasses
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from published import make_published, serving
from sealwright.installation.check import _crls, _oldest_crl, _processes
from sealwright.installation.observed import Observed
from sealwright.installed import load_installed
from softpki import NOW, settings, soft_pki


def test_a_crl_of_any_scope_that_grows_old_is_said() -> None:
    def states(hours: float, **facts: str) -> list[str]:
        observed = {"signer": Observed("signer", "", facts)}
        return [each.state for each in _oldest_crl(settings(), observed, NOW + timedelta(hours=hours))]

    made = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
    assert states(36, crl_made=made) == []
    assert states(36.1, crl_made=made) == ["warning"]
    assert states(1000, crl_made="") == states(1000) == []


def test_a_process_of_another_pki_is_not_well() -> None:
    facts: dict[str, Any] = {"pki": "b" * 64}
    observed = {
        "signer": Observed("signer", "", facts),
        "registry": Observed("registry", "", {"pki": "a" * 64}),
        "validation": Observed("validation", "", {}),
        "presign": Observed("presign", "no status", {}),
    }
    found = {each.text.partition(":")[0]: each for each in _processes(observed, "a" * 64)}
    assert {name: each.state for name, each in found.items()} == {
        "signer": "problem", "registry": "ok", "validation": "ok", "presign": "problem",
    }  # fmt: skip
    assert "of another PKI, bbbbbbbbbbbbbbbb" in found["signer"].text


def test_crls_that_another_ca_signed_are_not_this_pkis(tmp_path: Path) -> None:
    made = make_published(tmp_path)
    for root in (True, False):
        made.publish_crl(root=root)
    own, other = load_installed(made.folder), soft_pki(label="other")
    config: Any = SimpleNamespace(validation=SimpleNamespace(listen=f"127.0.0.1:{made.port}"))
    with serving(made):
        for installed, wanted in (
            (own, ["ok", "ok"]),
            (dataclasses.replace(own, root=other.root, issuing=other.issuing), ["problem", "problem"]),
        ):
            found = list(_crls(config, made.pki.settings, installed, datetime.now(UTC)))
            assert [each.state for each in found] == wanted, found
            assert all("another PKI" in each.text for each in found) is (wanted[0] == "problem")
