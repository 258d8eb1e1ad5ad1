"""A classifier with a projector before its head, and where images lie among StructGuard's anchors."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.methods.published.anchors import Structure
from expunge.methods.published.head import Head, forward_features
from expunge.methods.published.projector import Projector
from expunge.models.classifier import Classifier


@dataclass(frozen=True, slots=True, kw_only=True)
class Projected:
    """What an edit trains, and what it is held to.

    Args:
        working: the classifier that is edited.
        head: of `working`.
        projector: stands before the head.
        through: `working` with the projector in place; both share their weights.
        original: the classifier before the edit, in eval mode.
        structure: the anchors.
    """

    working: Classifier
    head: Head
    projector: Projector
    through: Classifier
    original: Classifier
    structure: Structure

    def place_before(self, original: Classifier, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b classes"]:
        """Return where images lay before the edit; `original` is a copy of it, in the mode it is in."""
        with torch.no_grad():
            _, features = forward_features(original, original.module.get_submodule(self.head.name), x)
        return self.structure.place_original(self.projector.order(features))

    def place_now(self, projector: Projector, features: Tensor) -> Float[Tensor, "b classes"]:
        """Return where features lie that `projector` projects."""
        if self.structure.mix is None:
            return self.structure.place(projector.order(projector(features)))
        return self.structure.place(projector.embed(features))

    def pass_through(self, x: Float[Tensor, "b c h w"]) -> tuple[Tensor, Float[Tensor, "b classes"]]:
        """Return the logits of images through the projector, and where they lie."""
        placed = self.through.module.get_submodule(self.head.name)
        if self.structure.mix is None:
            logits, projected = forward_features(self.through, placed.get_submodule("head"), x)
            return logits, self.structure.place(self.projector.order(projected))
        logits, features = forward_features(self.through, placed, x)
        return logits, self.structure.place(self.projector.embed(features))
