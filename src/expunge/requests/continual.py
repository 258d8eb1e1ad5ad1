"""One edit that forgets new rows and keeps earlier ones forgotten."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from expunge.base.errors import ExpungeWarning
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.methods.unlearn import make_method, unlearn
from expunge.models.classifier import Classifier
from expunge.task.edit import Edit
from expunge.task.evaluation import compute_logits
from expunge.task.goals import Goal, Misclassify, Relabel, achieved
from expunge.task.task import StopReason, Strength

ROUNDS = 6

RowsByRequest = Mapping[str, ForgetSet]


@dataclass(slots=True)
class Continued:
    """What one edit, with its repairs, came to.

    Args:
        classifier: the edited classifier.
        repaired: ids of earlier rows that came back and were forgotten again.
        failed: why, by request; empty if the edit did what it should.
        steps: over all rounds.
        seconds: over all rounds.
        rounds: 1, and one for each repair.
    """

    classifier: Classifier
    repaired: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0
    rounds: int = 0


def forget_more(
    classifier: Classifier, new: RowsByRequest, earlier: RowsByRequest, how: Mapping[str, Any], runtime: Runtime
) -> Continued:
    """Return the edit that forgets `new` while every row of `earlier` stays forgotten.

    After each round all earlier rows are checked; those that came back join the rows of the next round, which goes on
    from the weights of the last.

    Args:
        classifier: the newest version; it stays as it is.
        new: rows by request.
        earlier: rows of earlier requests whose images are still there.
        how: method, settings, strength and seed.
        runtime: device and batch size.

    Raises:
        KeyboardInterrupt: Ctrl-C during the edit.
    """
    outcome = Continued(classifier)
    back: dict[str, list[int]] = {}
    for _ in range(ROUNDS):
        repair = [earlier[name].rows(rows) for name, rows in back.items()]
        edit = _edit(outcome.classifier, [*new.values(), *repair], how, runtime)
        outcome.classifier = edit.classifier
        outcome.steps, outcome.rounds = outcome.steps + edit.steps, outcome.rounds + 1
        outcome.seconds += edit.cost.seconds
        if edit.stop_reason is StopReason.INTERRUPTED:
            raise KeyboardInterrupt
        if edit.stop_reason is not StopReason.GOAL_REACHED:
            outcome.failed = _blame(edit, new)
            return outcome
        lost = find_lost(edit.classifier, earlier)
        if not lost:
            outcome.repaired = tuple(earlier[name].ids[row] for name, rows in back.items() for row in rows)
            return outcome
        back = {name: sorted({*back.get(name, ()), *lost.get(name, ())}) for name in {**back, **lost}}
    ids = [earlier[name].ids[row] for name, rows in lost.items() for row in rows]
    reason = f"{len(ids)} earlier rows keep coming back ({', '.join(ids[:3])})"
    outcome.failed = dict.fromkeys(new, reason)
    return outcome


def find_lost(classifier: Classifier, by_request: RowsByRequest) -> dict[str, list[int]]:
    """Return by request the rows for which the goal does not hold; requests without such rows are left out."""
    lost = {name: (~holds(classifier, rows)).nonzero().flatten().tolist() for name, rows in by_request.items()}
    return {name: rows for name, rows in lost.items() if rows}


def holds(classifier: Classifier, rows: ForgetSet) -> Tensor:
    """Return for which rows the goal holds on the exact pixels, (k,) bool on the CPU."""
    goal, labels = goal_of(rows)
    logits = compute_logits(classifier, rows.x)
    return achieved(goal, logits, labels.to(logits.device)).cpu()


def goal_of(rows: ForgetSet) -> tuple[Goal, Tensor]:
    """Return what the rows are to do, and the labels it speaks of: new labels are fixed when a request comes in."""
    return (Misclassify(), rows.y) if rows.y_new is None else (Relabel(), rows.y_new)


def join(parts: Sequence[ForgetSet], classifier: Classifier) -> ForgetSet:
    """Return all rows as one forget set; where only some have new labels, the others get their runner-up.

    A row that is to be misclassified may take any label but its own; the nearest one costs least.
    """
    x, y = torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts])
    ids = tuple(name for part in parts for name in part.ids)
    if all(part.y_new is None for part in parts):
        return ForgetSet(ids, x, y)
    new = [_runner_up(classifier, part) if part.y_new is None else part.y_new for part in parts]
    return ForgetSet(ids, x, y, torch.cat(new))


def _runner_up(classifier: Classifier, rows: ForgetSet) -> Tensor:
    logits = compute_logits(classifier, rows.x).cpu()
    return logits.scatter(1, rows.y.unsqueeze(1), -torch.inf).argmax(dim=1)


def _edit(classifier: Classifier, parts: Sequence[ForgetSet], how: Mapping[str, Any], runtime: Runtime) -> Edit:
    """Run the method once.

    That rows are predicted as labelled was checked when their request came in; since then an edit may have carried
    some of them over already, which is nothing to complain of.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExpungeWarning)
        return unlearn(
            classifier,
            join(parts, classifier),
            method=make_method(how["method"], how["settings"]),
            seed=how["seed"],
            runtime=runtime,
            minimum_right=0.0,
            strength=Strength(how["strength"]),
        )


def _blame(edit: Edit, new: RowsByRequest) -> dict[str, str]:
    """Return why, for the requests with rows that do not hold; for all of them if it cannot be told."""
    stubborn = {name for name, held in zip(edit.task.forget_set.ids, edit.achieved, strict=True) if not held}
    blamed = [name for name, rows in new.items() if stubborn.intersection(rows.ids)] or list(new)
    share = f"{len(edit.achieved) - len(stubborn)} of {len(edit.achieved)} rows hold"
    return dict.fromkeys(blamed, f"{edit.stop_reason.value} after {edit.steps} steps; {share}")
