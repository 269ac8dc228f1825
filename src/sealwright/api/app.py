"""``create_app``: the registry as an ASGI application."""

import contextlib
import threading
from collections.abc import AsyncIterator

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import Response

from sealwright import __version__
from sealwright.api import console, routes
from sealwright.api.guard import BodyRefusedError, Guard
from sealwright.api.problems import problem, problem_of
from sealwright.errors import InputError, SealwrightError
from sealwright.registration.config import RegistryConfig
from sealwright.registration.messengers import begin_notices
from sealwright.registration.registry import Clock, Registry, system_clock
from sealwright.registration.upkeep import keep_up


def create_app(config: RegistryConfig, *, clock: Clock = system_clock, upkeep: bool = True) -> FastAPI:
    """Opens its database when it starts, and follows the ledger while it runs. ``upkeep=False`` is for tests."""

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        registry = await run_in_threadpool(Registry.open, config, clock=clock)
        app.state.registry = registry
        stop = threading.Event()
        keeper = threading.Thread(target=keep_up, args=(registry, stop), name="upkeep", daemon=True)
        if upkeep:
            keeper.start()
            if config.notices is not None:
                threading.Thread(target=begin_notices, args=(registry, stop), name="notices", daemon=True).start()
        try:
            yield
        finally:
            stop.set()
            if upkeep:
                await run_in_threadpool(keeper.join, 10)
            registry.database.close()

    app = FastAPI(
        title="Sealwright registry",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    app.include_router(console.router)
    app.include_router(routes.public)
    app.include_router(routes.reads, dependencies=[Depends(routes.get_reader)])
    app.include_router(routes.writes)
    app.add_exception_handler(SealwrightError, _ours)
    app.add_exception_handler(BodyRefusedError, _body_refused)
    app.add_exception_handler(RequestValidationError, _not_valid)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(Guard)
    return app


async def _ours(_request: Request, error: Exception) -> Response:
    return problem_of(error if isinstance(error, SealwrightError) else SealwrightError("unexpected"))


async def _body_refused(_request: Request, error: Exception) -> Response:
    answer: Response = error.answer  # type: ignore[attr-defined]  # registered for this class only
    return answer


async def _not_valid(_request: Request, error: Exception) -> Response:
    first = error.errors()[0] if isinstance(error, RequestValidationError) else {"loc": (), "msg": str(error)}
    field = ".".join(str(part) for part in first["loc"])
    return problem_of(InputError(f"{field}: {first['msg']}"))


async def _http(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    details = {
        404: f"there is nothing at {request.url.path[:200]}",
        405: f"{request.url.path[:200]} does not take {request.method}",
    }
    headers = error.headers if isinstance(error, HTTPException) else None
    kind = "NotFound" if status == 404 else "InputError"
    said = details.get(status, "this could not be read")
    return problem(status, said, kind=kind, hint="is this the URL that your client was set up with?", headers=headers)
