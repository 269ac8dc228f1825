"""The console: one page to look at, without script, form or login. It shows nothing that a verifier could not know.

Who asked for what is behind a login, and is read with ``sealwright requests``.
"""

import html
from typing import Any

from cryptography.hazmat.primitives import hashes
from fastapi import APIRouter
from starlette.responses import HTMLResponse

from sealwright import __version__
from sealwright.api.routes import TheRegistry
from sealwright.errors import SealwrightError
from sealwright.registration.registry import Registry
from sealwright.statements.wire import format_time

router = APIRouter()

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse; width: 100% } th, td { text-align: left; padding: .3rem .8rem .3rem 0;
vertical-align: top; border-bottom: 1px solid #ddd } td { font-family: ui-monospace, monospace }
td { overflow-wrap: anywhere }
th { white-space: nowrap; font-weight: 600 } .mark { background: #b00; color: #fff; padding: .1rem .6rem }
"""


@router.get("/", response_class=HTMLResponse)
def console(registry: TheRegistry) -> HTMLResponse:
    rows = "".join(
        f"<tr><th>{html.escape(name)}</th><td>{html.escape(str(value))}</td></tr>" for name, value in _facts(registry)
    )
    mark = '<span class="mark">REHEARSAL</span>' if registry.installed.rehearsal else ""
    return HTMLResponse(
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Sealwright registry</title>'
        f"<style>{_STYLE}</style></head><body><h1>Sealwright registry {mark}</h1><table>{rows}</table>"
        "<p>No certificate exists that two people did not sign for. This page only shows; people use the command "
        "<code>sealwright</code>, which verifies everything it is told here.</p></body></html>"
    )


def _facts(registry: Registry) -> list[tuple[str, Any]]:
    installed, counts = registry.installed, registry.counts.at(registry.clock(), registry.database)
    with registry.database.reading() as tx:
        entries = tx.projection_size()
    return [
        ("PKI id", installed.anchor.pki_id),
        ("Root", f"{installed.root.subject.rfc4514_string()}"),
        ("Root SHA-256", installed.root.fingerprint(hashes.SHA256()).hex()),
        ("Issuing CA", installed.issuing.subject.rfc4514_string()),
        ("Issuing CA SHA-256", installed.issuing.fingerprint(hashes.SHA256()).hex()),
        ("Roster", _roster(registry)),
        ("Ledger", f"{entries} entries read"),
        ("Certificates", f"{counts['certificates']} issued, {counts['revocations']} serials revoked"),
        ("Requests", f"{counts['open']} open, {counts['approved']} approved, {counts['issued']} issued"),
        ("Set up a client", f"sealwright init --server {registry.config.url} --pki-id (the one an officer gave you) …"),
        ("Version", __version__),
    ]


def _roster(registry: Registry) -> str:
    try:
        roster = registry.last_roster()
    except SealwrightError as error:
        return error.message
    return f"version {roster.version}, until {format_time(roster.expires_at)}"
