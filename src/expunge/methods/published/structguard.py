"""StructGuard: unlearn the rows while adversarial examples keep their places among fixed anchors, seen through an MLP.

Hong, Shin and Kim, "Stake the Points: Structure-Faithful Instance Unlearning", CVPR 2026, arXiv 2603.12915, as released
(github.com/Kiseong0753/StructGuard).
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import count, cycle
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from expunge.base.errors import SettingsError
from expunge.base.settings import Settings, setting, to_mapping
from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.methods.descent import present_rows
from expunge.methods.engine import Plan, edit_until_goal
from expunge.methods.protocol import Aim, Needs
from expunge.methods.published.anchors import Structure, draw_anchors, draw_mix, misalign
from expunge.methods.published.head import find_head, forward_features
from expunge.methods.published.projected import Projected
from expunge.methods.published.projector import Projector, add_projector
from expunge.models.classifier import Classifier
from expunge.models.modes import BatchNormMode, editing
from expunge.surrogates.adversarial import AdversarialPool, make_adversarial_pool, order_in_rounds
from expunge.surrogates.attack import Attack, Start, TargetDraw
from expunge.task.edit import Edit
from expunge.task.evaluation import compute_logits
from expunge.task.goals import achieved
from expunge.task.task import Strength, Task
from expunge.training.step import Pass, Terms, differentiate_pass, take_step

ELASTIC_MIX = 0.99
"""Share of the L1 norm in the elastic net of the head's weights (as released)."""
STEPS_WITHOUT_PENALTY = 2
"""Steps of each pass in which L_reg is left out (as released)."""


