"""One edit in a row of them: it forgets new images on the newest classifier, and keeps what earlier edits forgot.

Streams of requests in `expunge.bench` and the ledger in `expunge.requests` both edit with `forget_next`. A method that
goes on from earlier edits is given their `History`: it charges for the whole change since the first classifier, so that
damage doesn't add up, and keeps all earlier rows forgotten. With another method earlier rows may come back; who edits
looks for them with `find_lost`, and gives them once more.
"""

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from expunge.base.errors import ExpungeWarning
from expunge.compute.runtime import Runtime
from expunge.compute.seeds import seeded_generator
from expunge.compute.sharing import Sharing
from expunge.data.forget import ForgetSet
from expunge.data.images import Images
from expunge.methods.least_change.scope import LAST_THIRD, find_scope
from expunge.methods.protocol import Method, goes_on
from expunge.methods.tracing import find_layers
from expunge.methods.unlearn import unlearn
from expunge.models.classifier import Classifier
from expunge.models.tails import cut_at, enter, find_cut
from expunge.task.earlier import Earlier
from expunge.task.edit import Edit
from expunge.task.evaluation import compute_logits
from expunge.task.goals import Goal, Misclassify, Relabel, achieved
from expunge.task.keepers import COPIES, Keeper, make_keeper
from expunge.task.task import Limits, StopReason, Strength
from expunge.task.transforms import TRANSFORMS, Transform

CARRIED_ALONG = ".* rows are not predicted as labelled"
"""The warning about rows that an earlier edit has changed already, which is nothing to complain of here."""

KEPT_DEPTH, FEWEST_LAYERS = 0.25, 3
"""Share of the layers that lie after the cut of keepers, the last ones, and how many at least."""

Name = TypeVar("Name", str, int)


@dataclass(frozen=True, slots=True, kw_only=True)
class EditOptions:
    """What each edit of a row of edits is run with.

    Args:
        method: with its settings.
        seed: source of all randomness.
        strength: whether the goal is to hold on transformed copies, too; None for the method's own.
        limits: when to give up.
        retain: the rest of the training data, for a method that needs them.
        transforms: what makes a copy, by name.
    """

    method: Method
    seed: int
    strength: Strength | None = None
    limits: Limits = Limits()
    retain: Images | None = None
    transforms: Mapping[str, Transform] = field(default_factory=lambda: TRANSFORMS)


@dataclass(frozen=True, slots=True)
class History:
    """What earlier edits leave to the next one.

    Args:
        first: the classifier before the first edit.
        images: rows that are to stay forgotten, by their images.
        keepers: rows that are to stay forgotten, by what was kept in place of their images.
        cut: the module before which no weight may change, for keepers' sake; None where none are wanted.
    """

    first: Classifier
    images: Sequence[ForgetSet] = ()
    keepers: Sequence[Keeper] = ()
    cut: str | None = None


def forget_next(
    classifier: Classifier,
    new: Sequence[ForgetSet],
    back: Sequence[ForgetSet],
    how: EditOptions,
    runtime: Runtime,
    history: History | None = None,
) -> Edit:
    """Return the edit of `classifier`, which stays as it is, that forgets `new`, and `back` once more.

    The goal follows from the rows: relabel if any has a new label, else misclassify. How many rows are predicted as
    labelled is not checked, since an earlier edit may have carried some of them along.

    Args:
        classifier: as the last edit left it.
        new: rows of new requests.
        back: rows of earlier requests for which the goal no longer holds.
        how: method, seed, strength, limits, retain data and transforms.
        runtime: device and batch size.
        history: for a method that goes on from earlier edits; others don't get to see it.

    Raises:
        KeyboardInterrupt: Ctrl-C during the edit.
    """
    rows, earlier = join([*new, *back], classifier), None
    if history is not None and goes_on(how.method):
        rows, earlier = _go_on(classifier, history, rows, how, runtime)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=CARRIED_ALONG, category=ExpungeWarning)
        edit = unlearn(
            classifier,
            rows,
            method=how.method,
            seed=how.seed,
            limits=how.limits,
            runtime=runtime,
            minimum_right=0.0,
            strength=how.strength,
            retain=how.retain,
            transforms=how.transforms,
            earlier=earlier,
        )
    if edit.stop_reason is StopReason.INTERRUPTED:
        raise KeyboardInterrupt
    return edit


def find_lost(
    classifier: Classifier, by_request: Mapping[Name, ForgetSet], at_once: Sharing | int = 256
) -> dict[Name, list[int]]:
    """Return by request the rows for which the goal does not hold; requests without such rows are left out.

    So many images go through at once (see `compute_logits`).
    """
    sharing = at_once if isinstance(at_once, Sharing) else Sharing(at_once)
    lost = {name: (~holds(classifier, rows, sharing)).nonzero().flatten().tolist() for name, rows in by_request.items()}
    return {name: rows for name, rows in lost.items() if rows}


