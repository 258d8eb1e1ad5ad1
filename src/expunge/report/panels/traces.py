"""Panels of what the edit leaves for an attacker: membership curves, relearning."""

from collections.abc import Sequence

from expunge.audit.record import WHEN, Audit, Row
from expunge.base.words import plural
from expunge.report.drawing.charts import Axis, Curve, draw_curves
from expunge.report.drawing.svg import Drawing
from expunge.report.panels.panel import TITLES, Key, Numbers, Panel, say_cell, why_missing

ATTACKS = {
    "loss": "loss",
    "confidence": "confidence",
    "entropy": "entropy",
    "modified_entropy": "modified entropy",
    "rmia": "RMIA",
    "ulira": "U-LiRA",
    "ulira_edited": "U-LiRA, both edited",
}
DIAGONAL = Curve(((0.0, 0.0), (1.0, 1.0)), "reference")
CURVE_HEIGHT = 230.0


def membership_panel(audit: Audit) -> Panel:
    """Return the ROC curves of the membership attacks before and after."""
    title = TITLES["membership"]
    reading = (
        f"Each curve shows how many {audit.subject.words.rows} an attack finds (up) for how many unseen ones it "
        "accuses wrongly (right); on the dotted diagonal it does no better than guessing, far below it is a trace, too."
    )
    rows = audit.table("membership")
    if not rows:
        return Panel("membership", title, reading, reason=why_missing(audit, "membership"))
    attacks = list(dict.fromkeys(row["attack"] for row in rows))
    drawings = tuple(_draw_attack(audit, attack, rows) for attack in attacks)
    keys = (Key("before", "before", "line"), Key("after", "after", "line"), Key("guessing", "reference", "line"))
    lines = [[ATTACKS.get(attack, attack), *(_say_auc(audit, attack, when) for when in WHEN)] for attack in attacks]
    return Panel("membership", title, reading, drawings, keys, Numbers.of(("attack", "AUC before", "AUC after"), lines))


def relearning_panel(audit: Audit) -> Panel:
    """Return how fast the forgotten rows come back while the classifier is trained on other images."""
    title = TITLES["relearning"]
    reading = (
        f"Each line is the share of {audit.subject.words.rows} answered with their label while the classifier is "
        f"trained on other images; an edited line that jumps up at once means that {audit.subject.words.returns}."
    )
    rows = audit.table("relearning")
    if not rows:
        return Panel("relearning", title, reading, reason=why_missing(audit, "relearning"))
    names = list(dict.fromkeys(row["classifier"] for row in rows))
    curves = [Curve(relearning_points(rows, name), _style(name)) for name in names]
    said = "; ".join(f"{name} {say_course(curve.points)}" for name, curve in zip(names, curves, strict=True))
    drawing = draw_curves(
        curves,
        Axis("steps of training on other images", 0),
        Axis(f"% of {audit.subject.words.rows} answered with their label", 0, 100),
        f"Relearning curves: {said}.",
    )
    numbers = Numbers.of(
        ("classifier", "step", "% right"), [(row["classifier"], row["step"], say_cell(row["accuracy"])) for row in rows]
    )
    styles = {_style(name): name for name in reversed(names)}
    shown = {"before": "original", "after": "edited", "never": "retrained without the images"}
    keys = tuple(Key(shown[style], style, "line") for style in shown if style in styles)
    return Panel("relearning", title, reading, (drawing,), keys, numbers)


def relearning_points(rows: tuple[Row, ...], classifier: str) -> tuple[tuple[float, float], ...]:
    """Return (step, accuracy) of one classifier."""
    return tuple((float(row["step"]), float(row["accuracy"])) for row in rows if row["classifier"] == classifier)


def say_course(points: Sequence[tuple[float, float]]) -> str:
    """Return first and last accuracy of a relearning curve in words."""
    return f"from {points[0][1]:.0f}% to {points[-1][1]:.0f}% in {plural(round(points[-1][0]), 'step')}"


def roc_points(rows: tuple[Row, ...], attack: str, when: str) -> tuple[tuple[float, float], ...]:
    """Return (false, true positive rate) of one attack."""
    return tuple(
        (float(row["fpr"]), float(row["tpr"])) for row in rows if row["attack"] == attack and row["when"] == when
    )


def _draw_attack(audit: Audit, attack: str, rows: tuple[Row, ...]) -> Drawing:
    curves = {when: roc_points(rows, attack, when) for when in WHEN}
    name = ATTACKS.get(attack, attack)
    said = f"{name}: AUC " + ", ".join(f"{_say_auc(audit, attack, when)} {when}" for when in WHEN if curves[when])
    return draw_curves(
        [DIAGONAL, *(Curve(points, when) for when, points in curves.items() if points)],
        Axis("unseen images accused wrongly", 0, 1),
        Axis(f"{audit.subject.words.rows} found", 0, 1),
        f"Curve of the attack by {said}.",
        said,
        CURVE_HEIGHT,
    )


def _say_auc(audit: Audit, attack: str, when: str) -> str:
    for name in (f"membership.{attack}_{when}", f"{attack}.auc_{when}", f"{attack}.auc"):
        figure = audit.figures.get(name)
        if figure is not None and figure.value is not None and not (name.endswith(".auc") and when == "before"):
            return f"{figure.value:.3f}"
    return "not defined"


def _style(classifier: str) -> str:
    if classifier.startswith("original"):
        return "before"
    return "never" if classifier.startswith("retrained") else "after"
