import math
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torch import nn

from expunge import Strength, unlearn
from expunge.audit.metrics.auc import exact_area
from expunge.audit.metrics.fingerprint import closeness_to_median_lead
from expunge.compute import runtime
from expunge.compute.runtime import Precision, Runtime
from expunge.methods.descent import Descent
from expunge.methods.least_change import exact as solver
from expunge.methods.least_change import margins
from expunge.methods.least_change import robust as penalised
from expunge.methods.least_change import scope as scopes
from expunge.methods.least_change.blends import answer_blends
from expunge.methods.least_change.exact import Exact
from expunge.methods.least_change.iterate import Iterate, norm
from expunge.methods.least_change.margins import Leads
from expunge.methods.least_change.method import LeastChange
from expunge.methods.least_change.robust import Robust
from expunge.methods.least_change.scope import Scope, find_scope
from expunge.methods.published.negative_gradient import NegativeGradient
from expunge.models.classifier import Classifier
from expunge.models.tails import find_cut
from expunge.surrogates.cache import CACHE_VARIABLE
from expunge.surrogates.draw import SurrogateMix
from expunge.surrogates.inverted import Inversion
from expunge.task.evaluation import compute_logits
from expunge.task.expected import measure_expected_cost
from expunge.task.goals import Unseen
from expunge.task.task import Effort, Limits, StopReason
from expunge.task.unseen import deal_out, leads_of

PUSHED = NegativeGradient(descent=Descent())
"""With BatchNorm as `least-change` has it."""
QUICK = {"surrogates": SurrogateMix(mixes=80, inverted=0, procedural=40)}


def exact(**changes):
    return LeastChange(**QUICK, exact=Exact(surrogate_batch=16, **changes))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def change_elsewhere(edit):
    """Return the mean squared change of the logits on images that have nothing to do with the rows."""
    others = torch.rand(200, 3, 8, 6, generator=torch.Generator().manual_seed(5))
    logits = (compute_logits(each, others) for each in (edit.task.classifier, edit.classifier))
    return (next(logits) - next(logits)).square().mean()


def test_it_changes_other_answers_far_less_than_negative_gradient(trained, rows):
    ours = unlearn(trained, rows, method=exact(steps=20), strength=Strength.EXACT)
    other = unlearn(trained, rows, method=PUSHED)
    assert change_elsewhere(ours) < 0.5 * change_elsewhere(other)


def test_every_row_is_over_its_boundary_by_about_the_margin(trained, rows):
    edit = unlearn(trained, rows, method=exact(steps=20, margin=0.7), strength=Strength.EXACT)
    assert edit.stop_reason is StopReason.GOAL_REACHED
    gaps = edit.task.goal.gap(compute_logits(edit.classifier, rows.x), edit.task.labels)
    assert float(gaps.max()) < -0.5


def test_both_forms_of_the_jacobian_give_the_same_edit(trained, rows):
    held, anew = (
        unlearn(
            trained,
            rows,
            method=exact(steps=6, memory_gigabytes=memory),
            strength=Strength.EXACT,
        )
        for memory in (1.0, 1e-6)
    )
    for name, tensor in held.classifier.network.state_dict().items():
        torch.testing.assert_close(anew.classifier.network.state_dict()[name], tensor, rtol=1e-3, atol=1e-4)


