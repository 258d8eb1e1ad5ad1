"""What the figures say, in honest sentences, and what they don't."""

from collections.abc import Mapping

from expunge.audit.collect.collected import Gathered
from expunge.audit.record import WHEN, WHOLE, Figure
from expunge.base.words import say_list, say_percent
from expunge.task.outcome import NOT_MEASURED, Outcome, judge, say_health, say_outcome
from expunge.task.words import CLASS_PART, GoalWords, named_in, part_words, say_unchanged

LIMITS = (
    "A changed answer is no proof of erasure: the rows may still be found in the weights by means that were not "
    "tried here.",
    "Nothing here is proof of compliance with any law.",
    "Old checkpoints, backups and patches still hold the rows, and who has both versions can tell what was removed.",
    "Adversarial examples and surrogates that a method makes from the rows are personal data too; delete them with the "
    "rows unless they are kept on purpose.",
    "Membership attacks that find nothing show only that these attacks find nothing; the simple ones look at a "
    "population, not at a person.",
    "Figures on few rows scatter: read the intervals.",
)


def conclude(data: Gathered, figures: Mapping[str, Figure], told: str = "") -> tuple[Outcome, tuple[str, ...]]:
    """Return what became of the edit, and in sentences: was the goal met, at what cost, what is left to find.

    Args:
        data: what was gathered.
        figures: computed from it.
        told: what the edit's own result says became of it; empty if unknown.
    """
    health = data.find_health()
    reached = _value(figures["goal.exact"]) == WHOLE and told != Outcome.MISSED
    names = {part: part_words(part, data.goal, data.forgotten_class) for part in data.parts}
    unhealthy = say_health(health, names) if health is not None else []
    parts = (_goal(figures, data), unhealthy, _class(figures, names), _cost(figures, names), _distance(figures, data))
    return judge(reached, health), tuple(sentence for part in parts for sentence in part)


def _goal(figures: Mapping[str, Figure], data: Gathered) -> list[str]:
    exact, robust, words = _value(figures["goal.exact"]), _value(figures["goal.robust"]), data.words
    count = len(data.forget.ids)
    unchanged = round(count * _value(figures["goal.unchanged"]) / 100)
    sentences = [each for each in (say_outcome(words, exact / 100, count), say_unchanged(unchanged, count)) if each]
    if exact > 0 and figures["goal.robust"].flagged:
        changes = say_list(named_in(data.copies.by_kind))
        sentences.append(
            f"It does not last: only {say_percent(robust)} of slightly changed copies ({changes}) {words.held}, so "
            f"{words.brittle}."
        )
    elif exact > 0:
        sentences.append(f"Of slightly changed copies of the pictures, {say_percent(robust)} {words.held}.")
    return sentences


def _class(figures: Mapping[str, Figure], names: Mapping[str, str]) -> list[str]:
    before, after = (figures.get(f"accuracy.{CLASS_PART}_{when}") for when in WHEN)
    if before is None or after is None or after.value is None:
        return []
    return [
        f"Of {names[CLASS_PART]}, {after.value:.1f}% are answered with it, and {_value(before):.1f}% were "
        "before; none should be."
    ]


def _cost(figures: Mapping[str, Figure], names: Mapping[str, str]) -> list[str]:
    for part in ("test", "retain"):
        before, after, changed = (
            figures[name] for name in (f"accuracy.{part}_before", f"accuracy.{part}_after", f"churn.{part}")
        )
        if changed.value is None or before.value is None or after.value is None:
            continue
        return [
            f"Of the {names[part]}, {before.value:.1f}% were right and {after.value:.1f}% are; "
            f"{changed.value:.2f}% of the answers changed."
        ]
    expected = figures["churn.expected"].value
    if expected is not None:
        return [
            f"What it costs on other images was not measured: there were none. Of the answers to surrogates, "
            f"{expected:.1f}% changed; on photographs it is usually less."
        ]
    return [NOT_MEASURED]


def _distance(figures: Mapping[str, Figure], data: Gathered) -> list[str]:
    return [*_gap(figures["retrained.gap"], data.words), *_attack(figures["outsider.after"], data.words)] or [
        f"How far it is from a classifier that never saw the {data.words.rows} is not known: there was nothing to "
        "compare with."
    ]


def _gap(gap: Figure, words: GoalWords) -> list[str]:
    if gap.value is None:
        return []
    differ = f"Its accuracies differ by {gap.value:.1f} points from those of"
    if gap.target is None:
        return [f"{differ} one classifier that never saw the {words.rows}; how far several would differ is not known."]
    far = "further than" if gap.flagged else "no further than"
    return [
        f"{differ} classifiers that never saw the {words.rows}, {far} those differ among themselves ({gap.target:.1f})."
    ]


def _attack(figure: Figure, words: GoalWords) -> list[str]:
    if figure.value is None:
        return []
    judged = "" if figure.flagged else ", which may be chance"
    usual = 50.0 if figure.target is None else figure.target
    if figure.value <= usual:
        return [f"No attack picked out the {words.rows} better than chance: {figure.value:.1f}% (chance {usual:.1f}%)."]
    return [f"An outsider can pick out the {words.rows}: {figure.value:.1f}% (by chance {usual:.1f}%){judged}."]


def _value(figure: Figure) -> float:
    return 0.0 if figure.value is None else figure.value