class Projection(StrEnum):
    """Whether the edited classifier contains the projector that was trained before its head."""

    KEPT = "kept"
    """It does: what the authors measure. It has layers that the given classifier lacks, so it cannot be saved."""
    DROPPED = "dropped"
    """It does not: what the authors save. It loads into the given classifier's architecture."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StructGuard(Settings):
    """L = w_f L_del + w_a L_ret + L_align + lambda L_reg + mu L_head, by plain SGD on the classifier and a projector.

    The projector p is an MLP before the head, trained from random weights. L_del is -CE of the rows without it, L_ret
    CE of adversarial examples to the attack's targets through it, w_f and w_a their shares of the images in the step.
    With v0 the features of an adversarial example before the edit, v = p(features) now, and a_c a fixed unit vector for
    each class (an anchor: a text embedding of the class), L_align is 1 - the mean cosine of (v0 a_c)_c and (v a_c)_c,
    both v of length 1. L_reg is sum I (theta - theta0)^2 / 2, I the mean |gradient| of L_align over batches of
    adversarial examples, measured in the second step; it is left out of the first two steps of each pass over the
    examples. L_head is an elastic net of the head's weights.

    As released: rows first and then the examples, each by its own batch statistics; examples in the order of rounds,
    not shuffled; the projector's BatchNorm trains until the rows are first looked at; measuring I lets the classifier's
    statistics move; the rows are looked at through the projector after each step from the second pass on. Where anchors
    are not as long as the features are wide, the projector's inner features take the place of v and a random projection
    that of v0, as in the release for ResNet-50.

    Differs from the paper: anchors are drawn where no file holds them, since a text encoder is more than the classifier
    and the rows; a rotation of all anchors changes nothing in law where features come from another space than texts,
    so that their mutual cosine is all that is left of them (`anchor_cosine` is ours). The examples attack the
    classifier that was given; the released script attacks the one that its L2UL baseline has just edited. A head that
    is a convolution has the projector at each of its positions (ours), a batch of one image uses the running
    statistics.
    """

    name: ClassVar[str] = "structguard"
    summary: ClassVar[str] = "adversarial examples keep their places among anchors, seen through an added MLP"
    source: ClassVar[str] = "Hong et al., CVPR 2026, arXiv 2603.12915"
    aim: ClassVar[Aim] = Aim.MISCLASSIFY
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    projector: Projection = setting(
        Projection.DROPPED, "whether the edited classifier contains the projector: kept, dropped"
    )
    anchors: str = setting("", "safetensors file with one tensor, (classes, width): texts' embeddings; empty: drawn")
    anchor_width: int = setting(512, "length of drawn anchors, and of CLIP's", at_least=1)
    anchor_cosine: float = setting(0.75, "cosine between any two drawn anchors", at_least=0, at_most=0.99)
    attack: Attack = field(
        default_factory=lambda: Attack(radius=3.0, start=Start.NOISE_PROJECTED, targets=TargetDraw.RELEASED)
    )
    adversarial_batch: int = setting(128, "adversarial examples in a step (n_a)", at_least=1)
    forget_batch: int = setting(128, "forget rows in a step (n_f)", at_least=1)
    learning_rate: float = setting(5e-3, "SGD step size of the classifier", above=0, spread=30)
    projector_rate: float = setting(9e-3, "SGD step size of the projector", above=0, spread=30)
    importance_weight: float = setting(1.0, "weight of L_reg (lambda)", at_least=0, spread=100)
    importance_images: int = setting(
        50_000, "examples, counted again in each pass, that I is measured on: as many as CIFAR has rows", at_least=1
    )
    head_weight: float = setting(1e-3, "weight of L_head (mu)", at_least=0)
    passes: int = setting(101, "passes over the adversarial examples at most", at_least=1)

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        if self.attack.targets_per_row == 0:
            raise SettingsError("attack.targets_per_row", "at least 1 with structguard", "0")
        context = Context(runtime)
        loop = self._prepare(task, context)
        batches = len(loop.batches)
        limit = self.passes * batches

        def completed(steps: int) -> bool:
            return steps >= limit or (steps > batches and loop.rows_are_wrong())

        settings, parts = to_mapping(self), loop.parts
        if self.projector is Projection.KEPT:
            plan = Plan(self.name, settings, parts.through, loop.step, limit, completed=completed)
        else:
            plan = Plan(self.name, settings, parts.working, loop.step, limit, least_steps=batches + 1)
        return edit_until_goal(task, plan, context)

    def _prepare(self, task: Task, context: Context) -> "_Loop":
        device = context.runtime.device
        working = task.classifier.to(device).copy()
        original, x = working.frozen_copy(), task.forget_set.x[:1].to(device)
        pool = make_adversarial_pool(original, task, self.attack, context)
        head = find_head(working, x)
        anchors = self.find_anchors(working.num_classes, task.generator("anchors")).to(x)
        draw, length = task.generator("projector"), anchors.shape[1]
        projector = Projector(head.width, length, channels_first=isinstance(head.module, nn.Conv2d), generator=draw)
        mix = None if length == head.width else draw_mix(head.width, length, draw).to(x)
        through = add_projector(working, head, projector.to(x))
        parts = Projected(
            working=working,
            head=head,
            projector=projector,
            through=through,
            original=original,
            structure=Structure(anchors, mix),
        )
        return _Loop(self, task, context, parts, pool)

    def find_anchors(self, classes: int, generator: torch.Generator) -> Float[Tensor, "classes width"]:
        """Return the anchors, of length 1: from their file, or drawn.

        Raises:
            SettingsError: the file does not hold one tensor with a row for each class.
        """
        if not self.anchors:
            return draw_anchors(classes, self.anchor_width, self.anchor_cosine, generator)
        try:
            found = list(load_file(self.anchors).values())
        except (OSError, SafetensorError) as error:
            raise SettingsError("anchors", "a safetensors file", f"{self.anchors} ({error})") from error
        if len(found) != 1 or found[0].ndim != 2 or len(found[0]) != classes:
            shapes = ", ".join(str(tuple(tensor.shape)) for tensor in found) or "none"
            raise SettingsError("anchors", f"one tensor of shape ({classes}, width)", shapes)
        return F.normalize(found[0].float(), dim=1)


def elastic_net(weight: Tensor) -> Float[Tensor, ""]:
    """Return 0.99 ||W||_1 + 0.01 / 2 ||W||_F^2."""
    return ELASTIC_MIX * weight.abs().sum() + (1 - ELASTIC_MIX) / 2 * weight.square().sum()


class _Loop:
    """The steps of the released loop."""

    def __init__(
        self, method: StructGuard, task: Task, context: Context, parts: Projected, pool: AdversarialPool
    ) -> None:
        self.method, self.task, self.context, self.parts, self.pool = method, task, context, parts, pool
        device = context.runtime.device
        self.rows, self.labels = task.forget_set.to(device).x, task.labels.to(device)
        order = order_in_rounds(len(self.rows), method.attack.targets_per_row, method.forget_batch)
        self.batches = order.to(device).split(method.adversarial_batch)
        self._row_batches = torch.arange(len(self.rows), device=device).split(method.forget_batch)
        self._copies, self._numbers = task.generator("pushed copies"), count()
        self._weights = [weight for weight in parts.working.module.parameters() if weight.requires_grad]
        self._anchored = [weight.detach().clone() for weight in self._weights]
        self._importance: list[Tensor] = []
        self._optimiser = torch.optim.SGD(
            [
                {"params": self._weights, "lr": method.learning_rate},
                {"params": list(parts.projector.parameters()), "lr": method.projector_rate},
            ]
        )

    def rows_are_wrong(self) -> bool:
        """Return whether no row answers with its label through the projector."""
        logits = compute_logits(self.parts.through, self.rows, self.context.sharing)
        return bool(achieved(self.task.goal, logits, self.labels).all())

    def step(self) -> Mapping[str, float]:
        """Take one step, and return the losses by name."""
        number = next(self._numbers)
        place, looked_at = number % len(self.batches), number > len(self.batches)
        rows = self._row_batches[number % len(self._row_batches)]
        passes = self._make_passes(rows, self.batches[place], projector_trains=not looked_at)

        def hold() -> Terms:
            terms = {"head": self.method.head_weight * elastic_net(self.parts.head.module.weight)}
            if number == place == 1:
                self._importance = self._measure_importance()
            if place >= STEPS_WITHOUT_PENALTY:
                moves = zip(self._importance, self._weights, self._anchored, strict=True)
                penalty = torch.stack([(each * (now - then).square()).sum() for each, now, then in moves]).sum()
                terms["regularisation"] = self.method.importance_weight / 2 * penalty
            return terms

        return take_step(self._optimiser, self.parts.through.module, passes, self.context.sharing, others=hold)

    def _make_passes(self, rows: Tensor, chosen: Tensor, *, projector_trains: bool) -> list[Pass]:
        parts, targets = self.parts, self.pool.targets[chosen]
        x, labels = present_rows(self.task, self.rows[rows], self.labels[rows], self._copies)
        share = len(x) / (len(x) + len(chosen))

        def delete(part: slice) -> Terms:
            images = x[part]
            self.context.add_gradients(len(images))
            with editing(parts.working.module, _mode(images)):
                unlearning = self.task.goal.loss(parts.working(images), labels[part]).mean()
            return {"deletion": share * (len(images) / len(x) * unlearning)}

        def retain(part: slice) -> Terms:
            examples = self.pool.x[chosen[part]]
            self.context.add_gradients(len(examples))
            with torch.no_grad():
                before = parts.place_before(parts.original, examples)
            with editing(parts.through.module, _mode(examples)):
                parts.projector.train(projector_trains and len(examples) > 1)
                logits, now = parts.pass_through(examples)
            part_share = len(examples) / len(chosen)
            return {
                "retention": (1 - share) * (part_share * F.cross_entropy(logits, targets[part])),
                "alignment": part_share * misalign(before, now),
            }

        return [Pass(len(x), delete), Pass(len(chosen), retain)]

    def _measure_importance(self) -> list[Tensor]:
        """Return I of each weight that is edited; batch statistics move the classifier's own (as released)."""
        parts, total, seen = self.parts, [torch.zeros_like(weight) for weight in self._weights], 0
        original, projector = parts.original.copy(), copy.deepcopy(parts.projector)
        moved = nn.ModuleList([parts.working.module, original.module, projector])
        for chosen in cycle(self.batches):
            one = self._make_measured(chosen, original, projector)
            _, gradients = differentiate_pass(one, self._weights, moved, self.context.sharing)
            for so_far, gradient in zip(total, gradients, strict=True):
                if gradient is not None:
                    so_far.add_(gradient.abs(), alpha=len(chosen))
            seen += len(chosen)
            if seen >= self.method.importance_images:
                break
        return [each / seen for each in total]

    def _make_measured(self, chosen: Tensor, original: Classifier, projector: Projector) -> Pass:
        """Return the pass of examples whose only term is L_align through copies of what else is trained."""
        parts = self.parts

        def terms(part: slice) -> Terms:
            x = self.pool.x[chosen[part]]
            self.context.add_gradients(len(x))
            with editing(original.module, _mode(x)):
                before = parts.place_before(original, x)
            with editing(parts.working.module, _mode(x)), editing(projector, _mode(x)):
                _, features = forward_features(parts.working, parts.head.module, x)
                loss = misalign(before, parts.place_now(projector, features))
            return {"alignment": len(x) / len(chosen) * loss}

        return Pass(len(chosen), terms)


def _mode(images: Tensor) -> BatchNormMode:
    return BatchNormMode.BATCH if len(images) > 1 else BatchNormMode.FROZEN
