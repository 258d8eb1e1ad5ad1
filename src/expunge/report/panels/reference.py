"""The panel of the reference: classifiers that never saw the images, beside the original and the edited one."""

from expunge.audit.record import WHEN, Audit
from expunge.report.drawing.charts import Axis, Dots, draw_dots
from expunge.report.panels.panel import Key, Numbers, Panel, number_of, why_missing

RETRAINED = "retrained"
NO_RETRAINED = "no classifiers that never saw the images were there to compare with"


def reference_panel(audit: Audit) -> Panel:
    """Return how often each classifier is right on the forgotten and on unseen images."""
    title = "What do classifiers answer that never saw the images?"
    reading = (
        "Retrained classifiers never saw the images and still get many of them right, because they look like others of "
        "their label; the nearer the edited one is to them, the less its answers give away."
    )
    table, called = audit.table("pools"), audit.subject.words.rows
    rows = [row for row in table if row["kind"] == RETRAINED]
    if not rows:
        return Panel("reference", title, reading, reason=NO_RETRAINED if table else why_missing(audit, "pools"))
    names = ["original", "edited", *(f"{RETRAINED} {row['number']}" for row in rows)]
    forget = [*_own(audit, "forget"), *(number_of(row["forget_accuracy"]) for row in rows)]
    test = [*_own(audit, "test"), *(number_of(row["test_accuracy"]) for row in rows)]
    said = [(name, _say(one), _say(other)) for name, one, other in zip(names, forget, test, strict=True)]
    alternative = f"Right on the {called} and on test images: " + "; ".join(
        f"{name} {one} and {other}" for name, one, other in said
    )
    dots = [Dots(tuple(test), "before", "square"), Dots(tuple(forget), "after")]
    drawing = draw_dots(names, dots, Axis("percent answered with their label", high=100), f"{alternative}.")
    keys = (Key(called, "after"), Key("test images", "before", "square"))
    numbers = Numbers.of(("classifier", called, "test images"), said)
    return Panel("reference", title, reading, (drawing,), keys, numbers)


def _own(audit: Audit, part: str) -> tuple[float | None, ...]:
    """Return the accuracy before and after on one part."""
    figures = (audit.figures.get(f"accuracy.{part}_{when}") for when in WHEN)
    return tuple(figure.value if figure else None for figure in figures)


def _say(accuracy: float | None) -> str:
    return "not defined" if accuracy is None else f"{accuracy:.1f}%"
