"""How many images fit into the memory that may be used."""

from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.base.errors import SettingsError
from expunge.compute.runtime import Runtime
from expunge.models.classifier import Classifier
from expunge.models.modes import evaluating

OVERHEAD = 2.0
"""Peak memory of a forward and backward pass, in units of what the forward pass keeps for the backward one."""
SHARE_OF_ACTIVATIONS = 0.5
"""Of the memory that may be used; adversarial examples may take the rest."""


def fit_batch(runtime: Runtime, classifier: Classifier, x: Float[Tensor, "b c h w"]) -> Runtime:
    """Return a runtime whose batches fit into its memory budget, if it has one.

    Args:
        runtime: with `memory_gigabytes`, or without, in which case it is returned as it is.
        classifier: whose activations take the memory.
        x: one image is enough.

    Raises:
        SettingsError: not even one image fits.
    """
    if runtime.memory_gigabytes is None:
        return runtime
    per_image = OVERHEAD * measure_activations(classifier, x[:1])
    fitting = int(SHARE_OF_ACTIVATIONS * runtime.memory_gigabytes * 2**30 / max(per_image, 1))
    if fitting < 1:
        least = per_image / SHARE_OF_ACTIVATIONS / 2**30
        raise SettingsError("memory_gigabytes", f"at least {least:.2g} for one image", f"{runtime.memory_gigabytes}")
    return replace(runtime, batch_size=min(runtime.batch_size, fitting))


def measure_activations(classifier: Classifier, x: Float[Tensor, "b c h w"]) -> int:
    """Return how many bytes a forward pass of `x` keeps for the backward pass, weights and buffers left out."""
    kept = {tensor.data_ptr(): 0 for tensor in (*classifier.module.parameters(), *classifier.module.buffers())}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept.setdefault(storage.data_ptr(), storage.nbytes())
        return tensor

    with (
        torch.enable_grad(),
        evaluating(classifier.module),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        logits = classifier(x.to(classifier.device).clone().requires_grad_(True))
        total = sum(kept.values())
    del logits  # until here, so that no storage was freed and its address used again
    return total
