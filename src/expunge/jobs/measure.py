"""What both classifiers answer on images that are only measured on; those that can't be read are left out."""

import warnings
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from expunge.base.errors import ExpungeWarning, ProcessError
from expunge.compute.processes import ALONE
from expunge.compute.runtime import Runtime
from expunge.compute.sharing import Sharing
from expunge.data.images import Images, Subset
from expunge.data.tolerant import TolerantImages, find_faults, say_faults, without_faults
from expunge.task.edit import Edit
from expunge.task.evaluation import predict_each, to_predictions
from expunge.task.result import Measured


@dataclass(frozen=True, slots=True)
class Answers:
    """What both classifiers answer on `images`, those that could be read, and notes on the others.

    Args:
        images: n images.
        before: (n, classes) logits of the classifier as it was.
        after: the same of the edited one.
        notes: what was left out.
    """

    images: Images
    before: Tensor
    after: Tensor
    notes: tuple[str, ...]

    def measured(self) -> Measured:
        """Return the predictions."""
        labels = self.images.labels
        return Measured(to_predictions(self.before, labels), to_predictions(self.after, labels))


def answer(name: str, images: Images, edit: Edit, runtime: Runtime) -> Answers:
    """Return what the classifiers before and after `edit` answer on `images`, called `name`.

    Raises:
        ProcessError: another process is gone, and this one isn't the first.

    Warns:
        ExpungeWarning: another process is gone; this one, which is the first, asks them all.
    """
    try:
        return _answer(name, images, edit, runtime)
    except ProcessError as error:
        if not runtime.leads:
            raise
        warnings.warn(f"{error}; going on alone", ExpungeWarning, stacklevel=2)
        return _answer(name, images, edit, replace(runtime, processes=ALONE))


def _answer(name: str, images: Images, edit: Edit, runtime: Runtime) -> Answers:
    tolerant = TolerantImages(images, _shape_of(edit.task.forget_set.x))
    before, after = _compute_logits(edit, tolerant, runtime, name)
    faulty = torch.zeros(len(images.labels), dtype=torch.int64, device=runtime.device)
    faulty[list(tolerant.faults)] = 1
    runtime.processes.sum([faulty])
    good = (faulty == 0).cpu()
    faults = (~good).nonzero().flatten().tolist()
    for row in set(faults) - set(tolerant.faults):
        tolerant.load([row])  # another process found it, and this one is to say what is wrong with it, too
    kept = without_faults(tolerant, faults) if faults else images
    return Answers(kept, before[good], after[good], say_faults(name, tolerant))


def readable(name: str, images: Images, like: Tensor, batch_size: int) -> tuple[Images, tuple[str, ...]]:
    """Return the images, without those that can't be read or are of another shape than `like`, and notes on these."""
    tolerant = TolerantImages(images, _shape_of(like))
    find_faults(tolerant, batch_size)
    return (without_faults(tolerant, list(tolerant.faults)) if tolerant.faults else images), say_faults(name, tolerant)


def _shape_of(x: Tensor) -> tuple[int, int, int]:
    channels, height, width = x.shape[1:]
    return channels, height, width


def _compute_logits(edit: Edit, images: Images, runtime: Runtime, name: str) -> list[Tensor]:
    """Return the logits of `images` before and after the edit, each process's share of them put together."""

    def compute_part(part: slice) -> list[Tensor]:
        own = images if part == slice(0, count) else Subset(images, range(part.start, part.stop))
        both = predict_each((edit.task.classifier, edit.classifier), own, runtime, name=name)
        return [logits.to(runtime.device) for logits in both]

    count = len(images.labels)
    return [logits.cpu() for logits in Sharing(max(1, count), runtime.processes).map_concat(count, compute_part)]
