"""The figures of membership: can forgotten images be told from images that were never seen?"""

from collections.abc import Callable

import numpy as np

from expunge.audit.collect.collected import Gathered, need
from expunge.audit.figures import fingerprint
from expunge.audit.figures.definition import Definition, Judged, generator, logits_of, require_answers
from expunge.audit.metrics import auc, membership, shadows
from expunge.audit.metrics.estimate import Estimate, NotDefinedError
from expunge.audit.record import WHEN, Direction

CHANCE = auc.CHANCE
AUC_TOLERANCE = 0.05
POINTS = 5.0
NOT_UNLEARNED = "the shadow classifiers did not unlearn the rows"
TITLES = {
    "loss": "Membership by loss",
    "confidence": "Membership by confidence",
    "entropy": "Membership by entropy",
    "modified_entropy": "Membership by modified entropy",
}


def simple_scores(data: Gathered, score: str, when: str) -> tuple[np.ndarray, np.ndarray]:
    """Return an attack's scores of forget and of unseen rows.

    Raises:
        NotDefinedError: there are no unseen images, or the classifier gives all rows one answer.
    """
    forget, test = data.forget, data.nonmembers
    require_answers(data, when)
    function = membership.SCORES[score]
    return function(logits_of(forget, when), forget.labels), function(logits_of(test, when), test.labels)


def rmia_scores(data: Gathered, when: str) -> shadows.Scores:
    """Return RMIA's scores of the forget rows and of half of the test rows; the other half is its population.

    Raises:
        NotDefinedError: there are no shadow classifiers, or too few test rows.
    """
    pool, test = data.need_shadows(), data.nonmembers
    require_answers(data, when)
    rows = generator(data, "rmia population").permutation(len(pool.test_rows))
    if len(rows) < 2:
        raise NotDefinedError("it takes at least two test rows")
    population, others = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    unseen = np.ones((len(pool.test), len(rows)), dtype=bool)
    logits, labels = logits_of(test, when)[pool.test_rows], test.labels[pool.test_rows]
    ratios = shadows.likelihood_ratio(
        logits[population], labels[population], pool.test[:, population], unseen[:, population]
    )
    return shadows.Scores(
        shadows.rmia_scores(logits_of(data.forget, when), data.forget.labels, pool.forget, ~pool.seen, ratios),
        shadows.rmia_scores(logits[others], labels[others], pool.test[:, others], unseen[:, others], ratios),
    )


def ulira_scores(data: Gathered, never: str) -> shadows.Scores:
    """Return U-LiRA's scores, by row and shadow classifier.

    Args:
        data: what was gathered.
        never: which classifiers stand for those that never saw a row: "unedited", as trained, or "edited", those that
            unlearned the other rows.

    Raises:
        NotDefinedError: there are no shadow classifiers, they did not unlearn, or give all images one answer.
    """
    pool = data.need_shadows()
    unlearned = need(pool.unlearned_forget, NOT_UNLEARNED)
    if never == "unedited":
        return shadows.ulira_scores(pool.forget, unlearned, pool.seen, data.forget.labels)
    answers = np.concatenate([unlearned, need(pool.unlearned_test, NOT_UNLEARNED)], axis=1).argmax(axis=2)
    if (answers == answers[:, :1]).all():
        raise NotDefinedError("the edited shadow classifiers give every image the same answer")
    return shadows.ulira_scores(unlearned, unlearned, pool.seen, data.forget.labels)


def _simple(score: str, when: str) -> Callable[[Gathered], Estimate]:
    return lambda data: auc.area(*simple_scores(data, score, when), generator(data, f"{score} {when}"))


def _outsider(when: str) -> Callable[[Gathered], Judged]:
    """Return how well the strongest attack at hand tells the rows from unseen images, whichever way it is right.

    An attack whose area is 0.001 is as good as one of 0.999: it only has to be read the other way round. U-LiRA is no
    candidate, since it judges the method on other classifiers.
    """
    attacks = {title.lower().removeprefix("membership by "): _simple(score, when) for score, title in TITLES.items()}
    attacks |= fingerprint.attacks(when)
    attacks["RMIA"] = lambda data: auc.area(*rmia_scores(data, when), generator(data, f"rmia {when}"))

    def compute(data: Gathered) -> Judged:
        found: dict[str, Estimate] = {}
        reasons = []
        for name, attack in attacks.items():
            try:
                found[name] = auc.either_way(attack(data))
            except NotDefinedError as error:
                reasons.append(str(error))
        if not found:
            raise NotDefinedError(reasons[0])
        strongest = max(found, key=lambda name: found[name].value)
        on = f"the strongest of {len(found)} attacks: {strongest}"
        return Judged(_in_percent(found[strongest]), 100 * CHANCE, 100 * AUC_TOLERANCE, on)

    return compute


