"""One edit after another: earlier rows stay forgotten, and what changes is counted from the first classifier."""

from dataclasses import replace

import pytest
import torch

from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.methods import make_method
from expunge.methods.continual import EditOptions, History, find_lost, forget_next, holds
from expunge.methods.unlearn import unlearn
from expunge.models.tails import cut_at
from expunge.surrogates.procedural import draw_leaves
from expunge.task.earlier import Earlier
from expunge.task.evaluation import compute_logits
from expunge.task.keepers import make_keeper
from expunge.task.task import Strength

CUT = "network.2"
QUICK = {"surrogates": {"inverted": 0, "procedural": 60, "mixes": 60}, "exact": {"steps": 6}, "robust": {"steps": 10}}


def options(method="least-change", strength=Strength.EXACT, settings=QUICK):
    return EditOptions(method=make_method(method, settings), seed=0, strength=strength)


def parts_of(rows, size):
    return [rows.rows(range(start, start + size)) for start in range(0, len(rows), size)]


def forget_all(first, parts, how, history):
    """Return the classifier after an edit for each part; `history` says what each may know of the ones before."""
    newest = first
    for number, part in enumerate(parts):
        newest = forget_next(newest, [part], [], how, Runtime(), history(parts[:number])).classifier
    return newest


def with_images(first):
    return lambda earlier: History(first, images=earlier)


def with_keepers(first):
    def keep(earlier):
        generator = torch.Generator().manual_seed(0)
        return History(first, keepers=[make_keeper(first, CUT, part, generator, copies=4) for part in earlier], cut=CUT)

    return keep


@pytest.mark.parametrize("history", [with_images, with_keepers])
def test_all_rows_of_all_edits_are_forgotten_at_the_end(trained, twelve, history):
    parts = parts_of(twelve, 4)
    newest = forget_all(trained, parts, options(), history(trained))

    assert find_lost(newest, dict(enumerate(parts))) == {}


def test_with_keepers_nothing_before_the_cut_changes(trained, twelve):
    newest = forget_all(trained, parts_of(twelve, 4), options(), with_keepers(trained))

    before, after = trained.network.state_dict(), newest.network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith(("0.", "1.")))
    assert not torch.equal(before["8.weight"], after["8.weight"])


def test_an_edit_charges_for_the_whole_change_since_the_first_classifier(trained, twelve):
    """From a classifier that was moved at random, an edit comes nearer to the first again while it forgets."""
    moved = trained.copy()
    with torch.no_grad():
        for weight in moved.network[3].parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    others = draw_leaves(200, tuple(twelve.x.shape[1:]), trained.bounds, torch.Generator().manual_seed(2))
    settings = {**QUICK, "exact": {"steps": 40}}

    def change(classifier):
        return float((compute_logits(classifier, others) - compute_logits(trained, others)).square().mean())

    how, rows = options(settings=settings), twelve.rows([0])
    far = forget_next(moved, [rows], [], how, Runtime()).classifier
    near = forget_next(moved, [rows], [], how, Runtime(), History(trained)).classifier
    assert change(near) < change(far)


def test_robust_edits_keep_the_copies_of_earlier_rows(trained, rows):
    parts = parts_of(rows, 3)
    history = with_keepers(trained)(parts[:1])
    how = options(strength=Strength.ROBUST)
    first = forget_next(trained, [parts[0]], [], how, Runtime(), History(trained, cut=CUT))
    edit = forget_next(first.classifier, [parts[1]], [], how, Runtime(), history)

    if edit.stop_reason.value == "goal_reached":
        kept, part = history.keepers[0], cut_at(edit.classifier, CUT, rows.x)
        assert bool(holds(part, kept.rows).all())


def test_copies_are_made_by_the_transforms_that_are_named(trained, rows):
    parts, through = parts_of(rows, 3), []

    def darker(x, bounds, generator):
        through.append(x)
        return x * 0.9

    how = replace(options(strength=Strength.ROBUST), transforms={"darker": darker})
    edit = forget_next(trained, [parts[0]], [], how, Runtime())
    assert list(edit.task.transforms) == ["darker"]
    assert list(edit.measure_robust_goal().by_kind) == ["darker"]

    through.clear()
    earlier = Earlier(trained, parts[1])
    unlearn(trained, parts[0], method=how.method, strength="robust", transforms=how.transforms, earlier=earlier)
    pixels = torch.cat(through)
    assert all(bool((pixels == each).flatten(1).all(dim=1).any()) for each in parts[1].x), "copies of earlier rows, too"


def test_a_robust_edit_forgets_kept_images_anew_with_the_new_ones(trained, rows):
    parts = parts_of(rows, 3)
    how = options(strength=Strength.ROBUST)
    first = forget_next(trained, [parts[0]], [], how, Runtime(), History(trained))
    edit = forget_next(first.classifier, [parts[1]], [], how, Runtime(), History(trained, images=parts[:1]))

    assert edit.task.forget_set.ids == parts[0].ids + parts[1].ids
    assert edit.task.earlier.within == 3
    assert edit.task.earlier.begun
    assert not first.task.earlier.begun
    assert find_lost(edit.classifier, dict(enumerate(parts))) == {}


def test_rows_of_both_goals_can_follow_each_other(trained, twelve):
    first, second = parts_of(twelve.rows(range(8)), 4)
    second = ForgetSet(second.ids, second.x, second.y, (second.y + 1) % trained.num_classes)
    newest = forget_all(trained, [first, second], options(), with_keepers(trained))
    assert find_lost(newest, {"first": first, "second": second}) == {}

    newest = forget_all(trained, [second, first], options(), with_images(trained))
    assert find_lost(newest, {"first": first, "second": second}) == {}


def test_other_methods_never_see_what_came_earlier(trained, rows):
    how = options("negative-gradient", settings={})
    parts = parts_of(rows, 3)
    seen = forget_next(trained, [parts[1]], [], how, Runtime(), History(trained, images=parts[:1]))
    alone = forget_next(trained, [parts[1]], [], how, Runtime())

    assert seen.classifier.sha256() == alone.classifier.sha256()
