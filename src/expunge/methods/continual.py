"""One edit in a row of them: it forgets new images, and earlier ones that came back, on the newest classifier.

Streams of requests in `expunge.bench` and the ledger in `expunge.requests` both edit with `forget_next`; what they do
about earlier rows, and when they look for them, is theirs.
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from expunge.base.errors import ExpungeWarning
from expunge.compute.runtime import Runtime
from expunge.compute.sharing import Sharing
from expunge.data.forget import ForgetSet
from expunge.data.images import Images
from expunge.methods.protocol import Method
from expunge.methods.unlearn import unlearn
from expunge.models.classifier import Classifier
from expunge.task.edit import Edit
from expunge.task.evaluation import compute_logits
from expunge.task.goals import Goal, Misclassify, Relabel, achieved
from expunge.task.task import Limits, StopReason, Strength

CARRIED_ALONG = ".* rows are not predicted as labelled"
"""The warning about rows that an earlier edit has changed already, which is nothing to complain of here."""

Name = TypeVar("Name", str, int)


@dataclass(frozen=True, slots=True, kw_only=True)
class EditOptions:
    """What each edit of a row of edits is run with.

    Args:
        method: with its settings.
        seed: source of all randomness.
        strength: whether the goal is to hold on transformed copies, too; None for the method's own.
        limits: when to give up.
        retain: the rest of the training data, for a method that needs them.
    """

    method: Method
    seed: int
    strength: Strength | None = None
    limits: Limits = Limits()
    retain: Images | None = None


def forget_next(
    classifier: Classifier, new: Sequence[ForgetSet], back: Sequence[ForgetSet], how: EditOptions, runtime: Runtime
) -> Edit:
    """Return the edit of `classifier`, which stays as it is, that forgets `new`, and `back` once more.

    The goal follows from the rows: relabel if any has a new label, else misclassify. How many rows are predicted as
    labelled is not checked, since an earlier edit may have carried some of them along.

    Args:
        classifier: as the last edit left it.
        new: rows of new requests.
        back: rows of earlier requests for which the goal no longer holds.
        how: method, seed, strength, limits and retain data.
        runtime: device and batch size.

    Raises:
        KeyboardInterrupt: Ctrl-C during the edit.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=CARRIED_ALONG, category=ExpungeWarning)
        edit = unlearn(
            classifier,
            join([*new, *back], classifier),
            method=how.method,
            seed=how.seed,
            limits=how.limits,
            runtime=runtime,
            minimum_right=0.0,
            strength=how.strength,
            retain=how.retain,
        )
    if edit.stop_reason is StopReason.INTERRUPTED:
        raise KeyboardInterrupt
    return edit


def find_lost(
    classifier: Classifier, by_request: Mapping[Name, ForgetSet], at_once: Sharing | int = 256
) -> dict[Name, list[int]]:
    """Return by request the rows for which the goal does not hold; requests without such rows are left out.

    So many images go through at once (see `compute_logits`).
    """
    sharing = at_once if isinstance(at_once, Sharing) else Sharing(at_once)
    lost = {name: (~holds(classifier, rows, sharing)).nonzero().flatten().tolist() for name, rows in by_request.items()}
    return {name: rows for name, rows in lost.items() if rows}


def holds(classifier: Classifier, rows: ForgetSet, at_once: Sharing | int = 256) -> Bool[Tensor, " k"]:
    """Return for which rows the goal holds on the exact pixels, on the CPU."""
    goal, labels = goal_of(rows)
    logits = compute_logits(classifier, rows.x, at_once)
    return achieved(goal, logits, labels.to(logits.device)).cpu()


def goal_of(rows: ForgetSet) -> tuple[Goal, Int[Tensor, " k"]]:
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


def _runner_up(classifier: Classifier, rows: ForgetSet) -> Int[Tensor, " k"]:
    logits = compute_logits(classifier, rows.x).cpu()
    return logits.scatter(1, rows.y.unsqueeze(1), -torch.inf).argmax(dim=1)
