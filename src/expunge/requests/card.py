"""The section of a model card that says what the classifier was made to forget, and what that does not mean."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from expunge.base.disk import write_text
from expunge.models.export import Exported
from expunge.requests.project import Ledger
from expunge.requests.state import FORGOTTEN, LedgerState, Request
from expunge.task.words import goal_words

CARD_FILE = "MODEL_CARD.md"


def write_card(ledger: Ledger, exported: Sequence[Exported], folder: Path) -> Path:
    """Write the section beside the exported files and return its path."""
    path = folder / CARD_FILE
    write_text(path, make_card(ledger, exported))
    return path


def make_card(ledger: Ledger, exported: Sequence[Exported]) -> str:
    """Return the section as Markdown; no reference and no id of a request stands in it."""
    state = ledger.state
    forgotten = state.in_state(*FORGOTTEN)
    rows = sum(request.rows for request in forgotten)
    lines = [
        *_headings(forgotten),
        f"This classifier was edited for {rows} training instances in {len(forgotten)} requests, without retraining "
        f"(expunge): {_by_goal(forgotten)}.",
        "",
        "| request | received | instances | goal | method | version | exact pixels | fresh copies |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for request in forgotten:
        figures = request.figures
        held = [f"{100 * figures[name]:.1f}%" if name in figures else "" for name in FIGURES]
        lines.append(
            f"| {request.name} | {request.received[:10]} | {request.rows} | {request.goal} | "
            f"{request.how['method']} | {request.version} | {' | '.join(held)} |"
        )
    lines += ["", *_drift(state), "", *_limits(state), "", *_files(ledger, exported), ""]
    return "\n".join(lines)


FIGURES = ("goal_achieved", "goal_achieved_robust")


def _headings(requests: Sequence[Request]) -> list[str]:
    """Return one heading that names every goal among the requests."""
    names = dict.fromkeys(goal_words(request.goal).heading for request in requests) or ["Unlearned instances"]
    return [f"## {' and '.join(names)}", ""]


def _by_goal(requests: Sequence[Request]) -> str:
    counts = Counter[str]()
    for request in requests:
        counts[request.goal] += request.rows
    return ", ".join(f"{count} {goal_words(goal).rows}" for goal, count in counts.items()) or "none so far"


def _drift(state: LedgerState) -> list[str]:
    lineage = state.lineage()
    if not lineage:
        return ["The weights are those of the first classifier."]
    drift = lineage[-1].figures["drift"]
    accuracy = (
        ""
        if drift["accuracy"] is None
        else (f"; accuracy {drift['accuracy_first']:.2f}% before all requests, {drift['accuracy']:.2f}% now")
    )
    return [
        f"Against the first classifier, {drift['churn']:.2f}% of {drift['images']} images ({drift['measured_on']}) are "
        f"answered otherwise{accuracy}."
    ]


def _limits(state: LedgerState) -> list[str]:
    unchecked = [request.name for request in state.in_state(*FORGOTTEN) if request.images is None]
    lines = [
        "The last two columns say for what share of the exact pixels, and of transformed copies of them, the goal held "
        "when the request was verified. A changed answer is no proof of erasure."
    ]
    if unchecked:
        lines.append(
            f"The images of {len(unchecked)} requests were deleted after verification, so it is not known whether "
            "later edits brought them back."
        )
    return lines


def _files(ledger: Ledger, exported: Sequence[Exported]) -> list[str]:
    lines = [f"Weights SHA-256 `{ledger.state.weights_sha256}`, ledger head `{ledger.last.hash}`."]
    for one in exported:
        if one.largest_difference is not None:
            lines.append(f"`{one.path.name}` gives logits equal within {one.largest_difference:.1e}.")
    return lines
