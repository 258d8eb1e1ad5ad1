"""What a method says and does is not taken on trust; here are methods that say and do what they should not."""

from dataclasses import replace

import pytest
import torch

from expunge.base.errors import ExpungeWarning, SettingsError
from expunge.methods.descent import Descent
from expunge.methods.guarded import TIE
from expunge.methods.published.relabel_only import RelabelOnly
from expunge.methods.unlearn import unlearn
from expunge.task.task import Limits, StopReason


class Misbehaving(RelabelOnly):
    """Edits in earnest, then spoils what comes out."""

    name = "misbehaving"

    def __init__(self, spoil, before=lambda task: None):
        super().__init__()
        object.__setattr__(self, "spoil", spoil)
        object.__setattr__(self, "before", before)

    def run(self, task, runtime):
        self.before(task)
        return self.spoil(super().run(task, runtime), task)


@pytest.fixture
def few(rows):
    return rows.rows([0, 1, 5])


def give_back(edit, task):
    return replace(edit, classifier=task.classifier.copy())


def test_a_claim_that_does_not_hold_is_replaced_by_what_was_measured(trained, few):
    with pytest.warns(ExpungeWarning, match=r"method misbehaving says goal_reached .* 3 of 3 images; .* holds for 0"):
        edit = unlearn(trained, few, method=Misbehaving(give_back))
    assert edit.goal_achieved == 0
    assert edit.stop_reason is StopReason.COMPLETED
    assert edit.classifier.sha256() == trained.sha256()


def test_a_method_that_claims_less_than_holds_gets_what_was_measured(trained, few):
    method = Misbehaving(lambda edit, task: replace(edit, achieved=torch.zeros(3, dtype=torch.bool)))
    with pytest.warns(ExpungeWarning, match="0 of 3 images; .* holds for 3"):
        edit = unlearn(trained, few, method=method)
    assert edit.goal_achieved == 1
    assert edit.stop_reason is StopReason.GOAL_REACHED


def test_a_goal_said_to_be_reached_that_is_not_by_its_own_account(trained, few):
    method = Misbehaving(lambda edit, task: replace(edit, stop_reason=StopReason.GOAL_REACHED))
    with pytest.warns(ExpungeWarning, match="says goal_reached"):
        edit = unlearn(trained, few, method=method, limits=Limits(steps=1))
    assert edit.stop_reason is StopReason.COMPLETED


@pytest.mark.parametrize("claimed", [True, False])
def test_where_rounding_decides_the_methods_word_counts(trained, few, claimed):
    def tie(edit, task):
        twin = edit.classifier.copy()
        with torch.no_grad():
            last = twin.network[-1]
            last.weight.zero_()
            last.bias.copy_(torch.full_like(last.bias, TIE / 3).index_fill(0, few.y[:1], 0.0))
        return replace(edit, classifier=twin, achieved=torch.full((3,), claimed), stop_reason=StopReason.STEP_LIMIT)

    edit = unlearn(trained, few, method=Misbehaving(tie))
    assert edit.achieved.tolist() == [claimed] * 3


def test_nothing_that_a_method_does_to_its_classifier_reaches_the_one_that_was_given(trained, few):
    def spoil(task):
        with torch.no_grad():
            task.classifier.network[-1].bias[3] += 6
        task.classifier.module.train()
        task.classifier.module.requires_grad_(True)

    given = trained.copy()
    given.network[0].weight.requires_grad_(False)
    edit = unlearn(given, few, method=Misbehaving(lambda edit, task: edit, before=spoil))
    assert given.sha256() == trained.sha256()
    assert not given.module.training
    assert not given.network[0].weight.requires_grad
    assert edit.task.classifier is given
    assert edit.predict_forget_set().before.accuracy == 100


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda edit, task: None, "`method misbehaving`: expected an Edit from `run`, got NoneType"),
        (lambda edit, task: edit.classifier, "expected an Edit from `run`, got Classifier"),
        (lambda edit, task: replace(edit, achieved=[True]), r"a tensor of shape \(3,\), got list"),
        (lambda edit, task: replace(edit, achieved=edit.achieved[:1]), r"a tensor of shape \(3,\), got \(1,\)"),
    ],
)
def test_what_is_no_edit_is_named_with_its_method(trained, few, spoil, words):
    with pytest.raises(SettingsError, match=words):
        unlearn(trained, few, method=Misbehaving(spoil), limits=Limits(steps=1))


@pytest.mark.parametrize(
    ("method", "words"),
    [
        (RelabelOnly, r"`method`: expected a name, or an object, got the class RelabelOnly; write RelabelOnly\(\)"),
        (Descent(), r"a frozen dataclass with the parts of `Method`, got Descent\(.*; it lacks name, summary"),
        (None, "got None; it lacks name"),
    ],
)
@pytest.mark.parametrize("settings", [{}, {"descent": {"learning_rate": 0.1}}])
def test_what_is_no_method_is_refused(trained, few, method, words, settings):
    with pytest.raises(SettingsError, match=words):
        unlearn(trained, few, method=method, **settings)


def test_a_method_computes_in_the_layout_that_convolutions_like_and_the_edit_in_the_given_one(trained, few):
    seen = []
    method = Misbehaving(lambda edit, task: edit, before=lambda task: seen.append(task.classifier.layout))
    edit = unlearn(trained, few, method=method)
    assert seen == [torch.channels_last]
    assert edit.classifier.layout is trained.layout is torch.contiguous_format
