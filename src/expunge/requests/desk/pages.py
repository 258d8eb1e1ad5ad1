"""The pages: server-rendered, every text escaped, each form valid once."""

import io
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from starlette.responses import HTMLResponse, RedirectResponse, Response

from expunge.base.errors import LedgerError
from expunge.requests.desk import acts
from expunge.requests.desk.people import Role
from expunge.requests.desk.rendering import render
from expunge.requests.desk.store import Job
from expunge.requests.desk.view import (
    picture_of,
    tell_entry,
    tell_history,
    tell_job,
    tell_pictures,
    tell_project,
    tell_request,
)
from expunge.requests.desk.web import Desk, Refused, Visit, form_token
from expunge.requests.place import DESK_FOLDER
from expunge.requests.state import State

DUE_DAYS = 30
"""By default a request is due after a month, as Article 12(3) of the GDPR has it."""
ENTRIES = 50
EXPORTS = "exports"
MOST_SHOWN = 500
SEE_OTHER = 303


def queue(visit: Visit) -> Response:
    """Show the requests, those that are open first, by their day."""
    state = visit.desk.ledger().state
    wanted = visit.query.get("state", "")
    told = [tell_request(state, one) for one in state.requests.values()]
    chosen = [one for one in told if not wanted or one["state"] == wanted]
    chosen.sort(
        key=lambda one: (one["state"] not in ("received", "validated", "failed"), one["due"] or "9", one["name"])
    )
    waiting = [one["name"] for one in told if one["state"] == State.VALIDATED and not one["needs_approval"]]
    content = {
        "requests": chosen[:MOST_SHOWN],
        "count": len(chosen),
        "states": [one.value for one in State],
        "wanted": wanted,
        "waiting": waiting,
        "project": tell_project(state),
    }
    return page(visit, "queue.html.j2", content)


def new(visit: Visit) -> Response:
    """Show the form that takes pictures in."""
    due = datetime.now(UTC).date() + timedelta(days=DUE_DAYS)
    again = acts.find_request(visit, visit.query["again"]).name if visit.query.get("again") else ""
    content = {"due": due.isoformat(), "classes": _classes(visit), "against": visit.desk.against, "again": again}
    return page(visit, "new.html.j2", content)


def start(visit: Visit) -> Response:
    """Take pictures in."""
    draft, job = acts.start_draft(visit)
    return _go_on(f"/drafts/{draft.id}", job)


def draft(visit: Visit) -> Response:
    """Show a draft, and the nearest training images of each picture."""
    found = acts.find_draft(visit)
    searching = [job for job in visit.desk.store.open_jobs() if job.arguments.get("draft") == found.id]
    content = {"draft": found, "classes": _classes(visit), "searching": bool(searching), "against": visit.desk.against}
    return page(visit, "draft.html.j2", content)


def send(visit: Visit) -> Response:
    """Make a request of a draft."""
    return _go_on("/", acts.send_draft(visit))


def discard(visit: Visit) -> Response:
    """Delete a draft."""
    acts.discard_draft(visit)
    return _go_on("/", None)


def request(visit: Visit) -> Response:
    """Show one request: pictures, answers before and after, history, and what can be done."""
    return page(visit, "request.html.j2", _request(visit))


def report(visit: Visit) -> Response:
    """Show what was asked and done, to be printed or kept."""
    ledger = visit.desk.ledger()
    head = {"entries": ledger.last.number, "head": ledger.last.hash}
    return page(
        visit, "report.html.j2", {**_request(visit), **head, "printed": datetime.now(UTC).isoformat(" ", "minutes")}
    )


def ledger(visit: Visit) -> Response:
    """Show the entries, newest first."""
    opened = visit.desk.ledger()
    text = visit.query.get("before", "")
    last = min(int(text) - 1 if text.isdecimal() and len(text) < 12 else opened.last.number, opened.last.number)
    numbers = range(max(1, last - ENTRIES + 1), last + 1)
    entries = [tell_entry(entry) for entry in reversed(opened.entries_at(list(numbers)))]
    checks = [
        tell_job(job) for job in visit.desk.store.recent_jobs(ENTRIES) if job.kind == "verify" and not job.is_open
    ]
    content = {"entries": entries, "earlier": numbers.start if numbers.start > 1 else None, "checks": checks[:3]}
    return page(visit, "ledger.html.j2", {**content, "head": opened.last.hash, "newest": opened.last.number})


def jobs(visit: Visit) -> Response:
    """Show what the worker did and does."""
    return page(visit, "jobs.html.j2", {"jobs": [tell_job(job) for job in visit.desk.store.recent_jobs(ENTRIES)]})


def exports(visit: Visit) -> Response:
    """Show the exported classifiers."""
    folders = sorted((visit.desk.folder / DESK_FOLDER / EXPORTS).glob("*/"), key=lambda each: -each.stat().st_mtime)
    found = [
        {
            "name": each.name,
            "files": sorted((file.name, file.stat().st_size) for file in each.iterdir() if file.is_file()),
        }
        for each in folders
    ]
    return page(visit, "exports.html.j2", {"exports": found, "formats": acts.FORMATS})


