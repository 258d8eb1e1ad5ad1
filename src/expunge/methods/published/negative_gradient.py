"""Negative gradient: climb the forget set's cross-entropy and nothing else. The baseline of every comparison."""

from dataclasses import dataclass, field
from typing import ClassVar

from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.descent import Descent
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.plain import plain_descent, push_rows
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class NegativeGradient:
    """SGD on -CE(f(x), y) until no row answers with its label (Golatkar et al. 2020, arXiv 1911.04933).

    As the baseline of Cha et al. 2024 (arXiv 2301.11578) is released.

    Differs from that release: rows are shuffled each time all have been used, and looked at after each step instead of
    each pass; BatchNorm is frozen for a batch of one row.
    """

    name: ClassVar[str] = "negative-gradient"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "climb the rows' cross-entropy, no regulariser"
    source: ClassVar[str] = "Golatkar et al., CVPR 2020, arXiv 1911.04933"
    aim: ClassVar[Aim] = Aim.MISCLASSIFY
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    descent: Descent = field(default_factory=lambda: plain_descent(weight_decay=1e-4))

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        return push_rows(self, task, Context(runtime), task.goal.loss, task.labels)
