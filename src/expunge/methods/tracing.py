"""Which layers of a network can be edited, how their row gradients are computed, and the computation.

What a layer is can't be told from its class: its forward may use other weights, its first dimension may not be that of
the images, its weights may be used elsewhere. So the row gradients of two images are compared with autograd's before an
edit, layer by layer.
"""

import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.base.errors import ClassifierError, ExpungeWarning
from expunge.compute.sharing import is_out_of_memory
from expunge.methods.flows import Flow, recorded
from expunge.methods.layers import Layer, Route, count_weights, find_candidates, is_made_anew
from expunge.methods.single_rows import RowGradients, differentiate_rows
from expunge.models.classifier import Classifier
from expunge.models.modes import evaluating

PIXELS_AT_ONCE = {"cpu": 32 * 32 * 32}
OTHERWISE = 128 * 32 * 32
"""What flows through a network fits a processor's cache with few images; other devices want more work at a time."""
LEAST_AT_ONCE = 4
NUMBERS_AT_ONCE = 2**27
"""Row gradients that `torch.func` makes in one pass, half a gigabyte of them."""
TOLERANCE = 0.01
"""Of a row gradient's length; in float32 it is off by about 1e-5 of it, in bfloat16 by some thousandths."""
NEGLIGIBLE = 1e-5
"""Share of the longest layer's gradient below which a difference is rounding."""

Cotangent = Callable[[Tensor], Tensor]
"""(b, classes) logits -> (b, classes) weights of the sum that is differentiated, row by row."""
Traced = Flow | RowGradients


def find_layers(classifier: Classifier, x: Float[Tensor, "b c h w"]) -> tuple[Layer, ...]:
    """Return the layers that can be edited, each with the route on which its row gradients are those of autograd.

    They are those whose weights require gradients and have a part in the logits. Attention projections that torch
    computes without calling their layer, embeddings and normalisation layers are not among them and stay as they are.

    Args:
        classifier: any classifier.
        x: one image is enough; two are used.

    Raises:
        ClassifierError: there is no such layer.

    Warns:
        ExpungeWarning: a layer stays as it is, since its row gradients can't be computed.
    """
    pair = x[:2] if len(x) > 1 else torch.cat([x[:1], x[:1].flip(-1)])
    with evaluating(classifier.module):
        check = _Check(classifier, pair)
        if not check.layers:
            raise ClassifierError(
                "classifier",
                "a linear or convolutional layer whose weight requires gradients and has a part in the logits",
                "none",
                "call requires_grad_(True) on its weights if there is one; a network without can be edited by `l2ul`",
            )
        routes = check.choose_routes()
    lost = [layer.name for layer in check.layers if layer not in routes]
    if lost:
        names = ", ".join(lost[:5])
        warnings.warn(f"{len(lost)} layers stay as they are: no row gradients of {names}", ExpungeWarning, stacklevel=2)
    return tuple(replace(layer, route=routes[layer]) for layer in check.layers if layer in routes)


def trace_rows(
    classifier: Classifier, layers: tuple[Layer, ...], x: Float[Tensor, "b c h w"], cotangent: Cotangent
) -> tuple[Float[Tensor, "b classes"], list[Traced]]:
    """Return the logits in eval mode, and of sum(cotangent * logits) what gives each layer's row gradients.

    Args:
        classifier: holds `layers`.
        layers: see `find_layers`.
        x: one batch, all of whose inner activations are held in memory.
        cotangent: makes the weights of the logits from the logits; it is not differentiated.
    """
    flowing = [layer for layer in layers if layer.route is Route.FLOW]
    traced: dict[Layer, Traced] = {}
    with evaluating(classifier.module):
        with recorded(flowing) as calls:
            logits = classifier(x)
        weights = cotangent(logits.detach())
        outputs = [output for made in calls for output in made.outputs]
        gradients = iter(torch.autograd.grad(logits, outputs, weights) if outputs else ())
        for layer, made in zip(flowing, calls, strict=True):
            traced[layer] = Flow(layer, len(x), tuple(made.inputs), tuple(next(gradients) for _ in made.outputs))
        for route in (Route.FUNCTION, Route.ALONE):
            others = [layer for layer in layers if layer.route is route]
            if others:
                rows = differentiate_rows(classifier, others, x, weights, route)
                traced |= {layer: RowGradients(layer, each) for layer, each in zip(others, rows, strict=True)}
    return logits.detach(), [traced[layer] for layer in layers]


