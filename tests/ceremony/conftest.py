"""One rehearsal trust domain for the tests of this room: the ceremonies, rehearsed in order on SoftHSM."""

import re
import shutil
import time
from pathlib import Path

import pytest

from ceremonies import (
    BEFORE,
    CHECKOUT,
    NEW_CA,
    NEW_KEY,
    NEW_OFFICERS,
    NEW_ROOT,
    NEXT_KEY,
    OFFICERS,
    SHARES,
    Domain,
    officer_line,
)
from sealwright.ceremony.script import Kind
from sealwright.ceremony.sitting import rehearse_new
from softhsm import TokenFactory


@pytest.fixture(scope="session")
def bare_domain(tmp_path_factory: pytest.TempPathFactory, softhsm: TokenFactory) -> Domain:
    """What stands before the first ceremony: ``ca/``, the officers, a site."""
    folder = tmp_path_factory.mktemp("domain")
    domain = Domain(folder, softhsm)
    shutil.copytree(CHECKOUT / "ca", domain.ca)
    for name in ("root", "issuing-ca"):
        profile = domain.ca / "profiles" / f"{name}.toml"
        profile.write_text(re.sub(r'(?m)^keys = \["rsa-4096"\]', 'keys = ["p-384"]', profile.read_text()))
    (folder / "officers.toml").write_text("threshold = 2\n" + "".join(map(officer_line, OFFICERS)))
    (folder / "new-officers.toml").write_text("threshold = 2\n" + "".join(map(officer_line, NEW_OFFICERS)))
    (folder / "shares.toml").write_text(SHARES.format(label="spare"))
    names = ("root", "issuing", "ocsp", "ledger", "delegate")
    pins = "".join(f'[tokens.{name}]\npin_file = "{domain.pin_file(name)}"\n' for name in names)
    pins += '[tokens.token]\nrehearsed_as = "spare"\nactivation = "shamir"\n'
    pins += '[tokens.new-root]\nrehearsed_as = "root-3"\n'
    domain.site.write_text(f'{pins}[rehearsal]\nsofthsm_conf = "{softhsm.config}"\n')
    return domain


@pytest.fixture(scope="session")
def domain(bare_domain: Domain) -> Domain:
    """After the last ceremony."""
    for kind in BEFORE:
        match kind:
            case Kind.ISSUING_CA_RENEWAL:
                site = bare_domain.site_for(2)
                time.sleep(1)  # it begins after the one it renews, which on a quick machine is of this very second
                _rehearse(bare_domain, NEXT_KEY, Kind.ISSUING_KEY, bare_domain.next_ca, (Kind.ROOT_GENESIS,), site=site)
            case Kind.ROOT_ROLLOVER:
                _make_new_root(bare_domain)
        _rehearse(bare_domain, kind, kind, bare_domain.ca_of(kind), BEFORE[kind], inputs=bare_domain.inputs_of(kind))
    return bare_domain


def _make_new_root(domain: Domain) -> None:
    """With its issuing CA, on four tokens of its own."""
    site, ca = domain.site_for(3), domain.new_ca
    _rehearse(domain, NEW_ROOT, Kind.ROOT_GENESIS, ca, (), site=site, inputs=domain.new_officers)
    _rehearse(domain, NEW_KEY, Kind.ISSUING_KEY, ca, (NEW_ROOT,), site=site)
    _rehearse(domain, NEW_CA, Kind.ISSUING_CA, ca, (NEW_ROOT, NEW_KEY), site=site)


def _rehearse(
    domain: Domain,
    name: str,
    kind: Kind,
    ca: Path,
    before: tuple[str, ...],
    *,
    site: Path | None = None,
    inputs: dict[str, Path] | None = None,
) -> None:
    domain.records[name] = rehearse_new(
        kind,
        domain.folder / name.replace(" ", "-"),
        ca=ca,
        records=[domain.record(each) for each in before],
        inputs=inputs,
        site=site or domain.site_of(kind),
        at=domain.time_of(kind),
    )