def test_rows_that_have_some_of_their_lead_to_spare_take_no_part_in_a_step_and_the_edit_is_the_same(
    trained, twelve, monkeypatch
):
    edits = []
    for spare in (solver.SPARE, math.inf):
        monkeypatch.setattr(solver, "SPARE", spare)
        edits.append(unlearn(trained, twelve, method=exact(steps=20), goal=Unseen(), strength=Strength.EXACT))
    some, all_rows = edits
    assert some.stop_reason is all_rows.stop_reason is StopReason.GOAL_REACHED
    assert some.cost.gradient_evaluations < all_rows.cost.gradient_evaluations
    for one, other in zip(some.classifier.module.parameters(), all_rows.classifier.module.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("strength", Strength)
def test_own_images_keep_the_answers_of_images_like_them(trained, rows, tmp_path, strength):
    own, alike = 0.25 * torch.rand(2, 60, 3, 8, 6, generator=torch.Generator().manual_seed(9))
    for number, image in enumerate(own):
        Image.fromarray((255 * image).byte().permute(1, 2, 0).numpy()).save(tmp_path / f"{number}.png")
    changes = []
    for folder in (None, str(tmp_path)):
        surrogates = replace(QUICK["surrogates"], folder=folder)
        method = replace(exact(steps=20), surrogates=surrogates, robust=Robust(steps=20, surrogate_batch=32, copies=16))
        edit = unlearn(trained, rows, method=method, strength=strength)
        logits = [compute_logits(each, alike) for each in (trained, edit.classifier)]
        changes.append((logits[0] - logits[1]).square().mean())
    assert changes[1] < 0.8 * changes[0]


def test_batchnorm_and_what_is_no_layer_stay_as_they_are(trained, rows):
    edit = unlearn(trained, rows, method=exact(steps=6), strength=Strength.EXACT)
    assert all(name.startswith(("0.", "3.", "8.")) for name in edit.compute_patch())


ROBUST = Robust(steps=40, surrogate_batch=16, copies=24)


@pytest.mark.parametrize("strength", list(Strength))
def test_bfloat16_forgets_as_well_and_changes_other_answers_hardly_more(trained, rows, strength):
    few = rows.rows([0, 1])
    plain, reduced = (
        unlearn(trained, few, method=replace(exact(steps=20), robust=ROBUST, precision=precision), strength=strength)
        for precision in (Precision.FLOAT32, Precision.BFLOAT16)
    )
    assert plain.stop_reason is reduced.stop_reason is StopReason.GOAL_REACHED
    assert not torch.equal(*(compute_logits(each.classifier, few.x) for each in (plain, reduced)))
    assert float(change_elsewhere(reduced)) < 1.3 * float(change_elsewhere(plain))


@pytest.mark.parametrize(
    ("strength", "said", "expected"),
    [
        (Strength.ROBUST, None, "bfloat16"),
        (Strength.EXACT, None, "float32"),
        (Strength.ROBUST, Precision.FLOAT32, "float32"),
        (Strength.EXACT, Precision.AUTO, "bfloat16"),
    ],
)
def test_robust_edits_compute_in_bfloat16_where_the_processor_has_it(
    trained, rows, monkeypatch, strength, said, expected
):
    monkeypatch.setattr(runtime, "has_bfloat16", lambda _: True)
    edit = unlearn(
        trained, rows, method=LeastChange(**QUICK, precision=said), strength=strength, limits=Limits(steps=1)
    )
    assert edit.settings["precision"] == expected


def test_after_a_step_that_was_too_long_the_curvature_is_measured_at_once(trained, rows, monkeypatch):
    measure, calls = Iterate.measure_curvature, list[int]()

    def underestimate(iterate, *arguments):
        measure(iterate, *arguments)
        iterate.curvature /= 1 if calls else 10
        calls.append(1)

    monkeypatch.setattr(Iterate, "measure_curvature", underestimate)
    reasons = []
    for steep in (solver.STEEP, math.inf):
        calls.clear()
        monkeypatch.setattr(solver, "STEEP", steep)
        edit = unlearn(trained, rows, method=exact(steps=12, approach=1), strength=Strength.EXACT)
        reasons.append(edit.stop_reason)
    assert reasons == [StopReason.GOAL_REACHED, StopReason.DIVERGED]


def test_robust_forgetting_holds_on_fresh_copies(trained, rows):
    edit = unlearn(trained, rows.rows([0, 1]), method=LeastChange(**QUICK, robust=ROBUST))
    assert edit.task.strength is Strength.ROBUST
    assert edit.stop_reason is StopReason.GOAL_REACHED
    assert edit.achieved.all()
    assert edit.measure_robust_goal().share > 0.9


def test_robust_forgetting_changes_other_answers_less_than_pushing_copies_alone(trained, rows):
    few = rows.rows([0, 1])
    ours = unlearn(trained, few, method=LeastChange(**QUICK, robust=ROBUST))
    other = unlearn(trained, few, method=PUSHED, strength=Strength.ROBUST)
    assert change_elsewhere(ours) < 0.5 * change_elsewhere(other)


@pytest.mark.parametrize(("depth", "layers", "expected"), [(0.35, 20, 7), (0.1, 20, 6), (1.0, 20, 20), (0.1, 3, 3)])
def test_only_the_last_layers_change_in_a_deep_network(depth, layers, expected):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), *(nn.Linear(4, 4) for _ in range(layers)))
    deep = Classifier.wrap(network, num_classes=4, mean=0.5, std=0.5)
    scope = find_scope(deep, torch.rand(2, 1, 2, 2), depth)
    assert scope == (Scope(f"network.{layers - expected}", expected) if depth < 1 else Scope()), "module 0 is no layer"


