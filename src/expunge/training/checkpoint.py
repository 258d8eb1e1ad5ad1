"""A training as it stands after an epoch, in one safetensors file: no pickle, whole or not there."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from expunge.base.errors import ClassifierError
from expunge.base.tensors import write_tensors

CHECKPOINT_FILE = "checkpoint.safetensors"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a training needs to go on.

    Args:
        training: hash of what is being trained, on what and how.
        tensors: weights, the optimiser's memory, generators.
        done: what there is to say of the epochs that are done, as plain nested values.
    """

    training: str
    tensors: Mapping[str, Tensor]
    done: Any

    def write(self, path: Path) -> None:
        """Write to `path`.

        Raises:
            OutputError: it cannot be written; an older one is untouched.
        """
        write_tensors(path, self.tensors, {"training": self.training, "done": json.dumps(self.done)})


def read_checkpoint(path: Path) -> Checkpoint:
    """Return the checkpoint in `path`.

    Raises:
        ClassifierError: it is damaged.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            return Checkpoint(metadata["training"], tensors, json.loads(metadata["done"]))
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise ClassifierError(str(path), "a whole checkpoint", f"{error}", "delete it to start anew") from error
