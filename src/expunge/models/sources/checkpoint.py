"""What a file of weights holds: tensors by name, in one state or several, read without running anything."""

import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.serialization import safe_globals

from expunge.base.errors import ClassifierError, ExpungeWarning
from expunge.models.sources.safetensors_files import INDEX_SUFFIX, read_safetensors, read_shards

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".tar")
WRAPPERS = ("", "state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params")
"""Where networks lie in checkpoints; of several states in a file, the first of these is taken."""
EXTRA_STATE = "_extra_state"
DEPTH = 2
CONVERSION = (
    "open the model in the program that wrote the file, and save its weights there with "
    "safetensors.torch.save_file(model.state_dict(), 'weights.safetensors')"
)
PLAIN_VALUES = (
    "argparse.Namespace",
    "types.SimpleNamespace",
    "pathlib.PosixPath",
    "pathlib.WindowsPath",
    "pathlib._local.PosixPath",
    "pathlib._local.WindowsPath",
    "datetime.datetime",
    "numpy.dtype",
    "numpy.ndarray",
    "numpy._core.multiarray.scalar",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy.core.multiarray._reconstruct",
    "numpy.dtypes.Float32DType",
    "numpy.dtypes.Float64DType",
    "numpy.dtypes.Int64DType",
    "_codecs.encode",
    "lightning.fabric.utilities.data.AttributeDict",
    "lightning_fabric.utilities.data.AttributeDict",
    "pytorch_lightning.utilities.parsing.AttributeDict",
    "lightning.pytorch.utilities.parsing.AttributeDict",
    "easydict.EasyDict",
    "yacs.config.CfgNode",
)
"""What trainers keep beside weights: their settings and figures. None of it is imported or called; see `Inert`."""


class Inert(dict[object, object]):
    """Stands for an object of `PLAIN_VALUES` while a file is read: it takes whatever the file says and does nothing."""

    def __new__(cls, *_: object) -> "Inert":
        """Return an empty one, whatever it is made of."""
        return super().__new__(cls)

    def __init__(self, *_: object) -> None:
        super().__init__()

    def __setstate__(self, state: object) -> None:
        """Forget the state."""


def read_weights(path: Path, key: str | None = None) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file, of shards by their index, or of a PyTorch checkpoint, by name.

    A checkpoint may be the state dict itself or hold it under a key, such as `state_dict` or `model`. Nothing is
    unpickled but tensors and plain containers; settings of trainers (`PLAIN_VALUES`) are passed over. So reading a file
    cannot run code. The names are as they stand in the file; `fill` finds what is put before them.

    Args:
        path: the file.
        key: which state, where the file holds several; or what the names of the network's tensors begin with.

    Raises:
        ClassifierError: no such file, another kind of file, a damaged one, one that needs unpickling of other
            objects (with the way to convert it), or one without a state dict, or without the one of that key.

    Warns:
        ExpungeWarning: the file holds several states, and none was chosen.
    """
    if not path.is_file():
        raise ClassifierError(str(path), "a file of weights", "none there")
    if path.suffix == ".safetensors":
        states: dict[str, Mapping[str, object]] = {"": read_safetensors(path)}
    elif path.name.endswith(INDEX_SUFFIX):
        states = {"": read_shards(path)}
    elif path.suffix in CHECKPOINT_SUFFIXES:
        states = dict(_states_in(_read_checkpoint(path), path))
    else:
        known = ", ".join((".safetensors", INDEX_SUFFIX, *CHECKPOINT_SUFFIXES))
        raise ClassifierError(str(path), f"a file of weights ({known})", path.suffix or "no suffix")
    state = _choose(states, path) if key is None else _state_of(states, key, path)
    return {str(name): tensor for name, tensor in state.items() if isinstance(tensor, Tensor)}


def _choose(states: Mapping[str, Mapping[str, object]], path: Path) -> Mapping[str, object]:
    """Return the network as it was trained, and say so where there are others."""
    taken = next((name for name in WRAPPERS if name in states), next(iter(states)))
    others = [name for name in states if name != taken]
    if others:
        warnings.warn(
            f"{path} holds several states: {', '.join(states)}; {taken} was taken, --weights-key {others[0]} takes "
            "another",
            ExpungeWarning,
            stacklevel=3,
        )
    return states[taken]


def _state_of(states: Mapping[str, Mapping[str, object]], key: str, path: Path) -> Mapping[str, object]:
    if key in states:
        return states[key]
    for state in states.values():
        below = {name: tensor for name, tensor in state.items() if name.startswith(f"{key}.")}
        if below:
            return below
    beginnings = sorted({name.partition(".")[0] for state in states.values() for name in state})
    known = [name for name in states if name] + beginnings[:5]
    raise ClassifierError("weights_key", f"one of {', '.join(known)}, as in {path}", key)


def _states_in(content: object, path: Path) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield every state dict of a checkpoint with where it is.

    Raises:
        ClassifierError: there is none.
    """
    found = dict(_walk(content, "", DEPTH))
    if not found:
        is_mapping = isinstance(content, Mapping)
        keys = ", ".join(str(key) for key in list(content)[:5]) if is_mapping else type(content).__name__  # type: ignore[call-overload]
        known = ", ".join(WRAPPERS[1:])
        raise ClassifierError(str(path), f"a state dict, or one under {known}", keys or "an empty one", CONVERSION)
    yield from found.items()


def _walk(content: object, name: str, depth: int) -> Iterator[tuple[str, Mapping[str, object]]]:
    if not isinstance(content, Mapping) or isinstance(content, Inert):
        return
    tensors = [value for value in content.values() if isinstance(value, Tensor)]
    others = [key for key, value in content.items() if not isinstance(value, Tensor)]
    if any(tensor.ndim for tensor in tensors) and all(str(key).endswith(EXTRA_STATE) for key in others):
        yield name, content
        return
    for key, value in content.items() if depth else ():
        if isinstance(key, str):
            yield from _walk(value, f"{name}.{key}" if name else key, depth - 1)


def _read_checkpoint(path: Path) -> object:
    try:
        with safe_globals([(Inert, name) for name in PLAIN_VALUES]), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "'torch.load' received a zip file that looks like a TorchScript")
            content: object = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported operand" in str(error):
            raise ClassifierError(str(path), "a PyTorch checkpoint", "something else", "the file is damaged") from error
        kind = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"pickled objects ({kind[1]}), which could run code" if kind else "pickled objects, which could run code"
        raise ClassifierError(str(path), "tensors only", what, CONVERSION) from error
    except Exception as error:  # torch raises nearly anything for what isn't whole
        if "TorchScript" in str(error):
            hint = "save its weights: torch.save(torch.jit.load(FILE).state_dict(), 'weights.pt')"
            raise ClassifierError(str(path), "weights", "a traced or scripted network", hint) from error
        reason = f"{type(error).__name__}: {error}".split("\n")[0]
        raise ClassifierError(str(path), "a whole PyTorch checkpoint", reason, "the file is damaged") from error
    return content
