"""The routes, each a few lines: read, ask ``registration``, show.

Public are the health check, what identifies the PKI, the ledger (``/tlog/``) and the login; all else that is read needs
a bearer token.
"""

from typing import Annotated, Any

from cryptography.hazmat.primitives.serialization import Encoding
from fastapi import APIRouter, Depends, Query, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from sealwright.api.guard import read_body
from sealwright.api.views import certificate_detail, certificate_view, request_detail, request_view
from sealwright.errors import InputError, NotFound
from sealwright.ledger.tiles import CHECKPOINT
from sealwright.registration.certificates import find_certificate, list_certificates
from sealwright.registration.decisions import decide, missing_for
from sealwright.registration.login import check_token, login, new_challenge
from sealwright.registration.receipts import find_receipt
from sealwright.registration.registry import Registry
from sealwright.registration.requests import LIST_LIMIT, find_request, list_requests, submit_request
from sealwright.registration.revocations import submit_revocation
from sealwright.registration.rosters import proposals, publish_roster, roster_chain, submit_suspension, suspensions
from sealwright.registration.tiles import find_resource
from sealwright.statements.revocations import RevocationOrder, parse_order
from sealwright.statements.signed import SignedStatement, parse_signed
from sealwright.statements.wire import format_time

STATES = ("open", "approved", "issued", "denying", "denied", "refused", "expired")

public = APIRouter()
reads = APIRouter(prefix="/v1")
writes = APIRouter(prefix="/v1")


def get_registry(request: Request) -> Registry:
    registry: Registry = request.app.state.registry
    return registry


TheRegistry = Annotated[Registry, Depends(get_registry)]


# A foreign body is read in the event loop, and parsed beside it: meanwhile others are answered.
async def get_statement(request: Request) -> SignedStatement:
    return await run_in_threadpool(parse_signed, await read_body(request))


TheStatement = Annotated[SignedStatement, Depends(get_statement)]


async def get_order(request: Request) -> RevocationOrder:
    return await run_in_threadpool(parse_order, await read_body(request))


TheOrder = Annotated[RevocationOrder, Depends(get_order)]
Limit = Annotated[int, Query(ge=1, le=LIST_LIMIT)]
Number = Annotated[int, Query(ge=0, le=2**31 - 1)]
"""Of an entry or a version: as many as a database's integer holds."""


def get_reader(request: Request, registry: TheRegistry) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return check_token(registry, token.strip() if scheme.lower() == "bearer" else None)


@public.get("/healthz")
def health(registry: TheRegistry) -> dict[str, Any]:
    with registry.database.reading() as tx:
        return {"status": "ok", "pki": registry.installed.anchor.pki_id, "ledger_entries": tx.projection_size()}


@public.get("/v1/pki")
def pki(registry: TheRegistry) -> dict[str, Any]:
    """Who this PKI is. A client believes it only as far as the PKI id that it was given by another way."""
    installed = registry.installed
    return {
        "pki": installed.anchor.pki_id,
        "rehearsal": installed.rehearsal,
        "server": registry.config.url,
        "anchor": installed.anchor.model_dump(mode="json"),
        "root": installed.root.public_bytes(Encoding.PEM).decode(),
        "issuing": installed.issuing_pem.decode(),
    }


@public.post("/v1/login/challenge", status_code=201)
def challenge(registry: TheRegistry) -> dict[str, Any]:
    given = new_challenge(registry)
    return {"challenge": given.nonce, "server": given.server, "expires_at": format_time(given.expires_at)}


@public.post("/v1/login", status_code=201)
def log_in(registry: TheRegistry, signed: TheStatement) -> dict[str, Any]:
    done = login(registry, signed)
    return {"token": done.token, "person": done.person, "expires_at": format_time(done.expires_at)}


@public.get("/tlog/{name:path}")
def get_tlog(registry: TheRegistry, name: str) -> Response:
    """c2sp.org/tlog-tiles. Tiles never change; the checkpoint is asked for each time."""
    data = find_resource(registry, name)
    if name == CHECKPOINT:
        return Response(data, media_type="text/plain; charset=utf-8")
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(data, media_type="application/octet-stream", headers=headers)


