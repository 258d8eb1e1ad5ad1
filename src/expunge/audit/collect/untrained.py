"""Answers of classifiers of the same architecture with random weights: the yardstick of zero retrain forgetting."""

import numpy as np
import torch
from torch import nn

from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.metrics.shadows import Stack
from expunge.compute.runtime import Runtime
from expunge.compute.seeds import seeded_generator
from expunge.data.forget import ForgetSet
from expunge.models.classifier import Classifier
from expunge.task.evaluation import compute_logits

DRAWS = 5


def answer_untrained(classifier: Classifier, rows: ForgetSet, seed: int, runtime: Runtime) -> Stack:
    """Return the logits of `DRAWS` untrained classifiers on the rows, (draws, n, classes), in eval mode.

    Args:
        classifier: one of the architecture.
        rows: the forgotten ones.
        seed: of the weights.
        runtime: device and batches.

    Raises:
        NotDefinedError: the architecture can't be made anew, see `draw_weights`, or the answers are not finite.
    """
    found = []
    for number in range(DRAWS):
        untrained = classifier.frozen_copy().to(torch.device("cpu"))
        draw_weights(untrained.network, seeded_generator(seed, f"untrained {number}"))
        logits = compute_logits(untrained.to(runtime.device), rows.x, runtime.sharing)
        found.append(logits.cpu().float().numpy())
    if not np.isfinite(found).all():
        raise NotDefinedError("with random weights the answers of this architecture are not finite")
    return np.stack(found)


def draw_weights(network: nn.Module, generator: torch.Generator) -> None:
    """Draw all weights of a network on the CPU anew, each layer as its class does when it is made.

    Raises:
        NotDefinedError: weights belong to a layer whose class has no `reset_parameters`, so that they would stay.
    """
    for name, layer in network.named_modules():
        if any(True for _ in layer.parameters(recurse=False)) and not hasattr(layer, "reset_parameters"):
            where = f"{type(layer).__name__} {name}".strip()
            raise NotDefinedError(f"the weights of {where} can't be drawn anew: its class has no reset_parameters")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(generator.initial_seed())
        for layer in network.modules():
            reset = getattr(layer, "reset_parameters", None)
            if callable(reset):
                reset()
