"""A method's run, as it can be trusted: it works on a classifier of its own, and what it claims is measured."""

import warnings
from dataclasses import replace

import torch
from jaxtyping import Bool
from torch import Tensor

from expunge.base.errors import ExpungeWarning, SettingsError
from expunge.compute.runtime import Runtime
from expunge.methods.protocol import Method
from expunge.models.folding import choose_layout
from expunge.task.edit import Edit
from expunge.task.evaluation import compute_logits
from expunge.task.goals import achieved
from expunge.task.task import StopReason, Task

TIE = 1e-3
"""Of the largest logit of a row, or of 1: so near to the boundary, rounding decides, and the method's word counts."""


def run_guarded(method: Method, task: Task, runtime: Runtime) -> Edit:
    """Return the method's edit of the task; its `achieved` is what holds for the classifier that it returns.

    The method gets a copy of the classifier, which lays images out as convolutions like them: whatever it does to
    that, the one in the task stays as it is, and the edited one takes images as that does.

    Raises:
        SettingsError: `run` returns something else than an edit of these rows.

    Warns:
        ExpungeWarning: the method claimed something else than was measured.
    """
    given = task.classifier
    copy = choose_layout(given.copy(), task.forget_set.x[:2].to(given.device))
    edit = method.run(replace(task, classifier=copy), runtime)
    _check_edit(method, edit, len(task.forget_set))
    edit = replace(edit, task=task, classifier=replace(edit.classifier, layout=given.layout))
    held, reason = _measure(edit, runtime), edit.stop_reason
    if reason is StopReason.GOAL_REACHED and not bool(held.all()):
        reason = StopReason.COMPLETED
    if reason is edit.stop_reason and torch.equal(held, edit.achieved.cpu()):
        return edit
    warnings.warn(
        f"the method {method.name} says {edit.stop_reason.value} and that the goal holds for "
        f"{int(edit.achieved.sum())} of {len(held)} images; on the classifier that it returned it holds for "
        f"{int(held.sum())}, and that counts",
        ExpungeWarning,
        stacklevel=2,
    )
    return replace(edit, achieved=held, stop_reason=reason)


def _check_edit(method: Method, edit: object, rows: int) -> None:
    place = f"method {method.name}"
    if not isinstance(edit, Edit):
        raise SettingsError(place, "an Edit from `run`", type(edit).__name__)
    found = tuple(edit.achieved.shape) if isinstance(edit.achieved, Tensor) else type(edit.achieved).__name__
    if found != (rows,):
        raise SettingsError(place, f"an Edit whose `achieved` is a tensor of shape ({rows},)", f"{found}")


def _measure(edit: Edit, runtime: Runtime) -> Bool[Tensor, " k"]:
    """Return for which rows the goal holds, on the CPU; each of several processes measures by itself.

    No process waits for another here: of an interrupted edit, others may be gone.
    """
    task, classifier = edit.task, edit.classifier.to(runtime.device)
    logits = compute_logits(classifier, task.forget_set.x, runtime.sharing)
    labels, claimed = task.labels.to(logits.device), edit.achieved.bool().to(logits.device)
    allowed = torch.zeros(()) if task.allowed is None else task.allowed
    allowed, tie = allowed.to(logits), TIE * logits.abs().amax(dim=1).clamp(min=1)
    surely, perhaps = (achieved(task.goal, logits, labels, allowed + slack) for slack in (-tie, tie))
    return (surely | (claimed & perhaps)).cpu()