@reads.get("/roster")
def get_roster(registry: TheRegistry, after: Number = 0) -> dict[str, Any]:
    """The rosters after version ``after``, to be verified one after the other, and those that wait for signatures."""
    chain = roster_chain(registry)
    return {
        "latest": len(chain),  # versions have no gaps
        "rosters": [signed.to_wire() for signed in chain[after:]],
        "suspensions": list(suspensions(registry)),
        "proposed": [signed.to_wire() for signed in proposals(registry)],
    }


@reads.get("/pinned/{name:path}")
def get_pinned(registry: TheRegistry, name: str) -> dict[str, Any]:
    files = registry.installed.pinned_files()
    if name not in files:
        raise NotFound(f"no roster pins a file {name[:80]!r}", hint=f"there are {', '.join(files)}")
    return {"name": name, "text": files[name].decode()}


@reads.get("/requests")
def get_requests(
    registry: TheRegistry, state: str | None = None, after: str | None = None, limit: Limit = LIST_LIMIT
) -> dict[str, Any]:
    """A page, the newest first; ``after`` is ``next`` of the page before."""
    if state is not None and state not in STATES:
        raise InputError(f"there is no state {state[:32]!r}; wanted one of {', '.join(STATES)}")
    now, found = registry.clock(), list_requests(registry, state, after=after, limit=limit + 1)
    shown = found[:limit]
    return {
        "requests": [request_view(record, now) for record in shown],
        "next": shown[-1].row.id if len(found) > limit else None,
    }


@reads.get("/requests/{key}")
def get_request(registry: TheRegistry, key: str) -> dict[str, Any]:
    record, now = find_request(registry, key), registry.clock()
    held = list_certificates(registry, record.row.team)
    views = tuple(certificate_view(each.row, each.revocation, now) for each in held)
    return request_detail(record, now, views, missing_for(registry, record))


@reads.get("/certificates")
def get_certificates(
    registry: TheRegistry,
    team: str | None = None,
    before: Number | None = None,
    limit: Limit = LIST_LIMIT,
    *,
    detail: bool = False,
) -> dict[str, Any]:
    """A page, the newest first; ``before`` is ``next`` of the page before."""
    now, view = registry.clock(), certificate_detail if detail else certificate_view
    found = list_certificates(registry, team, before=before, limit=limit + 1)
    shown = found[:limit]
    return {
        "certificates": [view(each.row, each.revocation, now) for each in shown],
        "next": shown[-1].row.intent_index if len(found) > limit else None,
    }


@reads.get("/certificates/{serial}")
def get_certificate(registry: TheRegistry, serial: str) -> dict[str, Any]:
    found = find_certificate(registry, serial)
    return certificate_detail(found.row, found.revocation, registry.clock())


@reads.get("/receipts/{key}")
def get_receipt(registry: TheRegistry, key: str) -> dict[str, Any]:
    return find_receipt(registry, key).to_wire()


@writes.post("/requests", status_code=201)
def post_request(registry: TheRegistry, signed: TheStatement) -> dict[str, Any]:
    return request_view(submit_request(registry, signed), registry.clock())


@writes.post("/decisions", status_code=201)
def post_decision(registry: TheRegistry, signed: TheStatement) -> dict[str, Any]:
    record = decide(registry, signed)
    return {**request_view(record, registry.clock()), "missing": list(missing_for(registry, record))}


@writes.post("/revocations", status_code=201)
def post_revocation(registry: TheRegistry, order: TheOrder) -> dict[str, Any]:
    return submit_revocation(registry, order)


@writes.post("/roster", status_code=201)
def post_roster(registry: TheRegistry, signed: TheStatement) -> dict[str, Any]:
    standing = publish_roster(registry, signed)
    return {
        "version": standing.version,
        "sha256": standing.sha256,
        "signatures": standing.signatures,
        "in_force": standing.in_force,
        "waiting": standing.waiting,
    }


@writes.post("/suspensions", status_code=201)
def post_suspension(registry: TheRegistry, signed: TheStatement) -> dict[str, Any]:
    return submit_suspension(registry, signed)
