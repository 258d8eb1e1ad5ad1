import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from expunge.base.errors import OutputError, SettingsError
from expunge.data.forget import ForgetSet
from expunge.methods.published.anchors import Structure, draw_anchors, draw_mix, misalign
from expunge.methods.published.head import find_head
from expunge.methods.published.projector import Projector, add_projector, drop_projector
from expunge.methods.published.structguard import elastic_net
from expunge.methods.unlearn import make_method, unlearn
from expunge.models.classifier import Classifier
from expunge.task.task import Limits, StopReason

ATTACK = {"targets_per_row": 2, "radius": 0.5, "step_size": 0.2, "steps": 2}
QUICK = {"attack": ATTACK, "adversarial_batch": 4, "anchor_width": 6, "importance_images": 8, "learning_rate": 0.05}


def make_projector(width=8, hidden=6, *, channels_first=False):
    return Projector(width, hidden, channels_first=channels_first, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("cosine", [0.0, 0.5, 0.9])
def test_drawn_anchors_have_the_cosine_that_was_asked(cosine):
    anchors = draw_anchors(6, 20_000, cosine, torch.Generator().manual_seed(0))
    expected = torch.full((6, 6), cosine).fill_diagonal_(1.0)
    torch.testing.assert_close(anchors @ anchors.T, expected, atol=0.03, rtol=0)


def test_columns_of_the_mix_have_length_1():
    mix = draw_mix(5, 7, torch.Generator().manual_seed(0))
    torch.testing.assert_close(mix.norm(dim=0), torch.ones(7))


def test_places_are_cosines_with_the_anchors_averaged_over_positions():
    anchors = torch.eye(3)[:2]
    structure = Structure(anchors, None)
    features = torch.tensor([[[[3.0, 0.0, 0.0]], [[0.0, 8.0, 0.0]]]])
    assert structure.place(features).flatten().tolist() == pytest.approx([3 / 73**0.5, 8 / 73**0.5])
    mixed = Structure(anchors, torch.tensor([[0.0, 2.0, 0.0], [1.0, 0.0, 0.0]]))
    assert mixed.place_original(torch.tensor([[2.0, 0.0]])).flatten().tolist() == [0.0, 1.0]


def test_misalignment_is_0_for_the_same_places_and_2_for_opposite_ones():
    places = torch.tensor([[1.0, 2.0], [3.0, -1.0]])
    assert misalign(places, 5 * places).item() == pytest.approx(0.0, abs=1e-6)
    assert misalign(places, -places).item() == pytest.approx(2.0)


def test_elastic_net():
    assert elastic_net(torch.tensor([[3.0, -4.0]])).item() == pytest.approx(0.99 * 7 + 0.005 * 25)


@pytest.mark.parametrize("channels_first", [False, True])
def test_a_projector_does_the_same_at_each_position(channels_first):
    projector = make_projector(channels_first=channels_first).eval()
    features = torch.rand(2, 5, 3, 8, generator=torch.Generator().manual_seed(1))
    given = features.movedim(-1, 1) if channels_first else features
    projected = projector(given)
    assert projected.shape == given.shape
    alone = make_projector().eval()(features.reshape(-1, 8)).view(features.shape)
    torch.testing.assert_close(projected.movedim(1, -1) if channels_first else projected, alone)


def test_a_projector_is_added_before_the_head_and_taken_out_again(trained, rows):
    head, projector = find_head(trained, rows.x), make_projector()
    through = add_projector(trained, head, projector)
    through.module.eval()
    features = trained.network[:8]((rows.x - 0.5) / 0.25)
    torch.testing.assert_close(through(rows.x), trained.network[8](projector(features)))
    assert through.network[0].weight is trained.network[0].weight
    assert through.network[1].running_mean is trained.network[1].running_mean
    dropped = drop_projector(through)
    assert dropped.network.state_dict().keys() == trained.network.state_dict().keys()
    torch.testing.assert_close(dropped(rows.x), trained(rows.x))


def test_a_classifier_without_projector_is_copied(trained):
    assert drop_projector(trained).sha256() == trained.sha256()


def test_drawing_a_projector_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    make_projector()
    assert torch.equal(torch.get_rng_state(), before)


def test_the_projector_is_kept_where_asked_and_its_edit_cannot_be_saved(trained, rows, tmp_path):
    edit = unlearn(trained, rows, method=make_method("structguard", {**QUICK, "projector": "kept"}))
    assert "8.projector.first.weight" in edit.classifier.network.state_dict()
    with torch.no_grad():
        wrong = edit.classifier.copy().module.eval()(rows.x).argmax(dim=1) != rows.y
    assert torch.equal(edit.achieved, wrong)
    assert (edit.stop_reason is StopReason.GOAL_REACHED) == bool(wrong.all())
    with pytest.raises(OutputError, match=r"8\.head\.weight"):
        edit.save(tmp_path / "edit")
    assert not (tmp_path / "edit" / "result.json").exists()


def test_rows_are_first_looked_at_after_the_first_pass(trained, rows):
    """A projector of random weights misses all rows at once; that is no edit."""
    for projector in ("kept", "dropped"):
        edit = unlearn(trained, rows, method=make_method("structguard", {**QUICK, "projector": projector}))
        assert edit.steps > 3


def test_the_penalty_is_left_out_of_the_first_two_steps_of_each_pass(trained, rows):
    settings = {**QUICK, "learning_rate": 1e-6, "projector_rate": 1e-6}
    edit = unlearn(trained, rows, method=make_method("structguard", settings), limits=Limits(steps=6))
    assert ["regularisation" in point.losses for point in edit.trace] == [False, False, True] * 2


def test_anchors_of_a_file_are_used(trained, rows, tmp_path):
    path, generator = tmp_path / "anchors.safetensors", torch.Generator().manual_seed(0)
    save_file({"texts": 3 * torch.randn(5, 8, generator=generator)}, path)
    method = make_method("structguard", {**QUICK, "anchors": str(path)})
    anchors = method.find_anchors(5, generator)
    torch.testing.assert_close(anchors.norm(dim=1), torch.ones(5))
    edit = unlearn(trained, rows, method=method, limits=Limits(steps=2))
    drawn = unlearn(trained, rows, method=make_method("structguard", QUICK), limits=Limits(steps=2))
    assert edit.trace[0].losses["alignment"] != drawn.trace[0].losses["alignment"]


@pytest.mark.parametrize("tensors", [{}, {"a": torch.zeros(4, 8)}, {"a": torch.zeros(5, 8), "b": torch.zeros(5, 8)}])
def test_a_file_of_other_anchors_is_refused(tmp_path, tensors):
    save_file(tensors, tmp_path / "anchors.safetensors")
    method = make_method("structguard", {"anchors": str(tmp_path / "anchors.safetensors")})
    with pytest.raises(SettingsError, match=r"`anchors`: expected one tensor of shape \(5, width\)"):
        method.find_anchors(5, torch.Generator())


def test_a_missing_file_of_anchors_is_said(tmp_path):
    method = make_method("structguard", {"anchors": str(tmp_path / "none.safetensors")})
    with pytest.raises(SettingsError, match=r"`anchors`: expected a safetensors file"):
        method.find_anchors(5, torch.Generator())


def test_without_adversarial_examples_it_is_refused(trained, rows):
    with pytest.raises(SettingsError, match=r"attack\.targets_per_row.*at least 1"):
        unlearn(trained, rows, method=make_method("structguard", {"attack": {"targets_per_row": 0}}))


def test_a_head_that_is_a_convolution(rows):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 5, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    classifier = Classifier(module.eval(), 5)
    with torch.no_grad():
        labelled = ForgetSet(rows.ids, rows.x, classifier(rows.x).argmax(dim=1))
    edit = unlearn(classifier, labelled, method=make_method("structguard", QUICK), limits=Limits(steps=4))
    assert all(point.losses["alignment"] > 0 for point in edit.trace)
