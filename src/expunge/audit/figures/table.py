"""All figures of an audit, computed from what was measured."""

from collections.abc import Mapping

from expunge.audit.collect.collected import Gathered
from expunge.audit.figures import answers, distance, membership, residual
from expunge.audit.figures.definition import Definition, to_figure
from expunge.audit.metrics.estimate import NotDefinedError
from expunge.audit.record import HEADLINES, Figure

FIGURES: dict[str, Definition] = {
    **answers.FIGURES,
    **distance.FIGURES,
    **membership.FIGURES,
    **residual.FIGURES,
}

CANDIDATES: dict[str, tuple[str, ...]] = {
    "goal": ("goal.exact",),
    "cost": ("churn.test", "churn.retain"),
    "distance": ("retrained.gap", "rmia.auc_after", "membership.loss_after"),
    "time": ("cost.seconds",),
}


def compute_figures(data: Gathered) -> dict[str, Figure]:
    """Return every figure; one that these inputs don't define has the reason in place of a value."""
    words = _words(data)
    return {name: _compute(definition, data, words) for name, definition in FIGURES.items()}


def choose_headline(figures: Mapping[str, Figure]) -> dict[str, str | None]:
    """Return the names of four figures: the first of each kind that is defined."""
    return {
        kind: next((name for name in CANDIDATES[kind] if figures[name].value is not None), None) for kind in HEADLINES
    }


def _compute(definition: Definition, data: Gathered, words: Mapping[str, str]) -> Figure:
    measured_on = definition.measured_on.format(**words)
    try:
        return to_figure(definition, definition.compute(data), measured_on)
    except NotDefinedError as error:
        return Figure(
            title=definition.title,
            value=None,
            unit=definition.unit,
            direction=definition.direction,
            target=definition.target,
            measured_on=measured_on,
            reason=str(error),
        )


def _words(data: Gathered) -> dict[str, str]:
    sizes = {name: f"{len(data.parts[name].ids):,}" if name in data.parts else "no" for name in ("retain", "test")}
    return {
        **sizes,
        "forget": f"{len(data.forget.ids):,}",
        "copies": str(data.copies.copies_per_row),
        "parts": ", ".join(data.parts),
        "shadows": "no" if data.shadows is None else str(len(data.shadows.forget)),
        "retrained": "no" if data.retrained is None else str(len(data.retrained.logits)),
    }
