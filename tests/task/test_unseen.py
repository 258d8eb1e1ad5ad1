"""How certain a classifier would be of rows that it had never seen, estimated from it and the rows alone."""

import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from expunge import Strength, unlearn
from expunge.base.errors import SettingsError
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.methods.least_change.exact import Exact
from expunge.methods.least_change.method import LeastChange
from expunge.methods.least_change.robust import Robust
from expunge.models.classifier import Classifier
from expunge.requests.receive import RequestOptions
from expunge.surrogates.draw import SurrogateMix
from expunge.task.evaluation import compute_logits, measure_robust_goal
from expunge.task.goals import Misclassify, Unseen, achieved
from expunge.task.task import StopReason
from expunge.task.transforms import TRANSFORMS, random_copies
from expunge.task.unseen import (
    MOST_ENLARGED,
    UPPER,
    answer_altered,
    covered,
    deal_out,
    enlargement,
    estimate_leads,
    faded,
    find_allowed,
    resized,
    turned,
)

SURROGATES = SurrogateMix(mixes=80, inverted=0, procedural=40)
METHOD = LeastChange(
    surrogates=SURROGATES,
    exact=Exact(steps=20, surrogate_batch=16),
    robust=Robust(steps=40, surrogate_batch=16, copies=24),
)


def lead(classifier, x, rows):
    """Return by how many logits the rows' labels lead on their copies x."""
    return Misclassify().gap(compute_logits(classifier, x), rows.y)


