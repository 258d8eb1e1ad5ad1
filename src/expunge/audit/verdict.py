"""What the figures say, in honest sentences, and what they don't."""

from collections.abc import Mapping

from expunge.audit.record import Figure

LIMITS = (
    "A suppressed answer is no proof of erasure: the rows may still be found in the weights by means that were not "
    "tried here.",
    "Nothing here is proof of compliance with any law.",
    "Old checkpoints, backups and patches still hold the rows, and who has both versions can tell what was removed.",
    "Adversarial examples and probes that a method makes from the rows are personal data too; delete them with the "
    "rows unless they are kept on purpose.",
    "Membership attacks that find nothing show only that these attacks find nothing; the simple ones look at a "
    "population, not at a person.",
    "Figures on few rows scatter: read the intervals.",
)


def write_verdict(figures: Mapping[str, Figure]) -> tuple[str, ...]:
    """Return three to five sentences: was the goal met, what did it cost, how far is it from never having seen."""
    return tuple(sentence for part in (_goal, _cost, _distance) for sentence in part(figures))


def _goal(figures: Mapping[str, Figure]) -> list[str]:
    exact, robust = (_value(figures["goal.exact"]), _value(figures["goal.robust"]))
    if exact == 100:
        sentences = ["The goal was met: every forgotten row answers as it should."]
    else:
        sentences = [f"The goal was not met: it holds for {exact:.1f}% of the rows only."]
    if exact > 0 and figures["goal.robust"].flagged:
        sentences.append(
            f"It does not last: only {robust:.0f}% of slightly changed copies (mirrored, shifted, resized, "
            "recompressed, noised) answer as they should, so the rows are hidden rather than forgotten."
        )
    elif exact > 0:
        sentences.append(f"It also holds for {robust:.0f}% of slightly changed copies of the pictures.")
    return sentences


def _cost(figures: Mapping[str, Figure]) -> list[str]:
    for part, words in (("test", "test images"), ("retain", "other training images")):
        changed, drop = figures[f"churn.{part}"], figures[f"accuracy.{part}_drop"]
        if changed.value is None or drop.value is None:
            continue
        if drop.value >= 0:
            moved = f"{drop.value:.2f} points of accuracy were lost"
        else:
            moved = f"accuracy rose by {-drop.value:.2f} points"
        return [f"On {words}, {changed.value:.2f}% of the answers changed, and {moved}."]
    return ["What it costs on other images is not known: there were none to measure on."]


def _distance(figures: Mapping[str, Figure]) -> list[str]:
    gap = figures["retrained.gap"]
    if gap.value is not None:
        far = "further than" if gap.flagged else "no further than"
        return [
            f"Its accuracies differ by {gap.value:.1f} points from those of classifiers that never saw the rows, "
            f"{far} those differ among themselves ({_or_zero(gap.target):.1f})."
        ]
    for name, words in (("rmia.auc_after", "a strong attack"), ("membership.loss_after", "a simple attack")):
        figure = figures[name]
        if figure.value is not None:
            return [_say_attack(figure, figure.value, words)]
    return ["How far it is from a classifier that never saw the rows is not known: there was nothing to compare with."]


def _say_attack(figure: Figure, area: float, attack: str) -> str:
    if not figure.flagged:
        return (
            f"No classifier without the rows was there to compare with; {attack} can hardly tell them from unseen "
            f"images (AUC {area:.2f}, where 0.5 is chance)."
        )
    look = "much more wrong than unseen images, which is a trace too" if area < 0.5 else "like training images"
    return (
        f"No classifier without the rows was there to compare with; {attack} can tell them from unseen images: they "
        f"look {look} (AUC {area:.2f}, where 0.5 is chance)."
    )


def _value(figure: Figure) -> float:
    return _or_zero(figure.value)


def _or_zero(value: float | None) -> float:
    return 0.0 if value is None else value
