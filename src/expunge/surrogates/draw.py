"""The surrogates of an edit: which kinds, how many of each."""

import warnings
from dataclasses import dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.base.errors import DataError, ExpungeWarning
from expunge.base.settings import Settings, setting
from expunge.compute.context import Context
from expunge.models.classifier import Classifier
from expunge.models.pixels import SMALL_IMAGE
from expunge.models.tails import enter
from expunge.surrogates.adversarial import make_adversarial_pool
from expunge.surrogates.attack import Attack
from expunge.surrogates.folder import are_among, load_surrogate_folder
from expunge.surrogates.inverted import Inversion, has_batchnorm, invert_classifier
from expunge.surrogates.mixes import draw_mixes
from expunge.surrogates.procedural import draw_leaves
from expunge.task.task import Effort, Task

MIXES = {Effort.QUICK: 1000, Effort.STANDARD: 2000, Effort.THOROUGH: 2000}
INVERTED = {Effort.QUICK: 0, Effort.STANDARD: 256, Effort.THOROUGH: 1536}
LEAVES = {Effort.QUICK: 512, Effort.STANDARD: 1536, Effort.THOROUGH: 1536}
"""Of images up to 64 x 64; leaves where nothing can be inverted, or nothing is."""
MIXES_OF_LARGE = {Effort.QUICK: 192, Effort.STANDARD: 256, Effort.THOROUGH: 384}
LEAVES_OF_LARGE = {Effort.QUICK: 64, Effort.STANDARD: 64, Effort.THOROUGH: 128}
RANGE_IN_DEVIATIONS = 4.0
"""How wide the range of what goes through a cut is taken to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SurrogateMix(Settings):
    """How many surrogates of each kind; a number that is left open follows from the image size and the classifier."""

    mixes: int | None = setting(
        None,
        "mixes of forget rows and inverted images; 1,000, 2,000 or 2,000 by effort, 192, 256 or 384 if large",
        at_least=0,
    )
    inverted: int | None = setting(
        None,
        "images inverted from BatchNorm statistics; 0, 256 or 1,536 by effort, 0 if large or without BatchNorm",
        at_least=0,
    )
    procedural: int | None = setting(
        None, "dead leaves, where none is inverted; 512, 1,536 or 1,536 by effort, 64, 64 or 128 if large", at_least=0
    )
    adversarial: int = setting(0, "adversarial examples of each forget row", at_least=0)
    folder: str | None = setting(None, "a folder of unlabelled images of your own")
    inversion: Inversion = field(default_factory=Inversion)
    attack: Attack = field(default_factory=lambda: Attack(radius=1.0, step_size=0.25, steps=20))

    def resolve(self, classifier: Classifier, pixels: int, effort: Effort = Effort.THOROUGH) -> "SurrogateMix":
        """Return these settings with the numbers that were left open chosen for images of so many pixels."""
        small = pixels <= SMALL_IMAGE
        inverted = INVERTED[effort] if small and has_batchnorm(classifier) else 0
        leaves = 0 if inverted else (LEAVES if small else LEAVES_OF_LARGE)[effort]
        return replace(
            self,
            mixes=_or(self.mixes, (MIXES if small else MIXES_OF_LARGE)[effort]),
            inverted=_or(self.inverted, inverted),
            procedural=_or(self.procedural, leaves),
        )


def draw_surrogates(
    classifier: Classifier, task: Task, mix: SurrogateMix, context: Context
) -> Float[Tensor, "n c h w"]:
    """Return the surrogates that are made, in random order, on the context's device; `load_own` has the user's.

    Mixes are drawn from the forget rows together with inverted images where there are any (twice as many as rows), so
    that few rows still make varied surrogates.

    Args:
        classifier: f0 on the context's device, in eval mode with frozen weights.
        task: the forget rows and the seed.
        mix: how many of each kind.
        context: counts gradient evaluations.
    """
    rows = task.forget_set.to(context.runtime.device)
    shape = (rows.x.shape[1], rows.x.shape[2], rows.x.shape[3])
    mix = mix.resolve(classifier, shape[1] * shape[2])
    inverted, leaves, count = mix.inverted or 0, mix.procedural or 0, mix.mixes or 0
    parts = [
        invert_classifier(classifier, inverted, shape, mix.inversion, context),
        draw_leaves(leaves, shape, classifier.bounds, task.generator("leaves")).to(rows.x),
    ]
    with context.phase("mix"):
        varied = torch.cat([rows.x, torch.cat(parts)[: 2 * len(rows)]])
        generator = task.generator("mixes")
        parts.append(draw_mixes(varied, count - count // 4, classifier.bounds, generator))
        parts.append(draw_mixes(rows.x, count // 4, classifier.bounds, generator))
    attack = replace(mix.attack, targets_per_row=mix.adversarial)
    pool = make_adversarial_pool(classifier, task, attack, context)
    parts.append(pool.x[torch.arange(len(pool.x))])
    surrogates = torch.cat(parts)
    order = torch.randperm(len(surrogates), generator=task.generator("probe order"))  # an older word; seeds hang on it
    return surrogates[order.to(surrogates.device)]


def load_own(classifier: Classifier, task: Task, mix: SurrogateMix, context: Context) -> Float[Tensor, "n c h w"]:
    """Return the user's own images in random order, on the classifier's device, but for the forgotten ones; or none.

    Args:
        classifier: f0, in eval mode with frozen weights.
        task: the forget rows, those that earlier edits forgot, and the seed.
        mix: has the folder.
        context: says how many images go through at a time.

    Raises:
        DataError: the folder has no images, one that can't be read, or none but the forgotten ones.

    Warns:
        ExpungeWarning: forgotten images are among them, as they are, mirrored or stored anew: they must not be held.
    """
    rows = task.forget_set.x.to(classifier.device)
    if mix.folder is None:
        return rows[:0]
    own = load_surrogate_folder(mix.folder, (rows.shape[1], rows.shape[2], rows.shape[3]), classifier.bounds).to(rows)
    forgotten = torch.zeros(len(own), dtype=torch.bool, device=own.device)
    for x in (own, own.flip(-1)):
        forgotten |= are_among(x, rows, classifier.bounds.width)
        if task.earlier is not None and task.earlier.rows is not None:
            earlier = task.earlier.rows.x.to(own.device)
            entered = enter(classifier, task.earlier.cut, x, context.sharing)
            width = classifier.bounds.width if task.earlier.cut is None else RANGE_IN_DEVIATIONS * float(earlier.std())
            forgotten |= are_among(entered, earlier, width)
    if forgotten.all():
        raise DataError(mix.folder, "images other than those to forget", "none")
    if forgotten.any():
        left_out = f"{int(forgotten.sum())} of {len(own)} images left out: they are to be forgotten"
        warnings.warn(f"{mix.folder}: {left_out}", ExpungeWarning, stacklevel=2)
    own = own[~forgotten]
    return own[torch.randperm(len(own), generator=task.generator("own images")).to(own.device)]


def _or(given: int | None, otherwise: int) -> int:
    return otherwise if given is None else given
