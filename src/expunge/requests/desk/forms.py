"""What comes of a form that was sent: something is asked for, and a page shows how it goes."""

from starlette.responses import HTMLResponse, Response

from expunge.requests.desk import acts
from expunge.requests.desk.frame import go_on
from expunge.requests.desk.people import sign_out as end
from expunge.requests.desk.rendering import render
from expunge.requests.desk.store import Job
from expunge.requests.desk.web import Visit


def start(visit: Visit) -> Response:
    """Take pictures in."""
    draft, job = acts.start_draft(visit)
    return go_on(f"/drafts/{draft.id}", job)


def send(visit: Visit) -> Response:
    """Make a request of a draft."""
    return go_on("/", acts.send_draft(visit))


def discard(visit: Visit) -> Response:
    """Delete a draft."""
    acts.discard_draft(visit)
    return go_on("/", None)


def approve(visit: Visit) -> Response:
    """Approve a request."""
    return _back(visit, acts.approve_request(visit))


def withdraw(visit: Visit) -> Response:
    """Withdraw a request."""
    return _back(visit, acts.withdraw_request(visit))


def apply(visit: Visit) -> Response:
    """Apply requests."""
    return _to_requests(visit, acts.apply_requests(visit))


def undo(visit: Visit) -> Response:
    """Undo the newest version."""
    return go_on("/", acts.undo_newest(visit))


def purge(visit: Visit) -> Response:
    """Delete what was chosen and confirmed."""
    return _to_requests(visit, acts.purge(visit))


def plan(visit: Visit) -> Response:
    """Look for the images of the plan in the training data."""
    return go_on("/retraining", acts.find_planned(visit))


def audit(visit: Visit) -> Response:
    """Audit the newest version."""
    return go_on("/audits", acts.audit(visit))


def verify(visit: Visit) -> Response:
    """Check the ledger."""
    return go_on("/ledger", acts.verify(visit))


def export(visit: Visit) -> Response:
    """Export the newest classifier."""
    return go_on("/exports", acts.export(visit))


def cancel(visit: Visit) -> Response:
    """Cancel a job."""
    return go_on("/jobs", acts.cancel_job(visit))


def sign_out(visit: Visit) -> Response:
    """End the session."""
    end(visit.desk.store, visit.person.name, visit.session)
    answer = HTMLResponse(render("message.html.j2", {"title": "Signed out", "text": "Your session has ended."}))
    answer.delete_cookie(visit.desk.cookie)
    return answer


def _to_requests(visit: Visit, job: Job) -> Response:
    """Go to the one request that the job is about, or to all."""
    names = visit.texts("request")
    return go_on(f"/requests/{names[0]}" if len(names) == 1 else "/", job)


def _back(visit: Visit, job: Job) -> Response:
    return go_on(f"/requests/{visit.path['name']}", job)