@pytest.mark.parametrize("strength", Strength)
def test_an_edit_behind_a_cut_is_the_same_edit(trained, rows, monkeypatch, strength):
    monkeypatch.setattr(scopes, "LEAST_LAYERS", 1)
    settings = {"robust": replace(ROBUST, depth=0.3, steps=4), "exact": Exact(depth=0.3)}
    method = LeastChange(**QUICK | settings, precision=Precision.FLOAT32)
    seen = list[str | None]()

    def cut(*arguments):
        seen.append(find_cut(*arguments))
        return seen[-1]

    monkeypatch.setattr(scopes, "find_cut", cut)
    behind = unlearn(trained, rows, method=method, strength=strength, limits=Limits(steps=4)).compute_patch()
    monkeypatch.setattr(scopes, "find_cut", lambda *_: None)
    whole = unlearn(trained, rows, method=method, strength=strength, limits=Limits(steps=4)).compute_patch()
    assert seen == ["network.7"]
    assert behind.keys() == whole.keys()
    for name, change in whole.items():
        assert torch.allclose(behind[name], change, rtol=0.01, atol=0.01 * float(change.abs().max()))


def test_an_edit_behind_a_cut_needs_no_spliced_surrogates(trained, rows, monkeypatch):
    monkeypatch.setattr(scopes, "LEAST_LAYERS", 1)
    robust = replace(ROBUST, depth=0.3, steps=2, spliced=0.0)
    edit = unlearn(trained, rows, method=LeastChange(**QUICK, robust=robust), limits=Limits(steps=2))
    assert edit.steps == 2


def test_an_edit_that_goes_on_is_sized_for_all_rows():
    alone, going_on = (Robust().resolve(16, 32 * 32, earlier=earlier) for earlier in (0, 240))
    together = Robust().resolve(256, 32 * 32)
    assert (going_on.steps, going_on.surrogate_batch) == (together.steps, together.surrogate_batch)
    assert (going_on.copies, going_on.spliced, going_on.share) == (alone.copies, alone.spliced, alone.share)


def test_layers_that_are_not_edited_stay_as_they_are(trained, rows, monkeypatch):
    monkeypatch.setattr(scopes, "LEAST_LAYERS", 1)
    robust = replace(ROBUST, depth=0.3, steps=4)
    edit = unlearn(trained, rows, method=LeastChange(**QUICK, robust=robust), limits=Limits(steps=4))
    assert {name.partition(".")[0] for name in edit.compute_patch()} == {"8"}


def test_a_new_label_is_taken_by_copies_too(trained, relabelled):
    edit = unlearn(trained, relabelled.rows([0, 1]), method=LeastChange(**QUICK, robust=ROBUST))
    assert edit.task.goal.name == "relabel"
    assert edit.achieved.all()
    assert edit.measure_robust_goal().share > 0.9


def test_what_holds_decides_how_much_copies_weigh(trained, rows):
    weights = []
    for share in (0.01, 0.99):
        robust = replace(ROBUST, steps=30, share=share)
        edit = unlearn(trained, rows, method=LeastChange(**QUICK, robust=robust), limits=Limits(steps=30))
        weights.append(edit.trace[-1].losses["weight"])
    assert weights[0] < weights[1]


def test_steps_after_the_planned_ones_want_more_copies_until_enough_hold(trained, rows, monkeypatch):
    robust = replace(ROBUST, steps=60, share=0.4, gain=1.0, margin=0.0, temperature=0.1)
    wanted, steer = [], penalised.PenalisedSolver._steer

    def note(solver, held):
        wanted.append(solver._wanted)
        steer(solver, held)

    monkeypatch.setattr(penalised, "CLOSING_RISE", 0.04)
    monkeypatch.setattr(penalised.PenalisedSolver, "_steer", note)
    edit = unlearn(trained, rows, method=LeastChange(**QUICK, robust=robust))
    assert wanted[:60] == [0.4] * 60
    assert wanted[60::10] == pytest.approx([min(1.0, 0.44 + 0.04 * more) for more in range(edit.steps - 60)])
    assert edit.stop_reason is StopReason.GOAL_REACHED or wanted[-1] == 1.0


