"""The certificate of destruction: the document that the ceremony gives out, and its printed form, to be signed by hand.

The document is an output, composed again in every replay. The page is made of it and of the record, like all paper.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from sealwright.ceremony.folder import TRANSCRIPT, load_folder
from sealwright.ceremony.pages import Block, digest, heading, lay_out, paragraph, table
from sealwright.ceremony.replay import verify_folder
from sealwright.ceremony.sheets import everybody_there, signatures
from sealwright.ceremony.transcript import LENGTH_LIMIT, parse_transcript
from sealwright.durable import read_file

DOCUMENT = "destruction.json"
TITLE = "Certificate of destruction"


def print_certificate(record: Path) -> bytes | None:
    """The page of a record that verifies; None where no key was destroyed. Raises as ``verify_folder``."""
    findings = verify_folder(record)
    if DOCUMENT not in findings.outputs:
        return None
    document = findings.outputs[DOCUMENT]
    facts = json.loads(document)
    entries, _ = parse_transcript(read_file(record / TRANSCRIPT, limit=LENGTH_LIMIT))
    present = {str(each["role"]): list(each["people"]) for each in entries if each["entry"] == "present"}
    rows = [(name, each["token_serial"], _fate(each)) for name, each in facts["tokens"].items()]
    lost = [(each["what"], each["seal"] or "", f"lost since {each['since']}: {each['why']}") for each in facts["lost"]]
    cover = (
        Block(f'<h1>{TITLE}</h1><p><span class="mode">{findings.mode}</span></p>', 18),
        paragraph(
            f"On {facts['at']} the private key of the root {facts['subject']} (serial number {facts['serial']}) was "
            "destroyed on every token that held it, as is said below. Nothing is signed with it any more."
        ),
        digest("certificate of this key: root.pem, SHA-256 of its DER", facts["root_sha256"]),
        digest(f"{DOCUMENT}, of which this is the printed form", hashlib.sha256(document).hexdigest()),
        digest("head of the ceremony's transcript", findings.head),
    )
    blocks = (
        heading("The tokens"),
        *table(("token", "serial number, or seal", "what became of it"), [*rows, *lost]),
        heading("What stands"),
        *table(
            ("what", "value"),
            (
                ("last CRL", f"number {facts['last_crl']['number']}, until {facts['last_crl']['next_update']}"),
                ("certificates that it issued", str(facts["certificates"])),
                ("decided by", ", ".join(facts["decided_by"])),
                ("because", facts["why"]),
            ),
        ),
        heading("Who saw it"),
        *signatures(everybody_there(present, load_folder(record).script.file.roles)),
    )
    return lay_out(TITLE, (findings.mode,), cover, blocks)


def _fate(each: dict[str, Any]) -> str:
    erased = "the token was erased, and is gone" if each["erased"] else "the token was not erased"
    if not each["destroyed"]:
        return f"it destroys no single key; {erased}"
    return f"both halves destroyed, and none was there when it was opened again; {erased}"
