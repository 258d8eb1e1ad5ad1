"""A new request: checked against the classifier, its images sealed, its hashes noted."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from itertools import count
from typing import Any

from expunge.base.errors import ExpungeWarning, LedgerError, SettingsError
from expunge.base.settings import to_mapping
from expunge.data.forget import ForgetSet
from expunge.methods import make_method
from expunge.methods.continual import CARRIED_ALONG
from expunge.requests.contradictions import require_one_label, say_label
from expunge.requests.create import require_forget_only, require_goes_on
from expunge.requests.fingerprints import fingerprint
from expunge.requests.hashes import digest_of
from expunge.requests.images import hash_images, store_images
from expunge.requests.project import Ledger
from expunge.requests.state import Request
from expunge.requests.weights import load_first, read_current, with_weights
from expunge.task.evaluation import compute_logits
from expunge.task.goals import GOALS, Misclassify, Relabel
from expunge.task.task import Strength, Task

MOST_NAMES = 5
PURSUED = (Misclassify.name, Relabel.name)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOptions:
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
        due: the day by which it is to be done.
    """

    reference: str = ""
    goal: str | None = None
    method: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    strength: Strength | None = None
    seed: int = 0
    minimum_right: float = 0.5
    keep_until: date | None = None
    due: date | None = None

    def __post_init__(self) -> None:
        if self.goal is not None and self.goal not in PURSUED:
            raise SettingsError("goal", f"one of {', '.join(PURSUED)}", self.goal)
        if self.keep_until is not None and self.keep_until < datetime.now(UTC).date():
            hint = "leave it out to delete the images once they are verified"
            raise SettingsError("keep_until", "today or a later day", self.keep_until.isoformat(), hint)


def receive(ledger: Ledger, rows: ForgetSet, options: RequestOptions) -> Request:
    """Add a request to the ledger and return it; the classifier stays as it is until `apply_waiting`.

    Args:
        ledger: locked for writing.
        rows: what is to be forgotten, pixels within 0..1.
        options: everything else.

    Raises:
        ForgetSetError, ClassifierError, SettingsError: rows, classifier and method do not fit, or a picture has two
            labels.
        LedgerError: the images have another shape than those of earlier requests.

    Warns:
        ExpungeWarning: the classifier answers some images otherwise than labelled.
    """
    _check_shape(ledger, rows)
    require_one_label(ledger, rows)
    how = _resolve(ledger, options)
    newest = with_weights(load_first(ledger).classifier, read_current(ledger))
    goal = None if options.goal is None else GOALS[options.goal]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=CARRIED_ALONG, category=ExpungeWarning)
        task = Task.create(newest, rows, goal=goal, seed=options.seed, minimum_right=options.minimum_right)
    _warn_of_answers(ledger, task)
    relabels = task.goal.name == "relabel"
    new_labels = task.labels.tolist() if relabels else [None] * len(rows)
    instances = list(zip(rows.ids, hash_images(ledger, rows), rows.y.tolist(), new_labels, strict=True))
    name = ledger.state.next_request()
    prints = [(name, row, ledger.keys.seal(value.tobytes(), name)) for row, value in enumerate(fingerprint(rows.x))]
    received = {
        "request": name,
        "reference": options.reference,
        "instances": instances,
        "goal": task.goal.name,
        "how": how,
        "shape": list(rows.x.shape[1:]),
        "keep_until": None if options.keep_until is None else options.keep_until.isoformat(),
        "due": None if options.due is None else options.due.isoformat(),
        "images": asdict(store_images(ledger, name, rows)),
        "fingerprints": digest_of(prints),
    }
    validated = {"request": name, "rows": len(rows), "right": int(task.right.sum())}
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
    instances = ledger.instances(request)
    missing = [instance.id for instance in instances if instance.content not in row_of]
    if missing:
        raise LedgerError(
            name, "the images that it came with", f"others; not found: {', '.join(missing[:5])}", "compare the pixels"
        )
    ordered = rows.rows([row_of[instance.content] for instance in instances])
    stored = store_images(ledger, name, ordered)
    ledger.append([("supplied", {"request": name, "images": asdict(stored)})])
    return request


def number_names(rows: ForgetSet) -> ForgetSet:
    """Return the rows with numbers, 1, 2, ..., in place of ids that look like names of files.

    >>> import torch
    >>> rows = ForgetSet(("anna.png", "17"), torch.rand(2, 3, 4, 4), torch.tensor([0, 1]))
    >>> number_names(rows).ids
    ('1', '17')
    """
    taken = {name for name in rows.ids if not _is_file_name(name)}
    free = (str(number) for number in count(1) if str(number) not in taken)
    ids = tuple(next(free) if _is_file_name(name) else name for name in rows.ids)
    return ForgetSet(ids, rows.x, rows.y, rows.y_new)


def _is_file_name(name: str) -> bool:
    return re.search(r"[/\\]|\.[a-z][a-z0-9]{1,4}$", name, re.IGNORECASE) is not None


def _check_shape(ledger: Ledger, rows: ForgetSet) -> None:
    shape = ledger.state.shape
    if shape is not None and shape != tuple(rows.x.shape[1:]):
        raise LedgerError("images", f"the shape {shape} of earlier requests", str(tuple(rows.x.shape[1:])))


def _warn_of_answers(ledger: Ledger, task: Task) -> None:
    """Name the rows that are not answered as labelled: a wrong label is a request for nothing."""
    wrong = (~task.right).nonzero().flatten().tolist()
    if not wrong:
        return
    rows = task.forget_set.rows(wrong)
    answers = compute_logits(task.classifier, rows.x).argmax(dim=1).tolist()
    told = [
        f"{name} ({say_label(ledger, answer)} instead of {say_label(ledger, label)})"
        for name, answer, label in zip(rows.ids[:MOST_NAMES], answers, rows.y.tolist(), strict=False)
    ]
    more = len(wrong) - len(told)
    warnings.warn(
        f"{len(wrong)} of {len(task.right)} rows are not predicted as labelled: {', '.join(told)}"
        + (f" and {more} more" if more else "")
        + "; perhaps a label is wrong, or an earlier request has changed the answer",
        ExpungeWarning,
        stacklevel=3,
    )


def _resolve(ledger: Ledger, options: RequestOptions) -> dict[str, Any]:
    """Return method, settings, strength and seed with nothing left open."""
    default = ledger.state.created["how"]
    name = options.method or default["method"]
    settings = options.settings or (default["settings"] if name == default["method"] else {})
    method = make_method(name, settings)
    require_forget_only(method)
    if ledger.state.keeps:
        require_goes_on(method)
    strength = options.strength or (Strength(default["strength"]) if default["strength"] else method.strength)
    return {
        "method": name,
        "settings": to_mapping(method),
        "strength": strength.value,
        "seed": options.seed,
    }
