"""All figures of an audit, computed from what was measured."""

from collections.abc import Mapping

from expunge.audit.collect.collected import Gathered
from expunge.audit.figures import (
    answer_pattern,
    answers,
    distance,
    fingerprint,
    given_away,
    margins,
    membership,
    outsider,
    residual,
    rmia,
    ulira,
    untrained,
)
from expunge.audit.figures.declared import declared_figures
from expunge.audit.figures.definition import Definition, to_figure
from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.record import HEADLINES, Figure
from expunge.task.words import CLASS_PART, part_words

FIGURES: dict[str, Definition] = {
    **answers.FIGURES,
    **answer_pattern.FIGURES,
    **distance.FIGURES,
    **outsider.FIGURES,
    **membership.FIGURES,
    **rmia.FIGURES,
    **ulira.FIGURES,
    **fingerprint.FIGURES,
    **margins.FIGURES,
    **residual.FIGURES,
    **given_away.FIGURES,
    **untrained.FIGURES,
}

CANDIDATES: dict[str, tuple[str, ...]] = {
    "goal": ("goal.exact",),
    "cost": ("churn.test", "churn.retain", "churn.expected"),
    "outsider": ("outsider.after",),
    "time": ("cost.seconds",),
}


def compute_figures(data: Gathered) -> dict[str, Figure]:
    """Return every figure; one that these inputs don't define has the reason in place of a value.

    Raises:
        SettingsError: what another package declares is no figure; see `declared_figures`.
    """
    words = _words(data)
    return {
        name: _compute(definition, data, words)
        for name, definition in {**FIGURES, **declared_figures(FIGURES)}.items()
        if data.forgotten_class or not definition.for_class
    }


def choose_headline(figures: Mapping[str, Figure]) -> dict[str, str | None]:
    """Return the names of four figures: the first of each kind that is defined."""
    return {
        kind: next((name for name in CANDIDATES[kind] if figures[name].value is not None), None) for kind in HEADLINES
    }


def _compute(definition: Definition, data: Gathered, words: Mapping[str, str]) -> Figure:
    title = definition.title.format(**words)
    counted = {**words, "rows": words["row"]} if words["forget"] == "1" else words
    measured_on = definition.measured_on.format(**counted)
    try:
        return to_figure(definition, definition.compute(data), title=title, measured_on=measured_on)
    except NotDefinedError as error:
        return Figure(
            title=title,
            value=None,
            unit=definition.unit,
            direction=definition.direction,
            target=definition.target,
            measured_on=measured_on,
            reason=str(error),
        )


def _words(data: Gathered) -> dict[str, str]:
    others = ("retain", "test", CLASS_PART)
    sizes = {name: f"{len(data.parts[name].ids):,}" if name in data.parts else "no" for name in others}
    words = data.words
    nonmembers = CLASS_PART if data.forgotten_class else "test"
    return {
        **sizes,
        "Rows": words.title,
        "rows": words.rows,
        "row": words.row,
        "share": words.share,
        "held": words.held,
        "class_name": data.forgotten_class,
        "test_words": part_words("test", data.goal, data.forgotten_class),
        "retain_words": part_words("retain", data.goal, data.forgotten_class),
        "nonmembers": f"{sizes[nonmembers]} {part_words(nonmembers, data.goal, data.forgotten_class)}",
        "surrogates": "no" if data.expected is None else str(data.expected.surrogates),
        "forget": f"{len(data.forget.ids):,}",
        "copies": str(data.copies.copies_per_row),
        "parts": ", ".join(data.parts),
        "shadows": "no" if data.shadows is None else str(len(data.shadows.forget)),
        "retrained": "no" if data.retrained is None else str(len(data.retrained.logits)),
    }
