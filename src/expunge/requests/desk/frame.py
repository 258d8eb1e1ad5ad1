"""What every page stands in: who is signed in, open jobs, forms that can be sent once; and where a sent form leads."""

from collections.abc import Mapping
from typing import Any

from starlette.responses import HTMLResponse, RedirectResponse, Response

from expunge.requests.desk.people import Role
from expunge.requests.desk.rendering import render
from expunge.requests.desk.store import Job
from expunge.requests.desk.view import tell_job
from expunge.requests.desk.web import Visit, form_token

SEE_OTHER = 303


def page(visit: Visit, template: str, content: Mapping[str, Any]) -> Response:
    """Return a page for somebody who is signed in, with the jobs that are open and the one that they asked for last."""
    shown = {job.id: job for job in visit.desk.store.open_jobs() if not job.is_note}
    asked = visit.desk.store.find_job(visit.query.get("job", ""))
    if asked is not None and not asked.is_note:
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


def message(status: int, text: str, *, signed_in: bool) -> Response:
    """Return a page that says why something was not done."""
    content = {"title": "Not done" if status != 401 else "Not signed in", "text": text, "signed_in": signed_in}
    return HTMLResponse(render("message.html.j2", content), status)


def go_on(address: str, job: Job | None) -> Response:
    """Go to a page that shows how a job goes."""
    return RedirectResponse(address if job is None else f"{address}?job={job.id}", SEE_OTHER)
