"""The figures of the fingerprint: can forgotten images be found among others by the shape of their logits?"""

from collections.abc import Callable

from expunge.audit.collect.collected import Gathered
from expunge.audit.figures.definition import Definition, generator, logits_of, require_answers
from expunge.audit.metrics import auc, fingerprint
from expunge.audit.metrics.estimate import Estimate
from expunge.audit.record import WHEN, Direction

AUC_TOLERANCE = 0.1
MOST_OTHERS = 2000


def attack_by_lead(data: Gathered, when: str) -> Estimate:
    """Return the AUC of the attack that knows the rows' median lead."""
    require_answers(data, when)
    rows, others = logits_of(data.forget, when), logits_of(data.nonmembers, when)
    return auc.area(*fingerprint.closeness_to_median_lead(rows, others), generator(data, f"fingerprint lead {when}"))


def attack_by_learning(data: Gathered, when: str) -> Estimate:
    """Return the AUC of the attack that has learned from most of the rows."""
    require_answers(data, when)
    rng = generator(data, f"fingerprint learned {when}")
    rows, others = logits_of(data.forget, when), logits_of(data.nonmembers, when)
    chosen = rng.permutation(len(others))[:MOST_OTHERS]
    return auc.area(*fingerprint.learned_scores(rows, others[chosen], rng), rng)


ATTACKS: dict[str, tuple[str, Callable[[Gathered, str], Estimate]]] = {
    "lead": ("Found by the lead of the answer", attack_by_lead),
    "learned": ("Found by a classifier of logits", attack_by_learning),
}


def _of(attack: Callable[[Gathered, str], Estimate], when: str) -> Callable[[Gathered], Estimate]:
    return lambda data: attack(data, when)


def attacks(when: str) -> dict[str, Callable[[Gathered], Estimate]]:
    """Return the attacks by what they look for."""
    return {title.lower(): _of(attack, when) for title, attack in ATTACKS.values()}


FIGURES = {
    f"fingerprint.{name}_{when}": Definition(
        f"{title}, {when}",
        "AUC",
        Direction.NEAR,
        "{forget} {rows} against {nonmembers}; no label is known",
        _of(attack, when),
        auc.CHANCE,
        AUC_TOLERANCE,
    )
    for name, (title, attack) in ATTACKS.items()
    for when in WHEN
}