@pytest.fixture
def brightness():
    """Return a classifier whose logits are the sum of the first pixel row, and that of the others."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, bias=False))
    network[1].weight.data = torch.tensor([[10.0, 10.0, 0.0, 0.0], [0.0, 0.0, 10.0, 10.0]])
    return Classifier.wrap(network, num_classes=2, mean=0.0, std=1.0)


def make_rows(values):
    """Return rows of class 0 whose first pixel row has these values and whose other is black."""
    x = torch.zeros(len(values), 1, 2, 2)
    x[:, 0, 0] = torch.tensor(values)[:, None]
    return ForgetSet(tuple(map(str, range(len(values)))), x, torch.zeros(len(values), dtype=torch.long))


def test_altered_leads_are_enlarged_and_dealt_out_in_the_order_of_the_rows_own(trained, rows):
    own = lead(trained, rows.x, rows)
    leads = estimate_leads(trained, rows, 0, Runtime())
    altered = Misclassify().gap(answer_altered(trained, rows.x, 0, Runtime()), rows.y.repeat(5))
    factor = own.quantile(UPPER) / altered.quantile(UPPER)
    assert 1 < factor < MOST_ENLARGED
    expected = torch.minimum((factor * altered)[deal_out(altered, own)], own)
    torch.testing.assert_close(leads, expected)
    assert bool((leads <= own).all())
    assert bool((leads < own - 0.5).any())
    assert torch.equal(leads, estimate_leads(trained, rows, 0, Runtime(batch_size=2)))


@pytest.mark.parametrize(
    ("values", "factor", "of_higher"),
    [([0.0, 1.0, 2.0], 1.5, MOST_ENLARGED), ([0.0, 4.0, 8.0], 1.0, MOST_ENLARGED), ([-9.0] * 3, 1.0, 1.0)],
)
def test_leads_are_enlarged_by_one_factor_and_never_made_smaller(values, factor, of_higher):
    assert enlargement(torch.tensor([0.0, 1.5, 3.0]), torch.tensor(values)) == factor
    assert enlargement(torch.tensor([0.0, 50.0, 90.0]), torch.tensor(values)) == of_higher


def test_a_single_row_has_a_lead_below_its_own(brightness):
    [allowed] = estimate_leads(brightness, make_rows([1.0]), 0, Runtime()).tolist()
    assert 5 < allowed < 20


@pytest.fixture
def picture():
    """Return an image of 12 x 16 pixels in three channels, and where it is covered: at the bottom right."""
    x = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    return x, torch.tensor([[0.999, 0.999]])


def test_rows_are_turned_about_their_middle_and_shown_smaller_or_larger(picture):
    x, places = picture
    torch.testing.assert_close(resized(1.0)(x, places), x)
    torch.testing.assert_close(turned(180.0)(x, places), x.flip(2, 3), atol=1e-4, rtol=1e-4)
    square = x[..., :12]
    torch.testing.assert_close(turned(90.0)(square, places), square.rot90(1, (2, 3)), atol=1e-4, rtol=1e-4)
    middle = torch.zeros(1, 1, 12, 16)
    middle[..., 4:8, 4:12] = 1.0
    sizes = {size: resized(size)(middle, places) > 0.5 for size in (0.5, 1.5)}
    assert int(sizes[1.5].sum()) == 6 * 12
    assert int(sizes[0.5][..., 3:9, 4:12].sum()) == 2 * 4, "around it are its mirror images"
    upright = torch.zeros(1, 1, 12, 16)
    upright[..., 2:10, 7:9] = 1.0
    lying = turned(90.0)(upright, places) > 0.5
    assert lying.nonzero()[:, 2:].unique(dim=0).tolist() == [[y, x] for y in (5, 6) for x in range(4, 12)]


def test_rows_fade_towards_their_mean_and_are_covered_with_it(picture):
    x, places = picture
    faint = faded(0.25)(x, places)
    torch.testing.assert_close(faint - x.mean(), 0.25 * (x - x.mean()))
    hidden = covered(0.25)(x, places)
    changed = (hidden != x).any(dim=1)[0]
    assert changed.nonzero().min(dim=0).values.tolist() == [9, 12]
    assert int(changed.sum()) == 3 * 4
    torch.testing.assert_close(hidden[0, :, 9:, 12:], x.mean(dim=(0, 2, 3)).view(3, 1, 1).expand(3, 3, 4))


def test_only_the_goal_unseen_allows_anything(brightness):
    rows = make_rows([0.5, 1.0])
    assert find_allowed(Misclassify(), brightness, rows, 0, Runtime()) is None
    assert find_allowed(Unseen(), brightness, rows, 0, Runtime()).shape == (2,)


def test_a_row_holds_where_its_lead_is_below_what_is_allowed():
    logits, labels = torch.tensor([[3.0, 1.0], [3.0, 1.0], [1.0, 2.0]]), torch.tensor([0, 0, 0])
    assert achieved(Unseen(), logits, labels, torch.tensor([2.5, 2.0, -1.5])).tolist() == [True, False, False]
    assert achieved(Unseen(), logits, labels).tolist() == [False, False, True]


def test_every_label_leads_by_no_more_than_was_estimated_and_others_hardly_change(trained, rows, tmp_path):
    edit = unlearn(trained, rows, goal="unseen", method=METHOD)
    assert edit.task.strength is Strength.EXACT
    assert edit.stop_reason is StopReason.GOAL_REACHED
    allowed = edit.task.allowed
    leads = lead(edit.classifier, rows.x, rows)
    assert bool((leads < allowed).all())
    assert bool((leads > allowed - 1.5).all()), "no less certain than need be, but for a margin and what is not linear"
    before = lead(trained, rows.x, rows)
    assert not achieved(Unseen(), compute_logits(trained, rows.x), rows.y, allowed).any()
    assert bool((before >= allowed).all())

    edit.save(tmp_path / "out")
    result = json.loads((tmp_path / "out" / "result.json").read_text())
    assert (result["goal"], result["goal_achieved"]) == ("unseen", 1.0)
    assert result["verdict"][0].startswith("The goal was met: the label of every forgotten image leads by no more")


def test_robustly_copies_lose_as_much_of_their_lead(trained, rows):
    edit = unlearn(trained, rows, goal="unseen", method=METHOD, strength="robust")
    assert edit.stop_reason is StopReason.GOAL_REACHED
    assert edit.measure_robust_goal().share > 0.9
    drawn = random_copies(rows.x, 50, trained.bounds, torch.Generator().manual_seed(7), TRANSFORMS)
    lost = [lead(trained, copy, rows) - lead(edit.classifier, copy, rows) for _, copy in drawn]
    wanted = lead(trained, rows.x, rows) - edit.task.allowed
    assert (torch.stack(lost) > wanted).double().mean() > 0.9
    strict = replace(edit, task=replace(edit.task, allowed=edit.task.allowed - 100))
    assert strict.measure_robust_goal().share == 0


def test_what_copies_may_lead_by_needs_the_classifier_before_the_edit(brightness):
    rows = make_rows([0.5, 1.0])
    generator, allowed = torch.Generator().manual_seed(0), torch.zeros(2)
    with pytest.raises(SettingsError, match=r"`before`: expected the classifier before the edit, .*, got none"):
        measure_robust_goal(brightness, rows.x, rows.y, Unseen(), generator=generator, allowed=allowed)


def test_other_methods_and_requests_do_not_pursue_it(trained, rows):
    with pytest.raises(SettingsError, match="misclassify or relabel with the method l2ul, got unseen"):
        unlearn(trained, rows, goal="unseen", method="l2ul")
    with pytest.raises(SettingsError, match="one of misclassify, relabel, got unseen"):
        RequestOptions(goal="unseen")