def test_an_edit_says_what_was_chosen_for_the_sizes_left_open(trained, rows):
    edit = unlearn(trained, rows, method=LeastChange(**QUICK), strength=Strength.EXACT, limits=Limits(steps=1))
    assert (edit.settings["exact"]["steps"], edit.settings["exact"]["surrogate_batch"]) == (40, 160)
    assert (edit.settings["exact"]["depth"], edit.settings["robust"]["copies"]) == (0.35, 96)


def test_open_sizes_of_an_exact_edit_follow_rows_and_pixels():
    sizes = [Exact().resolve(rows, side * side) for rows, side in ((32, 64), (33, 64), (32, 224), (33, 224))]
    assert [(each.steps, each.surrogate_batch, each.depth) for each in sizes] == [
        (40, 160, 0.35),
        (50, 96, 1.0),
        (24, 64, 0.35),
        (24, 64, 1.0),
    ]
    assert Exact().resolve(16, 32 * 32, among_others=True) == Exact().resolve(64, 32 * 32)
    assert Exact().resolve(16, 224 * 224, Effort.STANDARD).steps == 16
    assert Exact(depth=0.5).resolve(64, 32 * 32).depth == 0.5


def test_open_sizes_of_a_robust_edit_follow_the_number_of_rows():
    sizes = [Robust().resolve(rows, 32 * 32) for rows in (16, 64, 256)]
    assert [(each.steps, each.surrogate_batch, each.copies, each.spliced, each.share) for each in sizes] == [
        (80, 128, 96, 0.4, 0.975),
        (120, 192, 128, 0.6, 0.94),
        (160, 256, 256, 0.8, 0.915),
    ]
    assert Robust(steps=7, spliced=0.0).resolve(256, 32 * 32).spliced == 0.0
    assert Robust().resolve(256, 32 * 32, Effort.QUICK).steps == 80
    assert Robust().resolve(256, 32 * 32, Effort.QUICK, again=True).steps == 64
    large = Robust().resolve(64, 224 * 224)
    assert (large.steps, large.surrogate_batch, large.copies) == (120, 96, 64)


def test_the_expected_cost_comes_from_surrogates_kept_out(trained, rows):
    edit = unlearn(trained, rows, method=exact(steps=10), strength=Strength.EXACT)
    assert edit.expected.surrogates == 12
    assert 0 <= edit.expected.churn <= 100
    assert edit.expected.logit_change > 0


def test_the_expected_cost_of_no_change_is_nothing(trained, rows):
    expected = measure_expected_cost(trained, trained, rows.x)
    assert (expected.churn, expected.logit_change, expected.surrogates) == (0.0, 0.0, 6)


@pytest.mark.processor
@pytest.mark.parametrize("strength", Strength)
def test_the_edit_is_one_whatever_the_batch_size(trained, rows, strength, cache, monkeypatch):
    """Of equal draws, rounding is all that differs; after six steps it has not grown to a part in ten thousand."""
    method = LeastChange(
        surrogates=SurrogateMix(mixes=80, inverted=64, procedural=40, inversion=Inversion(steps=3)),
        exact=Exact(steps=6, surrogate_batch=24),
        robust=Robust(steps=6, surrogate_batch=24, copies=24),
    )
    found = []
    for batch_size in (16, 64, 256):
        monkeypatch.setenv(CACHE_VARIABLE, str(cache) + str(batch_size))
        runtime = Runtime(batch_size=batch_size)
        edit = unlearn(trained, rows, method=method, strength=strength, limits=Limits(steps=6), runtime=runtime)
        found.append(edit.compute_patch())
    length = norm(found[0].values())
    for other in found[1:]:
        assert norm(other[name] - weights for name, weights in found[0].items()) < 1e-4 * length


