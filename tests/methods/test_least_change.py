import pytest
import torch

from expunge import Strength, unlearn
from expunge.edit import measure_expected_cost
from expunge.measurement import compute_logits
from expunge.methods.least_change import Copying, LeastChange
from expunge.methods.negative_gradient import NegativeGradient
from expunge.probes.inverted import CACHE_VARIABLE
from expunge.probes.mix import ProbeMix
from expunge.task import StopReason

QUICK = {"probes": ProbeMix(mixes=80, inverted=0, procedural=40), "probe_batch": 16}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))


def test_it_changes_other_answers_far_less_than_negative_gradient(trained, rows):
    others = torch.rand(200, 3, 8, 6, generator=torch.Generator().manual_seed(5))
    before = compute_logits(trained, others)
    changes = [
        (compute_logits(edit.classifier, others) - before).square().mean()
        for edit in (
            unlearn(trained, rows, method=LeastChange(**QUICK, steps=20), strength=Strength.EXACT),
            unlearn(trained, rows, method=NegativeGradient()),
        )
    ]
    assert changes[0] < 0.5 * changes[1]


def test_every_row_is_over_its_boundary_by_about_the_margin(trained, rows):
    edit = unlearn(trained, rows, method=LeastChange(**QUICK, steps=20, margin=0.7), strength=Strength.EXACT)
    assert edit.stop_reason is StopReason.GOAL_REACHED
    gaps = edit.task.goal.gap(compute_logits(edit.classifier, rows.x), edit.task.labels)
    assert float(gaps.max()) < -0.5


def test_both_forms_of_the_jacobian_give_the_same_edit(trained, rows):
    held, anew = (
        unlearn(
            trained,
            rows,
            method=LeastChange(**QUICK, steps=6, memory_gigabytes=memory),
            strength=Strength.EXACT,
        )
        for memory in (1.0, 1e-6)
    )
    for name, tensor in held.classifier.network.state_dict().items():
        torch.testing.assert_close(anew.classifier.network.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)


def test_batchnorm_and_what_is_no_layer_stay_as_they_are(trained, rows):
    edit = unlearn(trained, rows, method=LeastChange(**QUICK, steps=6), strength=Strength.EXACT)
    assert all(name.startswith(("0.", "3.", "8.")) for name in edit.compute_patch())


def test_robust_forgetting_holds_on_fresh_copies(trained, rows):
    method = LeastChange(**QUICK, steps=20, copying=Copying(constraints=24))
    edit = unlearn(trained, rows.rows([0, 1]), method=method)
    assert edit.task.strength is Strength.ROBUST
    assert edit.stop_reason is StopReason.GOAL_REACHED
    assert edit.measure_robust_goal().share > 0.9


def test_open_sizes_follow_the_task(trained, rows):
    method = LeastChange()
    edit = unlearn(trained, rows, method=LeastChange(**QUICK, steps=2), strength=Strength.EXACT)
    resolved = method.resolve(edit.task)
    assert (resolved.steps, resolved.probe_batch, resolved.copying.constraints) == (50, 96, 48)
    assert LeastChange(steps=7).resolve(edit.task).steps == 7


def test_the_expected_cost_comes_from_probes_kept_out(trained, rows):
    edit = unlearn(trained, rows, method=LeastChange(**QUICK, steps=10), strength=Strength.EXACT)
    assert edit.expected.probes == 12
    assert 0 <= edit.expected.churn <= 100
    assert edit.expected.logit_change > 0


def test_the_expected_cost_of_no_change_is_nothing(trained, rows):
    expected = measure_expected_cost(trained, trained, rows.x)
    assert (expected.churn, expected.logit_change, expected.probes) == (0.0, 0.0, 6)
