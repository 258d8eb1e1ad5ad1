"""The figures of what the change of the weights gives away to somebody who has both versions."""

from collections.abc import Callable

from expunge.audit.collect.collected import Gathered, need
from expunge.audit.collect.given_away import GivenAway
from expunge.audit.figures.definition import Definition, Judged, above_chance, generator
from expunge.audit.metrics import given_away
from expunge.audit.metrics.chance import DRAWS
from expunge.audit.metrics.estimate import Estimate, NotDefinedError
from expunge.audit.record import Direction

NO_PIXELS = "the first layer that changed is not fully connected to the pixels"
MEASURED_ON = "{forget} {rows} among other images; the layer that tells most"


def need_given_away(data: Gathered) -> GivenAway:
    """Return how the change of the weights answers to images.

    Raises:
        NotDefinedError: it was not asked.
    """
    deep = data.need_deep()
    return need(deep.given_away, deep.reasons.get("given_away", "it was not measured"))


def _found(which: int) -> Callable[[Gathered], Judged]:
    """Return a figure: `named` (0) or `area` (1), beside what images drawn at random would reach."""

    def compute(data: Gathered) -> Judged:
        asked = need_given_away(data)
        k, others = asked.forget.shape[1], asked.others.shape[1]
        if others <= k:
            raise NotDefinedError("there are no more other images than forgotten ones")
        chosen, rest = given_away.ranks(asked.forget, asked.others)
        measure = (given_away.named, given_away.area)[which]
        chance = given_away.by_chance(rest, k, generator(data, "given away"), DRAWS)[which]
        on = f"{others:,} others, {len(asked.layers)} layers; the target is what images drawn at random reach"
        return above_chance(Estimate(measure(chosen, k + others)), chance, on=on)

    return compute


def _pictures(data: Gathered) -> Judged:
    asked = need_given_away(data)
    pictures, others = need(asked.pictures, NO_PIXELS), need(asked.other_pictures, NO_PIXELS)
    on = f"the target is that of {len(others):,} others"
    return above_chance(Estimate(float(pictures.mean())), others, on=on)


FIGURES = {
    "patch.named": Definition(
        "{Rows} that the change of the weights names", "percent", Direction.LOWER, MEASURED_ON, _found(0)
    ),
    "patch.auc": Definition(
        "{Rows} told from others by the change of the weights", "AUC", Direction.LOWER, MEASURED_ON, _found(1)
    ),
    "patch.picture": Definition(
        "Likeness of {rows} to what can be rebuilt from the change",
        "share",
        Direction.LOWER,
        "{forget} {rows}; largest correlation with a main direction of the first layer's change",
        _pictures,
    ),
}
