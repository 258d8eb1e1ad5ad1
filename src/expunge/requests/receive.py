"""A new request: checked against the classifier, its images sealed, its hashes noted."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from expunge.base.errors import LedgerError, SettingsError
from expunge.base.settings import to_mapping
from expunge.data.forget import ForgetSet
from expunge.methods.unlearn import make_method
from expunge.requests.fingerprints import fingerprint
from expunge.requests.images import hash_images, store_images
from expunge.requests.project import Ledger
from expunge.requests.state import Request
from expunge.requests.weights import load_first, read_current, with_weights
from expunge.task.goals import GOALS
from expunge.task.task import Strength, Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What is asked, beside the images; None is what the project says.

    Args:
        reference: who asked, or the number of their letter: free text, better no name.
        goal: `misclassify`, `relabel`, or None for relabel where there are new labels.
        method: a name of `METHODS`.
        settings: over that method's defaults.
        strength: exact pixels, or copies too.
        seed: source of all randomness.
        minimum_right: share of rows (0..1) that the newest classifier must predict as labelled.
        keep_until: keep the encrypted images until the end of this day; None deletes them after verification.
    """

    reference: str = ""
    goal: str | None = None
    method: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    strength: Strength | None = None
    seed: int = 0
    minimum_right: float = 0.5
    keep_until: date | None = None

    def __post_init__(self) -> None:
        if self.goal is not None and self.goal not in GOALS:
            raise SettingsError("goal", f"one of {', '.join(GOALS)}", self.goal)


def receive(ledger: Ledger, rows: ForgetSet, wish: Wish) -> Request:
    """Add a request to the ledger and return it; the classifier stays as it is until `apply_waiting`.

    Args:
        ledger: locked for writing.
        rows: what is to be forgotten, pixels within 0..1.
        wish: everything else.

    Raises:
        ForgetSetError, ClassifierError, SettingsError: rows, classifier and method do not fit.
        LedgerError: the images have another shape than those of earlier requests.
    """
    _check_shape(ledger, rows)
    how = _resolve(ledger, wish)
    newest = with_weights(load_first(ledger).classifier, read_current(ledger))
    goal = None if wish.goal is None else GOALS[wish.goal]
    task = Task.create(newest, rows, goal=goal, seed=wish.seed, minimum_right=wish.minimum_right)
    relabels = task.goal.name == "relabel"
    new_labels = task.labels.tolist() if relabels else [None] * len(rows)
    instances = list(zip(rows.ids, hash_images(ledger, rows), rows.y.tolist(), new_labels, strict=True))
    name = ledger.state.next_request()
    received = {
        "request": name,
        "reference": wish.reference,
        "instances": instances,
        "goal": task.goal.name,
        "how": how,
        "shape": list(rows.x.shape[1:]),
        "keep_until": None if wish.keep_until is None else wish.keep_until.isoformat(),
        "images": asdict(store_images(ledger, name, rows)),
    }
    validated = {"request": name, "rows": len(rows), "right": int(task.right.sum())}
    prints = [(name, row, ledger.keys.seal(value.tobytes(), name)) for row, value in enumerate(fingerprint(rows.x))]
    ledger.append([("received", received), ("validated", validated)], prints)
    return ledger.state.find(name)


def supply(ledger: Ledger, name: str, rows: ForgetSet) -> Request:
    """Give a request its images once more, after they were deleted; salted hashes tell that they are the same.

    Raises:
        LedgerError: no such request, its images are still there, or these are others.
    """
    request = ledger.state.find(name)
    if request.images is not None:
        raise LedgerError(name, "a request without images", "one that still has them")
    row_of = {content: row for row, content in enumerate(hash_images(ledger, rows))}
    missing = [instance.id for instance in request.instances if instance.content not in row_of]
    if missing:
        raise LedgerError(
            name, "the images that it came with", f"others; not found: {', '.join(missing[:5])}", "compare the pixels"
        )
    ordered = rows.rows([row_of[instance.content] for instance in request.instances])
    stored = store_images(ledger, name, ordered)
    ledger.append([("supplied", {"request": name, "images": asdict(stored)})])
    return request


def image_shape(ledger: Ledger) -> tuple[int, int, int] | None:
    """Return the shape (c, h, w) of the images of the first request; None if there is no request yet."""
    for request in ledger.state.requests.values():
        _, _, body = request.history[0]
        channels, height, width = body["shape"]
        return channels, height, width
    return None


def _check_shape(ledger: Ledger, rows: ForgetSet) -> None:
    shape = image_shape(ledger)
    if shape is not None and shape != tuple(rows.x.shape[1:]):
        raise LedgerError("images", f"the shape {shape} of earlier requests", str(tuple(rows.x.shape[1:])))


def _resolve(ledger: Ledger, wish: Wish) -> dict[str, Any]:
    """Return method, settings, strength and seed with nothing left open."""
    default = ledger.state.created["how"]
    name = wish.method or default["method"]
    settings = wish.settings or (default["settings"] if name == default["method"] else {})
    method = make_method(name, settings)
    strength = wish.strength or (Strength(default["strength"]) if default["strength"] else method.strength)
    return {
        "method": name,
        "settings": to_mapping(method),
        "strength": strength.value,
        "seed": wish.seed,
    }
