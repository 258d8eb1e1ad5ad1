"""What every request to the desk goes through: headers, sizes, sessions, roles, forms that can be sent once."""

import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from expunge.base.disk import sha256_file
from expunge.base.errors import LedgerError, package_needed
from expunge.requests.desk.decoding import Upload
from expunge.requests.desk.drafts import sweep_drafts
from expunge.requests.desk.limits import FORM_BYTES, MOST_BYTES, MOST_PICTURES, MOST_TABLE_BYTES
from expunge.requests.desk.people import Person, Role, find_person
from expunge.requests.desk.process import Worker
from expunge.requests.desk.store import Job, Store
from expunge.requests.head import HEAD_FILE
from expunge.requests.project import Ledger

with package_needed("starlette", "serve", LedgerError):
    from starlette.datastructures import MutableHeaders, UploadFile
    from starlette.exceptions import HTTPException
    from starlette.formparsers import MultiPartParser
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

MultiPartParser.spool_max_size = MOST_BYTES
"""Pictures that come in stay in memory: they are never on the disk unsealed."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
    "cache-control": "no-store",
}
UPLOADS = ("/drafts", "/api/v1/drafts")
"""Paths that take pictures; all others take small forms."""
FORM = "form"
FIELDS = 2_000


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """A request that is not carried out: the status of the answer, and what it says."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(slots=True)
class Desk:
    """A project as the server works with it.

    Args:
        folder: of the project.
        store: its sessions and jobs.
        worker: starts the worker process; None where jobs are taken otherwise, as in tests.
        against: source of the training images; None if nobody said.
    """

    folder: Path
    store: Store
    worker: Worker | None = None
    against: str | None = None
    _opened: tuple[str, Ledger] | None = None

    @classmethod
    def open(cls, folder: Path, *, worker: Worker | None = None, against: str | None = None) -> "Desk":
        """Return the desk of a project; the training images are those of the project's data where nothing is said.

        Raises:
            LedgerError: there is no project, or something in it was changed.
        """
        ledger = Ledger.open(folder)
        data = ledger.state.created.get("data")
        sweep_drafts(folder)
        return cls(folder, Store.open(folder, ledger.keys), worker, against or data)

    def ledger(self) -> Ledger:
        """Return the ledger as it is now; it is read anew when its head has changed."""
        head = sha256_file(self.folder / HEAD_FILE)
        if self._opened is None or self._opened[0] != head:
            self._opened = head, Ledger.open(self.folder)
        return self._opened[1]

    @property
    def cookie(self) -> str:
        """Return the name of the session's cookie: browsers send cookies to all ports, so each project has its own."""
        return f"desk-{self.store.hash('cookie')[:12]}"

    def enqueue(self, kind: str, person: Person, **arguments: Any) -> Job:  # noqa: ANN401 - of that kind of job
        """Queue a job, and see that somebody takes it."""
        job = self.store.add_job(kind, person.name, arguments)
        self.keep_working()
        return job

    def keep_working(self) -> None:
        """Start a worker if there are jobs and none is there."""
        if self.worker is not None and self.store.open_jobs():
            self.worker.ensure()


