"""The result of an edit, and the folder it is saved to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
import torch
from jaxtyping import Bool
from torch import Tensor, nn

from expunge.base.disk import replacing, sha256_file, write_json, write_text
from expunge.base.errors import OutputError
from expunge.base.folders import output_folder
from expunge.base.tensors import write_tensors
from expunge.compute.callbacks import TracePoint
from expunge.compute.context import Cost
from expunge.compute.runtime import Advance, silently
from expunge.compute.sharing import Sharing
from expunge.data.preprocessing import Preprocessing
from expunge.models.classifier import Classifier
from expunge.models.description import WEIGHTS_FILE, Description
from expunge.task.card import leave_own_page, write_card
from expunge.task.evaluation import (
    RobustGoal,
    compute_logits,
    measure_robust_goal,
    to_predictions,
)
from expunge.task.expected import ExpectedCost
from expunge.task.outcome import Health, choose_part
from expunge.task.result import (
    COPIES,
    NOTHING_MORE,
    About,
    Measured,
    judge_edit,
    measured_only,
    to_copies,
    to_measures,
    to_result,
    to_table,
)
from expunge.task.saved import (
    RESULT_FILE,
    SavedEdit,
    earlier_library_files,
    push_to_hub,
    read_edit,
    write_companions,
)
from expunge.task.showing import show_edit
from expunge.task.task import StopReason, Task

JOB_FILE, PREDICTIONS_FILE, PATCH_FILE = "job.toml", "predictions.csv", "patch.safetensors"


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

    def measure_robust_goal(self, at_once: Sharing | int = 256, advance: Advance = silently) -> RobustGoal:
        """Return how well the goal holds on fresh transformed copies of the rows; the same each time.

        So many images go through at once (see `compute_logits`); `advance` is called with 1 after each copy of all.
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
            before=task.classifier,
            allowed=task.allowed,
            advance=advance,
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
        about: About = NOTHING_MORE,
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
            unmeasured: what `save_measured` is to add: names of images, "copies".

        Raises:
            OutputError: the folder is not empty or in use, a file can't be written, or the edit has added layers.
        """
        folder = Path(folder)
        patch = self.compute_patch()
        forget = self.predict_forget_set()
        if robust is None and COPIES not in unmeasured:
            robust = self.measure_robust_goal(self.cost.batch_size or 256)
        result = to_result(self, {"forget": forget, **(measured or {})}, robust, about)
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
                PREDICTIONS_FILE: write_text(stage / PREDICTIONS_FILE, to_table(self, forget)),
                JOB_FILE: write_text(stage / JOB_FILE, tomli_w.dumps(asked)),
            }
            companions = write_companions(self.classifier, self._describe(preprocessing, asked), result, stage)
            leave_own_page(folder, stage)
            result["files"] = files | {name: sha256_file(stage / name) for name in companions}
            write_json(stage / RESULT_FILE, result)
        return result

    def save_measured(  # noqa: PLR0913 - what was measured since, and what `save` was given
        self,
        folder: Path,
        result: Mapping[str, Any],
        measured: Mapping[str, Measured],
        *,
        robust: RobustGoal | None = None,
        job: Mapping[str, Any] | None = None,
        preprocessing: Preprocessing | None = None,
        unmeasured: Sequence[str] = (),
    ) -> dict[str, Any]:
        """Write card and result, which `save` returned, again with what was measured since; return the result.

        `unmeasured` is what is to follow.

        Raises:
            OutputError: one can't be written; the one before is whole.
        """
        added = to_measures(measured)
        whole: dict[str, Any] = {
            name: {**value, **added[name]} if name in added else value for name, value in result.items()
        }
        whole |= {} if robust is None else to_copies(robust)
        whole |= judge_edit(
            self,
            measured,
            copies=whole["goal_achieved_robust"],
            unchanged=result["unchanged"],
            forgotten_class=result["forgotten_class"],
        )
        whole["measured_only"] = measured_only(self, [*result["before"], *measured])
        whole.pop("unmeasured", None)
        whole |= {"unmeasured": list(unmeasured)} if unmeasured else {}
        write_card(self.classifier, self._describe(preprocessing, job), whole, folder)
        write_json(folder / RESULT_FILE, whole)
        return whole

    @staticmethod
    def load(folder: str | Path, network: nn.Module | None = None, *, allow_code: bool = False) -> SavedEdit:
        """Return what a folder tells of an edit: the edited classifier and the result; see `read_edit`."""
        return read_edit(folder, network, allow_code=allow_code)

    def push_to_hub(
        self, repo: str, *, preprocessing: Preprocessing | None = None, private: bool = True, create_pr: bool = False
    ) -> str:
        """Upload the edited classifier with its card to the Hugging Face hub; return the address of what was made.

        Args:
            repo: name or owner/name; made if it isn't there.
            preprocessing: what is done to a photograph before.
            private: whether a new repository is seen by its owner alone.
            create_pr: whether the files are proposed by a pull request; otherwise they are committed.

        Raises:
            ExpungeError: huggingface_hub isn't installed, the files don't load to the same answers, or the hub refuses.
        """
        result = to_result(self, {"forget": self.predict_forget_set()}, self.measure_robust_goal(), NOTHING_MORE)
        described = self.classifier, self._describe(preprocessing), result
        return push_to_hub(*described, repo, private=private, create_pr=create_pr)

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
