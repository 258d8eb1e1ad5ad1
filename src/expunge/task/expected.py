"""What an edit should do to other images, from surrogates that had no part in it; no real image is needed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from expunge.compute.sharing import Sharing
from expunge.models.classifier import Classifier
from expunge.task.evaluation import compute_logits
from expunge.task.outcome import SURROGATES, Health


@dataclass(frozen=True, slots=True)
class ExpectedCost:
    """What an edit should cost on other images.

    Args:
        churn: percent of the surrogates whose predicted label changed.
        logit_change: root mean squared change of a surrogate's logits, their mean over the classes taken out.
        surrogates: how many there were.
        health: what their answers say of the classifier; None in results that are older than it.
    """

    churn: float
    logit_change: float
    surrogates: int
    health: Health | None = None

    def to_json(self) -> dict[str, Any]:
        """Return what result.json says of it."""
        health = None if self.health is None else self.health.to_json()
        return {
            "churn": self.churn,
            "logit_change": self.logit_change,
            "surrogates": self.surrogates,
            "health": health,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "ExpectedCost":
        """Return what `to_json` wrote."""
        health = content.get("health")
        figures = (content["churn"], content["logit_change"], content["surrogates"])
        return cls(*figures, None if health is None else Health.from_json(health))


def measure_expected_cost(
    before: Classifier, after: Classifier, surrogates: Float[Tensor, "n c h w"], at_once: Sharing | int = 256
) -> ExpectedCost:
    """Return how two classifiers differ on `surrogates`, so many of which go through at once (see `compute_logits`)."""
    old, new = (compute_logits(classifier, surrogates, at_once) for classifier in (before, after))
    change = (new - old) - (new - old).mean(dim=1, keepdim=True)
    answers = (each.argmax(dim=1).cpu().numpy() for each in (old, new))
    health = Health.of(SURROGATES, *answers, classes=before.num_classes)
    return ExpectedCost(health.churn, change.square().sum(dim=1).mean().sqrt().item(), len(surrogates), health)
