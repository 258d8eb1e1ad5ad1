"""Which methods' figures are bold: the best mean, and those that nothing tells from it on the same forget sets."""

from collections.abc import Mapping, Sequence
from math import isfinite

from scipy import stats

from expunge.bench.records import CONFIDENCE, MeanOverSets, Record, better

GOAL_COLUMNS = ("goal, %", "this request, %")
LEAST_SETS = 5
"""With fewer forget sets, two methods that differ look alike too often."""
RULE = (
    "Bold: the best mean, and each mean that differs from it by no more than half its interval and that a paired t "
    "test over the forget sets of both (two-sided, 5%) does not tell from it"
)


def find_best(column: str, by_label: Mapping[str, Sequence[Record]]) -> set[str]:
    """Return the labels of one group that are not told from the one with the best mean, that one among them.

    Where there is a goal, only methods that reached it for all rows compete in the other columns, since an edit that
    does nothing does no damage. Where nothing is to be told apart, or neither way is better, none is best.
    """
    way = better(column)
    entered = {label: _by_seed(column, records) for label, records in by_label.items() if _competes(column, records)}
    entered = {label: found for label, found in entered.items() if len(found) >= LEAST_SETS}
    if way == 0 or len(entered) < 2:
        return set()
    means = {label: MeanOverSets.of(list(found.values())) for label, found in entered.items()}
    leader = max(means, key=lambda label: way * means[label].mean)
    reach = means[leader].half or 0.0
    compared = {
        label: _is_alike(entered[leader], found, reach)
        for label, found in entered.items()
        if label != leader and len(found.keys() & entered[leader].keys()) >= LEAST_SETS
    }
    return set() if all(compared.values()) else {leader, *(label for label, alike in compared.items() if alike)}


def say_rule(records: Sequence[Record], *, any_bold: bool, competitors: str) -> str:
    """Return what bold means, or why nothing is bold."""
    if any_bold:
        return f"{RULE}; only methods with {LEAST_SETS} forget sets or more{competitors} compete. "
    seeds: dict[tuple[object, str], set[int]] = {}
    for record in records:
        if record.competes:
            seeds.setdefault((record.group, record.label), set()).add(record.seed)
    enough = [group for (group, _), each in seeds.items() if len(each) >= LEAST_SETS]
    if len(enough) == len(set(enough)):
        return f"Nothing is bold, since that takes two methods with {LEAST_SETS} forget sets or more. "
    return (
        f"Nothing is bold, since no method{competitors} is told from another by a paired t test over the forget sets. "
    )


def _competes(column: str, records: Sequence[Record]) -> bool:
    goals = [name for name in GOAL_COLUMNS if name in records[0].figures]
    reached = all(record.figures[name] >= 100 for name in goals for record in records)
    return records[0].competes and (column in GOAL_COLUMNS or reached)


def _by_seed(column: str, records: Sequence[Record]) -> dict[int, float]:
    """Return a column's figures by the seed of the forget set, of the sets that have one."""
    return {record.seed: record.figures[column] for record in records if isfinite(record.figures[column])}


def _is_alike(first: Mapping[int, float], second: Mapping[int, float], reach: float) -> bool:
    """Return whether two methods are near, and a paired test on the same forget sets does not tell them apart.

    Differences that vary much hide what they are a mean of, so the mean must be near as well.
    """
    pairs = [(first[seed], second[seed]) for seed in sorted(first.keys() & second.keys())]
    differences = [one - other for one, other in pairs]
    if abs(sum(differences) / len(differences)) > reach:
        return False
    if len(set(differences)) == 1:
        return differences[0] == 0
    return bool(stats.ttest_rel(*zip(*pairs, strict=True)).pvalue >= 1 - CONFIDENCE)
