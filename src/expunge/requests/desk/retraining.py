"""How far the classifier has drifted, what holds the rows that it forgot, and what a retraining would need."""

from collections.abc import Mapping
from typing import Any

from expunge.requests.plan import Places, describe, standing
from expunge.requests.state import FORGOTTEN, LedgerState, Request, Version
from expunge.requests.telling import is_over, newest_drift, say_drift

MEANING = {
    "keeper": "Held: every edit keeps them forgotten, and looks whether they are, without their pictures.",
    "pictures": "Checked after every edit: the default method holds them, others forget again those that came back.",
    "nothing": "Nothing is kept of them: an edit may bring them back, and nobody can look.",
}
NAMES = {"keeper": "keepers", "pictures": "kept pictures", "nothing": "nothing"}


def held_by(request: Request) -> str | None:
    """Return what later edits have of a request that was forgotten, a key of `MEANING`; None if it wasn't."""
    if request.state not in FORGOTTEN:
        return None
    return "keeper" if request.keeper is not None else "pictures" if request.images is not None else "nothing"


def tell_later(state: LedgerState, request: Request) -> dict[str, Any]:
    """Return which later versions looked at a request's rows, which could not, and how many rows were repaired."""
    later = [version for version in state.lineage() if request.version and version.number > request.version]
    unseen = [version.number for version in later if request.name in version.figures.get("uncheckable", ())]
    return {
        "checked": [version.number for version in later if version.number not in unseen],
        "not_checked": unseen,
        "repaired": sum(row.startswith(f"{request.name}/") for one in later for row in one.figures.get("repaired", ())),
    }


def tell_retraining(state: LedgerState, places: Places | None) -> dict[str, Any]:
    """Return drift and versions, what holds the rows that were forgotten, and the plan.

    Args:
        state: of the project.
        places: of images in the training data; None if nobody has looked.
    """
    lineage = state.lineage()
    return {
        "drift": tell_drift(newest_drift(state), state),
        "versions": [_tell_version(version) for version in lineage],
        "held": _tell_held(state),
        "plan": describe(state, places),
        "requests": [_tell_planned(request, places) for request in standing(state)],
        "looked": places is not None,
    }


def tell_drift(drift: Mapping[str, Any] | None, state: LedgerState) -> dict[str, Any]:
    """Return what of the budget was spent, and on what it was measured; before the first edit, nothing was."""
    if drift is None:
        drift = {"spent": 0.0, "budget": float(state.created["budget"]), "measured_on": None, "over_budget": False}
    names = ("spent", "budget", "measured_on", "images", "accuracy_first", "accuracy", "churn")
    text = say_drift(drift) if drift["measured_on"] else []
    return {**{name: drift.get(name) for name in names}, "over_budget": is_over(drift), "text": text}


def _tell_version(version: Version) -> dict[str, Any]:
    figures = version.figures
    return {
        "version": version.number,
        "time": version.time,
        "requests": list(version.requests),
        "checked": figures.get("checked", 0),
        "repaired": len(figures.get("repaired", ())),
        "not_checked": list(figures.get("uncheckable", ())),
        "spent": figures["drift"]["spent"],
        "steps": figures["steps"],
        "seconds": figures.get("seconds"),
    }


def _tell_held(state: LedgerState) -> list[dict[str, Any]]:
    groups: dict[str, list[Request]] = {name: [] for name in MEANING}
    for request in state.in_state(*FORGOTTEN):
        groups[held_by(request) or "nothing"].append(request)
    return [
        {
            "by": NAMES[name],
            "pictures": sum(request.rows for request in requests),
            "requests": [request.name for request in requests],
            "meaning": MEANING[name],
        }
        for name, requests in groups.items()
    ]


def _tell_planned(request: Request, places: Places | None) -> dict[str, Any]:
    """Return what the plan says of a request: how many of its images were found, None if nobody has looked."""
    contents = request.each_content()
    looked = places is not None and all(content in places for content in contents)
    found = sum(bool((places or {}).get(content)) for content in contents) if looked else None
    return {"name": request.name, "pictures": request.rows, "goal": request.goal, "found": found}
