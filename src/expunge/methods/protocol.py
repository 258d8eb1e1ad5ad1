"""What every method is: frozen settings, a declaration of what it needs, and `run`."""

from enum import StrEnum
from typing import ClassVar, Protocol

from expunge.compute.runtime import Runtime
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task


class Needs(StrEnum):
    """The data that a method may see; nothing more reaches it."""

    FORGET_ONLY = "forget set"
    FORGET_AND_RETAIN = "forget set and retain data"


class Aim(StrEnum):
    """What a method's authors want the edited classifier to be."""

    MISCLASSIFY = "every row misclassified or relabelled"
    """It stops as soon as the goal holds."""
    NEVER_SEEN = "as if never trained on the rows"
    """It stops by a rule of its own, whether the goal holds or not."""


class Method(Protocol):
    """A frozen dataclass whose fields are the hyper-parameters; see `expunge.base.settings.setting`.

    `run` never changes the classifier of the task: weights, buffers and training flags are the same, bit for bit. To be
    on the safe side, `unlearn` gives it a copy, and measures for itself what the edit achieved.
    Retain data reach it only if it declares that it needs them.

    A class may say `revision: ClassVar[int] = 2`, and so on: results of another revision that `expunge bench`, `expunge
    tune` and audits with shadow classifiers keep are not used any more. Raise it whenever the same settings and seed
    give other weights than before.

    A class may say `goes_on: ClassVar[bool] = True`: then `run` keeps the rows of `task.earlier` forgotten, and charges
    for the change since its first classifier. Other methods never see them.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    aim: ClassVar[Aim]
    needs: ClassVar[Needs]
    goals: ClassVar[tuple[str, ...]]
    strength: ClassVar[Strength]

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier."""
        ...


def revision_of(method: Method | type[Method]) -> int:
    """Return which revision of its code a method declares; one that declares none is at its first."""
    return int(getattr(method, "revision", 1))


def revision_in_key(method: Method) -> dict[str, int]:
    """Return what the key of a kept result says of the revision: nothing of the first, as before there were any."""
    revision = revision_of(method)
    return {} if revision == 1 else {"revision": revision}


def goes_on(method: Method | type[Method]) -> bool:
    """Return whether a method keeps what earlier edits have forgotten."""
    return bool(getattr(method, "goes_on", False))