def holds(classifier: Classifier, rows: ForgetSet, at_once: Sharing | int = 256) -> Bool[Tensor, " k"]:
    """Return for which rows the goal holds on the exact pixels, on the CPU."""
    goal, labels = goal_of(rows)
    logits = compute_logits(classifier, rows.x, at_once)
    return achieved(goal, logits, labels.to(logits.device)).cpu()


def goal_of(rows: ForgetSet) -> tuple[Goal, Int[Tensor, " k"]]:
    """Return what the rows are to do, and the labels it speaks of: new labels are fixed when a request comes in."""
    return (Misclassify(), rows.y) if rows.y_new is None else (Relabel(), rows.y_new)


def copies_for(how: EditOptions) -> int:
    """Return how many copies a keeper of an edit's rows has: none of an edit that is exact."""
    return COPIES if (how.strength or how.method.strength) is Strength.ROBUST else 0


def find_keeper_cut(classifier: Classifier, x: Float[Tensor, "b c h w"]) -> str | None:
    """Return where to cut so that edits change only the last quarter of the layers; of few layers, the last half.

    What goes through a deeper cut gives less of the picture away, and edits after it do more damage. A blurred picture
    can be rebuilt from what goes through this one (benchmarks/results/keepers_inversion).

    Args:
        classifier: any version.
        x: one image or more.

    Returns:
        The name of a module, see `expunge.models.tails`; None where the classifier can't be cut.
    """
    layers = find_layers(classifier, x.to(classifier.device))
    count = max(math.ceil(KEPT_DEPTH * len(layers)), min(FEWEST_LAYERS, len(layers) // 2))
    return find_cut(classifier, layers[-count].module, x) if count < len(layers) else None


def _go_on(
    classifier: Classifier, history: History, rows: ForgetSet, how: EditOptions, runtime: Runtime
) -> tuple[ForgetSet, Earlier]:
    """Return the rows to forget, and what the edit is to keep.

    A robust edit forgets earlier images anew together with `rows`: it needs copies of them, and surrogates spliced from
    them. For an exact one they are constraints; where all edits stay after a cut, what goes through it is enough.
    """
    first, cut, images, within = history.first.to(classifier.device), history.cut, history.images, 0
    robust = copies_for(how) > 0
    if robust:
        cut = cut or _find_common_cut(first, classifier, rows.x)
        within, rows, images = sum(map(len, images)), join([*images, rows], classifier), ()
    drawn = seeded_generator(how.seed, "copies that are kept")
    made = [make_keeper(classifier, cut, each, drawn, copies=0, at_once=runtime.sharing) for each in images if cut]
    keepers = [*history.keepers, *made]
    parts = [each.rows for each in keepers] if cut else images
    if not parts:
        return rows, Earlier(first, cut=cut, within=within)
    kept = join(parts, cut_at(classifier, cut, rows.x), relabel=rows.y_new is not None)
    copies = torch.cat([_copies_of(each) for each in keepers]) if robust else None
    if kept.y_new is not None:
        rows = join([rows], classifier, relabel=True)
    return rows, Earlier(first, kept, cut, copies, within)


def _copies_of(keeper: Keeper) -> Tensor:
    """Return a keeper's copies; of one that has none, since its rows were forgotten exactly, the rows themselves."""
    if keeper.copies.shape[1]:
        return keeper.copies
    return keeper.rows.x.unsqueeze(1).expand(-1, COPIES, *keeper.rows.x.shape[1:])


def _find_common_cut(first: Classifier, newest: Classifier, x: Tensor) -> str | None:
    """Return the cut for robust edits if nothing before it has changed since the first classifier."""
    cut = find_scope(first, x.to(first.device), LAST_THIRD).cut
    if cut is None or not torch.equal(enter(first, cut, x[:2]), enter(newest, cut, x[:2])):
        return None
    return cut


def join(parts: Sequence[ForgetSet], classifier: Classifier, *, relabel: bool = False) -> ForgetSet:
    """Return all rows as one forget set; where only some have new labels, the others get their runner-up.

    A row that is to be misclassified may take any label but its own; the nearest one costs least.

    Args:
        parts: at least one.
        classifier: of what the parts hold.
        relabel: whether all are to have new labels.
    """
    if relabel or any(part.y_new is not None for part in parts):
        parts = [replace(part, y_new=_runner_up(classifier, part)) if part.y_new is None else part for part in parts]
    return ForgetSet.join(parts)


def _runner_up(classifier: Classifier, rows: ForgetSet) -> Int[Tensor, " k"]:
    logits = compute_logits(classifier, rows.x).cpu()
    return logits.scatter(1, rows.y.unsqueeze(1), -torch.inf).argmax(dim=1)
