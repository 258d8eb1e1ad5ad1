"""Relabel only: train the forget set toward wrong or corrected labels, and nothing else."""

from dataclasses import dataclass, field
from typing import ClassVar

from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.descent import Descent
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.plain import plain_descent, push_rows
from expunge.task.edit import Edit
from expunge.task.goals import Relabel, pursued_as
from expunge.task.task import Strength, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class RelabelOnly:
    """SGD on CE(f(x), y*), y* the new label or, where none is given, a random label other than y.

    With given labels this is the relabelling baseline of Cha et al. 2024 (arXiv 2301.11578); with random ones and the
    goal to misclassify it is random labelling (Graves et al. 2021, arXiv 2010.10981).
    """

    name: ClassVar[str] = "relabel-only"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "train the rows toward their new (or a random other) label, no regulariser"
    source: ClassVar[str] = "baseline in Cha et al., AAAI 2024, arXiv 2301.11578; Graves et al., AAAI 2021"
    aim: ClassVar[Aim] = Aim.MISCLASSIFY
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify", "relabel")
    strength: ClassVar[Strength] = Strength.EXACT

    descent: Descent = field(default_factory=lambda: plain_descent(weight_decay=1e-4))

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        goal = Relabel()
        labels = (
            task.labels
            if pursued_as(task.goal.name) == goal.name
            else goal.labels(task.forget_set, task.classifier.num_classes, task.generator("labels"))
        )
        return push_rows(self, task, Context(runtime), goal.loss, labels)
