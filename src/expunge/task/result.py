"""What result.json and predictions.csv say of an edit."""

import platform
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from expunge._version import __version__
from expunge.base.cells import csv_text, escape_cell
from expunge.task.evaluation import Predictions, RobustGoal, churn, right_after
from expunge.task.goals import count_unchanged, true_labels
from expunge.task.outcome import judge, say_health, say_outcome
from expunge.task.task import StopReason, Strength
from expunge.task.words import RELABEL, UNSEEN, goal_words, part_words, say_unchanged

if TYPE_CHECKING:
    from expunge.task.edit import Edit

RESULT_SCHEMA_VERSION = 1
PREDICTION_COLUMNS = (
    "id",
    "label",
    "new_label",
    "predicted_before",
    "confidence_before",
    "predicted_after",
    "confidence_after",
    "goal_met",
    "goal",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """Predictions before and after an edit on one set of images."""

    before: Predictions
    after: Predictions


@dataclass(frozen=True, slots=True)
class About:
    """What a result says beyond the edit itself.

    Args:
        forgotten_class: name of the class that is forgotten as a whole; empty if rows are.
        reference: under which the request is filed; empty for none.
        finished: when, ISO 8601 in UTC; empty if it is not to be told.
        chosen: what was chosen for the caller: size, crop, mean, std and so on.
        data_sha256: hash over ids and labels of all images, training and test; empty if it is not known.
    """

    forgotten_class: str = ""
    reference: str = ""
    finished: str = ""
    chosen: Mapping[str, Any] = field(default_factory=dict)
    data_sha256: str = ""


NOTHING_MORE = About()
COPIES = "copies"
"""What is measured on transformed copies, among what is still unmeasured."""


def to_result(
    edit: "Edit", measured: Mapping[str, Measured], robust: RobustGoal | None, about: About
) -> dict[str, Any]:
    """Return what result.json says of an edit, but for the hashes of its files; copies may be unmeasured."""
    on_copies, forgotten = to_copies(robust), about.forgotten_class
    old, new = measured["forget"].before.predicted, measured["forget"].after.predicted
    unchanged = None if edit.task.goal.name == UNSEEN or forgotten else count_unchanged(edit.achieved, old, new)
    return {
        "schema_version": RESULT_SCHEMA_VERSION,
        **judge_edit(
            edit, measured, copies=on_copies["goal_achieved_robust"], unchanged=unchanged, forgotten_class=forgotten
        ),
        "method": edit.method,
        "goal": edit.task.goal.name,
        "forgotten_class": forgotten,
        "reference": about.reference,
        "finished": about.finished,
        "strength": edit.task.strength.value,
        "goal_achieved": edit.goal_achieved,
        "unchanged": unchanged,
        **on_copies,
        "stop_reason": edit.stop_reason.value,
        "steps": edit.steps,
        **to_measures(measured),
        "measured_only": measured_only(edit, measured),
        "retain_used": edit.task.retain is not None,
        "expected": None if edit.expected is None else edit.expected.to_json(),
        "cost": asdict(edit.cost),
        "settings": dict(edit.settings),
        "chosen": dict(about.chosen),
        "seed": edit.task.seed,
        "versions": {"expunge": __version__, "torch": torch.__version__, "python": platform.python_version()},
        "device": str(edit.classifier.device),
        "inputs": {
            "weights_sha256": edit.task.classifier.sha256(),
            "forget_sha256": edit.task.forget_set.sha256(),
            **({"data_sha256": about.data_sha256} if about.data_sha256 else {}),
        },
        "trace": [asdict(point) for point in edit.trace],
    }


def judge_edit(
    edit: "Edit", measured: Mapping[str, Measured], *, copies: float | None, unchanged: int | None, forgotten_class: str
) -> dict[str, Any]:
    """Return what became of the edit, in a word and in sentences, and what that follows from.

    Args:
        edit: the edit.
        measured: predictions before and after, by part.
        copies: share of transformed copies for which the goal holds, if that was measured.
        unchanged: see `goals.count_unchanged`; None where answers may stay.
        forgotten_class: its name, if a class is forgotten as a whole.
    """
    goal, health = edit.task.goal.name, edit.find_health(measured)
    reached = edit.stop_reason is StopReason.GOAL_REACHED
    outcome = judge(reached, health, interrupted=edit.stop_reason is StopReason.INTERRUPTED)
    words = goal_words(goal, forgotten_class)
    names = {part: part_words(part, goal, forgotten_class) for part in measured}
    asked = edit.task.strength is Strength.ROBUST and not reached
    said = say_outcome(words, edit.goal_achieved, len(edit.task.forget_set), copies=copies if asked else None)
    same = say_unchanged(unchanged or 0, len(edit.task.forget_set))
    return {
        "outcome": outcome.value,
        "verdict": [each for each in (said, same, *say_health(health, names)) if each],
        "health": None if health is None else health.to_json(),
    }


def to_copies(robust: RobustGoal | None) -> dict[str, Any]:
    """Return what is known of transformed copies."""
    if robust is None:
        return {"goal_achieved_robust": None, "robust": None}
    shares = {name: value for name, value in asdict(robust).items() if name != "by_row"}
    return {"goal_achieved_robust": robust.share, "robust": {**shares, "worst_kind": robust.worst_kind}}


def to_measures(measured: Mapping[str, Measured]) -> dict[str, dict[str, Any]]:
    """Return accuracies before and after, and what became of answers, by part of the data."""
    return {
        "before": {name: _figures(each.before) for name, each in measured.items()},
        "after": {name: _changes(each) for name, each in measured.items()},
    }


def measured_only(edit: "Edit", names: Iterable[str]) -> list[str]:
    """Return the parts that were measured on and that the edit never saw."""
    return [name for name in names if name not in edit.used]


def to_table(edit: "Edit", forget: Measured) -> str:
    """Return predictions.csv: a line for each row, before and after."""
    lines: list[list[object]] = [list(PREDICTION_COLUMNS)]
    new_labels, labels = _new_labels(edit), true_labels(edit.task.goal, edit.task.forget_set).tolist()
    for row, name in enumerate(edit.task.forget_set.ids):
        before, after = forget.before, forget.after
        lines.append(
            [
                escape_cell(name),
                labels[row],
                new_labels[row],
                int(before.predicted[row]),
                f"{before.confidence[row].item():.6f}",
                int(after.predicted[row]),
                f"{after.confidence[row].item():.6f}",
                "yes" if edit.achieved[row] else "no",
                edit.task.goal.name,
            ]
        )
    return csv_text(lines)


def _new_labels(edit: "Edit") -> list[int | str]:
    if edit.task.goal.name == RELABEL:
        return [int(label) for label in edit.task.labels]
    return [""] * len(edit.task.forget_set)


def _figures(predictions: Predictions) -> dict[str, float | int]:
    return {"accuracy": predictions.accuracy, "n": len(predictions.labels)}


def _changes(measured: Measured) -> dict[str, float | int | None]:
    before, after = measured.before, measured.after
    return {
        **_figures(after),
        "churn": churn(before, after),
        "right_kept": right_after(before, after, right_before=True),
        "wrong_righted": right_after(before, after, right_before=False),
    }
