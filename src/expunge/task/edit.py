"""The result of an edit, and the folder it is saved to."""

import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tomli_w
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from expunge._version import __version__
from expunge.base.cells import csv_text, escape_cell
from expunge.base.disk import replacing, sha256_file, write_json, write_text
from expunge.base.errors import OutputError
from expunge.base.folders import output_folder
from expunge.base.tensors import write_tensors
from expunge.compute.callbacks import TracePoint
from expunge.compute.context import Cost
from expunge.compute.sharing import Sharing
from expunge.data.preprocessing import Preprocessing
from expunge.models.classifier import Classifier
from expunge.models.description import WEIGHTS_FILE, Description
from expunge.task.card import leave_own_page, write_card
from expunge.task.evaluation import (
    Predictions,
    RobustGoal,
    churn,
    compute_logits,
    measure_robust_goal,
    right_after,
    to_predictions,
)
from expunge.task.expected import ExpectedCost
from expunge.task.goals import true_labels
from expunge.task.outcome import Health, choose_part, judge, say_health, say_outcome
from expunge.task.saved import (
    RESULT_FILE,
    SavedEdit,
    earlier_library_files,
    push_to_hub,
    read_edit,
    write_companions,
)
from expunge.task.showing import show_edit
from expunge.task.task import StopReason, Strength, Task
from expunge.task.words import RELABEL, goal_words, part_words

RESULT_SCHEMA_VERSION = 1
JOB_FILE, PREDICTIONS_FILE, PATCH_FILE = "job.toml", "predictions.csv", "patch.safetensors"
PREDICTION_COLUMNS = (
    "id",
    "label",
    "new_label",
    "predicted_before",
    "confidence_before",
    "predicted_after",
    "confidence_after",
    "goal_met",
    "goal",
)


@dataclass(frozen=True, slots=True)
class Measured:
    """Predictions before and after an edit on one set of images."""

    before: Predictions
    after: Predictions


@dataclass(frozen=True, slots=True)
class About:
    """What a result says beyond the edit itself.

    Args:
        forgotten_class: name of the class that is forgotten as a whole; empty if rows are.
        reference: under which the request is filed; empty for none.
        finished: when, ISO 8601 in UTC; empty if it is not to be told.
        chosen: what was chosen for the caller: size, crop, mean, std and so on.
    """

    forgotten_class: str = ""
    reference: str = ""
    finished: str = ""
    chosen: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, repr=False)
