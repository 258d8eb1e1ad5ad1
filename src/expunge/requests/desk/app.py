"""The web application: routes to pages and API, each behind its role."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from expunge.base.errors import ExpungeError
from expunge.requests.desk import api, files, forms, openapi, pages
from expunge.requests.desk.decoding import Upload
from expunge.requests.desk.frame import message
from expunge.requests.desk.limits import LONGEST_SESSION
from expunge.requests.desk.people import Role, sign_in
from expunge.requests.desk.web import (
    FORM,
    Desk,
    Guard,
    Handler,
    Refused,
    Visit,
    check_form,
    check_origin,
    identify,
    read_form,
)

LOOPBACK = ("127.0.0.1", "localhost")
WATCH_SECONDS = 2.0
PAGES: tuple[tuple[str, str, Role, Handler], ...] = (
    ("GET", "/", Role.READER, pages.queue),
    ("GET", "/new", Role.REQUESTER, pages.new),
    ("POST", "/drafts", Role.REQUESTER, forms.start),
    ("GET", "/drafts/{draft}", Role.REQUESTER, pages.draft),
    ("GET", "/drafts/{draft}/pictures/{number:int}", Role.REQUESTER, files.draft_picture),
    ("GET", "/drafts/{draft}/near/{number:int}/{place:int}", Role.REQUESTER, files.near_picture),
    ("POST", "/drafts/{draft}/request", Role.REQUESTER, forms.send),
    ("POST", "/drafts/{draft}/discard", Role.REQUESTER, forms.discard),
    ("GET", "/requests/{name}", Role.READER, pages.request),
    ("GET", "/requests/{name}/report", Role.READER, pages.report),
    ("GET", "/requests/{name}/pictures/{number:int}", Role.READER, files.picture),
    ("POST", "/requests/{name}/approve", Role.APPROVER, forms.approve),
    ("POST", "/requests/{name}/withdraw", Role.REQUESTER, forms.withdraw),
    ("POST", "/apply", Role.APPROVER, forms.apply),
    ("POST", "/undo", Role.APPROVER, forms.undo),
    ("GET", "/delete", Role.APPROVER, pages.delete),
    ("GET", "/delete/{what}", Role.APPROVER, pages.confirm),
    ("POST", "/purge", Role.APPROVER, forms.purge),
    ("GET", "/retraining", Role.READER, pages.retraining),
    ("POST", "/retraining", Role.APPROVER, forms.plan),
    ("GET", "/retraining/rows", Role.READER, files.planned),
    ("GET", "/retraining/labels", Role.READER, files.relabelled),
    ("GET", "/ledger", Role.READER, pages.ledger),
    ("POST", "/verify", Role.READER, forms.verify),
    ("GET", "/audits", Role.READER, pages.audits),
    ("POST", "/audits", Role.APPROVER, forms.audit),
    ("GET", "/audits/{audit}", Role.READER, files.audited),
    ("GET", "/exports", Role.READER, pages.exports),
    ("POST", "/export", Role.APPROVER, forms.export),
    ("GET", "/exports/{export}", Role.READER, files.exported),
    ("GET", "/jobs", Role.READER, pages.jobs),
    ("POST", "/jobs/{job}/cancel", Role.REQUESTER, forms.cancel),
    ("POST", "/sign-out", Role.READER, forms.sign_out),
)

Endpoint = Callable[[Request], Awaitable[Response]]


def make_app(desk: Desk, hosts: Sequence[str] = LOOPBACK) -> Starlette:
    """Return the application of a project's desk.

    Args:
        desk: of the project.
        hosts: names that this server goes by; others, which a page elsewhere may have led here, are refused.
    """
    routes: list[Route | Mount] = [
        Route("/login", _login_page(desk), methods=["GET"]),
        Route("/login", _login(desk), methods=["POST"]),
        Route(f"{api.ROOT}/session", _start_session(desk), methods=["POST"]),
        Route(f"{api.ROOT}/openapi.json", _description, methods=["GET"]),
        Mount("/static", StaticFiles(packages=[("expunge.requests.desk", "static")])),
    ]
    routes += [Route(path, _page(desk, role, handler), methods=[method]) for method, path, role, handler in PAGES]
    routes += [
        Route(api.ROOT + one.path, _operation(desk, one), methods=[one.method], name=one.name) for one in api.OPERATIONS
    ]

    @asynccontextmanager
    async def watch(app: Starlette) -> AsyncIterator[None]:
        task = asyncio.create_task(_keep_working(desk))
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    middleware = [Middleware(Guard), Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))]
    return Starlette(routes=routes, middleware=middleware, lifespan=watch, exception_handlers={HTTPException: _missing})


async def _keep_working(desk: Desk) -> None:
    """See again and again that jobs have a worker: it may have died, or have ended just before a job came."""
    while True:
        with suppress(OSError, ExpungeError):
            await run_in_threadpool(desk.keep_working)
        await asyncio.sleep(WATCH_SECONDS)


def _page(desk: Desk, role: Role, handler: Handler) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            person, session = await run_in_threadpool(identify, desk, request, cookie=True, role=role)
            fields, files = dict[str, list[Any]](), dict[str, list[Upload]]()
            if request.method == "POST":
                check_origin(request)
                fields, files = await read_form(request)
                token = str((fields.pop(FORM, None) or [""])[0])
                await run_in_threadpool(check_form, desk, session, request.url.path, token)
            return await run_in_threadpool(handler, _visit(desk, request, person, session, fields, files))
        except Refused as refused:
            return message(refused.status, refused.message, signed_in=refused.status != 401)
        except ExpungeError as error:
            return message(400, str(error), signed_in=True)

    return endpoint


def _operation(desk: Desk, one: api.Operation) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            reads = request.method == "GET"
            person, session = await run_in_threadpool(identify, desk, request, cookie=reads, role=one.role)
            fields, files = dict[str, list[Any]](), dict[str, list[Upload]]()
            if one.multipart:
                fields, files = await read_form(request)
            elif not reads:
                fields = await _read_json(request, one)
            return await run_in_threadpool(one.handler, _visit(desk, request, person, session, fields, files))
        except Refused as refused:
            return JSONResponse({"error": refused.message}, refused.status)
        except ExpungeError as error:
            return JSONResponse({"error": str(error)}, 400)

    return endpoint


async def _read_json(request: Request, one: api.Operation) -> dict[str, list[Any]]:
    """Return the fields of a JSON object, single values as lists of one.

    Raises:
        Refused: it is no object of texts in Unicode, or has fields that the operation doesn't know.
    """
    content = await request.body()
    try:
        found = json.loads(content or b"{}")
        json.dumps(found, ensure_ascii=False).encode()  # half of a surrogate pair is no text
    except (ValueError, RecursionError) as error:
        raise Refused(400, "The body is no JSON.") from error
    if not isinstance(found, dict) or not set(found) <= set(one.fields):
        raise Refused(400, f"A JSON object with some of the fields {', '.join(one.fields) or '(none)'} is expected.")
    return {name: value if isinstance(value, list) else [value] for name, value in found.items()}


def _visit(
    desk: Desk,
    request: Request,
    person: Any,  # noqa: ANN401
    session: str,
    fields: dict[str, list[Any]],
    files: dict[str, list[Upload]],
) -> Visit:
    path = {name: str(value) for name, value in request.path_params.items()}
    if not all(value.isdecimal() for name, value in path.items() if name in ("number", "place")):
        raise Refused(404, "There is no such picture.")
    return Visit(desk, person, session, path, dict(request.query_params), fields, files)


def _login_page(desk: Desk) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            return await run_in_threadpool(pages.sign_in_page, desk, request.query_params.get("token", ""))
        except Refused as refused:
            return message(refused.status, refused.message, signed_in=False)

    return endpoint


def _login(desk: Desk) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            check_origin(request)
            fields, _ = await read_form(request)
            signed_in = await run_in_threadpool(sign_in, desk.store, str((fields.get("token") or [""])[0]))
            if signed_in is None:
                raise Refused(401, "This link was used, or is too old. Ask for another one.")
        except Refused as refused:
            return message(refused.status, refused.message, signed_in=False)
        answer = RedirectResponse("/", 303)
        secure = request.headers.get("origin", "").startswith("https:")
        answer.set_cookie(
            desk.cookie, signed_in[1], max_age=int(LONGEST_SESSION), httponly=True, samesite="strict", secure=secure
        )
        return answer

    return endpoint


def _start_session(desk: Desk) -> Endpoint:
    async def endpoint(request: Request) -> Response:
        try:
            content = json.loads(await request.body() or b"{}")
            token = str(content.get("token", "")) if isinstance(content, dict) else ""
        except (ValueError, RecursionError, Refused):
            token = ""
        signed_in = await run_in_threadpool(sign_in, desk.store, token)
        if signed_in is None:
            return JSONResponse({"error": "The token is unknown, was used, or is too old."}, 401)
        person, session = signed_in
        return JSONResponse({"session": session, "person": person}, 201)

    return endpoint


async def _description(request: Request) -> Response:
    return JSONResponse(openapi.describe())


async def _missing(request: Request, error: Exception) -> Response:
    """Say that there is no such page."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    if request.url.path.startswith(api.ROOT):
        return JSONResponse({"error": "There is no such resource."}, status)
    return message(status, "There is no such page.", signed_in=True)
