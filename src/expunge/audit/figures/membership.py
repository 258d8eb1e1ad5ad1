"""The figures of simple membership: can forgotten images, as a group, be told from images that were never seen?"""

from collections.abc import Callable
from functools import partial

import numpy as np

from expunge.audit.collect.collected import Gathered
from expunge.audit.figures.attack import Attack
from expunge.audit.figures.definition import Definition, Judged, generator, logits_of, require_answers
from expunge.audit.metrics import answers, auc, chance, membership
from expunge.audit.record import WHEN, Direction

CHANCE = auc.CHANCE
AUC_TOLERANCE = 0.05
POINTS = 5.0


def simple_scores(data: Gathered, when: str, score: str) -> tuple[np.ndarray, np.ndarray]:
    """Return an attack's scores of forget and of unseen rows.

    Raises:
        NotDefinedError: there are no unseen images, or the classifier gives all rows one answer.
    """
    forget, test = data.forget, data.nonmembers
    require_answers(data, when)
    function = membership.SCORES[score]
    return function(logits_of(forget, when), forget.labels), function(logits_of(test, when), test.labels)


def _svc(when: str) -> Callable[[Gathered], Judged]:
    def compute(data: Gathered) -> Judged:
        forget, retain, test = data.forget, data.part("retain"), data.nonmembers
        require_answers(data, when)
        rng = generator(data, f"svc {when}")
        asked_about, members, others = (
            membership.label_probability(logits_of(part, when), part.labels) for part in (forget, retain, test)
        )
        unseen = rng.permutation(others)
        fitted, asked = unseen[: len(unseen) // 2], unseen[len(unseen) // 2 :]
        flags = membership.svc_unseen(members, fitted, np.concatenate([asked_about, asked]), rng)
        count = len(forget.ids)
        return _beside(flags[:count], flags[count:], rng)

    return compute


def _beside(flags: np.ndarray, others: np.ndarray, rng: np.random.Generator) -> Judged:
    """Return a share whose target is that of other images, and its tolerance what the two differ by if drawn anew."""
    apart = np.abs(chance.values(lambda one, other: float(one.mean() - other.mean()), flags, others, rng))
    tolerance = max(POINTS, 100 * float(np.quantile(apart, chance.USUAL)))
    return Judged(answers.share(flags), answers.share(others).value, tolerance)


ATTACKS = {score: Attack(score.replace("_", " "), partial(simple_scores, score=score)) for score in membership.SCORES}

FIGURES = {
    f"membership.{score}_{when}": Definition(
        f"Membership by {attack.name}, {when}",
        "AUC",
        Direction.NEAR,
        "{forget} {rows} against {nonmembers}; a weak attack on the population",
        attack.judge(when, AUC_TOLERANCE),
        CHANCE,
    )
    for score, attack in ATTACKS.items()
    for when in WHEN
} | {
    f"membership.svc_{when}": Definition(
        f"{{Rows}} taken for unseen by a support vector classifier, {when}",
        "percent",
        Direction.NEAR,
        "{forget} {rows}, fitted on retain and unseen images; the target is what other unseen images get",
        _svc(when),
    )
    for when in WHEN
}
