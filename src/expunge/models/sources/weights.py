"""Weights from a file into a network, with the differences named when they do not fit."""

import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from expunge.base.errors import ClassifierError
from expunge.models.heads import last_length, length_of

__all__ = ["fill", "last_length", "length_of", "read_weights"]

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".tar")
WRAPPERS = ("state_dict", "model_state_dict", "model")
PREFIXES = ("module.", "_orig_mod.")
BATCH_COUNTER = "num_batches_tracked"
CONVERSION = (
    "load the model with the code that wrote the file, where you trust it, and save the weights with "
    "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file or a PyTorch checkpoint, by name.

    A checkpoint may be the state dict itself or hold it under `state_dict`, `model_state_dict` or `model`. The
    prefixes that DataParallel (`module.`) and torch.compile (`_orig_mod.`) put before every name are removed.
    Nothing is unpickled but tensors and plain containers, so that reading a file cannot run code.

    Raises:
        ClassifierError: no such file, another kind of file, a damaged one, one that needs unpickling of other
            objects (with the way to convert it), or one without a state dict.
    """
    if not path.is_file():
        raise ClassifierError(str(path), "a file of weights", "none there")
    if path.suffix == ".safetensors":
        return _without_prefixes(_read_safetensors(path))
    if path.suffix in CHECKPOINT_SUFFIXES:
        return _without_prefixes(_state_dict_in(path, _read_checkpoint(path)))
    known = ", ".join((".safetensors", *CHECKPOINT_SUFFIXES))
    raise ClassifierError(str(path), f"a file of weights ({known})", path.suffix or "no suffix")


def fill(network: nn.Module, weights: Mapping[str, Tensor], *, place: str) -> None:
    """Copy `weights` into `network`, converted to its number format; BatchNorm's batch counters may be missing.

    A prefix that `read_weights` took off is put back where the network's own names begin with it.

    Args:
        network: changed in place.
        weights: tensors by name.
        place: where they come from, for the message.

    Raises:
        ClassifierError: names that are missing or too many, or shapes that differ: the first of each and how many.
    """
    own = network.state_dict()
    for prefix in PREFIXES:
        if own and all(name.startswith(prefix) for name in own) and not any(map(own.__contains__, weights)):
            weights = {prefix + name: tensor for name, tensor in weights.items()}
    missing = [name for name in own if name not in weights and not name.endswith(BATCH_COUNTER)]
    surplus = [name for name in weights if name not in own]
    misshapen = [
        f"{name} {tuple(weights[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in own.items()
        if name in weights and weights[name].shape != tensor.shape
    ]
    found = [
        f"{len(names)} {kind} ({names[0]}{', ...' if len(names) > 1 else ''})"
        for kind, names in (("missing", missing), ("surplus", surplus), ("misshapen", misshapen))
        if names
    ]
    if found:
        raise ClassifierError(
            place, "the weights of this architecture", ", ".join(found), "check --model and --num-classes"
        )
    network.load_state_dict(dict(weights), strict=False)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise ClassifierError(str(path), "a whole safetensors file", f"{error}", "the file is damaged") from error


def _read_checkpoint(path: Path) -> object:
    try:
        content: object = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported operand" in str(error):
            raise ClassifierError(str(path), "a PyTorch checkpoint", "something else", "the file is damaged") from error
        raise ClassifierError(str(path), "tensors only", "pickled objects, which could run code", CONVERSION) from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        reason = f"{type(error).__name__}: {error}".split("\n")[0]
        raise ClassifierError(str(path), "a whole PyTorch checkpoint", reason, "the file is damaged") from error
    return content


def _state_dict_in(path: Path, content: object) -> dict[str, Tensor]:
    candidates: list[Any] = [content]
    if isinstance(content, Mapping):
        candidates += [content[name] for name in WRAPPERS if name in content]
    for candidate in candidates:
        if isinstance(candidate, Mapping) and candidate and _all_tensors(list(candidate.values())):
            return {str(name): tensor for name, tensor in candidate.items()}
    found = ", ".join(str(key) for key in list(content)[:5]) if isinstance(content, Mapping) else type(content).__name__
    raise ClassifierError(
        str(path), f"a state dict, or one under {', '.join(WRAPPERS)}", found or "an empty one", CONVERSION
    )


def _all_tensors(values: Sequence[object]) -> bool:
    return all(isinstance(value, Tensor) for value in values)


def _without_prefixes(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in PREFIXES * 2:
        if all(name.startswith(prefix) for name in weights):
            weights = {name.removeprefix(prefix): tensor for name, tensor in weights.items()}
    return weights
