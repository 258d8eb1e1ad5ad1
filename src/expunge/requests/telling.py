"""What is said of a version: its drift, whether that is over the budget, and images that it left as they were.

Needs no torch. Whether a budget is spent can be told by test images alone. An image may have been answered as asked
before the edit, which then changed nothing of it.
"""

from collections.abc import Mapping
from typing import Any

from expunge.base.words import say_list
from expunge.requests.approval import lacking_approval
from expunge.requests.state import LedgerState, Request, Version
from expunge.task.words import say_unchanged

NAMED = 10
TEST_DATA, SURROGATES = "test data", "surrogates"
UNKNOWN = (
    "whether that is over the budget of {budget:g} points of accuracy can't be told without test images: compare the "
    "exported classifier with the first one on some, or give `expunge requests init --data` some in the next project"
)


def is_over(drift: Mapping[str, Any]) -> bool | None:
    """Return whether it is time to retrain; None if that can't be told, since no test images were there.

    Several times as many answers to surrogates change as to photographs, so their churn says nothing of a budget in
    points of accuracy. Entries of old say that it does.

    >>> is_over({"measured_on": "test data", "over_budget": True}), is_over({"measured_on": "surrogates"})
    (True, None)
    """
    return None if drift["measured_on"] == SURROGATES else bool(drift["over_budget"])


def newest_drift(state: LedgerState) -> Mapping[str, Any] | None:
    """Return what the entry of the newest version says of the drift; None where nothing was applied."""
    return state.versions[state.newest].figures["drift"] if state.newest else None


def say_drift(drift: Mapping[str, Any], *, accuracy: bool = False) -> list[str]:
    """Return the drift in a line and, on surrogates, another one on what they don't say.

    Args:
        drift: as an entry has it.
        accuracy: whether the accuracies are told, too.
    """
    if drift["measured_on"] == SURROGATES:
        told = (
            f"drift: an estimate, {drift['spent']:.2f}% of the answers to surrogates changed; of those to test images "
        )
        return [f"{told}it is usually several times less", UNKNOWN.format(budget=drift["budget"])]
    known = accuracy and drift["accuracy"] is not None
    more = f" (accuracy {drift['accuracy_first']:.2f} -> {drift['accuracy']:.2f})" if known else ""
    return [f"drift: {drift['spent']:.2f} of {drift['budget']:g} points on {drift['measured_on']}{more}"]


def say_lacking_approval(state: LedgerState) -> list[str]:
    """Return the line that says which waiting requests somebody has to approve first, if there are any."""
    names = lacking_approval(state)
    if not names:
        return []
    told = say_list(names[:NAMED] + [f"{len(names) - NAMED} more"] * (len(names) > NAMED))
    return [f"{told} {'wait' if names[1:] else 'waits'} for approval at the desk: expunge requests serve"]


def unchanged_of(state: LedgerState, request: Request) -> int:
    """Return how many images of a request its version found answered as asked, and left so."""
    if request.version is None:
        return 0
    found = state.versions[request.version].figures.get("unchanged", {}).get(request.name)
    return int(found["images"]) if found else 0


def tell_unchanged(version: Version, noun: str = "image") -> dict[str, str]:
    """Return by request a sentence on its images that were answered as asked before; none where there are none."""
    found = version.figures.get("unchanged", {})
    return {name: say_unchanged(each["images"], each["of"], noun) for name, each in found.items()}
