"""The figures of margins: do they spread as over classifiers that never saw the images (KLOM)?"""

from collections.abc import Callable

import numpy as np

from expunge.audit.collect.collected import Gathered, Shadows, need
from expunge.audit.figures.definition import Definition, Judged, generator
from expunge.audit.figures.ulira import NOT_UNLEARNED
from expunge.audit.metrics import klom
from expunge.audit.metrics.answers import log_odds
from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.record import Direction


def _klom(part: str) -> Callable[[Gathered], Judged]:
    def compute(data: Gathered) -> Judged:
        pool = data.need_shadows()
        if part == "test" and data.forgotten_class:
            raise NotDefinedError("the test images that shadow classifiers were asked are of the forgotten class")
        edited, never = _margins(data, pool, part)
        found = klom.klom(edited, never, generator(data, f"klom {part}"))
        return Judged(found.estimate, found.chance, found.chance_high - found.chance)

    return compute


def _margins(data: Gathered, pool: Shadows, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Return margins of edited classifiers and of those that stand for never-seen ones, NaN where none."""
    if part == "forget":
        labels, unlearned = data.forget.labels, need(pool.unlearned_forget, NOT_UNLEARNED)
        return (
            np.where(pool.seen, log_odds(unlearned, labels), np.nan),
            np.where(pool.seen, np.nan, log_odds(pool.forget, labels)),
        )
    labels, unlearned = data.nonmembers.labels[pool.test_rows], need(pool.unlearned_test, NOT_UNLEARNED)
    return log_odds(unlearned, labels), log_odds(pool.test, labels)


FIGURES = {
    "klom.forget": Definition(
        "Margins of {rows}, edited against never seen",
        "nats",
        Direction.LOWER,
        "KL(edited || never seen), {shadows} shadow classifiers; the target is its value by chance",
        _klom("forget"),
    ),
    "klom.test": Definition(
        "Margins of test images, edited against unedited",
        "nats",
        Direction.LOWER,
        "KL(edited || unedited), {shadows} shadow classifiers; the target is its value by chance",
        _klom("test"),
    ),
}