@dataclass(frozen=True, slots=True)
class Visit:
    """One request to the desk, by somebody who may make it.

    Args:
        desk: that was asked.
        person: who asks.
        session: its secret.
        path: parts of the address.
        query: what stands behind its question mark.
        fields: of the form, or of the JSON object.
        files: that came with it, by field.
    """

    desk: Desk
    person: Person
    session: str
    path: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    fields: Mapping[str, list[Any]] = field(default_factory=dict)
    files: Mapping[str, list[Upload]] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Return the text of a field; empty if there is none."""
        values = self.fields.get(name) or [""]
        return str(values[0]).strip()

    def texts(self, name: str) -> list[str]:
        """Return all texts of a field."""
        return [str(value).strip() for value in self.fields.get(name, ())]

    def may(self, role: Role) -> bool:
        """Return whether the person has this role, or a higher one."""
        return self.person.role >= role


Handler = Callable[[Visit], Response]


def form_token(desk: Desk, session: str, path: str) -> str:
    """Return what makes a form valid: once, in this session, for this address."""
    nonce = secrets.token_urlsafe(16)
    return f"{nonce}.{_form_code(desk, session, path, nonce)}"


def check_form(desk: Desk, session: str, path: str, token: str) -> None:
    """Check that a form was made here for this session and address, and is sent for the first time.

    Raises:
        Refused: it wasn't.
    """
    nonce, _, code = token.partition(".")
    if not hmac.compare_digest(code.encode(), _form_code(desk, session, path, nonce).encode()):
        raise Refused(403, "This form was not made for you here. Open the page again, and send it from there.")
    if not desk.store.use_form(token):
        raise Refused(409, "This form was sent before; it was carried out once.")


def check_origin(request: Request) -> None:
    """Refuse what a page of another origin makes the browser send; behind a proxy the scheme may be another.

    Raises:
        Refused: it comes from elsewhere.
    """
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "same-origin")
    is_own = origin is None or urlsplit(origin).netloc == request.headers.get("host")
    if site not in ("same-origin", "none") or not is_own:
        raise Refused(403, "This form comes from another site.")


def identify(desk: Desk, request: Request, *, cookie: bool, role: Role) -> tuple[Person, str]:
    """Return who asks, and the secret of their session.

    Args:
        desk: that is asked.
        request: with the cookie, or a header Authorization: Bearer.
        cookie: whether the cookie counts; elsewhere a browser would send it by itself.
        role: what is needed.

    Raises:
        Refused: nobody who is signed in, or one whose role does not suffice.
    """
    bearer = request.headers.get("authorization", "")
    secret = bearer.removeprefix("Bearer ") if bearer.startswith("Bearer ") else ""
    secret = secret or (request.cookies.get(desk.cookie, "") if cookie else "")
    person = find_person(desk.ledger(), desk.store, secret) if secret else None
    if person is None:
        raise Refused(401, "Sign in first. A link is made by: expunge requests invite NAME --role ROLE")
    if person.role < role:
        raise Refused(403, f"Only somebody with the role {role.word} may do this; you are {person.role.word}.")
    return person, secret


async def read_form(request: Request) -> tuple[dict[str, list[Any]], dict[str, list[Upload]]]:
    """Return the fields and files of a form.

    Raises:
        Refused: it is none, or has too many parts or too large ones.
    """
    fields: dict[str, list[Any]] = {}
    files: dict[str, list[Upload]] = {}
    try:
        async with request.form(max_files=MOST_PICTURES + 1, max_fields=FIELDS, max_part_size=MOST_TABLE_BYTES) as form:
            for name, value in form.multi_items():
                if not isinstance(value, UploadFile):
                    fields.setdefault(name, []).append(value)
                elif value.filename and value.size:
                    files.setdefault(name, []).append(Upload(value.filename, await value.read()))
    except HTTPException as error:
        raise Refused(400, f"The form can't be read: {error.detail}") from error
    return fields, files


class Guard:
    """Sets the headers of every answer, and refuses bodies that are too large, whatever they say of their length."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        limit = MOST_BYTES if scope["path"] in UPLOADS else FORM_BYTES
        received = 0

        async def receive_some() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise Refused(413, f"That is more than the {limit >> 20} MiB that may be sent at once.")
            return message

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        length = dict(scope["headers"]).get(b"content-length", b"0")
        if not length.isdigit() or int(length) > limit:
            refused = Response(f"More than the {limit >> 20} MiB that may be sent at once.\n", 413)
            await refused(scope, receive, send_guarded)
            return
        await self.app(scope, receive_some, send_guarded)


def _form_code(desk: Desk, session: str, path: str, nonce: str) -> str:
    return desk.store.keys.code("desk form", "\n".join((session, path, nonce)).encode())
