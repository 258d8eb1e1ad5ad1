"""Settings of every method under which it is quick on a tiny classifier; a new method needs one row here."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """Settings under which a method is quick on a tiny classifier, hardly moves, lets its weights overflow (if any)."""

    quick: dict[str, Any]
    slow: dict[str, Any]
    wild: dict[str, Any] | None


DESCENT = {"learning_rate": 0.01, "forget_batch": 2, "passes": 30}
ATTACK = {"targets_per_row": 2, "radius": 0.5, "step_size": 0.2, "steps": 2}
SLOW = {"descent": {**DESCENT, "learning_rate": 1e-6}}
WILD = {"descent": {**DESCENT, "learning_rate": 1e30}}
L2UL = {"attack": ATTACK, "adversarial_batch": 4}

STRUCTGUARD = {"attack": ATTACK, "adversarial_batch": 4, "anchor_width": 6, "importance_images": 8}
ZS_PAG = {"attack": ATTACK, "energy": 0.5, "forget_batch": 2, "passes": 100}

SURROGATES = {"mixes": 12, "inverted": 4, "procedural": 4, "inversion": {"steps": 2}}
ROBUST = {"steps": 8, "surrogate_batch": 8, "copies": 6}
LEAST = {"surrogates": SURROGATES, "exact": {"steps": 8, "surrogate_batch": 8}, "robust": ROBUST}

SEARCH = {"first_radius": 0.2, "steps": 20}
TRAINING = {"epochs": 2, "batch_size": 8}
EPOCHS = Row(
    {"training": TRAINING},
    {"training": {**TRAINING, "learning_rate": 1e-6}},
    {"training": {**TRAINING, "learning_rate": 1e30}},
)


def with_settings(row, **more):
    """Return the row with more settings."""
    return Row(*({**each, **more} for each in (row.quick, row.slow, row.wild)))


def with_training(row, **changes):
    """Return the row with other settings of its training."""
    return Row(*({"training": {**each["training"], **changes}} for each in (row.quick, row.slow, row.wild)))


ROWS = {
    "least-change": Row(LEAST, {**LEAST, "rate": 1e-9, "robust": {**ROBUST, "gain": 0.0}}, {**LEAST, "rate": 1e30}),
    "l2ul": Row({**L2UL, "descent": {**DESCENT, "passes": 300}}, {**L2UL, **SLOW}, {**L2UL, **WILD}),
    "l2ul-faithful": Row({**L2UL, "descent": {**DESCENT, "passes": 300}}, {**L2UL, **SLOW}, {**L2UL, **WILD}),
    "structguard": Row(
        {**STRUCTGUARD, "learning_rate": 0.05},
        {**STRUCTGUARD, "learning_rate": 1e-6},
        {**STRUCTGUARD, "learning_rate": 1e30},
    ),
    "negative-gradient": Row({"descent": DESCENT}, SLOW, WILD),
    "relabel-only": Row({"descent": DESCENT}, SLOW, WILD),
    "boundary-shrink": Row(
        {"descent": DESCENT, "nearest": "other"}, {**SLOW, "nearest": "other"}, {**WILD, "nearest": "other"}
    ),
    "delete": Row({"descent": DESCENT}, SLOW, WILD),
    "zs-pag": Row(
        {**ZS_PAG, "learning_rate": 0.05},
        {**ZS_PAG, "learning_rate": 1e-6},
        {**ZS_PAG, "learning_rate": 1e30},
    ),
    "amun": with_settings(with_training(EPOCHS, epochs=4, batch_size=4), search=SEARCH),
    "jit": with_training(EPOCHS, epochs=4, batch_size=2),
    "imu": with_training(EPOCHS, epochs=4, batch_size=2),
    "mu-mis": with_training(EPOCHS, epochs=4, batch_size=2),
    "ruago": with_settings(with_training(EPOCHS, algorithm="sgd"), images=12, inversion={"steps": 2}),
    "retrain": EPOCHS,
    "oracle": Row({"descent": DESCENT, "retain_batch": 8}, {**SLOW, "retain_batch": 8}, {**WILD, "retain_batch": 8}),
    "fine-tune": EPOCHS,
    "neggrad-plus": EPOCHS,
    "random-label": EPOCHS,
    "l1-sparse": EPOCHS,
    "salun": EPOCHS,
    "scrub": EPOCHS,
    "bad-teacher": with_training(EPOCHS, algorithm="sgd"),
    "ssd": Row({"rows": 8, "selection": 1.0, "batch_size": 2}, {"rows": 8, "batch_size": 2}, None),
    "influence": Row({"rows": 8}, {"rows": 8, "scale": 1e-6}, {"rows": 8, "scale": 1e38}),
    "amun-retain": with_settings(EPOCHS, search=SEARCH),
}