def _in_percent(area: Estimate) -> Estimate:
    interval = area.interval
    return Estimate(100 * area.value, None if interval is None else (100 * interval[0], 100 * interval[1]))


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
        return Judged(Estimate(100 * float(flags[:count].mean())), 100 * float(flags[count:].mean()), POINTS)

    return compute


def _of_rmia(figure: str, when: str) -> Callable[[Gathered], Estimate | float]:
    def compute(data: Gathered) -> Estimate | float:
        return _summarise(rmia_scores(data, when), figure, generator(data, f"rmia {when}"))

    return compute


def _of_ulira(figure: str, never: str) -> Callable[[Gathered], Estimate | float]:
    def compute(data: Gathered) -> Estimate | float:
        scores = ulira_scores(data, never)
        if figure == "accuracy":
            return shadows.balanced_accuracy(scores)
        return _summarise(scores, figure, generator(data, f"ulira {never}"))

    return compute


def _summarise(scores: shadows.Scores, figure: str, rng: np.random.Generator) -> Estimate | float:
    if figure == "auc":
        return auc.area(*scores, rng)
    if figure == "tpr":
        return auc.tpr_at(*scores)
    return auc.best_accuracy(*scores)


SIMPLE = {
    f"membership.{score}_{when}": Definition(
        f"{title}, {when}",
        "AUC",
        Direction.NEAR,
        "{forget} {rows} against {nonmembers}; a weak attack on the population",
        _simple(score, when),
        CHANCE,
        AUC_TOLERANCE,
    )
    for score, title in TITLES.items()
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

ON_RMIA = "{forget} {rows} against unseen images, {shadows} shadow classifiers"
RMIA = {
    "rmia.auc_before": Definition(
        "RMIA, before", "AUC", Direction.NEAR, ON_RMIA, _of_rmia("auc", "before"), CHANCE, AUC_TOLERANCE
    ),
    "rmia.auc_after": Definition(
        "RMIA, after", "AUC", Direction.NEAR, ON_RMIA, _of_rmia("auc", "after"), CHANCE, AUC_TOLERANCE
    ),
    "rmia.tpr_after": Definition(
        "RMIA: {rows} found at 1% false alarms",
        "percent",
        Direction.LOWER,
        ON_RMIA,
        _of_rmia("tpr", "after"),
        1.0,
        POINTS,
    ),
    "rmia.accuracy_after": Definition(
        "RMIA: told apart at the best threshold",
        "percent",
        Direction.LOWER,
        ON_RMIA + "; the threshold is chosen on them",
        _of_rmia("accuracy", "after"),
        50.0,
        10.0,
    ),
}

ULIRA_NAMES = {"unedited": "ulira", "edited": "ulira_edited"}
ULIRA_TITLES = {"unedited": "U-LiRA", "edited": "U-LiRA, both edited"}
ON_ULIRA = (
    "{{forget}} {{rows}} in {{shadows}} shadow classifiers: unlearned against never seen, {never}; judges the method"
)
ULIRA_NEVER = {"unedited": "as trained", "edited": "edited on the other rows"}
ULIRA = {
    f"{name}.{figure}": Definition(
        ULIRA_TITLES[never] + words,
        unit,
        direction,
        ON_ULIRA.format(never=ULIRA_NEVER[never]),
        _of_ulira(figure, never),
        target,
        tolerance,
    )
    for never, name in ULIRA_NAMES.items()
    for figure, words, unit, direction, target, tolerance in (
        ("auc", "", "AUC", Direction.NEAR, CHANCE, AUC_TOLERANCE),
        ("accuracy", ": told apart", "percent", Direction.LOWER, 50.0, POINTS),
        ("tpr", ": found at 1% false alarms", "percent", Direction.LOWER, 1.0, POINTS),
    )
}


OUTSIDER = {
    f"outsider.{when}": Definition(
        f"An outsider can pick out the {{rows}}, {when}",
        "percent",
        Direction.NEAR,
        "{forget} {rows} against {nonmembers}; chance 50%",
        _outsider(when),
        100 * CHANCE,
        100 * AUC_TOLERANCE,
    )
    for when in WHEN
}

FIGURES = {**OUTSIDER, **SIMPLE, **RMIA, **ULIRA}
