"""Errors, as OpenAI's clients know them: a status, and one line in an object of their form."""

from __future__ import annotations

from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from vipe.errors import AdapterError, VideoError, ViPEError
from vipe.serving.server.engine import Busy

GONE = 499  # nobody reads it: for the figures alone

_TYPES = {
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
}


class Refusal(HTTPException):
    """What is asked for is not done.

    Args:
        status: Of HTTP.
        text: Why, in one line.
        code: The same in a word, for programs.
        param: The part of the request that is at fault.
        seconds: After which it is worth another try.
    """

    def __init__(
        self,
        status: int,
        text: str,
        *,
        code: str | None = None,
        param: str | None = None,
        seconds: int | None = None,
    ) -> None:
        headers = {} if seconds is None else {"Retry-After": str(seconds)}
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        super().__init__(status, " ".join(text.split()), headers=headers or None)
        self.code, self.param = code, param


def as_refusal(error: Exception) -> Refusal:
    """Say what an error means to who asked."""
    match error:
        case Refusal():
            return error
        case Busy():
            return Refusal(429, str(error), code="busy", seconds=error.seconds)
        case VideoError():
            return Refusal(400, str(error), code="invalid_video")
        case AdapterError():
            return Refusal(400, str(error), code="invalid_adapter")
        case ViPEError():
            return Refusal(500, str(error), code="server_error")
        case RequestValidationError():
            # Of a choice of types, the one that fits furthest is meant.
            first = max(error.errors(), key=lambda problem: len(problem["loc"]))
            path = (part for part in first["loc"][1:] if str(part).isalnum() or "_" in str(part))
            where = ".".join(map(str, path))
            what = first["msg"].removeprefix("Value error, ")
            return Refusal(400, f"{where}: {what}" if where else what, param=where or None)
        case ClientDisconnect():
            return Refusal(GONE, "the client is gone")
        case HTTPException():
            return Refusal(error.status_code, str(error.detail))
        case _:
            return Refusal(500, "unexpected error; the server's log has it", code="server_error")


def response(refusal: Refusal) -> JSONResponse:
    """Write a refusal as OpenAI does."""
    return JSONResponse(body(refusal), refusal.status_code, headers=refusal.headers)


def body(refusal: Refusal) -> dict[str, Any]:
    """Return a refusal as the object that OpenAI's clients read."""
    kind = _TYPES.get(refusal.status_code)
    if kind is None:
        kind = "server_error" if refusal.status_code >= 500 else "invalid_request_error"
    return {
        "error": {
            "message": refusal.detail,
            "type": kind,
            "param": refusal.param,
            "code": refusal.code,
        }
    }


async def handle(request: Request, error: Exception) -> JSONResponse:
    """Answer a request that ended in an error."""
    return response(as_refusal(error))
