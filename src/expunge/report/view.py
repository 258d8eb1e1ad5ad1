"""The numbers of an audit in the order and the words of the page."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from expunge.audit.record import AUDIT_FILE, AUDIT_FOLDER, HEADLINES, Audit, Figure
from expunge.report.panels.inside import cka_panel, layers_panel, slices_panel, tsne_panel
from expunge.report.panels.outcome import classes_panel, copies_panel, cost_panel, pattern_panel
from expunge.report.panels.panel import Panel
from expunge.report.panels.reference import reference_panel
from expunge.report.panels.traces import membership_panel, relearning_panel
from expunge.report.topics import TOPICS, Topic, topic_of
from expunge.task.words import MISCLASSIFY, WORDS, GoalWords

HEADLINE_WORDS = {
    "goal": ("Was the goal reached?", ("goal",)),
    "cost": ("How much else changed?", ("churn", "accuracy")),
    "outsider": ("Can an outsider pick them out?", ("outsider", "membership")),
    "time": ("How long did it take?", ("cost",)),
}

PANELS: Mapping[str, tuple[Callable[[Audit], Panel], ...]] = {
    "What the classifier answers now": (pattern_panel, copies_panel, classes_panel, slices_panel),
    "What an outsider could still find": (membership_panel, relearning_panel, reference_panel),
    "What changed inside": (tsne_panel, cka_panel, layers_panel),
    "What it took": (cost_panel,),
}


@dataclass(frozen=True, slots=True)
class Card:
    """One of the four figures of the first screen; `figure` is None where none of its kind is defined."""

    heading: str
    figure: Figure | None
    reason: str


@dataclass(frozen=True, slots=True)
class Group:
    """Figures of one topic, by dotted name."""

    topic: Topic
    figures: Mapping[str, Figure]

    @property
    def defined(self) -> Mapping[str, Figure]:
        """Return the figures that have a value."""
        return {name: figure for name, figure in self.figures.items() if figure.value is not None}


def find_audit(folder: Path) -> Path:
    """Return the folder of the audit itself, where `folder` is that of a run."""
    inside = folder / AUDIT_FOLDER
    return inside if not (folder / AUDIT_FILE).exists() and (inside / AUDIT_FILE).exists() else folder


def cards_of(audit: Audit) -> tuple[Card, ...]:
    """Return the four figures of the first screen."""
    cards = []
    for name in HEADLINES:
        heading, kinds = HEADLINE_WORDS[name]
        chosen = audit.headline[name]
        figure = audit.figures[chosen] if chosen is not None else None
        cards.append(Card(heading, figure, "" if figure else _why_undefined(audit, kinds)))
    return tuple(cards)


def groups_of(figures: Mapping[str, Figure], words: GoalWords = WORDS[MISCLASSIFY]) -> tuple[Group, ...]:
    """Return all figures by topic, known topics first and in their order."""
    prefixes = dict.fromkeys([*TOPICS, *(name.partition(".")[0] for name in figures)])
    groups = []
    for prefix in prefixes:
        members = {name: figure for name, figure in figures.items() if name.partition(".")[0] == prefix}
        if members:
            groups.append(Group(topic_of(prefix, words), members))
    return tuple(groups)


def panels_of(audit: Audit) -> Mapping[str, tuple[Panel, ...]]:
    """Return the panels by the heading that they stand under.

    Raises:
        DataError: a table of the audit is gone or damaged.
    """
    return {heading: tuple(make(audit) for make in makers) for heading, makers in PANELS.items()}


def undefined_figures(figures: Mapping[str, Figure]) -> Mapping[str, tuple[str, ...]]:
    """Return the titles of the figures without a value, by the reason."""
    return _by_reason((figure.title, figure.reason) for figure in figures.values() if figure.value is None)


def undefined_panels(panels: Iterable[Panel]) -> Mapping[str, tuple[str, ...]]:
    """Return the titles of the panels without a drawing, by the reason."""
    return _by_reason((panel.title, panel.reason) for panel in panels if panel.reason is not None)


def _by_reason(titles: Iterable[tuple[str, str | None]]) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for title, reason in titles:
        found[reason or "no reason is known"] = (*found.get(reason or "no reason is known", ()), title)
    return found


def _why_undefined(audit: Audit, kinds: tuple[str, ...]) -> str:
    for kind in kinds:
        for name, figure in audit.figures.items():
            if name.startswith(f"{kind}.") and figure.reason:
                return figure.reason
    return f"a {audit.level} audit of these inputs has no such figure"
