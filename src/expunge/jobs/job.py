"""What commands are told, as TOML files hold it: parts that several have in common, and the job of `expunge run`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from expunge.audit.record import Level
from expunge.base.errors import SettingsError
from expunge.base.settings import check_settings, setting
from expunge.compute.exactness import Float32
from expunge.compute.runtime import Progress, Runtime
from expunge.data.sources.table import names_own_function
from expunge.methods.table import DEFAULT_METHOD
from expunge.models.sources.load import names_code
from expunge.task.task import Strength
from expunge.task.transforms import TRANSFORMS


class GoalChoice(StrEnum):
    """What the forget set is to do."""

    AUTO = "auto"
    """Relabel if the table has new labels, otherwise misclassify."""
    MISCLASSIFY = "misclassify"
    RELABEL = "relabel"
    CORRECT = "correct"
    """Answer with the label in the data where the classifier is wrong now."""
    UNSEEN = "unseen"
    """Be as uncertain, and as often wrong, as a classifier that had never seen the images."""


DEMO_NETWORK = "expunge.jobs.demo:DigitNet"
"""The one function that a file may name, since it is this package's own."""


def refuse_code(values: Mapping[str, Any], place: str) -> None:
    """Refuse settings from a file that name a function of somebody's code, which would be run.

    Args:
        values: nested values as a job.toml has them.
        place: the file, for the message.

    Raises:
        SettingsError: the classifier, the source of images or a transform is such a function.
    """
    model, data, transforms = values.get("model"), values.get("data"), values.get("transforms", [])
    architecture = model.get("architecture") if isinstance(model, Mapping) else None
    source = data.get("source") if isinstance(data, Mapping) else None
    names = transforms.split(",") if isinstance(transforms, str) else []
    names += transforms if isinstance(transforms, list) else []
    code = [name for name in names if isinstance(name, str) and ":" in name]
    code += [str(architecture)] if names_code(architecture) and architecture != DEMO_NETWORK else []
    code += [str(source)] if names_own_function(source) else []
    if code:
        raise SettingsError(
            place, "a file that names no code", f"{code[0]}, which would be run", "if you trust it, say --allow-code"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPart:
    """Which classifier."""

    architecture: str = setting(
        "", "timm:NAME, torchvision:NAME, transformers:NAME, cifar:NAME or package.module:function"
    )
    weights: str | None = setting(None, "safetensors or weights_only checkpoint; or `pretrained`")
    weights_key: str | None = setting(None, "which state, where a checkpoint holds several, such as model_ema")
    classes: tuple[str, ...] | None = setting(
        None, "class names in order of their labels, or one file with a name a line; default: the library's"
    )
    num_classes: int | None = setting(None, "number of classes, where the weights don't say", at_least=2)
    mean: tuple[float, ...] | None = setting(None, "what is subtracted from pixels in 0..1, one value or one a channel")
    std: tuple[float, ...] | None = setting(None, "what pixels are then divided by")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPart:
    """Which images; the forget set comes from the training part."""

    source: str = setting("", "KIND:PLACE, such as npz:FILE or imagenet:ROOT; see docs/data.md")
    table: str | None = setting(None, "CSV table of a folder: path, label, optional id and new_label")
    resize: int | None = setting(None, "pixels of the shorter side, in place of the classifier's own", at_least=1)
    crop: int | None = setting(None, "pixels of the centre square, in place of the classifier's own", at_least=1)
    retain_rows: int = setting(5000, "retain images to measure on, drawn at random; 0 for none", at_least=0)
    test_rows: int = setting(10_000, "test images to measure on, drawn at random; 0 for none", at_least=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetPart:
    """Which images to forget; exactly one of the four."""

    table: str | None = setting(None, "CSV with a column id or path, and optionally new_label")
    indices: str | None = setting(
        None, "numbers and ranges of images of the training part, from 0, such as 3,17,40-45", formerly="rows"
    )
    random: int | None = setting(None, "that many images drawn at random with the seed", at_least=1)
    class_name: str | None = setting(None, "all training images of the class of this name or number")


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditPart:
    """What is looked at beyond the result's own figures."""

    level: Level = setting(Level.NONE, "none; quick: answers, copies, weights; full: all that the data allow")
    images: bool = setting(True, "whether the forgotten images become part of the audit")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything that `expunge run` is told, as a job.toml holds it."""

    model: ModelPart = field(default_factory=ModelPart)
    data: DataPart = field(default_factory=DataPart)
    forget: ForgetPart = field(default_factory=ForgetPart)
    audit: AuditPart = field(default_factory=AuditPart)
    goal: GoalChoice = setting(GoalChoice.AUTO, "what the forget set is to do")
    method: str = setting(DEFAULT_METHOD, "see `expunge methods`")
    settings: Mapping[str, Any] = field(default_factory=dict, metadata={"meaning": "the method's settings"})
    reference: str = setting("", "under which the request is filed; it stands in result and report")
    seed: int = setting(0, "source of all randomness", at_least=0)
    max_steps: int | None = setting(None, "give up after that many steps; default: the method's own limit", at_least=1)
    max_seconds: float | None = setting(None, "give up after that many seconds", above=0)
    minimum_right: float = setting(
        0.5, "share of the forget set that the classifier must predict as labelled", at_least=0, at_most=1
    )
    strength: Strength | None = setting(
        None, "exact, or robust to transformed copies; default: the method's own; exact with goal unseen"
    )
    transforms: tuple[str, ...] = setting(
        tuple(TRANSFORMS), "what copies go through, alone and in pairs; or functions package.module:function"
    )
    log: tuple[str, ...] = setting((), "who is told of every step: tensorboard:FOLDER, wandb, mlflow")
    device: str = setting("auto", "cpu, cuda, cuda:1, mps, or auto")
    batch_size: int = setting(256, "images in one pass", at_least=1)
    float32: Float32 = setting(Float32.TF32, "what float32 means on a GPU: ieee, or tf32 in passes with gradients")
    deterministic: bool = setting(False, "same seed, same bits on a GPU, too, or an error")
    devices: int = setting(1, "processes on each machine, each with a device of its own", at_least=1)
    nodes: int = setting(1, "machines; start with torchrun on more than one", at_least=1)
    memory_gigabytes: float | None = setting(
        None, "memory for activations and adversarial examples; batches are made to fit", above=0
    )

    def __post_init__(self) -> None:
        for part in (self.model, self.data, self.forget, self.audit, self):
            check_settings(part)
        for name, value in (("model", self.model.architecture), ("data", self.data.source)):
            if not value:
                raise SettingsError(name, "a source", "none", f"say --{name} KIND:NAME")
        forget = self.forget
        choices = (forget.table, forget.indices, forget.random, forget.class_name)
        given = sum(value is not None for value in choices)
        if given != 1:
            wanted = "one of --forget, --forget-indices, --forget-random and --forget-class"
            raise SettingsError("forget", wanted, f"{given} of them")
        if forget.class_name is not None and self.goal not in (GoalChoice.AUTO, GoalChoice.MISCLASSIFY):
            raise SettingsError("goal", "misclassify with --forget-class", self.goal.value)


class Placed(Protocol):
    """A job that says where and how it is computed."""

    @property
    def device(self) -> str: ...  # noqa: D102
    @property
    def batch_size(self) -> int: ...  # noqa: D102
    @property
    def float32(self) -> Float32: ...  # noqa: D102
    @property
    def deterministic(self) -> bool: ...  # noqa: D102


def make_runtime(job: Placed, progress: Progress) -> Runtime:
    """Return the runtime that a job asks for.

    Raises:
        SettingsError: this machine has no such device.
    """
    return Runtime.on(
        job.device,
        batch_size=job.batch_size,
        progress=progress,
        float32=job.float32,
        deterministic=job.deterministic,
    )
