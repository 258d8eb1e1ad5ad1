"""Other classifiers to compare with: shadow classifiers saw some of the forget set, retrained ones none of it."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from expunge.audit.collect.collected import Retrained, Shadows
from expunge.base.arrays import arrays_to_bytes, read_arrays
from expunge.base.disk import write_bytes
from expunge.base.errors import DataError
from expunge.base.folders import locked_folder
from expunge.compute.runtime import Runtime
from expunge.compute.seeds import draw_numbers, seeded_generator
from expunge.data.forget import ForgetSet
from expunge.data.images import Images, Subset, hash_images
from expunge.models.classifier import Classifier
from expunge.task.evaluation import compute_logits, predict_logits

TEST_ROWS = 2000
WAIT_SECONDS = 60
"""For another audit that writes to the same folder of a pool."""


@dataclass(frozen=True, slots=True)
class Member:
    """One classifier of a pool.

    Args:
        load: returns it.
        trained_on: ids of the training images that it saw.
        folder: where it lies, for messages and caches.
    """

    load: Callable[[], Classifier]
    trained_on: frozenset[str]
    folder: Path


Unlearn = Callable[[Classifier, ForgetSet, Member], Classifier]
"""Makes a member's classifier forget rows, with the method and settings of the edit that is audited."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Classifiers and how they were trained, in words."""

    members: tuple[Member, ...]
    how: str


@dataclass(frozen=True, slots=True)
class Unlearning:
    """How the shadow classifiers unlearn, and under which name what comes out is kept beside each of them."""

    unlearn: Unlearn
    key: str


def predict_retrained(pool: Pool, parts: dict[str, Images], rows: ForgetSet, runtime: Runtime) -> Retrained:
    """Return the logits of classifiers that never saw the rows.

    Args:
        pool: the classifiers.
        parts: retain and test, where they are measured.
        rows: the forgotten rows.
        runtime: device and progress.

    Raises:
        DataError: a classifier was trained on one of the rows, or has other classes.
    """
    found = []
    for number, member in enumerate(pool.members, 1):
        seen = [name for name in rows.ids if name in member.trained_on]
        if seen:
            raise DataError(
                str(member.folder), "a classifier that never saw the rows to forget", f"one trained on {seen[0]}"
            )
        classifier = member.load().to(runtime.device)
        logits = {"forget": _logits(classifier, rows, runtime)}
        for name, images in parts.items():
            logits[name] = _predict(classifier, images, runtime, f"{name}, retrained {number}")
        found.append(logits)
    return Retrained(tuple(found), pool.how)


def predict_shadows(
    pool: Pool, test: Images, rows: ForgetSet, unlearning: Unlearning | None, *, seed: int, runtime: Runtime
) -> Shadows:
    """Return the logits of shadow classifiers, as trained and, if told how, after unlearning.

    Args:
        pool: the classifiers.
        test: test images; at most 2,000 are asked.
        rows: the forgotten rows; each classifier unlearns those of them that it was trained on.
        unlearning: how; None leaves U-LiRA and KLOM undefined.
        seed: of the choice of test images.
        runtime: device and progress.

    Raises:
        DataError: every classifier saw a row, or none did: then nothing can be said of it.
    """
    seen = np.array([[name in member.trained_on for name in rows.ids] for member in pool.members])
    if not ((~seen).any(axis=0)).all():
        first = rows.ids[int(seen.all(axis=0).argmax())]
        raise DataError("shadow classifiers", "each row unseen by one of them", f"{first}, seen by all", "train more")
    asked = draw_numbers(TEST_ROWS, len(test.labels), seeded_generator(seed, "pool test rows"))
    chosen = Subset(test, asked)
    stacks: dict[str, list[np.ndarray]] = {"forget": [], "test": [], "unlearned_forget": [], "unlearned_test": []}
    for number, member in enumerate(pool.members, 1):
        classifier = member.load().to(runtime.device)
        stacks["forget"].append(_logits(classifier, rows, runtime))
        stacks["test"].append(_predict(classifier, chosen, runtime, f"shadow {number}"))
        if unlearning is not None:
            both = _unlearned(member, classifier, rows, chosen, unlearning, runtime)
            stacks["unlearned_forget"].append(both[0])
            stacks["unlearned_test"].append(both[1])
    told = unlearning is not None
    return Shadows(
        seen=seen,
        forget=np.stack(stacks["forget"]),
        test_rows=np.array(asked),
        test=np.stack(stacks["test"]),
        unlearned_forget=np.stack(stacks["unlearned_forget"]) if told else None,
        unlearned_test=np.stack(stacks["unlearned_test"]) if told else None,
        how=pool.how,
    )


def _unlearned(
    member: Member, classifier: Classifier, rows: ForgetSet, test: Images, unlearning: Unlearning, runtime: Runtime
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits on forgotten and on test rows after unlearning; kept in a file, since it takes long."""
    asked = rows.sha256(), hash_images(test)
    parts = [classifier.cache_key(), *asked, unlearning.key, *sorted(member.trained_on & set(rows.ids))]
    key = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    path = member.folder / f"unlearned-{key[:24]}.npz"
    kept = _read_kept(path, len(rows), len(test.labels))
    if kept is not None:
        return kept
    numbers = [number for number, name in enumerate(rows.ids) if name in member.trained_on]
    edited = unlearning.unlearn(classifier, rows.rows(numbers), member) if numbers else classifier
    found = _logits(edited, rows, runtime), _predict(edited, test, runtime, f"{member.folder.name} unlearned")
    with locked_folder(member.folder, wait_seconds=WAIT_SECONDS):
        write_bytes(path, arrays_to_bytes({"forget": found[0], "test": found[1]}))
    return found


def _read_kept(path: Path, rows: int, others: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the logits in a file; None if it is not there or damaged."""
    try:
        arrays = read_arrays(path, ("forget", "test"))
        both = arrays["forget"], arrays["test"]
    except (DataError, KeyError):
        return None
    fits = all(each.dtype == np.float32 and each.ndim == 2 for each in both) and list(map(len, both)) == [rows, others]
    return both if fits else None


def _logits(classifier: Classifier, rows: ForgetSet, runtime: Runtime) -> np.ndarray:
    return compute_logits(classifier, rows.x, runtime.sharing).cpu().float().numpy()


def _predict(classifier: Classifier, images: Images, runtime: Runtime, name: str) -> np.ndarray:
    found = predict_logits(classifier, images, runtime, name=name)
    return found.float().numpy()