@pytest.mark.processor
def test_the_fingerprint_of_one_margin_is_found_and_that_of_ordinary_leads_is_less(trained, twelve):
    rows, areas = twelve.rows(list(range(8))), {}
    others = torch.rand(400, *rows.x.shape[1:], generator=torch.Generator().manual_seed(5))
    for leads in Leads:
        edit = unlearn(trained, rows, method=exact(leads=leads), strength=Strength.EXACT)
        logits = (compute_logits(edit.classifier, x).numpy() for x in (rows.x, others))
        areas[leads] = exact_area(*closeness_to_median_lead(*logits))
    assert areas[Leads.LEAST] > 0.9
    assert areas[Leads.ORDINARY] < areas[Leads.LEAST]


def deal_leads(classifier, rows):
    """Return what each row's answer is to lead by."""
    blends = leads_of(answer_blends(classifier, rows.x, 0, Runtime()))
    return blends[deal_out(blends, leads_of(compute_logits(classifier, rows.x)))]


@pytest.mark.processor
def test_ordinary_leads_are_those_of_images_that_were_never_seen(trained, rows):
    edit = unlearn(trained, rows, method=exact(leads=Leads.ORDINARY), strength=Strength.EXACT)
    wanted, reached = deal_leads(trained, rows), leads_of(compute_logits(edit.classifier, rows.x))
    assert (reached > 0.9 * wanted - 0.2).all()
    assert ((reached - wanted).abs() < 0.1 * wanted + 0.2).sum() >= 4, "one or two may be carried on by the others"


@pytest.mark.processor
def test_rows_of_a_robust_edit_are_drawn_to_their_ordinary_leads(trained, rows, monkeypatch):
    found = []

    class Watched(margins.OrdinaryRows):
        def pull(self):
            state = self._generator.get_state()
            away, gradient = super().pull()
            iterate, length = self._problem.iterate, 1e-3 / max(norm(gradient), 1e-6)
            iterate.write([old - length * part for old, part in zip(iterate.position, gradient, strict=True)])
            later = self._generator.get_state()
            self._generator.set_state(state)
            found.append((away, super().pull()[0]))
            self._generator.set_state(later)
            iterate.write(iterate.position)
            return away, gradient

    monkeypatch.setattr(penalised, "OrdinaryRows", Watched)
    monkeypatch.setattr(margins.OrdinaryRows, "_follow", lambda self: None)
    method = LeastChange(**QUICK, robust=replace(ROBUST, leads=Leads.ORDINARY))
    unlearn(trained, rows, method=method, strength=Strength.ROBUST)
    moved = [(before, after) for before, after in found if before > 0]
    assert len(moved) > 20, "rows are over their boundaries in most of the steps"
    assert sum(after < before for before, after in moved) > 0.9 * len(moved)


def test_ordinary_leads_shrink_by_the_square_of_what_surrogates_lose(trained, rows, monkeypatch):
    found = []

    class Watched(margins.OrdinaryRows):
        def __init__(self, problem, temperature):
            super().__init__(problem, temperature)
            x, before = problem.apart
            for share in (1.0, 0.5):
                self._problem = replace(problem, apart=(x, before / share))
                self._follow()
                found.append(self._left)
            self._problem = problem

    monkeypatch.setattr(penalised, "OrdinaryRows", Watched)
    method = LeastChange(**QUICK, robust=replace(ROBUST, leads=Leads.ORDINARY))
    unlearn(trained, rows, method=method, strength=Strength.ROBUST, limits=Limits(steps=1))
    assert found == pytest.approx([1.0, 0.25], rel=0.02), "answers before may be those of bfloat16"


def test_more_effort_takes_more_surrogates_and_steps(trained, rows):
    sizes = []
    for effort in Effort:
        resolved = LeastChange(effort=effort)._resolve(trained, rows.x, Strength.EXACT)
        mix, exact, robust = resolved.surrogates, resolved.exact, resolved.robust
        sizes.append((mix.mixes + mix.inverted + mix.procedural, exact.steps, robust.steps))
    assert sizes == [(1512, 20, 40), (2256, 40, 80), (3536, 40, 80)]


def test_what_is_said_goes_before_the_effort(trained, rows):
    said = LeastChange(effort=Effort.QUICK, surrogates=SurrogateMix(inverted=7), exact=Exact(steps=9))
    resolved = said._resolve(trained, rows.x, Strength.EXACT)
    assert (resolved.surrogates.inverted, resolved.exact.steps, resolved.robust.steps) == (7, 9, 40)
