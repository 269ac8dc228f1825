"""``verify_export``: from the PKI id alone to every certificate, claim by claim.

  (1) files    (2) anchor and CAs    (3) the walk over all entries    (4) checkpoint and tiles
  (5) an earlier checkpoint    (6) the root ceremony's record

The ledger key is known from the officers' rosters, which are in the ledger: so the entries are read first, and count
when the checkpoint over them is signed with that key.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from cryptography import x509

from sealwright.audit.denials import take_denial
from sealwright.audit.export import Export, belongs, read_bundle, read_checkpoint, read_size, wanted_names
from sealwright.audit.findings import Findings
from sealwright.audit.issuances import take_certificate, take_intent
from sealwright.audit.losses import check_closed, declared_lost, take_loss
from sealwright.audit.removals import check_finished, take_correction, take_crl, take_crl_intent, take_revocation
from sealwright.audit.walk import Walk
from sealwright.errors import InputError, IntegrityError, SealwrightError
from sealwright.ledger.checkpoint import verify_checkpoint
from sealwright.ledger.entries import (
    CertificateEntry,
    ClockEntry,
    CorrectionRecord,
    CRLEntry,
    CRLIntentEntry,
    DenialEntry,
    IntentEntry,
    LossEntry,
    PolicyEntry,
    RefusalEntry,
    RevocationRecord,
    RosterEntry,
    StartEntry,
    SuspensionEntry,
    TokenEntry,
    parse_entry,
)
from sealwright.ledger.tiles import Tile, bundles_of, hash_tiles_of
from sealwright.ledger.tree import HASH_SIZE, MerkleTree, leaf_hash
from sealwright.pki.crl import read_crl
from sealwright.pki.issuers import check_one_ca
from sealwright.statements.anchor import Anchor, load_anchor

MISSING_SAID = 100
"""So many missing files are named, and no more are looked for."""

CRLs = dict[str, x509.CertificateRevocationList]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What an auditor has beside the export."""

    pki_id: str
    earlier: str | None = None
    """A checkpoint kept from before."""
    genesis: Mapping[str, bytes] | None = None
    """Outputs of the root-genesis record, which the caller replayed."""
    crls: Mapping[str, bytes] | None = None
    """CRLs of the issuing CA, by SHA-256."""
    renewed: Sequence[bytes] = ()
    """Certificates (PEM) that the issuing CA had before, with the same key: older rosters name them."""


def verify_export(export: Export, evidence: Evidence) -> Findings:
    """Never raises for what the export says; ``Findings.problems`` has it."""
    findings = Findings(evidence.pki_id)
    size = _check_files(export, findings)
    trust = _check_trust(export, findings, evidence.pki_id)
    if trust is None or size is None:
        return findings
    anchor, root, (issuing, *earlier) = trust
    earlier += _check_renewed(evidence.renewed, root, issuing, findings)
    walk, tree = Walk(anchor, root, issuing, findings, tuple(earlier)), MerkleTree()
    crls = _read_crls(evidence, issuing, findings)
    for data in _entries(export, findings, tree, size):
        _take(walk, data, crls, tree)
        walk.index += 1
    findings.size = walk.index
    check_closed(walk)
    check_finished(walk)
    for digest in crls:
        with findings.check("AUDIT-CRL", f"CRL {digest[:16]}…"):
            raise IntegrityError("no entry has this CRL's digest: the ledger's issuing key signed it elsewhere")
    _check_log(export, findings, walk, tree, size)
    _check_earlier(findings, walk, tree, evidence.earlier)
    _check_genesis(export, findings, evidence.genesis)
    findings.cannot_know = list(_cannot_know(evidence))
    return findings


def _check_files(export: Export, findings: Findings) -> int | None:
    size: int | None = None
    with findings.check("AUDIT-FILES", "checkpoint"):
        size = read_size(export)
    if size is None:
        return None
    there, missing = export.names(), 0
    for name in wanted_names(size):
        with findings.check("AUDIT-FILES", name):
            if name not in there:
                missing += 1
                raise IntegrityError("the export does not have it")
        if missing > MISSING_SAID:
            break  # nobody has vouched for the size: it may be without end
    for name in sorted(there):
        if not belongs(name, size):
            with findings.check("AUDIT-FILES", name):
                raise IntegrityError("an export of this size has no such file")
    return size


