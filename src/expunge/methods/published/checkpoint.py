"""What an edit by epochs of training has done, in a file: a command that was killed goes on after its last epoch."""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from expunge._version import __version__
from expunge.base.errors import ExpungeWarning, OutputError
from expunge.compute.callbacks import TracePoint
from expunge.data.images import hash_images
from expunge.task.task import Task
from expunge.training.checkpoint import Checkpoint, read_checkpoint
from expunge.training.trainer import Trainer


class EditCheckpoint:
    """The runtime's checkpoint, for an edit; it does nothing where there is none, or where processes are several.

    Args:
        method: its name and settings, as plain nested values.
        task: of the edit.
        trainer: has made all its generators.
    """

    def __init__(self, method: Mapping[str, Any], task: Task, trainer: Trainer) -> None:
        runtime = trainer.context.runtime
        self._trainer, self._path = trainer, runtime.checkpoint if runtime.processes.count == 1 else None
        self._key = "" if self._path is None else hash_edit(method, task)

    def restore(self) -> tuple[TracePoint, ...]:
        """Bring the trainer to where the checkpoint is, and return the steps until then: none if it is of another edit.

        Raises:
            ClassifierError: the checkpoint is damaged.
        """
        if self._path is None or not self._path.exists():
            return ()
        found = read_checkpoint(self._path)
        if found.training != self._key:
            return ()
        self._trainer.restore(found.tensors)
        self._trainer.context.go_on_from(found.done["spent"])
        return tuple(TracePoint(**point) for point in found.done["trace"])

    def write(self, trace: Sequence[TracePoint]) -> None:
        """Write what is done so far.

        Warns:
            ExpungeWarning: it can't be written; the edit goes on without.
        """
        if self._path is None:
            return
        done = {"trace": [asdict(point) for point in trace], "spent": self._trainer.context.spent()}
        try:
            Checkpoint(self._key, self._trainer.state(), done).write(self._path)
        except OutputError as error:
            self._path = None
            warnings.warn(f"{error}; an edit that is killed will begin anew", ExpungeWarning, stacklevel=2)


def hash_edit(method: Mapping[str, Any], task: Task) -> str:
    """Return one hash over all that decides how an edit goes: its method and its task, and the version."""
    parts = {
        "expunge": __version__,
        "method": method,
        "classifier": task.classifier.cache_key(),
        "forget": task.forget_set.sha256(),
        "retain": None if task.retain is None else hash_images(task.retain),
        "goal": task.goal.name,
        "labels": task.labels.tolist(),
        "strength": task.strength,
        "limits": asdict(task.limits),
        "seed": task.seed,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
