"""The cases that every verifier is asked about, and the truth of each: what the ledger says."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509

import verifiers
from online import Online
from published import present
from sealwright.pki.certificates import lint_draft, sign_certificate
from sealwright.pki.keys import KeyKind
from sealwright.pki.serials import SerialNumber, format_serial
from softpki import software_key

REASONS = ("keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation", "privilegeWithdrawn")
SIGNERS = ("good", "keyCompromise", "backdated")
"""Those whose key is RSA-3072, and at hand: they sign files."""


@dataclass(frozen=True)
class Truth:
    """``revoked``: from when, and why (empty: no reason is given)."""

    revoked: tuple[datetime, str] | None = None
    expired: bool = False
    issued: bool = True


@dataclass
class Stage:
    """``folder`` has NAME.pem of each case, the CAs, both CRLs as they are served, and an NSS database."""

    online: Online
    folder: Path
    cases: dict[str, Truth]

    @property
    def ocsp(self) -> str:
        return f"{self.online.base}/ocsp"

    def truth(self, name: str) -> Truth:
        return self.cases[name]

    def crls(self) -> tuple[bytes, bytes]:
        return (self.folder / "root-1.crl").read_bytes(), (self.folder / "issuing-1.crl").read_bytes()


def set_up(online: Online, folder: Path) -> Stage:
    """Two that have expired today, one near its end and its renewal, and all else today."""
    certificates = {"expired": online.issue(), "expired-revoked": online.issue()}
    online.revoke(certificates["expired-revoked"], reason="keyCompromise")
    online.time.behind = timedelta(days=370)
    online.new_roster()
    for name in ("renewed", "backdated", "corrected"):
        certificates[name] = online.issue(software_key(KeyKind.RSA_3072, name) if name in SIGNERS else None)
    online.time.behind = timedelta(0)
    online.new_roster()

    certificates["renewal"] = online.issue(renews=format_serial(certificates["renewed"].serial_number))
    for name in ("good", *REASONS):
        certificates[name] = online.issue(software_key(KeyKind.RSA_3072, name) if name in SIGNERS else None)
    lost = online.lose()
    unseen = lint_draft(online.pki.draft(software_key(), not_before=present()))
    certificates["unissued"] = sign_certificate(unseen, online.pki.issuing_key)  # nobody ordered it
    early, earlier = present() - timedelta(days=30), present() - timedelta(days=40)
    for reason in REASONS:
        online.revoke(certificates[reason], reason=reason)
    online.revoke(certificates["backdated"], since=early, reason="keyCompromise")
    online.revoke(certificates["corrected"])
    online.correct(certificates["corrected"], earlier)
    certificates["lost"] = lost
    online.publish()

    revoked = online.books().revoked

    def told(name: str) -> tuple[datetime, str]:
        entry = revoked[SerialNumber(certificates[name].serial_number)].entry
        return entry.revocation_date, entry.reason.value if entry.reason else ""

    cases = {name: Truth() for name in ("good", "renewed", "renewal")}
    cases |= {"expired": Truth(expired=True), "unissued": Truth(issued=False)}
    cases |= {reason: Truth(revoked=(told(reason)[0], reason)) for reason in REASONS}
    cases |= {
        "backdated": Truth(revoked=(early, "keyCompromise")),
        "corrected": Truth(revoked=(earlier, "keyCompromise")),
    }
    cases |= {"lost": Truth(revoked=(told("lost")[0], ""))}
    cases |= {"expired-revoked": Truth(revoked=(told("expired-revoked")[0], "keyCompromise"), expired=True)}
    assert all(told(name) == truth.revoked for name, truth in cases.items() if truth.revoked)
    write_pem(online, folder, certificates)
    verifiers.fetch_crls(folder, online.base)
    verifiers.make_nss_database(folder)
    verifiers.make_nss_database(folder, "nss-crl")
    assert verifiers.import_crls(folder, "root-1", "issuing-1", database="nss-crl").count("exit code 0") == 2
    return Stage(online, folder, cases)


def write_pem(online: Online, folder: Path, certificates: dict[str, x509.Certificate]) -> None:
    pem = verifiers.Encoding.PEM
    chain = {"root": online.pki.root, "issuing": online.pki.issuing}
    for name, certificate in (chain | certificates).items():
        (folder / f"{name}.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "chain.pem").write_bytes((folder / "issuing.pem").read_bytes() + (folder / "root.pem").read_bytes())
