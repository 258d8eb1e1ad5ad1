"""A made-up audit in files, for tests of the pages: no classifier behind it, every kind of figure in it."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image

from expunge.audit.audit_json import to_json
from expunge.audit.record import Audit, Direction, Figure, Subject, TableFile
from expunge.base.cells import csv_text
from expunge.task.outcome import Outcome

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)><b>bold</b>",
    "\"'><svg/onload=alert(3)>&amp;{{7*7}}",
    "\u202egpj.exe\u0007",
    "x" * 300,
    "</title></style></svg><style>*{display:none}</style>",
)
CLASSES = ("cat", "dog", "ship", "truck")
KINDS = ("mirrored", "shifted", "resized", "recompressed", "noised", "mirrored+noised")
LAYERS = ("conv1", "layer1", "layer2", "linear")
COLUMNS = {
    "rows": "row id label new_label predicted_before confidence_before predicted_after confidence_after margin robust "
    "goal_met image",
    "classes": "part label n accuracy_before accuracy_after churn",
    "copies": "kind held",
    "layers": "name size l2 relative share",
    "cka": "layer part cka",
    "pattern": "label answer rows runner_up",
    "membership": "attack when fpr tpr",
    "relearning": "classifier step accuracy",
    "tsne": "when part id label x y",
    "cost": "phase seconds",
    "pools": "kind number forget_accuracy test_accuracy",
}
FILES = {**{name: f"{name}.csv" for name in COLUMNS}, "slices": "slices.npz"}


def figure(title, value, unit, direction=Direction.LOWER, target=0.0, **more):
    """Return a figure, flagged where it is far from its target."""
    tolerance = {"AUC": 0.05, "percent": 2 if target in (0.0, 100.0) else 5}.get(unit, 2)
    flagged = None if target is None or value is None else abs(value - target) > tolerance
    return Figure(title, value, unit, direction, target, "500 test images", flagged, **more)


OUTSIDER = "an outsider can pick out the forgotten images, after"
FIGURES = {
    "goal.exact": figure("forgotten, exact pixels", 91.6667, "percent", Direction.HIGHER, 100.0),
    "goal.robust": figure("forgotten, changed copies", 71.2, "percent", Direction.HIGHER, 100.0),
    "accuracy.forget_before": figure("right before", 100.0, "percent", Direction.NONE, None),
    "accuracy.forget_after": figure("right after", 8.3, "percent", Direction.NONE, None),
    "accuracy.test_before": figure("right on test images before", 91.7, "percent", Direction.NONE, None),
    "accuracy.test_after": figure("right on test images after", 91.0, "percent", Direction.NONE, None),
    "accuracy.test_drop": figure("test accuracy lost", 0.7, "points"),
    "churn.test": figure("test answers changed", 1.4, "percent", interval=(0.6, 2.7)),
    "retrained.gap": figure("gap to retrained", None, "points", reason="no retrained classifiers were given"),
    "membership.loss_before": figure("AUC of the loss before", 0.71, "AUC", Direction.NEAR, 0.5),
    "membership.loss_after": figure("AUC of the loss after", 0.32, "AUC", Direction.NEAR, 0.5, interval=(0.2, 0.44)),
    "outsider.after": figure(OUTSIDER, 68.0, "percent", target=50.0, interval=(56.0, 80.0)),
    "cost.seconds": figure("time of the edit", 25.3, "seconds", target=None),
    "cost.memory": figure("memory", 1.5e9, "bytes", target=None),
}

ATTACK = "AUC of the loss after"
OUTCOMES = {
    "failed": {},
    "good": {
        "goal.exact": figure("forgotten, exact pixels", 100.0, "percent", Direction.HIGHER, 100.0),
        "goal.robust": figure("forgotten, changed copies", 98.4, "percent", Direction.HIGHER, 100.0),
        "accuracy.test_after": figure("right on test images after", 91.4, "percent", Direction.NONE, None),
        "accuracy.test_drop": figure("test accuracy lost", 0.3, "points"),
        "membership.loss_after": figure(ATTACK, 0.53, "AUC", Direction.NEAR, 0.5, interval=(0.4, 0.6)),
        "outsider.after": figure(OUTSIDER, 53.0, "percent", target=50.0),
    },
    "ruined": {
        "goal.exact": figure("forgotten, exact pixels", 100.0, "percent", Direction.HIGHER, 100.0),
        "goal.robust": figure("forgotten, changed copies", 100.0, "percent", Direction.HIGHER, 100.0),
        "accuracy.test_after": figure("right on test images after", 26.1, "percent", Direction.NONE, None),
        "accuracy.test_drop": figure("test accuracy lost", 65.6, "points"),
        "churn.test": figure("test answers changed", 74.8, "percent", interval=(70.1, 79.0)),
        "answers.largest_share": figure("answers of the most frequent class", 99.2, "percent", target=27.0),
        "membership.loss_after": figure(ATTACK, 0.001, "AUC", Direction.NEAR, 0.5, interval=(0.0, 0.01)),
        "outsider.after": figure(OUTSIDER, 99.9, "percent", target=50.0),
    },
}
"""How the figures of the outcomes differ; of the failed one they are as above."""
VERDICTS = {
    "failed": "11 of 12 images are forgotten.",
    "good": "All 12 images are forgotten.",
    "ruined": "The classifier is ruined: it is right on 26.1%, and was on 91.7%.",
}


def write_sample_audit(
    folder: Path, *, ids=None, classes=CLASSES, count=12, without=(), method="least-change", outcome="failed", **subject
) -> Path:
    """Write an audit of `count` rows to `folder`; tables named in `without` are not defined.

    `outcome` is one of OUTCOMES; of all but the failed one the goal holds for every row. Further arguments go to the
    audit's subject.
    """
    (folder / "images").mkdir(parents=True)
    ids = ids or [f"digit-{number}" for number in range(count)]
    tables = make_tables(ids, classes, missed=1 if outcome == "failed" else 0)
    tables = {name: rows for name, rows in tables.items() if name not in without}
    for name, rows in tables.items():
        write_table(folder / f"{name}.csv", COLUMNS[name].split(), rows)
    for number in range(len(ids)):
        (folder / "images" / f"{number:04}.png").write_bytes(png(number))
    if "slices" not in without:
        write_slices(folder / FILES["slices"], ids, len(classes))
    subject = make_subject(classes, method, len(ids), **subject)
    write_audit(folder, subject, set(FILES) - set(without), outcome)
    return folder


def make_subject(classes, method, count, **more):
    """Return what the audit is of; `more` is what differs from an ordinary one."""
    plain = Subject(
        before={"architecture": "digits", "weights_sha256": "0" * 64},
        after={"architecture": "digits", "weights_sha256": "1" * 64},
        data="scikit-learn's digits",
        forget_sha256="2" * 64,
        goal="misclassify",
        class_names=tuple(classes),
        sizes={"forget": count, "retain": 100, "test": 500},
        used_by_edit=("forget",),
        method=method,
        settings={"margin": 0.5, "note": "</pre><script>alert(1)</script>"},
        pools={"shadow": "8 small classifiers, each trained on a random half"},
        reference="letter 17",
        finished="2026-03-05T14:07:31+00:00",
    )
    return replace(plain, **more)


def write_audit(folder, subject, defined, outcome):
    """Write audit.json."""
    audit = Audit(
        folder=folder,
        version="0.1",
        level="full",
        seed=0,
        subject=subject,
        verdict=(VERDICTS[outcome], "Some of the other answers changed."),
        headline={"goal": "goal.exact", "cost": "churn.test", "outsider": "outsider.after", "time": "cost.seconds"},
        figures=FIGURES | OUTCOMES[outcome],
        tables={
            name: TableFile(FILES[name]) if name in defined else TableFile(None, f"no {name} were asked for")
            for name in FILES
        },
        notes=("one image was unreadable",),
        outcome=Outcome({"good": "reached", "failed": "missed", "ruined": "ruined"}[outcome]),
        limits=("A suppressed answer is no proof of erasure.", "Backups still hold the images."),
    )
    (folder / "audit.json").write_text(json.dumps(to_json(audit)))


def make_tables(ids, classes, missed):
    """Return the rows of every table; the goal does not hold for the first `missed` images."""
    rates = [0.0, 0.1, 0.4, 1.0]
    random = np.random.default_rng(0)
    return {
        "rows": [
            (
                n,
                name,
                n % len(classes),
                "",
                n % len(classes),
                0.9 - n / 100,
                (n + (n >= missed)) % len(classes),
                0.5 + n / 50,
                n - 0.5,
                n / 10,
                "yes" if n >= missed else "no",
                f"images/{n:04}.png",
            )
            for n, name in enumerate(ids)
        ],
        "classes": [
            (part, label, 125, 98 - label, 97.5 - 2 * label, 1.4)
            for part in ("forget", "retain", "test")
            for label in range(len(classes))
        ],
        "copies": [(kind, 0.5 + 0.08 * place) for place, kind in enumerate(KINDS)],
        "layers": [(name, 100, 0.1 * n, "" if n == 3 else 0.01 * (n + 1), 1.0) for n, name in enumerate(LAYERS)],
        "cka": [(n, part, 0.99 - 0.1 * place) for place, n in enumerate(LAYERS) for part in ("forget", "test")],
        "pattern": [(n % len(classes), (n + 1) % len(classes), 1 + n, n) for n in range(4)],
        "membership": [
            (attack, when, rate, rate**power)
            for attack in ("loss", "entropy")
            for when, power in (("before", 0.5), ("after", 1.6))
            for rate in rates
        ],
        "relearning": [
            (name, step, min(100, start + step * 3))
            for name, start in (("original", 100), ("edited", 0), ("retrained 1", 90), ("retrained 2", 88))
            for step in range(0, 30, 10)
        ],
        "tsne": [
            (
                when,
                "forget" if n < len(ids) else "test",
                f"t{n}",
                n % len(classes),
                *random.normal(n % len(classes), 0.3, 2),
            )
            for when in ("before", "after")
            for n in range(len(ids) + 80)
        ],
        "cost": [("probes", 3.2), ("solve", 20.1), ("look", 2.0)],
        "pools": [("shadow", 0, 95.5, 97.0), ("retrained", 1, 91.5, 97.5), ("retrained", 2, "", 96.5)],
    }


def write_table(path, columns, rows):
    """Write a CSV table."""
    path.write_bytes(csv_text([columns, *rows]).encode())


def write_slices(path, ids, classes):
    """Write two slices of 12 by 12 points."""
    grids = np.stack(
        [np.add.outer(np.arange(12), np.arange(12)) // 6 % classes, np.indices((12, 12))[0] // 3 % classes]
    )
    np.savez(
        path,
        row=np.array([0, 1]),
        names=np.array([(ids[0], "b", "c"), (ids[-1], "d", "e")]),
        points=np.array([[[0.0, 0.0], [1.0, 0.0], [0.3, 1.0]]] * 2),
        extent=np.array([[-0.5, 1.5, -0.5, 1.5]] * 2),
        before=grids,
        after=grids[::-1],
    )


def png(number):
    """Return a small picture of a grey ramp."""
    stream = io.BytesIO()
    Image.fromarray(np.full((8, 8), 20 * number % 256, np.uint8) + np.arange(8, dtype=np.uint8)).save(stream, "PNG")
    return stream.getvalue()
