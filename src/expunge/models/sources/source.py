"""What the user says about a classifier, and what a model source finds."""

import ast
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor, nn

from expunge.base.errors import ClassifierError, ExpungeWarning
from expunge.data.preprocessing import AS_IS, Preprocessing
from expunge.models.known import Known
from expunge.models.pixels import Normalisation
from expunge.models.sources.checkpoint import read_weights
from expunge.models.sources.names import align

PRETRAINED: Literal["pretrained"] = "pretrained"
OTHER_FILES = ("checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay")
RESERVED_OPTIONS = ("num_classes", "pretrained", "weights", *OTHER_FILES)
"""What has a setting of its own, or would read other files of weights past the checks here."""

OptionValue = str | int | float | bool | None | tuple[object, ...] | list[object] | dict[object, object]


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Which classifier to load.

    Args:
        architecture: timm:NAME, timm:hf-hub:OWNER/NAME, timm:local-dir:FOLDER, torchvision:NAME,
            transformers:NAME-or-folder, cifar:NAME or package.module:function.
            timm and torchvision take keyword arguments of the model as in timm:mobilenetv2_100?pad_type=same.
        weights: a .safetensors file, the index of shards, or a .pt/.pth checkpoint; "pretrained" for the library's
            own weights, which it may download; None for a random network, or for what transformers or the function
            bring along.
        num_classes: None for what the weights say.
        weights_key: which of several states in the file; None for the network as it was trained.
        normalisation: what the network wants done to pixels in 0..1; None for the library's values.
        class_names: names in order of the labels; empty for the library's, or none.

    Raises:
        ClassifierError: fewer than two classes.
    """

    architecture: str
    weights: Path | Literal["pretrained"] | None = None
    num_classes: int | None = None
    normalisation: Normalisation | None = None
    class_names: tuple[str, ...] = ()
    weights_key: str | None = None

    def __post_init__(self) -> None:
        if self.num_classes is not None and self.num_classes < 2:
            raise ClassifierError("num_classes", "at least 2", str(self.num_classes))

    def read_weights(self, network: nn.Module) -> dict[str, Tensor]:
        """Return the tensors in the file of weights under the names that `network` gives them; see `align`.

        Raises:
            ClassifierError: see `checkpoint.read_weights`.
        """
        path = self.weights
        assert isinstance(path, Path)  # noqa: S101 - the caller saw to it
        return align(read_weights(path, self.weights_key), network.state_dict().keys(), place=str(path))


@dataclass(frozen=True, slots=True)
class Architecture:
    """A model's name and the keyword arguments after its question mark."""

    name: str
    options: Mapping[str, OptionValue]

    def refuse_options(self, prefix: str) -> None:
        """Check that there are no keyword arguments.

        Raises:
            ClassifierError: there are some, and `prefix` takes none.
        """
        if self.options:
            raise ClassifierError(
                f"{prefix}:{self.name}",
                "no options",
                "?" + "&".join(self.options),
                "only timm: and torchvision: have them",
            )


@dataclass(frozen=True, slots=True)
class FoundModel:
    """A network with its weights, and what its library knows about it; None and () for what it doesn't."""

    network: nn.Module
    num_classes: int
    preprocessing: Preprocessing = AS_IS
    normalisation: Normalisation | None = None
    class_names: tuple[str, ...] = ()

    @classmethod
    def with_known(cls, network: nn.Module, known: Known) -> "FoundModel":
        """Return `network` with what its library knows about it."""
        return cls(network, known.num_classes, known.preprocessing, known.normalisation, known.class_names)


def parse_architecture(text: str) -> Architecture:
    """Return the name and the options of NAME or NAME?key=value&key=value.

    Values are Python literals (`3`, `0.1`, `True`, `(7, 7)`), or else strings.

    Raises:
        ClassifierError: no name, an option that is not key=value or stands twice, or one that has a setting of its own.

    >>> parse_architecture("mobilenetv2_100?pad_type=same&drop_rate=0.1")
    Architecture(name='mobilenetv2_100', options={'pad_type': 'same', 'drop_rate': 0.1})
    """
    name, _, query = text.partition("?")
    if not name:
        raise ClassifierError("architecture", "a name after the colon", "none")
    options: dict[str, OptionValue] = {}
    for part in query.split("&") if query else ():
        key, equals, value = part.partition("=")
        if not key.isidentifier() or not equals:
            raise ClassifierError(f"options of {name}", "key=value, joined by &", part or "nothing")
        if key in RESERVED_OPTIONS or key in options:
            rule = "each option once" if key in options else "the weights and the class count as settings of their own"
            raise ClassifierError(f"options of {name}", rule, part)
        options[key] = _literal_or_text(value)
    return Architecture(name, options)


def warn_random(architecture: str) -> None:
    """Warn that `architecture` was made without weights: there is nothing in it to forget."""
    warnings.warn(
        f"{architecture} has random weights: pass --weights FILE for a trained classifier", ExpungeWarning, stacklevel=3
    )


def _literal_or_text(text: str) -> OptionValue:
    try:
        value: OptionValue = ast.literal_eval(text)
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text
    return value
