"""What commands are told, as TOML files hold it: parts that several have in common, and the job of `expunge run`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from expunge.audit.record import Level
from expunge.base.errors import SettingsError
from expunge.base.settings import check_settings, setting
from expunge.methods.unlearn import DEFAULT_METHOD
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


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPart:
    """Which classifier."""

    architecture: str = setting(
        "", "timm:NAME, torchvision:NAME, transformers:NAME, cifar:NAME or package.module:function"
    )
    weights: str | None = setting(None, "safetensors or weights_only checkpoint; or `pretrained`")
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
    strength: Strength | None = setting(None, "exact, or robust to transformed copies; default: the method's own")
    transforms: tuple[str, ...] = setting(
        tuple(TRANSFORMS), "what copies go through, alone and in pairs; or functions package.module:function"
    )
    device: str = setting("auto", "cpu, cuda, cuda:1, mps, or auto")
    batch_size: int = setting(256, "images in one pass", at_least=1)
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
