"""IMU: gradient ascent on the last layer; images count the more, the more they influence the forgetting."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from expunge.base.settings import Settings, setting
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.data.images import Subset
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import Trainer, to_images, train_by
from expunge.methods.published.head import find_head
from expunge.models.classifier import Classifier
from expunge.models.modes import evaluating
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task
from expunge.training import Augmentation, Batch, Training
from expunge.training.augmentation import augment
from expunge.training.step import Pass, Terms

FISHER_DAMPING = 0.01
"""Added to the diagonal of the Fisher matrix before it is inverted (as released)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IMU(Settings):
    """SGD on -sum(w CE) / sum(w) + alpha ||head||_1, by the weights of the classifier's last layer (the head) alone.

    With g_i the gradient of row i's cross-entropy by the head before the edit, F the diagonal of the empirical Fisher
    matrix (the mean of g_i^2, plus 0.01) and g the mean of the g_i, a row's influence is I_i = -g_i F^-1 g. Rows of
    negative influence are kept, the strongest share of them is trained on, and w_i = sqrt(|I_i|), at most their
    quantile of 0.93. Fan, Wu, Zhou, Liang, Harandi and Phung 2025 (arXiv 2508.01620), as released for images: settings,
    crops and flips (also of the images that influences are computed from), BatchNorm in training mode, each batch sent
    through twice a step, so that running statistics move twice.

    Differs from the release: its influences of the first row use the mean gradient in place of the row's own, since
    both are one tensor there; the authors' code for sequences keeps them apart, and so does this. `strongest` is 1: the
    release's parser has 0.1, which of 16 rows trains on one, while its instructions speak of fewer as of an experiment.
    The paper's own values of `penalty`, rate and epochs for single rows are not in the release: those here are its
    parser's. Where all influences are 0, all rows count alike.
    """

    name: ClassVar[str] = "imu"
    summary: ClassVar[str] = "climb the rows' cross-entropy in the last layer, weighted by their influence"
    source: ClassVar[str] = "Fan et al., 2025, arXiv 2508.01620"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    penalty: float = setting(0.2, "weight of the L1 norm of the head (alpha)", at_least=0, spread=100)
    strongest: float = setting(
        1.0, "share of the rows of negative influence that is trained on, the strongest first", above=0, at_most=1
    )
    clip: float = setting(0.93, "quantile of the rows' weights that none exceeds", above=0, at_most=1)
    training: Training = field(default_factory=lambda: Training(batch_size=256))

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        working = task.classifier.to(runtime.device).copy()
        head = find_head(working, task.forget_set.x[:1].to(runtime.device)).module
        weights = [weight for weight in head.parameters() if weight.requires_grad]
        chosen, shares = self.weigh(working, weights, task, context)
        rows = Subset(to_images(task.forget_set, task.forget_set.y), chosen.tolist())

        def draw(batch: Batch) -> list[Pass]:
            share = shares[batch.rows]

            def terms(part: slice) -> Terms:
                x, y = batch.x[part], batch.y[part]
                with torch.no_grad():
                    working(x)
                climbed = -(share[part] * F.cross_entropy(working(x), y, reduction="none")).sum() / share.sum()
                norm = torch.cat([weight.flatten() for weight in weights]).abs().sum()
                return {"rows": climbed, "sparsity": len(x) / len(batch.x) * (self.penalty * norm)}

            return [trainer.make_pass(len(batch.x), terms)]

        edited = {id(weight) for weight in weights}
        for weight in working.module.parameters():
            weight.requires_grad_(id(weight) in edited)
        trainer = Trainer(task, working, self.training, context)
        edit = train_by(self, trainer, images=rows, draw=draw)
        for weight, given in zip(edit.classifier.module.parameters(), task.classifier.module.parameters(), strict=True):
            weight.requires_grad_(given.requires_grad)
        return edit

    def weigh(
        self, classifier: Classifier, weights: Sequence[Tensor], task: Task, context: Context
    ) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
        """Return the numbers of the rows that are trained on, and w of each."""
        rows, draw = task.forget_set.to(context.runtime.device), task.generator("influence augmentation")
        augmentation = Augmentation(self.training.augmentation)

        def gradients() -> Iterator[Float[Tensor, " p"]]:
            for x, y in zip(rows.x.split(1), rows.y.split(1), strict=True):
                image = augment(x, augmentation, classifier.bounds, draw)
                loss = F.cross_entropy(classifier(image), y)
                context.add_gradients(1)
                yield torch.cat([each.flatten() for each in torch.autograd.grad(loss, weights)])

        with context.phase("influence"), evaluating(classifier.module):
            fisher = _mean(gradient.square() for gradient in gradients()) + FISHER_DAMPING
            state = draw.get_state()

            def once_more() -> Iterator[Float[Tensor, " p"]]:
                draw.set_state(state)  # the same crops and flips
                return gradients()

            influences = measure_influences(once_more, fisher)
        return weigh_rows(influences, strongest=self.strongest, clip=self.clip)


def measure_influences(
    gradients: Callable[[], Iterable[Float[Tensor, " p"]]], fisher: Float[Tensor, " p"]
) -> Float[Tensor, " k"]:
    """Return I_i = -g_i F^-1 g of each row, g the mean of the gradients; one of them is in memory at a time.

    Args:
        gradients: gives g_i of one row after the other; called twice.
        fisher: the diagonal of F.

    >>> measure_influences(lambda: torch.tensor([[1.0, 0.0], [3.0, 0.0]]), torch.tensor([2.0, 1.0]))
    tensor([-1., -3.])
    """
    mean = _mean(gradients()) / fisher
    return -torch.stack([gradient @ mean for gradient in gradients()])


def _mean(values: Iterable[Float[Tensor, " p"]]) -> Float[Tensor, " p"]:
    """Return the mean of at least one value, added up as they come."""
    others = iter(values)
    total, count = next(others), 1
    for value in others:
        total, count = total + value, count + 1
    return total / count


def weigh_rows(
    influences: Float[Tensor, " k"], *, strongest: float, clip: float
) -> tuple[Int[Tensor, " n"], Float[Tensor, " n"]]:
    """Return the numbers of the rows to train on, the strongest first, and w = sqrt(|I|) of each, clipped.

    Args:
        influences: I of each row.
        strongest: share of those below 0 that is kept, at least one; the rest of a row is dropped.
        clip: quantile of w that none exceeds.

    >>> weigh_rows(torch.tensor([-1.0, 2.0, -4.0]), strongest=1.0, clip=1.0)
    (tensor([2, 0]), tensor([2., 1.]))
    """
    order = influences.argsort(stable=True)
    negative = order[influences[order] < 0]
    if not len(negative):
        return torch.arange(len(influences), device=influences.device), torch.ones_like(influences)
    chosen = negative[: max(1, int(len(negative) * strongest))]
    weights = influences[chosen].abs().sqrt()
    return chosen, weights.clamp_max(weights.cpu().quantile(clip).item())