def _check_trust(
    export: Export, findings: Findings, pki_id: str
) -> tuple[Anchor, x509.Certificate, list[x509.Certificate]] | None:
    """(2). None when nothing can be believed."""
    anchor: Anchor | None = None
    issuing: list[x509.Certificate] = []
    with findings.check("AUDIT-ANCHOR", "anchor.json"):
        loaded = load_anchor(export.read("anchor.json"))
        if loaded.pki_id != pki_id:
            raise IntegrityError(f"this is the PKI {loaded.pki_id}; wanted {pki_id}")
        anchor = loaded
    root: x509.Certificate | None = None
    with findings.check("AUDIT-CA", "root.pem"):
        (found, *more) = _certificates(export, "root.pem")
        if more:
            raise InputError(f"it has {1 + len(more)} certificates; wanted 1")
        if anchor is not None:
            anchor.check_root(found)
            root = found
    with findings.check("AUDIT-CA", "issuing.pem"):
        certificates = _certificates(export, "issuing.pem")
        if root is None:
            raise IntegrityError("there is no root that can be believed to judge it by")
        check_one_ca(certificates, root)
        issuing = certificates
    return None if anchor is None or root is None or not issuing else (anchor, root, issuing)


def _check_renewed(
    files: Sequence[bytes], root: x509.Certificate, issuing: x509.Certificate, findings: Findings
) -> Iterator[x509.Certificate]:
    """Each certificate that the same issuing CA, by name and key, had from this root before."""
    for place, data in enumerate(files, 1):
        with findings.check("AUDIT-CA", f"earlier certificate {place}"):
            (found, *more) = _read_certificates(data)
            if more:
                raise InputError(f"it has {1 + len(more)} certificates; wanted 1")
            if found != issuing:
                check_one_ca((issuing, found), root)
            yield found


def _certificates(export: Export, name: str) -> list[x509.Certificate]:
    """One at least."""
    return _read_certificates(export.read(name))


