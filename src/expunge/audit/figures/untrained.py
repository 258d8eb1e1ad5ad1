"""The figures of zero retrain forgetting (ZRF): how like those of random weights answers to forgotten images are."""

from collections.abc import Callable

import numpy as np

from expunge.audit.collect.collected import Gathered, need
from expunge.audit.figures.definition import Definition, Judged
from expunge.audit.metrics import retrained
from expunge.audit.metrics.estimate import Estimate
from expunge.audit.metrics.predicted import Logits
from expunge.audit.record import Direction

WHEN = ("before", "after", "retrained")
TOLERANCE = 0.05


def _zrf(when: str) -> Callable[[Gathered], Judged]:
    """Return the figure of one classifier; its target is what retrained classifiers give, where there are any."""

    def compute(data: Gathered) -> Judged:
        deep = data.need_deep()
        untrained = list(need(deep.untrained, deep.reasons.get("untrained", "this audit did not ask untrained ones")))
        if when == "retrained":
            data.need_retrained()
        others = [] if data.retrained is None else [one["forget"] for one in data.retrained.logits]
        expected = _mean(others, untrained)
        if when == "retrained" and expected is not None:
            return Judged(Estimate(expected), None, TOLERANCE)
        own = data.forget.before if when == "before" else data.forget.after
        return Judged(retrained.zero_retrain_forgetting(own, untrained), expected, TOLERANCE)

    return compute


def _mean(others: list[Logits], untrained: list[Logits]) -> float | None:
    found = [retrained.zero_retrain_forgetting(one, untrained).value for one in others]
    return float(np.mean(found)) if found else None


FIGURES = {
    f"zrf.{when}": Definition(
        f"Likeness of answers to {{rows}} to those of untrained classifiers, {when}",
        "share",
        Direction.NEAR if when == "after" else Direction.NONE,
        "{forget} {rows}, 5 draws of random weights; the target is what retrained classifiers give",
        _zrf(when),
    )
    for when in WHEN
}
