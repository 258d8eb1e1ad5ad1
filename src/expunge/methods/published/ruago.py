"""RUAGO: learn adversarial answers for the forget set, and the old answers on images made from the classifier."""

from dataclasses import dataclass, field, replace
from enum import StrEnum
from math import exp
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from expunge.base.settings import Settings, setting
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.descent import endless_batches
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.epochs import Trainer, to_images, train_by
from expunge.models.classifier import Classifier
from expunge.models.normalised import Normalised
from expunge.models.pixels import Normalisation
from expunge.surrogates.inverted import Inversion, invert_classifier
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task
from expunge.training import Algorithm, Augmentation, Batch, Schedule, Training
from expunge.training.step import Pass, Terms


class GradientInput(StrEnum):
    """What the network is given where the attack takes its gradients."""

    PIXELS = "pixels"
    """Pixels within 0..1 that nobody has normalised, as in the authors' code."""
    NORMALISED = "normalised"
    """The same pixels as the network was trained on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedAttack(Settings):
    """Settings of the attack whose answers the rows learn: signed gradient steps up their cross-entropy."""

    steps: int = setting(3, "signed gradient steps", at_least=1)
    step_size: float = setting(4 / 255, "length of a step per pixel, as a share of the pixel range", above=0)
    radius: float = setting(32 / 255, "how far a pixel may move, as a share of the pixel range", above=0)
    gradients: GradientInput = setting(GradientInput.PIXELS, "what the network is given where gradients are taken")

    def perturb(
        self, classifier: Classifier, x: Float[Tensor, "b c h w"], y: Int[Tensor, " b"]
    ) -> Float[Tensor, "b c h w"]:
        """Return the images after the steps, within the classifier's bounds.

        Args:
            classifier: f0 in eval mode with frozen weights.
            x: pixels within the bounds.
            y: the labels to leave.
        """
        bounds = classifier.bounds
        target = classifier
        if self.gradients is GradientInput.PIXELS:
            bare = Normalised(classifier.network, Normalisation((bounds.lower,), (bounds.width,)))
            target = replace(classifier, module=bare.eval())
        moved = x
        for _ in range(self.steps):
            variable = moved.detach().requires_grad_(True)
            (gradient,) = torch.autograd.grad(F.cross_entropy(target(variable), y, reduction="sum"), variable)
            step = (moved + self.step_size * bounds.width * gradient.sign() - x).clamp(
                -self.radius * bounds.width, self.radius * bounds.width
            )
            moved = bounds.clip(x + step)
        return moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruago(Settings):
    """Descend a CE(f, q) on D_f plus b times the sum of v KL(f0 || f) over synthetic images, hard ones later.

    q is the softmax of f0 at a row's adversarial image. KL is at temperature T and times T^2, and each image's is
    weighted by v = (1 + exp(-h)) / (1 + exp(KL - h)), without a gradient; h grows from step to step. Rows and images go
    through the network one after the other, each batch with its own BatchNorm statistics. NeurIPS 2025, "RUAGO:
    Effective and Practical Retain-Free Unlearning via Adversarial Attack and OOD Generator" (OpenReview 1YzRtbaAzZ);
    the settings are theirs for CIFAR-10 and ResNet-18. Where their attack takes gradients, it puts pixels into the
    network that it has not normalised: 78 and 85% of 128 rows change their label by it (CIFAR-10, ResNet-20 and 18),
    and all with `attack.gradients=normalised`.

    Differs from the paper: the synthetic images are inverted from BatchNorm statistics one by one, from dead leaves,
    and drawn from one pool. Theirs are drawn anew in each step from a GAN that was trained on COCO or Tiny ImageNet and
    is moved toward the same statistics once an epoch; who has only the classifier and the rows doesn't have it. The
    cosine falls within epochs, too. Without BatchNorm, dead leaves are the images.
    """

    name: ClassVar[str] = "ruago"
    revision: ClassVar[int] = 2
    summary: ClassVar[str] = "learn adversarial answers for the rows, the old answers on inverted images"
    source: ClassVar[str] = "RUAGO, NeurIPS 2025, OpenReview 1YzRtbaAzZ"
    aim: ClassVar[Aim] = Aim.NEVER_SEEN
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    rows_weight: float = setting(0.2, "weight of CE on the rows (a)", at_least=0, spread=5)
    distillation_weight: float = setting(
        0.01, "weight of KL, summed over the synthetic images (b)", at_least=0, spread=5
    )
    temperature: float = setting(20.0, "temperature of both softmaxes in KL (T)", above=0)
    hardness: float = setting(2.0, "KL at which an image counts about half (h) in the first step", at_least=0)
    hardness_growth: float = setting(1e-4, "by how much h grows in a step", at_least=0)
    images: int = setting(
        1536, "synthetic images; as many as least-change inverts, so that they are made once", at_least=1
    )
    attack: SignedAttack = field(default_factory=SignedAttack)
    inversion: Inversion = field(default_factory=Inversion)
    training: Training = field(
        default_factory=lambda: Training(
            epochs=50,
            learning_rate=5e-5,
            schedule=Schedule.COSINE,
            algorithm=Algorithm.ADAM,
            augmentation=Augmentation.NONE,
        )
    )

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        context = Context(runtime)
        reference = task.classifier.to(runtime.device).frozen_copy()
        working = task.classifier.to(runtime.device).copy()
        rows = task.forget_set.to(runtime.device)
        wanted = self.answer(reference, rows.x, rows.y, context)
        shape = (rows.x.shape[1], rows.x.shape[2], rows.x.shape[3])
        synthetic = invert_classifier(reference, self.images, shape, self.inversion, context)
        drawn = endless_batches(len(synthetic), self.training.batch_size, task.generator("synthetic batches"))
        trainer, hardness = Trainer(task, working, self.training, context), self.hardness

        def draw(batch: Batch) -> list[Pass]:
            nonlocal hardness
            images, hard = synthetic[next(drawn).to(runtime.device)], hardness
            hardness += self.hardness_growth

            def forget(part: slice) -> Terms:
                loss = F.cross_entropy(working(batch.x[part]), wanted[batch.rows[part]])
                return {"rows": self.rows_weight * (len(batch.x[part]) / len(batch.x) * loss)}

            def keep(part: slice) -> Terms:
                x = images[part]
                kept = weigh_easy(distil(working(x), reference(x), self.temperature), hard).sum()
                return {"distillation": self.distillation_weight * kept}

            return [trainer.make_pass(len(batch.x), forget), trainer.make_pass(len(images), keep)]

        images = to_images(task.forget_set, task.forget_set.y)
        return train_by(self, trainer, images=images, draw=draw, goes_on=False)  # batches and hardness have a state

    def answer(
        self, reference: Classifier, x: Float[Tensor, "k c h w"], y: Int[Tensor, " k"], context: Context
    ) -> Float[Tensor, "k classes"]:
        """Return q: the probabilities that f0 gives at the rows' adversarial images."""

        def attack(part: slice) -> list[Tensor]:
            context.add_gradients(self.attack.steps * len(x[part]))
            return [reference(self.attack.perturb(reference, x[part], y[part]))]

        with context.phase("attack"):
            [logits] = context.sharing.map_concat(len(x), attack)
        return logits.softmax(dim=1)


def distil(
    student: Float[Tensor, "b classes"], teacher: Float[Tensor, "b classes"], temperature: float
) -> Float[Tensor, " b"]:
    """Return T^2 KL(softmax(teacher / T) || softmax(student / T)) of each row."""
    wanted = F.log_softmax(teacher / temperature, dim=1)
    given = F.log_softmax(student / temperature, dim=1)
    return temperature**2 * F.kl_div(given, wanted, reduction="none", log_target=True).sum(dim=1)


def weigh_easy(divergences: Float[Tensor, " b"], hardness: float) -> Float[Tensor, " b"]:
    """Return the divergences times v: 1 for those of 0, about a half for those of `hardness`, less for larger ones.

    >>> [round(each, 3) for each in weigh_easy(torch.tensor([0.0, 5.0, 20.0]), 5.0).tolist()]
    [0.0, 2.517, 0.0]
    """
    weights = (1 + exp(-hardness)) / (1 + (divergences.detach() - hardness).exp())
    return weights * divergences