def images_at_once(x: Float[Tensor, "n c h w"], layers: Sequence[Layer] = ()) -> int:
    """Return how many of these images to trace in one pass.

    Args:
        x: at least one image.
        layers: those that are traced; row gradients that are made as such take memory.
    """
    pixels = PIXELS_AT_ONCE.get(x.device.type, OTHERWISE)
    fitting = max(LEAST_AT_ONCE, pixels // (x.shape[2] * x.shape[3]))
    numbers = count_weights(tuple(layer for layer in layers if layer.route is not Route.FLOW))
    return max(1, min(fitting, NUMBERS_AT_ONCE // numbers)) if numbers else fitting


class _Check:
    """Compares the row gradients of two images with autograd's, one layer after the other to spare memory.

    `layers` are those candidates that have a part in the logits.
    """

    def __init__(self, classifier: Classifier, pair: Float[Tensor, "2 c h w"]) -> None:
        self._classifier, self._pair = classifier, pair
        self._weights = torch.randn(2, classifier.num_classes, generator=torch.Generator().manual_seed(0)).to(pair)
        candidates = tuple(find_candidates(classifier.module))
        rows = self._differentiate(candidates)
        self._expected = {
            layer: [row[layer] for row in rows] for layer in candidates if all(layer in row for row in rows)
        }
        self.layers = tuple(self._expected)
        self._longest = max((_norm(gradients) for row in rows for gradients in row.values()), default=0.0)

    def choose_routes(self) -> dict[Layer, Route]:
        """Return for each layer the first route on which its row gradients are autograd's, nothing where none is."""
        routes = {layer: Route.FLOW for layer, flow in self._flows() if self._holds(layer, flow)}
        for route in (Route.FUNCTION, Route.ALONE):
            rest = [layer for layer in self.layers if layer not in routes]
            if route is Route.FUNCTION:
                rest = [layer for layer in rest if not is_made_anew(layer)]
            try:
                rows = differentiate_rows(self._classifier, rest, self._pair, self._weights, route)
            except Exception as error:  # whatever a network's code raises where `torch.func` runs it
                if route is Route.ALONE and is_out_of_memory(error):
                    raise  # else layers would stay as they are because memory was short
                continue
            routes |= {layer: route for layer, each in zip(rest, rows, strict=True) if self._equal(layer, each)}
        return routes

    def _differentiate(self, candidates: Sequence[Layer]) -> list[dict[Layer, list[Tensor]]]:
        """Return autograd's gradients of each image, by layer; without those that have no part in the logits."""
        logits = self._classifier(self._pair)
        if not (logits.requires_grad and candidates):
            return []
        parameters = [each for layer in candidates for each in layer.parameters]
        rows = []
        for value in (logits * self._weights).sum(dim=1):
            found = iter(torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True))
            by_layer = [(layer, [next(found) for _ in layer.parameters]) for layer in candidates]
            rows.append({layer: _filled(layer, each) for layer, each in by_layer if each[0] is not None})
        return rows

    def _flows(self) -> Iterator[tuple[Layer, Flow]]:
        """Yield what flows through each layer that is called in the usual form and computes in its own precision."""
        with recorded(self.layers) as calls:
            logits = self._classifier(self._pair)
        outputs = [output for made in calls for output in made.outputs]
        if not outputs:
            return
        gradients = iter(torch.autograd.grad(logits, outputs, self._weights, allow_unused=True))
        for layer, made in zip(self.layers, calls, strict=True):
            found = [next(gradients) for _ in made.outputs]
            known = [each for each in found if each is not None]
            usual = all(len(each) % 2 == 0 and each.dtype == layer.weight.dtype for each in made.inputs)
            if made.regular and usual and 0 < len(known) == len(found):
                yield layer, Flow(layer, 2, tuple(made.inputs), tuple(known))

    def _holds(self, layer: Layer, flow: Flow) -> bool:
        try:
            return self._equal(layer, flow.row_gradients())
        except RuntimeError:  # what flows has not the shape that such a layer's has
            return False

    def _equal(self, layer: Layer, found: Tensor) -> bool:
        expected = self._expected[layer]
        if found.shape[1:] != layer.shape:
            return False
        missed = _norm([each - layer.to_matrix(row) for each, row in zip(found, expected, strict=True)])
        return missed <= TOLERANCE * _norm([part for row in expected for part in row]) + NEGLIGIBLE * self._longest


def _filled(layer: Layer, gradients: Sequence[Tensor | None]) -> list[Tensor]:
    pairs = zip(layer.parameters, gradients, strict=True)
    return [torch.zeros_like(own) if gradient is None else gradient for own, gradient in pairs]


def _norm(parts: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float(part.square().sum()) for part in parts))
