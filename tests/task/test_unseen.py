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
from expunge.task.unseen import MOST, blend, draw_shares, estimate_leads, find_allowed

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


def test_leads_of_blends_are_dealt_out_in_the_order_of_the_rows_own(brightness):
    rows = make_rows([0.5, 1.0, 0.0, 0.75])
    own = lead(brightness, rows.x, rows)
    leads = estimate_leads(brightness, rows, 0, Runtime())
    assert own.tolist() == [10, 20, 0, 15]
    assert torch.equal(leads.argsort(), own.argsort())
    assert bool((leads <= own).all())
    assert leads[2] == 0, "a blend leads by more than the row, which bounds it"
    assert 20 * (1 - MOST) * 0.5 <= leads[0] <= 10, "no blend of the least with black is below"
    assert 20 * (1 - MOST) < leads[1] < 20, "blended with something darker, by no more than the largest share"
    assert torch.equal(leads, estimate_leads(brightness, rows, 0, Runtime()))


def test_most_blends_have_little_of_another_row(brightness):
    shares = draw_shares(1000, torch.Generator().manual_seed(0))
    assert bool(((shares >= 0) & (shares <= MOST)).all())
    assert abs(float(shares.mean()) - MOST / 2.5) < 0.02, "the mean of u^1.5 is 1 / 2.5"
    x = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    blends = blend(x, torch.tensor([0.1, 0.4]), torch.Generator().manual_seed(0))
    assert [round(float(one.mean()), 4) for one in blends] == [0.1, 0.6]


def test_a_single_row_is_blended_with_itself_upside_down(brightness):
    rows = make_rows([1.0])
    upside_down = blend(rows.x, torch.tensor([0.25]), torch.Generator())
    assert lead(brightness, upside_down, rows).tolist() == [20 * 0.75 - 20 * 0.25]
    [allowed] = estimate_leads(brightness, rows, 0, Runtime()).tolist()
    assert 20 - 2 * 20 * MOST < allowed < 20


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