def _read_certificates(data: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError as error:
        raise InputError(f"it cannot be read: {error}") from None


def _entries(export: Export, findings: Findings, tree: MerkleTree, size: int) -> Iterator[bytes]:
    """(3) The entries, each against the hash that its tile has, until a bundle cannot be read."""
    for tile in bundles_of(size):
        entries: list[bytes] | None = None
        with findings.check("AUDIT-FILES", tile.name):
            entries = read_bundle(export, tile)
        if entries is None:
            return
        beside = Tile(0, tile.number, tile.width)
        try:
            stored = export.read(beside.name)
        except SealwrightError:
            stored = b""  # (1) said so
        for place, data in enumerate(entries):
            leaf = leaf_hash(data)
            if len(stored) == tile.width * HASH_SIZE:
                with findings.check("AUDIT-TILES", f"entry {tree.size}"):
                    if stored[place * HASH_SIZE : (place + 1) * HASH_SIZE] != leaf:
                        raise IntegrityError(f"it is not the entry that {beside.name} has the hash of")
            tree.append(leaf)
            yield data


def _take(walk: Walk, data: bytes, crls: CRLs, tree: MerkleTree) -> None:  # noqa: PLR0912  # one case for each kind
    with walk.findings.check("AUDIT-ENTRY", walk.where):
        entry = parse_entry(data)
        walk.take_common(entry)
        match entry:
            case StartEntry():
                walk.take_start(entry)
            case RosterEntry():
                walk.take_roster(entry)
            case SuspensionEntry():
                walk.take_suspension(entry)
            case PolicyEntry():
                walk.take_policy(entry)
            case IntentEntry():
                take_intent(walk, entry)
            case CertificateEntry():
                take_certificate(walk, entry)
            case RevocationRecord():
                take_revocation(walk, entry)
            case CorrectionRecord():
                take_correction(walk, entry)
            case CRLIntentEntry():
                take_crl_intent(walk, entry)
            case CRLEntry():
                take_crl(walk, entry, crls)
            case DenialEntry():
                take_denial(walk, entry)
            case RefusalEntry():
                walk.take_refusal(entry)
            case LossEntry():
                take_loss(walk, entry, tree)
            case TokenEntry() | ClockEntry():
                pass  # what a token did, or an operator said: the signer's word. Its time can be judged, and was
            case _:
                assert_never(entry)


def _check_log(export: Export, findings: Findings, walk: Walk, tree: MerkleTree, size: int) -> None:
    """(4)"""
    with findings.check("AUDIT-CHECKPOINT", "checkpoint"):
        if walk.roster is None:
            raise IntegrityError("no roster says which key signs it")
        note = read_checkpoint(export)
        signed, root = verify_checkpoint(note, walk.anchor.ledger_origin, walk.roster.ledger_key)
        if (signed, root) != (tree.size, tree.root()):
            raise IntegrityError(f"it was signed over other entries than the {tree.size} of this export")
        findings.checkpoint = note
    for tile in hash_tiles_of(size) if tree.size == size else ():
        with findings.check("AUDIT-TILES", tile.name):
            if export.read(tile.name) != tree.hashes(tile.height, tile.start, tile.end):
                raise IntegrityError("its hashes are not those of the entries")


def _check_earlier(findings: Findings, walk: Walk, tree: MerkleTree, earlier: str | None) -> None:
    """(5) With all entries at hand, consistency is a root of the first of them."""
    if earlier is None:
        return
    with findings.check("AUDIT-CONSISTENCY", "checkpoint"):
        if walk.roster is None:
            raise IntegrityError("no roster says which key signed the earlier checkpoint")
        size, root = verify_checkpoint(earlier, walk.anchor.ledger_origin, walk.roster.ledger_key)
        continued = size <= tree.size and tree.root(size) == root
        if not continued and (loss := declared_lost(walk, size, root)) is not None:
            findings.declared.append(
                f"the earlier checkpoint, of {size} entries, lies in the loss that was declared after {loss.size}:"
                " what it covered beyond them cannot be compared"
            )
            return
        if size > tree.size:
            raise IntegrityError(
                f"the ledger has {tree.size} entries; the earlier checkpoint was over {size}: it went back"
            )
        if tree.root(size) != root:
            raise IntegrityError(
                f"the first {size} entries are others than those of the earlier checkpoint: it was rewritten"
            )


def _check_genesis(export: Export, findings: Findings, outputs: Mapping[str, bytes] | None) -> None:
    """(6)"""
    for name in ("anchor.json", "root.pem") if outputs is not None else ():
        with findings.check("AUDIT-GENESIS", name):
            if outputs is None or outputs.get(name) != export.read(name):
                raise IntegrityError("it is not the one that the ceremony's record has")


def _read_crls(evidence: Evidence, issuing: x509.Certificate, findings: Findings) -> CRLs:
    found = {}
    for digest, data in (evidence.crls or {}).items():
        with findings.check("AUDIT-CRL", f"CRL {digest[:16]}…"):
            found[digest], _ = read_crl(data, issuing)
    return found


def _cannot_know(evidence: Evidence) -> Iterator[str]:
    yield "whether the issuing key signed anything beside this ledger: who finds a certificate asks for its receipt"
    yield "whether others are shown another ledger, or there is a newer one: compare checkpoints with somebody else's"
    yield "the hour: times are the signer's clock, only their order is proved"
    yield "what people meant, whether a key is where its request says, and statements that never reached the signer"
    yield "the message of a refusal, and the version of the software that a start names"
    if evidence.earlier is None:
        yield "whether the holder of the ledger key wrote it anew: no earlier checkpoint was given"
    if evidence.genesis is None:
        yield "how the anchor came to be: --genesis replays the root ceremony's record"
    if not evidence.crls:
        yield "what the CRLs say: their numbers and digests are in the ledger; --crl compares a file"


def crls_by_digest(files: Sequence[bytes]) -> dict[str, bytes]:
    """DER of CRLs, by SHA-256, for ``Evidence``."""
    return {hashlib.sha256(data).hexdigest(): data for data in files}
