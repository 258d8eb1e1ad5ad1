"""A training as it stands after an epoch, in one safetensors file: no pickle, whole or not there."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from expunge.base.errors import ClassifierError
from expunge.base.tensors import write_tensors


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a training needs to go on.

    Args:
        tensors: weights, the optimiser's memory, generators.
        losses: the mean loss of each epoch that is done.
    """

    tensors: Mapping[str, Tensor]
    losses: Sequence[float]

    def write(self, path: Path, *, training: str) -> None:
        """Write to `path`, under the hash of what is being trained.

        Raises:
            OutputError: it cannot be written; an older one is untouched.
        """
        write_tensors(path, self.tensors, {"training": training, "losses": json.dumps(list(self.losses))})


def read_checkpoint(path: Path, *, training: str) -> Checkpoint:
    """Return the checkpoint in `path`.

    Raises:
        ClassifierError: it is damaged, or of another training: other images, recipe, seed or first weights.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError) as error:
        raise ClassifierError(str(path), "a whole checkpoint", f"{error}", "delete it to start anew") from error
    if metadata.get("training") != training:
        raise ClassifierError(
            str(path),
            "a checkpoint of this training",
            "one with other images, recipe, seed or first weights",
            "delete it to start anew, or choose another folder",
        )
    return Checkpoint(tensors, json.loads(metadata["losses"]))
