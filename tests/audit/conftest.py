"""A small world without training: rows that a classifier saw are answered with more confidence than others."""

import numpy as np
import pytest

from expunge.audit.collect.collected import Deep, FeaturePart, Gathered, Noised, Retrained, Shadows
from expunge.audit.collect.relearning import Relearning
from expunge.audit.metrics.predicted import Part
from expunge.compute.context import Cost
from expunge.task.evaluation import RobustGoal

CLASSES = 5
SIZES = {"forget": 200, "retain": 300, "test": 400}
SEEN, UNSEEN = 8.0, 2.5
SHADOWS = 8
CASES = ("unedited", "retrained", "constant")


def draw_logits(rng, labels, strength):
    """Return logits of a classifier: noise, and `strength` on the label."""
    logits = rng.normal(size=(len(labels), CLASSES))
    logits[np.arange(len(labels)), labels] += strength
    return logits.astype(np.float32)


def answer_all(logits):
    """Return the logits of a constant classifier on as many rows."""
    return np.tile(np.arange(CLASSES, 0, -1, dtype=np.float32), (*logits.shape[:-1], 1))


class World:
    """Rows, the original classifier's answers, pools, and what each known case makes of them."""

    def __init__(self, seed=0):
        self.rng = np.random.default_rng(seed)
        self.labels = {name: np.arange(count) % CLASSES for name, count in SIZES.items()}
        strengths = {"forget": SEEN, "retain": SEEN, "test": UNSEEN}
        self.before = {name: self.draw(name, strength) for name, strength in strengths.items()}
        self.projection = self.rng.normal(size=(CLASSES, 12)).astype(np.float32)

    def draw(self, name, strength):
        return draw_logits(self.rng, self.labels[name], strength)

    def never_saw(self):
        """Return the logits of a classifier that was trained without the forget rows."""
        return {
            "forget": self.draw("forget", UNSEEN),
            "retain": self.draw("retain", SEEN),
            "test": self.draw("test", UNSEEN),
        }

    def after(self, case):
        if case == "unedited":
            return self.before
        if case == "retrained":
            return self.never_saw()
        return {name: answer_all(logits) for name, logits in self.before.items()}

    def shadows(self, case):
        seen = np.zeros((SHADOWS, SIZES["forget"]), dtype=bool)
        for pair in range(0, SHADOWS, 2):
            seen[pair] = self.rng.random(SIZES["forget"]) < 0.5
            seen[pair + 1] = ~seen[pair]
        labels, test = self.labels["forget"], self.labels["test"]
        trained = np.stack([draw_logits(self.rng, labels, np.where(row, SEEN, UNSEEN)) for row in seen])
        on_test = np.stack([draw_logits(self.rng, test, UNSEEN) for _ in seen])
        unlearned, unlearned_test = trained, on_test
        if case == "retrained":
            unlearned = np.stack([draw_logits(self.rng, labels, UNSEEN) for _ in seen])
        if case == "constant":
            unlearned, unlearned_test = answer_all(trained), answer_all(on_test)
        return Shadows(seen, trained, np.arange(SIZES["test"]), on_test, unlearned, unlearned_test, "drawn")

    def gathered(self, case, **changes):
        after = self.after(case)
        parts = {
            name: Part(
                name, tuple(f"{name}-{row}" for row in range(count)), self.labels[name], self.before[name], after[name]
            )
            for name, count in SIZES.items()
        }
        features = {
            name: FeaturePart(
                np.arange(SIZES[name]), self.before[name] @ self.projection, after[name] @ self.projection
            )
            for name in SIZES
        }
        accuracy = 100 * float((after["forget"].argmax(axis=1) == self.labels["forget"]).mean())
        curves = (
            Relearning("original", (0, 2, 4), (100.0, 100.0, 100.0)),
            Relearning("edited", (0, 2, 4), (accuracy, accuracy, 100.0)),
            Relearning("retrained 1", (0, 2, 4), (80.0, 85.0, 90.0)),
        )
        noised = Noised(parts["test"].predicted_before, parts["test"].predicted_after)
        values = {
            "goal": "misclassify",
            "goal_labels": self.labels["forget"],
            "parts": parts,
            "copies": RobustGoal(0.0, {"mirrored": 0.0}, 0.0, 32, (0.0,) * SIZES["forget"]),
            "seed": 0,
            "cost": Cost(1.0, {"edit": 0.9}, 600, 10_000),
            "deep": Deep(features=features, noised=noised, relearning=curves),
            "shadows": self.shadows(case),
            "retrained": Retrained(tuple(self.never_saw() for _ in range(3)), "drawn"),
        }
        return Gathered(**{**values, **changes})


@pytest.fixture(scope="session")
def world():
    return World()


@pytest.fixture(scope="session")
def cases(world):
    """Return what was gathered of each known case."""
    return {case: world.gathered(case) for case in CASES}
