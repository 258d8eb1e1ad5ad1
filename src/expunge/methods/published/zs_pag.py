"""ZS-PAG: relabel each image as helps the others most, by steps that leave the subspaces of stand-ins alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from expunge.base.errors import SettingsError
from expunge.base.settings import Settings, setting, to_mapping
from expunge.compute.context import Context
from expunge.compute.float64 import eigh
from expunge.compute.runtime import Runtime
from expunge.compute.sharing import Sharing
from expunge.methods.descent import endless_batches, present_rows
from expunge.methods.engine import Plan, edit_until_goal
from expunge.methods.flows import Flow
from expunge.methods.layers import Layer, Route, differentiate
from expunge.methods.protocol import Aim, Needs
from expunge.methods.tracing import find_layers, images_at_once, trace_rows
from expunge.models.classifier import Classifier
from expunge.models.modes import evaluating
from expunge.surrogates.adversarial import AdversarialPool, make_adversarial_pool
from expunge.surrogates.attack import Attack
from expunge.task.edit import Edit
from expunge.task.task import Strength, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class ZSPAG(Settings):
    """SGD on CE(f(x), c) in which each layer's gradient G becomes G - G U U', until no row answers with its label.

    Three steps, as the abstract and figure 1 of Chen, Zhu, Yu and Zhou 2025 (IJCAI, arXiv 2507.21738) name them:
    adversarial examples of the rows stand in for the data that is not there; each row gets the wrong label c of whose
    learning the stand-ins gain most; steps stay orthogonal to U, the subspace of the stand-ins' inputs to the layer.

    No code is released, and no more of the text than that was at hand. So these are ours: targeted L2 attacks with the
    settings of Cha et al. 2024 (arXiv 2301.11578); the gain as the influence function has it, with the identity for the
    inverse Hessian, which makes c the wrong label whose logit falls most along the gradient of the stand-ins' loss; one
    subspace for all classes together, of the leading directions that hold `energy` of the inputs' second moment, biases
    counted as one more input; weights of other layers, of those that are not what they seem (see `Route`), and
    BatchNorm statistics stay as they are. The share, the rate and plain SGD are those that the same authors released
    for the predecessor, UNSC (arXiv 2404.13588), with all of the other classes' data in the place of the stand-ins.

    Differs from the paper: it stops when no row answers with its label; the authors forget classes.
    """

    name: ClassVar[str] = "zs-pag"
    summary: ClassVar[str] = "relabel the rows by steps orthogonal to adversarial stand-ins' inputs"
    source: ClassVar[str] = "Chen et al., IJCAI 2025, arXiv 2507.21738"
    aim: ClassVar[Aim] = Aim.MISCLASSIFY
    needs: ClassVar[Needs] = Needs.FORGET_ONLY
    goals: ClassVar[tuple[str, ...]] = ("misclassify",)
    strength: ClassVar[Strength] = Strength.EXACT

    attack: Attack = field(default_factory=Attack)
    energy: float = setting(0.97, "share of the stand-ins' second moment that no step touches", at_least=0, at_most=1)
    learning_rate: float = setting(0.04, "SGD step size", above=0, spread=30)
    forget_batch: int = setting(512, "forget rows in a step", at_least=1)
    passes: int = setting(1000, "passes over the forget set at most", at_least=1)

    def run(self, task: Task, runtime: Runtime) -> Edit:
        """Return the edit of a copy of the task's classifier; see `Method`."""
        if self.attack.targets_per_row == 0:
            raise SettingsError("attack.targets_per_row", "at least 1 with zs-pag", "0")
        context = Context(runtime)
        working = task.classifier.to(runtime.device).copy()
        rows = task.forget_set.to(runtime.device)
        pool = make_adversarial_pool(working.frozen_copy(), task, self.attack, context)
        layers = tuple(layer for layer in find_layers(working, rows.x[:2]) if layer.route is Route.FLOW)
        with context.phase("pseudo-labels"):
            gradient = differentiate_pool(working, pool, context)
            labels = choose_labels(rate_labels(working, rows.x, gradient, context.sharing), rows.y)
        with context.phase("subspaces"):
            subspaces = find_subspaces(working, layers, pool, self.energy, context.sharing)
        batches = endless_batches(len(rows), self.forget_batch, task.generator("forget batches"))
        copies = task.generator("pushed copies")

        def step() -> Mapping[str, float]:
            chosen = next(batches)
            x, wanted = present_rows(task, rows.x[chosen], labels[chosen], copies)
            loss, *gradients = _differentiate_rows(working, layers, (x, wanted), context)
            for layer, direction, basis in zip(layers, gradients, subspaces, strict=True):
                layer.write(layer.read() - self.learning_rate * leave_out(direction, basis))
            return {"pseudo-labels": loss.item()}

        limit = self.passes * -(-len(rows) // self.forget_batch)
        return edit_until_goal(task, Plan(self.name, to_mapping(self), working, step, limit), context)


def _differentiate_rows(
    classifier: Classifier, layers: tuple[Layer, ...], rows: tuple[Tensor, Int[Tensor, " b"]], context: Context
) -> list[Tensor]:
    """Return the mean cross-entropy of rows to labels, and its gradient by each layer's weight matrices."""
    x, labels = rows

    def add_up(part: slice) -> list[Tensor]:
        with evaluating(classifier.module):
            loss = len(x[part]) / len(x) * F.cross_entropy(classifier(x[part]), labels[part])
        context.add_gradients(len(x[part]))
        return [loss.detach(), *differentiate(loss, layers)]

    return context.sharing.map_sum(len(x), add_up)


def differentiate_pool(classifier: Classifier, pool: AdversarialPool, context: Context) -> dict[str, Tensor]:
    """Return the gradient of the stand-ins' mean cross-entropy to the labels they answer, by each weight's name."""
    named = {name: weight for name, weight in classifier.module.named_parameters() if weight.requires_grad}
    weights, labels = list(named.values()), pool.logits.argmax(dim=1)

    def add_up(part: slice) -> list[Tensor]:
        chosen = torch.arange(part.start, part.stop, device=labels.device)
        with evaluating(classifier.module):
            loss = F.cross_entropy(classifier(pool.x[chosen]), labels[chosen], reduction="sum") / len(labels)
        context.add_gradients(len(chosen))
        return list(torch.autograd.grad(loss, weights, allow_unused=True, materialize_grads=True))

    return dict(zip(named, context.sharing.map_sum(len(labels), add_up), strict=True))


def rate_labels(
    classifier: Classifier, x: Float[Tensor, "k c h w"], gradient: Mapping[str, Tensor], sharing: Sharing
) -> Float[Tensor, "k classes"]:
    """Return by how much each logit of each row grows along `gradient`: the derivative of f(x) in that direction.

    A step down CE(f(x), c) changes the loss whose gradient that is by -rate * (p v - v_c), p the softmax of f(x) and v
    what is returned here; so the label of the smallest v_c lowers it most.

    Args:
        classifier: f.
        x: the rows.
        gradient: one tensor for each weight that moves, by name.
        sharing: divides the rows.
    """
    named = {name: weight for name, weight in classifier.module.named_parameters() if name in gradient}

    def rate(part: slice) -> list[Tensor]:
        with evaluating(classifier.module), sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
            logits = classifier(x[part])
        dual = torch.zeros_like(logits, requires_grad=True)
        pulled = torch.autograd.grad(logits, list(named.values()), dual, create_graph=True, allow_unused=True)
        along = [(back * gradient[name]).sum() for name, back in zip(named, pulled, strict=True) if back is not None]
        return [torch.autograd.grad(torch.stack(along).sum(), dual)[0]]

    [rated] = sharing.map_concat(len(x), rate)
    return rated


def choose_labels(ratings: Float[Tensor, "k classes"], y: Int[Tensor, " k"]) -> Int[Tensor, " k"]:
    """Return the label with the lowest rating of each row, its own left out.

    >>> choose_labels(torch.tensor([[-3.0, 1.0, 0.0]]), torch.tensor([0])).tolist()
    [2]
    """
    return ratings.scatter(1, y.unsqueeze(1), torch.inf).argmin(dim=1)


def find_subspaces(
    classifier: Classifier, layers: tuple[Layer, ...], pool: AdversarialPool, energy: float, sharing: Sharing
) -> list[Float[Tensor, "g i r"]]:
    """Return for each layer an orthonormal basis of its inputs' leading directions; the same number in all its groups.

    Args:
        classifier: holds `layers`.
        layers: see `find_layers`.
        pool: the stand-ins.
        energy: share of the second moment that the directions hold, 0..1.
        sharing: divides the stand-ins.
    """
    count = len(pool.logits)

    def add_up(part: slice) -> list[Tensor]:
        x = pool.x[torch.arange(part.start, part.stop, device=pool.logits.device)]
        moments = [pool.logits.new_zeros(layer.shape[0], layer.shape[2], layer.shape[2]) for layer in layers]
        _, flows = trace_rows(classifier, layers, x, torch.zeros_like)
        for moment, flow in zip(moments, flows, strict=True):
            for inputs, _ in flow.unrolled() if isinstance(flow, Flow) else ():
                moment.add_(torch.einsum("bgil,bgjl->gij", inputs, inputs), alpha=1 / (count * inputs.shape[-1]))
        return moments

    at_once = images_at_once(pool.x[torch.arange(min(1, count))])
    moments = sharing.map_sum(count, add_up, at_once=at_once)
    return [span(moment, energy) for moment in moments]


def span(moment: Float[Tensor, "g i i"], energy: float) -> Float[Tensor, "g i r"]:
    """Return the fewest leading eigenvectors that hold `energy` of the trace in every group.

    >>> span(torch.diag(torch.tensor([1.0, 3.0])).unsqueeze(0), 0.7).abs().flatten().tolist()
    [0.0, 1.0]
    """
    values, vectors = eigh(moment)
    values, vectors = values.flip(1).clamp_min(0), vectors.flip(2)
    held = values.cumsum(dim=1) / values.sum(dim=1, keepdim=True).clamp_min(torch.finfo(values.dtype).tiny)
    rank = int((held < energy).sum(dim=1).max()) + 1 if energy > 0 else 0
    leading: Tensor = vectors[..., :rank].to(moment)
    return leading


def leave_out(gradient: Float[Tensor, "g o i"], basis: Float[Tensor, "g i r"]) -> Float[Tensor, "g o i"]:
    """Return the part of a layer's gradient that no input within the subspace sees: G - G U U'."""
    seen: Tensor = gradient @ basis @ basis.mT
    return gradient - seen