def exported(visit: Visit) -> Response:
    """Send an exported classifier as one file; the name is looked up among those that are there."""
    place = visit.desk.folder / DESK_FOLDER / EXPORTS
    folder = {each.name: each for each in place.glob("*/")}.get(visit.path["export"])
    if folder is None:
        raise Refused(404, "There is no such export.")
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for file in sorted(each for each in folder.rglob("*") if each.is_file()):
            archive.write(file, file.relative_to(folder))
    headers = {"content-disposition": f'attachment; filename="classifier-{folder.name}.zip"'}
    return Response(stream.getvalue(), media_type="application/zip", headers=headers)


def picture(visit: Visit) -> Response:
    """Send a picture of a request."""
    try:
        return png(picture_of(visit.desk.ledger(), acts.find_request(visit), int(visit.path["number"])))
    except LedgerError as error:
        raise Refused(404, "There is no such picture, or it was deleted.") from error


def draft_picture(visit: Visit) -> Response:
    """Send a picture of a draft."""
    return png(_at(acts.find_draft(visit).pictures, visit.path["number"]))


def near_picture(visit: Visit) -> Response:
    """Send a training image that is near to a picture of a draft."""
    near = _at(acts.find_draft(visit).near or [], visit.path["number"])
    return png(_at(near, visit.path["place"])["picture"])


def approve(visit: Visit) -> Response:
    """Approve a request."""
    return _back(visit, acts.approve_request(visit))


def withdraw(visit: Visit) -> Response:
    """Withdraw a request."""
    return _back(visit, acts.withdraw_request(visit))


def apply(visit: Visit) -> Response:
    """Apply requests."""
    names = visit.texts("request")
    return _go_on(f"/requests/{names[0]}" if len(names) == 1 else "/", acts.apply_requests(visit))


def undo(visit: Visit) -> Response:
    """Undo the newest version."""
    return _go_on("/", acts.undo_newest(visit))


def purge(visit: Visit) -> Response:
    """Delete pictures."""
    names = visit.texts("request")
    return _go_on(f"/requests/{names[0]}" if len(names) == 1 else "/", acts.purge(visit))


def verify(visit: Visit) -> Response:
    """Check the ledger."""
    return _go_on("/ledger", acts.verify(visit))


def export(visit: Visit) -> Response:
    """Export the newest classifier."""
    return _go_on("/exports", acts.export(visit))


def cancel(visit: Visit) -> Response:
    """Cancel a job."""
    return _go_on("/jobs", acts.cancel_job(visit))


def sign_out(visit: Visit) -> Response:
    """End the session."""
    visit.desk.store.end_session(visit.session)
    answer = HTMLResponse(render("message.html.j2", {"title": "Signed out", "text": "Your session has ended."}))
    answer.delete_cookie(visit.desk.cookie)
    return answer


def sign_in_page(desk: Desk, token: str) -> Response:
    """Ask whether to sign in: looking at a link, as mail programs do, does not use it up."""
    person = desk.store.find_invitation(token)
    if person is None:
        raise Refused(401, "This link was used, or is too old. Ask for another one.")
    return HTMLResponse(render("login.html.j2", {"name": person, "token": token}))


def message(status: int, text: str, *, signed_in: bool) -> Response:
    """Return a page that says why something was not done."""
    content = {"title": "Not done" if status != 401 else "Not signed in", "text": text, "signed_in": signed_in}
    return HTMLResponse(render("message.html.j2", content), status)


def page(visit: Visit, template: str, content: Mapping[str, Any]) -> Response:
    """Return a page for somebody who is signed in, with the jobs that are open and the one that they asked for last."""
    shown = {job.id: job for job in visit.desk.store.open_jobs()}
    asked = visit.desk.store.find_job(visit.query.get("job", ""))
    if asked is not None:
        shown[asked.id] = asked
    whole = {
        **content,
        "person": visit.person,
        "roles": Role,
        "path": visit.query.get("path", ""),
        "open_jobs": [tell_job(job) for job in shown.values()],
        "token": lambda address: form_token(visit.desk, visit.session, address),
    }
    return HTMLResponse(render(template, whole))


def png(content: bytes) -> Response:
    """Return a picture."""
    return Response(content, media_type="image/png")


def _request(visit: Visit) -> dict[str, Any]:
    opened, found = visit.desk.ledger(), acts.find_request(visit)
    pictures = tell_pictures(opened, found)
    return {
        "request": tell_request(opened.state, found),
        "how": found.how,
        "figures": found.figures,
        "pictures": pictures[:MOST_SHOWN],
        "measured": any("before" in one for one in pictures),
        "history_lines": tell_history(opened, found),
        "project": tell_project(opened.state),
    }


def _classes(visit: Visit) -> list[str]:
    model = visit.desk.ledger().state.created["model"]
    return list(model["class_names"]) or [str(number) for number in range(model["num_classes"])]


def _at(values: list[Any], number: str) -> Any:  # noqa: ANN401 - of the list
    if int(number) >= len(values):
        raise Refused(404, "There is no such picture.")
    return values[int(number)]


def _back(visit: Visit, job: Job) -> Response:
    return _go_on(f"/requests/{visit.path['name']}", job)


def _go_on(address: str, job: Job | None) -> Response:
    """Go to a page that shows how a job goes."""
    return RedirectResponse(address if job is None else f"{address}?job={job.id}", SEE_OTHER)
