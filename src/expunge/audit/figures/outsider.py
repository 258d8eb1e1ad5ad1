"""The figures of an outsider: how well does the strongest attack at hand pick out the forgotten images?"""

from collections.abc import Callable

import numpy as np

from expunge.audit.collect.collected import Gathered
from expunge.audit.figures import fingerprint, membership, rmia
from expunge.audit.figures.attack import Attack
from expunge.audit.figures.definition import Definition, Judged, above_chance
from expunge.audit.metrics import auc
from expunge.audit.metrics.estimate import Estimate, NotDefinedError
from expunge.audit.record import WHEN, Direction

LEAST = 5.0
"""Points above chance that are told whatever the number of images."""
ATTACKS: tuple[Attack, ...] = (*membership.ATTACKS.values(), *fingerprint.ATTACKS.values(), rmia.ATTACK)


def _strongest(when: str) -> Callable[[Gathered], Judged]:
    """Return how well the strongest attack tells the rows from unseen images, beside the strongest of random draws.

    An attack whose area is 0.001 is as good as one of 0.999: it only has to be read the other way round. U-LiRA is no
    candidate, since it judges the method on other classifiers.
    """

    def compute(data: Gathered) -> Judged:
        found, drawn, reasons = {}, [], []
        for attack in ATTACKS:
            try:
                area, by_chance = attack.measure(data, when)
            except NotDefinedError as error:
                reasons.append(str(error))
                continue
            found[attack.name] = float(auc.either_way(area.value))
            drawn.append(auc.either_way(by_chance))
        if not found:
            raise NotDefinedError(reasons[0])
        name = max(found, key=lambda each: found[each])
        on = f"the strongest of {len(found)} attacks: {name}; the target is the strongest of them by chance"
        return above_chance(Estimate(100 * found[name]), 100 * np.max(drawn, axis=0), LEAST, on)

    return compute


FIGURES = {
    f"outsider.{when}": Definition(
        f"An outsider can pick out the {{rows}}, {when}",
        "percent",
        Direction.LOWER,
        "{forget} {rows} against {nonmembers}",
        _strongest(when),
    )
    for when in WHEN
}
