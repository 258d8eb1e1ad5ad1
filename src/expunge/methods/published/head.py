"""The last layer of a classifier, which some methods edit alone or put something in front of."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from expunge.base.errors import ClassifierError
from expunge.models.classifier import Classifier
from expunge.models.modes import evaluating


@dataclass(frozen=True, slots=True)
class Head:
    """The linear or convolutional layer that a forward pass calls last, and its name within the classifier's module."""

    name: str
    module: nn.Linear | nn.Conv2d

    @property
    def width(self) -> int:
        """Return the number of features that go into it."""
        return self.module.in_features if isinstance(self.module, nn.Linear) else self.module.in_channels


def find_head(classifier: Classifier, x: Float[Tensor, "b c h w"]) -> Head:
    """Return the head of `classifier`.

    Args:
        classifier: any classifier.
        x: one image is enough.

    Raises:
        ClassifierError: it calls no linear or convolutional layer, or its last one's weights are not to be edited.
    """
    called = list[Head]()
    heads = [
        Head(name, module)
        for name, module in classifier.module.named_modules()
        if isinstance(module, (nn.Linear, nn.Conv2d))
    ]
    hooks = [head.module.register_forward_hook(lambda *_, head=head: called.append(head)) for head in heads]
    try:
        with torch.no_grad(), evaluating(classifier.module):
            classifier(x[:1])
    finally:
        for hook in hooks:
            hook.remove()
    if not called or not called[-1].module.weight.requires_grad:
        found = f"{called[-1].name}, which is not to be edited" if called else "none"
        raise ClassifierError("classifier", "a last layer, linear or convolutional, with weights to edit", found)
    return called[-1]


def forward_features(classifier: Classifier, head: nn.Module, x: Float[Tensor, "b c h w"]) -> tuple[Tensor, Tensor]:
    """Return the logits of `x` and what went into `head`, in whatever mode the classifier is."""
    seen = list[Tensor]()
    hook = head.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    try:
        logits = classifier(x)
    finally:
        hook.remove()
    return logits, seen[-1]