class Edit:
    """An edited classifier and how it came about.

    Args:
        task: what was asked, with the classifier as it was.
        classifier: the edited classifier.
        method: name of the method.
        settings: its hyper-parameters, as plain nested values.
        stop_reason: why it ended; on anything but GOAL_REACHED, `classifier` is the best state that was seen.
        steps: number of steps taken.
        trace: one point a step.
        cost: seconds, gradient evaluations, memory.
        achieved: (k,) for which rows the goal holds, in eval mode.
        expected: what it should cost on other images, where the method tells.
    """

    task: Task
    classifier: Classifier
    method: str
    settings: Mapping[str, Any]
    stop_reason: StopReason
    steps: int
    trace: tuple[TracePoint, ...]
    cost: Cost
    achieved: Bool[Tensor, " k"]
    expected: ExpectedCost | None = None

    def __repr__(self) -> str:
        """Return what came out in a line."""
        rows = len(self.achieved)
        held = f"{int(self.achieved.sum())} of {rows} images"
        return f"Edit({self.method}, {self.task.goal.name}: {held}, {self.stop_reason.value} after {self.steps} steps)"

    def _repr_html_(self) -> str:
        """Return what notebooks show: the answers before and after, image by image."""
        return show_edit(self)

    @property
    def goal_achieved(self) -> float:
        """Return the share of rows for which the goal holds on the very pixels given, 0..1."""
        return self.achieved.double().mean().item()

    def measure_robust_goal(self, at_once: Sharing | int = 256) -> RobustGoal:
        """Return how well the goal holds on fresh transformed copies of the rows; the same each time.

        So many images go through at once (see `compute_logits`).
        """
        task = self.task
        return measure_robust_goal(
            self.classifier,
            task.forget_set.x,
            task.labels,
            task.goal,
            generator=task.generator("robust goal"),
            transforms=task.transforms,
            at_once=at_once,
        )

    def predict_forget_set(self) -> Measured:
        """Return the predictions on the forget set before and after, beside the labels that the goal speaks of."""
        rows = self.task.forget_set
        before, after = (
            to_predictions(compute_logits(classifier, rows.x, self.cost.batch_size or 256), self.task.labels)
            for classifier in (self.task.classifier, self.classifier)
        )
        return Measured(before, after)

    @property
    def used(self) -> tuple[str, ...]:
        """Return the parts of the data that the edit saw."""
        return ("forget",) if self.task.retain is None else ("forget", "retain")

    def find_health(self, measured: Mapping[str, Measured]) -> Health | None:
        """Return whether the classifier is still of use: from test images, retain images or surrogates, if any."""
        part = choose_part(tuple(measured), self.used)
        if part is None:
            return None if self.expected is None else self.expected.health
        before, after = measured[part].before, measured[part].after
        answers = before.predicted.numpy(), after.predicted.numpy()
        classes = self.task.classifier.num_classes
        return Health.of(part, *answers, classes=classes, labels=before.labels.numpy())

    def save(  # noqa: PLR0913 - what is known of an edit already, all of it optional
        self,
        folder: str | Path,
        *,
        job: Mapping[str, Any] | None = None,
        measured: Mapping[str, Measured] | None = None,
        robust: RobustGoal | None = None,
        about: About = About(),
        preprocessing: Preprocessing | None = None,
        overwrite: bool = False,
        unmeasured: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Write the edited weights, the patch, predictions, job and result, and return the result.

        Beside the weights stand a model card and the configuration with which `Edit.load`, and timm's or
        transformers' own loader, take the folder. All files are written before one of an earlier edit is replaced.
        `result.json` is removed first and takes its name last, with the hashes of what was to be written to the others
        but the card: a folder that has one is complete. Equal edits give equal bytes, but for the seconds in
        `result.json`.

        Args:
            folder: where to; made if missing, and locked meanwhile.
            job: what was asked, as plain nested values; default: method, goal and seed.
            measured: predictions on other images by name ("retain", "test").
            robust: what `measure_robust_goal` gave, if it was called before.
            about: what else the result is to say.
            preprocessing: what is done to a photograph before the classifier sees it, for those who load it.
            overwrite: replace what an earlier run left in the folder.
            unmeasured: names of images that `save_measured` is to add.

        Raises:
            OutputError: the folder is not empty or in use, a file can't be written, or the edit has added layers.
        """
        folder = Path(folder)
        patch = self.compute_patch()
        forget = self.predict_forget_set()
        robust = robust or self.measure_robust_goal(self.cost.batch_size or 256)
        result = self._to_result({"forget": forget, **(measured or {})}, robust, about)
        if unmeasured:
            result["unmeasured"] = list(unmeasured)
        asked = dict(job or self._to_job())
        hashes = {"weights_sha256": self.classifier.sha256(), "base_sha256": self.task.classifier.sha256()}
        header, weights = {"format": "pt", **hashes}, self.classifier.network.state_dict()
        with (
            output_folder(folder, overwrite=overwrite, result=RESULT_FILE),
            replacing(folder, last=RESULT_FILE, gone=earlier_library_files(folder)) as stage,
        ):
            files = {
                WEIGHTS_FILE: write_tensors(stage / WEIGHTS_FILE, weights, header),
                PATCH_FILE: write_tensors(stage / PATCH_FILE, patch, header),
                PREDICTIONS_FILE: write_text(stage / PREDICTIONS_FILE, self._to_table(forget)),
                JOB_FILE: write_text(stage / JOB_FILE, tomli_w.dumps(asked)),
            }
            companions = write_companions(self.classifier, self._describe(preprocessing, asked), result, stage)
            leave_own_page(folder, stage)
            result["files"] = files | {name: sha256_file(stage / name) for name in companions}
            write_json(stage / RESULT_FILE, result)
        return result

    def save_measured(
        self,
        folder: Path,
        result: Mapping[str, Any],
        measured: Mapping[str, Measured],
        *,
        job: Mapping[str, Any] | None = None,
        preprocessing: Preprocessing | None = None,
    ) -> dict[str, Any]:
        """Write card and result, which `save` returned, again with predictions on other images; return the result.

        Raises:
            OutputError: one can't be written; the one before is whole.
        """
        added = self._to_measures(measured)
        whole = {name: {**value, **added[name]} if name in added else value for name, value in result.items()}
        whole |= self._judge(measured, result["goal_achieved_robust"], result["forgotten_class"])
        whole["measured_only"] = self._measured_only([*result["before"], *measured])
        whole.pop("unmeasured", None)
        write_card(self.classifier, self._describe(preprocessing, job), whole, folder)
        write_json(folder / RESULT_FILE, whole)
        return whole

    @staticmethod
    def load(folder: str | Path, network: nn.Module | None = None, *, allow_code: bool = False) -> SavedEdit:
        """Return what a folder tells of an edit: the edited classifier and the result; see `read_edit`."""
        return read_edit(folder, network, allow_code=allow_code)

    def push_to_hub(self, repo: str, *, preprocessing: Preprocessing | None = None, private: bool = True) -> str:
        """Upload the edited classifier with its card to the Hugging Face hub and return the commit's address.

        Args:
            repo: name or owner/name; made if it isn't there.
            preprocessing: what is done to a photograph before.
            private: whether a new repository is seen by its owner alone.

        Raises:
            ExpungeError: huggingface_hub isn't installed, the files don't load to the same answers, or the hub refuses.
        """
        result = self._to_result({"forget": self.predict_forget_set()}, self.measure_robust_goal(), About())
        return push_to_hub(self.classifier, self._describe(preprocessing), result, repo, private=private)

    def compute_patch(self) -> dict[str, Tensor]:
        """Return after - before for every tensor that changed (integers as their new value).

        Raises:
            OutputError: the method has added layers, and the given classifier has no place for their weights.
        """
        before, after = self.task.classifier.network.state_dict(), self.classifier.network.state_dict()
        added = sorted(after.keys() - before.keys())
        if added:
            raise OutputError("patch", "the given classifier's own tensors", f"others, too: {', '.join(added)}")
        changed = {name: tensor for name, tensor in after.items() if not torch.equal(tensor, before[name])}
        return {
            name: tensor - before[name] if tensor.is_floating_point() else tensor for name, tensor in changed.items()
        }

    def _describe(self, preprocessing: Preprocessing | None, job: Mapping[str, Any] | None = None) -> Description:
        channels, height, width = self.task.forget_set.x.shape[1:]
        architecture = (job or {}).get("model", {}).get("architecture")
        return Description((channels, height, width), preprocessing, architecture)

    def _to_job(self) -> dict[str, Any]:
        return {
            "method": self.method,
            "goal": self.task.goal.name,
            "strength": self.task.strength.value,
            "seed": self.task.seed,
            "settings": dict(self.settings),
        }

    def _to_result(self, measured: Mapping[str, Measured], robust: RobustGoal, about: About) -> dict[str, Any]:
        shares = {name: value for name, value in asdict(robust).items() if name != "by_row"}
        return {
            "schema_version": RESULT_SCHEMA_VERSION,
            **self._judge(measured, robust.share, about.forgotten_class),
            "method": self.method,
            "goal": self.task.goal.name,
            "forgotten_class": about.forgotten_class,
            "reference": about.reference,
            "finished": about.finished,
            "strength": self.task.strength.value,
            "goal_achieved": self.goal_achieved,
            "goal_achieved_robust": robust.share,
            "robust": {**shares, "worst_kind": robust.worst_kind},
            "stop_reason": self.stop_reason.value,
            "steps": self.steps,
            **self._to_measures(measured),
            "measured_only": self._measured_only(measured),
            "retain_used": self.task.retain is not None,
            "expected": None if self.expected is None else self.expected.to_json(),
            "cost": asdict(self.cost),
            "settings": dict(self.settings),
            "chosen": dict(about.chosen),
            "seed": self.task.seed,
            "versions": {"expunge": __version__, "torch": torch.__version__, "python": platform.python_version()},
            "device": str(self.classifier.device),
            "inputs": {
                "weights_sha256": self.task.classifier.sha256(),
                "forget_sha256": self.task.forget_set.sha256(),
            },
            "trace": [asdict(point) for point in self.trace],
        }

    def _judge(self, measured: Mapping[str, Measured], copies: float, forgotten_class: str) -> dict[str, Any]:
        """Return what became of the edit, in a word and in sentences, and what that follows from."""
        goal, health = self.task.goal.name, self.find_health(measured)
        reached = self.stop_reason is StopReason.GOAL_REACHED
        outcome = judge(reached, health, interrupted=self.stop_reason is StopReason.INTERRUPTED)
        words = goal_words(goal, forgotten_class)
        names = {part: part_words(part, goal, forgotten_class) for part in measured}
        asked = self.task.strength is Strength.ROBUST and not reached
        said = say_outcome(words, self.goal_achieved, len(self.task.forget_set), copies=copies if asked else None)
        return {
            "outcome": outcome.value,
            "verdict": [said, *say_health(health, names)],
            "health": None if health is None else health.to_json(),
        }

    def _to_measures(self, measured: Mapping[str, Measured]) -> dict[str, dict[str, Any]]:
        return {
            "before": {name: _figures(each.before) for name, each in measured.items()},
            "after": {name: _changes(each) for name, each in measured.items()},
        }

    def _measured_only(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if name not in self.used]

    def _to_table(self, forget: Measured) -> str:
        lines: list[list[object]] = [list(PREDICTION_COLUMNS)]
        new_labels, labels = self._new_labels(), true_labels(self.task.goal, self.task.forget_set).tolist()
        for row, name in enumerate(self.task.forget_set.ids):
            before, after = forget.before, forget.after
            lines.append(
                [
                    escape_cell(name),
                    labels[row],
                    new_labels[row],
                    int(before.predicted[row]),
                    f"{before.confidence[row].item():.6f}",
                    int(after.predicted[row]),
                    f"{after.confidence[row].item():.6f}",
                    "yes" if self.achieved[row] else "no",
                    self.task.goal.name,
                ]
            )
        return csv_text(lines)

    def _new_labels(self) -> list[int | str]:
        if self.task.goal.name == RELABEL:
            return [int(label) for label in self.task.labels]
        return [""] * len(self.task.forget_set)


def _figures(predictions: Predictions) -> dict[str, float | int]:
    return {"accuracy": predictions.accuracy, "n": len(predictions.labels)}


def _changes(measured: Measured) -> dict[str, float | int | None]:
    before, after = measured.before, measured.after
    return {
        **_figures(after),
        "churn": churn(before, after),
        "right_kept": right_after(before, after, right_before=True),
        "wrong_righted": right_after(before, after, right_before=False),
    }
