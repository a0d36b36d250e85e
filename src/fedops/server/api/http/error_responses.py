"""Errors as answers: one place where the five kinds become HTTP."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from fedops.core.contracts import ErrorReply
from fedops.core.errors import FedOpsError, Invalid, NotFound
from fedops.processes.log_context import chosen
from fedops.server.protocol.error_replies import INTERNAL, as_shortage, headers_of, log_trouble

logger = logging.getLogger("fedops.server")
_MOST = 10


def install(app: FastAPI) -> None:
    """Let every error leave the app as an ``ErrorReply``."""
    app.add_exception_handler(FedOpsError, _known)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(ClientDisconnect, _gone)
    app.add_exception_handler(Exception, _unknown)


def reply(error: FedOpsError, *, status: int | None = None, headers: Any = None) -> JSONResponse:
    """An error as the API answers it."""
    return JSONResponse(ErrorReply.of(error).model_dump(), status or error.http_status, headers)


async def _known(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, FedOpsError)
    log_trouble(error)
    return reply(error, headers=headers_of(error))


async def _validation(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return reply(Invalid(describe(error.errors())))


def describe(mistakes: Sequence[Any]) -> str:
    """One line that names each bad field."""
    lines = [_sentence(mistake) for mistake in mistakes[:_MOST]]
    more = len(mistakes) - len(lines)
    return "; ".join([*lines, f"and {more} more"] if more else lines)


def _sentence(mistake: Any) -> str:
    place, *path = [str(part) for part in mistake["loc"]]
    field = ".".join(path) or f"the {place}"
    kind = mistake["type"]
    if kind == "extra_forbidden":
        return f"{field}: unknown field"
    if kind == "missing":
        return f"{field}: missing" if path else "the body is missing: send JSON"
    if kind in ("model_attributes_type", "model_type", "dict_type") and not path:
        return "the body must be a JSON object, sent as application/json"
    return f"{field}: {str(mistake['msg'])[:1].lower()}{str(mistake['msg'])[1:]}"


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    if error.status_code == 404:
        text = f"there is nothing at {request.method} {request.url.path}; see /api/docs"
        return reply(NotFound(text))
    if error.status_code == 405:
        text = f"{request.url.path} does not take {request.method}"
        said = str(error.detail) if "takes" in str(error.detail) else text
        return reply(Invalid(said), status=405, headers=error.headers)
    return reply(Invalid(str(error.detail)), status=error.status_code, headers=error.headers)


async def _gone(_: Request, __: Exception) -> JSONResponse:
    return reply(Invalid("the request broke off in the middle of its body"), status=400)


async def _unknown(request: Request, error: Exception) -> JSONResponse:
    if (lacking := as_shortage(error)) is not None:
        return await _known(request, lacking)
    about = chosen(request.path_params)
    logger.error("%s %s failed", request.method, request.url.path, exc_info=error, extra=about)
    return JSONResponse(INTERNAL.model_dump(), 500)
