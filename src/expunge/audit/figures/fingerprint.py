"""The figures of the fingerprint: can forgotten images be found among others by the shape of their logits?"""

import numpy as np
from jaxtyping import Float

from expunge.audit.collect.collected import Gathered
from expunge.audit.figures.attack import Attack, Scored
from expunge.audit.figures.definition import Definition, generator, logits_of, require_answers
from expunge.audit.metrics import auc, chance, fingerprint
from expunge.audit.record import WHEN, Direction

AUC_TOLERANCE = 0.1
MOST_OTHERS = 2000
CROSS_VALIDATED = 1.5
"""How much wider areas of cross-validated scores scatter than those of independent ones: with a part of 1/5 asked by
what 4/5 taught, by sqrt(1 + 5/4) (Nadeau and Bengio 2003, "Inference for the generalization error")."""


def scores_by_lead(data: Gathered, when: str) -> Scored:
    """Return the scores of the attack that knows the rows' median lead.

    Raises:
        NotDefinedError: too few rows, no unseen images, or the classifier gives all rows one answer.
    """
    require_answers(data, when)
    return fingerprint.closeness_to_median_lead(logits_of(data.forget, when), logits_of(data.nonmembers, when))


def _areas_by_lead(data: Gathered, when: str, rng: np.random.Generator) -> Float[np.ndarray, " d"]:
    """Return the AUCs by chance; the median is that of each draw, of which the scores of few images depend much."""
    own, others = (fingerprint.leads(logits_of(part, when)) for part in (data.forget, data.nonmembers))
    if len(others) > MOST_OTHERS:  # up to then, all attacks have the same draws
        others = rng.permutation(others)[:MOST_OTHERS]
    area = lambda *groups: auc.exact_area(*fingerprint.closeness_of_leads(*groups))  # noqa: E731
    return chance.values(area, own, others, rng)


def scores_by_learning(data: Gathered, when: str) -> Scored:
    """Return the scores of the attack that has learned from most of the rows.

    Raises:
        NotDefinedError: too few images, or the classifier gives all rows one answer.
    """
    require_answers(data, when)
    rng = generator(data, f"fingerprint learned {when}")
    rows, others = logits_of(data.forget, when), logits_of(data.nonmembers, when)
    chosen = np.sort(rng.permutation(len(others))[:MOST_OTHERS])
    return fingerprint.learned_scores(rows, others[chosen], rng)


ATTACKS = {
    "lead": Attack("the lead of the answer", scores_by_lead, areas=_areas_by_lead),
    "learned": Attack("a classifier of logits", scores_by_learning, stretch=CROSS_VALIDATED),
}

FIGURES = {
    f"fingerprint.{name}_{when}": Definition(
        f"Found by {attack.name}, {when}",
        "AUC",
        Direction.NEAR,
        "{forget} {rows} against {nonmembers}; no label is known",
        attack.judge(when, AUC_TOLERANCE),
        auc.CHANCE,
    )
    for name, attack in ATTACKS.items()
    for when in WHEN
}
