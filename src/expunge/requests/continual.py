"""One edit that forgets new images and keeps earlier ones forgotten."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.methods import make_method
from expunge.methods.continual import EditOptions, History, find_lost, forget_next
from expunge.models.classifier import Classifier
from expunge.task.edit import Edit
from expunge.task.task import StopReason, Strength, Task

ROUNDS = 6

RowsByRequest = Mapping[str, ForgetSet]


@dataclass(slots=True)
class ContinualEdit:
    """What one edit, with its repairs, came to.

    Args:
        classifier: the edited classifier.
        repaired: ids of earlier rows that came back and were forgotten again.
        failed: why, by request; empty if the edit did what it should.
        steps: over all rounds.
        seconds: over all rounds.
        rounds: 1, and one for each repair.
        task: of the last round.
        ruined: whether it failed since other answers were lost by it.
    """

    classifier: Classifier
    repaired: tuple[str, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0
    rounds: int = 0
    task: Task | None = None
    ruined: bool = False


def forget_more(
    classifier: Classifier,
    new: RowsByRequest,
    earlier: RowsByRequest,
    how: Mapping[str, Any],
    runtime: Runtime,
    history: History | None = None,
) -> ContinualEdit:
    """Return the edit that forgets `new` while every row of `earlier` stays forgotten.

    After each round all earlier rows are checked; those that came back join the rows of the next round, which goes on
    from the weights of the last. With a method that goes on from earlier edits, none comes back.

    Args:
        classifier: the newest version; it stays as it is.
        new: rows by request.
        earlier: rows of earlier requests whose images are still there.
        how: method, settings, strength and seed.
        runtime: device and batch size.
        history: what a method that goes on is to keep.

    Raises:
        KeyboardInterrupt: Ctrl-C during the edit.
    """
    options = EditOptions(
        method=make_method(how["method"], how["settings"]), seed=how["seed"], strength=Strength(how["strength"])
    )
    outcome = ContinualEdit(classifier)
    back: dict[str, list[int]] = {}
    for _ in range(ROUNDS):
        repair = [earlier[name].rows(rows) for name, rows in back.items()]
        edit = forget_next(outcome.classifier, list(new.values()), repair, options, runtime, history)
        outcome.classifier, outcome.task = edit.classifier, edit.task
        outcome.steps, outcome.rounds = outcome.steps + edit.steps, outcome.rounds + 1
        outcome.seconds += edit.cost.seconds
        if edit.stop_reason is not StopReason.GOAL_REACHED:
            outcome.failed = _blame(edit, new)
            return outcome
        lost = find_lost(edit.classifier, earlier, runtime.sharing)
        if not lost:
            outcome.repaired = tuple(earlier[name].ids[row] for name, rows in back.items() for row in rows)
            return outcome
        back = {name: sorted({*back.get(name, ()), *lost.get(name, ())}) for name in {**back, **lost}}
    ids = [earlier[name].ids[row] for name, rows in lost.items() for row in rows]
    reason = f"{len(ids)} earlier rows keep coming back ({', '.join(ids[:3])})"
    outcome.failed = dict.fromkeys(new, reason)
    return outcome


def _blame(edit: Edit, new: RowsByRequest) -> dict[str, str]:
    """Return why, for the requests with rows that do not hold; for all of them if it cannot be told."""
    stubborn = {name for name, held in zip(edit.task.forget_set.ids, edit.achieved, strict=True) if not held}
    blamed = [name for name, rows in new.items() if stubborn.intersection(rows.ids)] or list(new)
    share = f"{len(edit.achieved) - len(stubborn)} of {len(edit.achieved)} rows hold"
    share += "" if stubborn else ", but earlier ones come back"
    return dict.fromkeys(blamed, f"{edit.stop_reason.value} after {edit.steps} steps; {share}")
