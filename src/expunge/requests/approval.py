"""Who has to approve a request before it is applied."""

from enum import StrEnum

from expunge.base.errors import LedgerError
from expunge.requests.project import Ledger
from expunge.requests.state import LedgerState, Request, State

WAITING = (State.VALIDATED, State.FAILED)


class Approval(StrEnum):
    """What a project says of it, when it is made or later."""

    NONE = "none"
    """Whoever may apply requests decides."""
    ONE = "one"
    """One person approves; it may be the one who added the request."""
    TWO = "two"
    """Two people see each request: one adds it, another one approves it. Where nobody signed it, two approve."""


def approval_of(state: LedgerState) -> Approval:
    """Return what the project says now; projects of old say nothing."""
    return Approval(state.approval.get("approval") or state.created.get("approval", Approval.NONE))


def set_approval(ledger: Ledger, approval: Approval) -> None:
    """Note that whoever signs the ledger says who approves a request from now on.

    Requests that wait need what is asked for now; approvals that they have count on.

    Raises:
        LedgerError: nobody signs, or it is so already.
    """
    before = approval_of(ledger.state)
    if not ledger.signature.get("actor"):
        raise LedgerError("--by", "somebody who says who approves", "nobody", "say --by NAME; initials will do")
    if approval is before:
        raise LedgerError("approval", f"another one than {before}", approval.value, "it is so already")
    ledger.append([("approval", {"approval": approval.value, "before": before.value})])


def is_approved(state: LedgerState, request: Request) -> bool:
    """Return whether a request has the approval that the project asks for."""
    match approval_of(state):
        case Approval.NONE:
            return True
        case Approval.ONE:
            return bool(request.approved)
        case Approval.TWO:
            return len(set(request.approved) - {request.by}) >= (1 if request.by else 2)


def lacking_approval(state: LedgerState) -> list[str]:
    """Return the names of the waiting requests that are not applied before somebody approves them."""
    return [request.name for request in state.in_state(State.VALIDATED) if not is_approved(state, request)]


def approve(ledger: Ledger, name: str) -> Request:
    """Note that whoever signs the ledger approves a request.

    Raises:
        LedgerError: nobody signs, it does not wait, it has this person's approval, or needs another person's.
    """
    request, person = ledger.state.find(name), ledger.signature.get("actor", "")
    if not person:
        raise LedgerError(name, "somebody who approves it", "nobody", "approve it at the desk: expunge requests serve")
    if request.state not in WAITING:
        raise LedgerError(name, "a request that waits or has failed", request.state.value)
    if person in request.approved:
        raise LedgerError(name, "one approval of each person", f"a second one of {person}")
    if approval_of(ledger.state) is Approval.TWO and person == request.by:
        raise LedgerError(name, "the approval of a person who did not add it", person, "ask a colleague")
    ledger.append([("approved", {"request": name})])
    return request
