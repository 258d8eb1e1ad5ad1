from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch
from filelock import FileLock
from PIL import Image
from safetensors.torch import save
from torch import nn

from expunge.base.errors import DataError, ExpungeWarning
from expunge.compute.context import Context
from expunge.compute.runtime import Progress, Runtime
from expunge.data.forget import ForgetSet
from expunge.data.preprocessing import pixels_of
from expunge.data.sources.decoding import decode
from expunge.models.classifier import Classifier
from expunge.models.pixels import Bounds
from expunge.models.tails import enter
from expunge.surrogates import inverted
from expunge.surrogates.adversarial import order_in_rounds
from expunge.surrogates.cache import CACHE_VARIABLE
from expunge.surrogates.draw import SurrogateMix, draw_surrogates, load_own
from expunge.surrogates.folder import load_surrogate_folder
from expunge.surrogates.inverted import GROUP, Inversion, has_batchnorm, invert_classifier
from expunge.surrogates.mixes import draw_mixes
from expunge.surrogates.procedural import _paint, draw_leaves
from expunge.task.earlier import Earlier
from expunge.task.evaluation import compute_logits
from expunge.task.task import Effort, Task

SHAPE = (3, 8, 6)
FEW, SHORTER = Inversion(steps=3), Inversion(steps=2)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def context():
    return Context(Runtime(batch_size=16))


@pytest.mark.parametrize("bounds", [Bounds(), Bounds(-1, 3)])
@pytest.mark.parametrize("channels", [1, 3])
def test_leaves_stay_within_bounds_and_repeat_with_the_seed(bounds, channels):
    leaves = draw_leaves(5, (channels, 9, 7), bounds, seeded())
    assert leaves.shape == (5, channels, 9, 7)
    assert float(leaves.min()) >= bounds.lower
    assert float(leaves.max()) <= bounds.upper
    assert torch.equal(leaves, draw_leaves(5, (channels, 9, 7), bounds, seeded()))
    assert not torch.equal(leaves[0], leaves[1])


def test_the_leaf_on_top_gives_its_colour_and_another_images_texture():
    texture = torch.tensor([[[[0.2, 0.4]]], [[[0.6, 0.8]]]])
    top = torch.tensor([[[0, 1]], [[1, 0]]])
    colours, textures = torch.tensor([[[0.0, 0.3]], [[0.0, 0.9]]]), torch.tensor([[0, 1], [1, 0]])
    painted = _paint(texture, top, colours, textures)
    expected = torch.tensor([[[[0.2, 0.3 + 0.5 * (0.8 - 0.47)]]], [[[0.9 + 0.5 * (0.2 - 0.47), 0.8]]]])
    torch.testing.assert_close(painted, expected)


def test_no_leaves_are_none():
    assert draw_leaves(0, (3, 9, 7), Bounds(), seeded()).shape == (0, 3, 9, 7)


def test_leaves_have_the_falling_spectrum_of_photographs():
    leaves = draw_leaves(64, (1, 32, 32), Bounds(), seeded())
    power = torch.fft.fft2(leaves - leaves.mean((2, 3), keepdim=True)).abs().square().mean((0, 1))
    assert float(power[0, 1:4].mean()) > 5 * float(power[0, 12:16].mean())


@pytest.mark.parametrize("count", [0, 1, 6])
def test_mixes_stay_within_bounds_and_repeat_with_the_seed(count):
    x = torch.rand(3, *SHAPE, generator=seeded(1))
    mixes = draw_mixes(x, count, Bounds(), seeded())
    assert mixes.shape == (count, *SHAPE)
    assert torch.equal(mixes, draw_mixes(x, count, Bounds(), seeded()))
    if count:
        assert 0 <= float(mixes.min()) <= float(mixes.max()) <= 1


def test_mixes_keep_a_distance_from_every_source():
    x = torch.rand(4, 3, 32, 32, generator=seeded(1))
    mixes = draw_mixes(x, 40, Bounds(), seeded())
    nearest = (mixes[:, None] - x[None]).flatten(2).norm(dim=2).min(dim=1).values
    assert float(nearest.min()) > 2.0


def test_inversion_brings_the_statistics_nearer(trained):
    frozen = trained.frozen_copy()
    start = invert_classifier(frozen, 16, SHAPE, Inversion(steps=1, rate=1e-9), context())
    end = invert_classifier(frozen, 16, SHAPE, Inversion(steps=60), context())
    assert statistics_distance(frozen, end) < 0.7 * statistics_distance(frozen, start)
    assert 0 <= float(end.min()) <= float(end.max()) <= 1


def statistics_distance(classifier, x):
    layer = next(part for part in classifier.module.modules() if isinstance(part, nn.BatchNorm2d))
    entered = []
    hook = layer.register_forward_pre_hook(lambda part, inputs: entered.append(inputs[0]))
    classifier(x)
    hook.remove()
    return float((entered[0].mean((0, 2, 3)) - layer.running_mean).square().div(layer.running_var).mean())


def test_inverted_images_come_from_the_cache_the_second_time(trained, cache):
    frozen, first, second = trained.frozen_copy(), context(), context()
    made = invert_classifier(frozen, 5, SHAPE, FEW, first)
    assert first.cost().gradient_evaluations == GROUP * FEW.steps
    assert torch.equal(invert_classifier(frozen, 5, SHAPE, FEW, second), made)
    assert second.cost().gradient_evaluations == 0
    assert len(list(cache.rglob("*.safetensors"))) == 1


def test_more_inverted_images_begin_with_those_there_are(trained, cache):
    frozen, more = trained.frozen_copy(), context()
    made = invert_classifier(frozen, 5, SHAPE, FEW, context())
    found = invert_classifier(frozen, GROUP + 3, SHAPE, FEW, more)
    assert torch.equal(found[:5], made)
    assert len(found) == GROUP + 3
    assert more.cost().gradient_evaluations == GROUP * FEW.steps


def test_an_interrupted_inversion_keeps_the_groups_that_are_done(trained, cache):
    class Interrupting(Progress):
        @contextmanager
        def phase(self, name, total=None):
            done = 0

            def advance(count):
                nonlocal done
                done += count
                if done > FEW.steps:
                    raise KeyboardInterrupt

            yield advance

    frozen = trained.frozen_copy()
    with pytest.raises(KeyboardInterrupt):
        invert_classifier(frozen, 2 * GROUP, SHAPE, FEW, Context(Runtime(progress=Interrupting())))
    assert [path.name for path in cache.rglob("*.safetensors")] == ["0000.safetensors"]


@pytest.mark.parametrize("batch_size", [1, 24, 256])
def test_inverted_images_do_not_depend_on_the_batch_size(trained, cache, monkeypatch, batch_size):
    frozen, inversion = trained.frozen_copy(), Inversion(steps=10)
    expected = invert_classifier(frozen, 5, SHAPE, inversion, context())
    monkeypatch.setenv(CACHE_VARIABLE, str(cache / "other"))
    found = invert_classifier(frozen, 5, SHAPE, inversion, Context(Runtime(batch_size=batch_size)))
    assert float((found - expected).abs().mean()) < 1e-4


@pytest.mark.parametrize("batch_size", [48, 256])
def test_groups_that_are_inverted_together_are_those_inverted_alone(trained, cache, monkeypatch, batch_size):
    frozen, inversion = trained.frozen_copy(), Inversion(steps=10)
    expected = invert_classifier(frozen, 3 * GROUP, SHAPE, inversion, context())
    monkeypatch.setenv(CACHE_VARIABLE, str(cache / "other"))
    monkeypatch.setattr(inverted, "_groups_at_once", lambda context: 2)
    found = invert_classifier(frozen, 3 * GROUP, SHAPE, inversion, Context(Runtime(batch_size=batch_size)))
    assert float((found - expected).abs().mean()) < 1e-4
    assert len(list((cache / "other").rglob("*.safetensors"))) == 3


def test_who_waits_for_another_that_inverts_is_told_of_the_time_and_finds_its_images(trained, cache):
    class Waiting(Progress):
        @contextmanager
        def phase(self, name, total=None):
            def advance(count):
                if not count and other.is_locked:
                    told.append(count)
                    moved.rename(group)
                    other.release()

            yield advance

    frozen, told = trained.frozen_copy(), []
    made = invert_classifier(frozen, 3, SHAPE, FEW, context())
    [lock] = cache.rglob("lock")
    [group] = cache.rglob("*.safetensors")
    other = FileLock(lock)
    other.acquire()
    there, later = context(), Context(Runtime(progress=Waiting()))
    assert torch.equal(invert_classifier(frozen, 3, SHAPE, FEW, there), made)  # what is there is not waited for
    moved = group.rename(cache / "moved")
    assert torch.equal(invert_classifier(frozen, 3, SHAPE, FEW, later), made)
    assert told == [0]
    assert there.cost().gradient_evaluations == later.cost().gradient_evaluations == 0


def test_where_memory_ends_images_are_inverted_in_smaller_batches(trained, cache, monkeypatch):
    frozen = trained.frozen_copy()
    expected = invert_classifier(frozen, 5, SHAPE, FEW, context())
    monkeypatch.setenv(CACHE_VARIABLE, str(cache / "other"))
    forward = frozen.module.forward

    def few_at_once(x):
        if len(x) > 16:
            raise torch.OutOfMemoryError("out of memory")
        return forward(x)

    monkeypatch.setattr(frozen.module, "forward", few_at_once)
    with pytest.warns(ExpungeWarning, match="going on with batches of"):
        found = invert_classifier(frozen, 5, SHAPE, FEW, Context(Runtime(batch_size=64)))
    assert float((found - expected).abs().mean()) < 1e-4


def test_another_classifier_or_setting_has_its_own_cache_entry(trained, cache):
    frozen = trained.frozen_copy()
    other = trained.frozen_copy()
    other.network[0].bias += 0.1
    darker = Classifier.wrap(frozen.network, num_classes=5, mean=(0.4,) * 3, std=(0.25,) * 3)
    each = ((frozen, 5, FEW), (other, 5, FEW), (frozen, 4, FEW), (frozen, 5, SHORTER), (darker, 5, FEW))
    for classifier, count, inversion in each:
        invert_classifier(classifier, count, SHAPE, inversion, context())
    assert len(list(cache.rglob("*.safetensors"))) == 4


def test_a_damaged_or_unwritable_cache_only_costs_time(trained, cache, monkeypatch):
    frozen = trained.frozen_copy()
    made = invert_classifier(frozen, 3, SHAPE, FEW, context())
    (path,) = cache.rglob("*.safetensors")
    for damaged in (b"half", save({"levels": torch.zeros(3, dtype=torch.uint8)}), save({"levels": made})):
        path.write_bytes(damaged)
        assert torch.equal(invert_classifier(frozen, 3, SHAPE, FEW, context()), made)
    blocked = cache / "file"
    blocked.write_text("in the way")
    monkeypatch.setenv(CACHE_VARIABLE, str(blocked))
    assert torch.equal(invert_classifier(frozen, 3, SHAPE, FEW, context()), made)


def test_inversion_leaves_the_classifier_as_it_was(trained):
    frozen = trained.frozen_copy()
    before = frozen.sha256()
    invert_classifier(frozen, 3, SHAPE, FEW, context())
    assert frozen.sha256() == before
    assert not any(part._forward_pre_hooks for part in frozen.module.modules())


def test_large_images_have_fewer_surrogates_and_less_effort_fewer_still(trained):
    sizes = [SurrogateMix().resolve(trained, 224 * 224, effort) for effort in Effort]
    assert [(each.mixes, each.procedural, each.inverted) for each in sizes] == [
        (192, 64, 0),
        (256, 64, 0),
        (384, 128, 0),
    ]


def test_a_mix_holds_what_it_is_told(trained, rows):
    task = Task.create(trained, rows)
    mix = SurrogateMix(mixes=8, inverted=3, procedural=2, adversarial=1, inversion=FEW)
    surrogates = draw_surrogates(trained.frozen_copy(), task, mix, context())
    assert surrogates.shape == (8 + 3 + 2 + len(rows), *SHAPE)
    assert torch.equal(surrogates, draw_surrogates(trained.frozen_copy(), task, mix, context()))


def test_without_batchnorm_leaves_stand_in_for_inverted_images(rows):
    network = nn.Sequential(nn.Flatten(), nn.Linear(144, 5))
    classifier = Classifier.wrap(network, num_classes=5)
    assert not has_batchnorm(classifier)
    y = compute_logits(classifier, rows.x).argmax(dim=1)
    task = Task.create(classifier, ForgetSet(rows.ids, rows.x, y))
    surrogates = draw_surrogates(classifier.frozen_copy(), task, SurrogateMix(mixes=4), context())
    assert len(surrogates) == 4 + 1536


def test_a_folder_of_images_is_resized_to_the_classifiers_input(tmp_path):
    folder = tmp_path / "mine" / "deep"
    folder.mkdir(parents=True)
    Image.new("RGB", (30, 20), (255, 0, 0)).save(folder / "red.png")
    Image.new("L", (12, 40), 255).save(folder / "white.jpg")
    surrogates = load_surrogate_folder(str(tmp_path / "mine"), SHAPE, Bounds(-1, 1))
    assert surrogates.shape == (2, *SHAPE)
    assert surrogates[0, :, 0, 0].tolist() == [1.0, -1.0, -1.0]


def test_images_of_the_classifiers_size_are_taken_as_they_are(tmp_path):
    image = torch.rand(3, 8, 6, generator=seeded())
    folder = save_images(tmp_path / "mine", [image]).folder
    assert torch.allclose(load_surrogate_folder(folder, SHAPE, Bounds()), image, atol=0.5 / 255 + 1e-6)


def test_surrogates_are_read_as_all_image_files_are(tmp_path):
    levels = np.linspace(0, 65535, 48).reshape(8, 6).astype(np.uint16)
    Image.fromarray(levels).save(tmp_path / "deep.png")
    turned, exif = Image.fromarray(np.arange(144, dtype=np.uint8).reshape(8, 6, 3)), Image.Exif()
    exif[0x112] = 3
    turned.save(tmp_path / "turned.png", exif=exif)
    surrogates = load_surrogate_folder(str(tmp_path), SHAPE, Bounds())
    for surrogate, name in zip(surrogates, ("deep", "turned"), strict=True):
        assert torch.equal(surrogate, pixels_of(decode(tmp_path / f"{name}.png").image))


def test_a_folder_without_or_with_broken_images_is_an_error(tmp_path):
    with pytest.raises(DataError, match="a folder with images"):
        load_surrogate_folder(str(tmp_path), SHAPE, Bounds())
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\.png.*expected an image"):
        load_surrogate_folder(str(tmp_path), SHAPE, Bounds())


def save_images(folder, images):
    folder.mkdir()
    for number, image in enumerate(images):
        Image.fromarray((255 * image).round().byte().permute(1, 2, 0).numpy()).save(folder / f"{number}.png")
    return SurrogateMix(folder=str(folder))


def test_forgotten_images_are_no_own_images_however_they_are_stored(trained, rows, tmp_path):
    others = torch.rand(3, *SHAPE, generator=seeded(7))
    images = torch.cat([rows.x[:1], others, rows.x[1:2].flip(-1), (rows.x[2:3] + 0.01).clamp_max(1)])
    task = Task.create(trained, rows)
    with pytest.warns(ExpungeWarning, match="3 of 6 images left out: they are to be forgotten"):
        own = load_own(trained, task, save_images(tmp_path / "mine", images), context())
    assert torch.cdist(own.flatten(1), others.flatten(1)).amin(dim=1).max() < 0.1
    assert len(own) == 3
    with pytest.raises(DataError, match="images other than those to forget"):
        load_own(trained, task, save_images(tmp_path / "forgotten", rows.x), context())


@pytest.mark.parametrize("cut", [None, "network.2"])
def test_images_that_earlier_edits_forgot_are_no_own_images(trained, rows, tmp_path, cut):
    others = torch.rand(3, *SHAPE, generator=seeded(7))
    gone, left = rows.rows([0, 1]), rows.rows([2, 3])
    kept = replace(gone, x=enter(trained, cut, gone.x, context().sharing))
    task = Task.create(trained, left, earlier=Earlier(trained, kept, cut))
    mix = save_images(tmp_path / "mine", torch.cat([gone.x[:1], others, gone.x[1:].flip(-1)]))
    with pytest.warns(ExpungeWarning, match="2 of 5 images left out"):
        assert len(load_own(trained, task, mix, context())) == 3


def test_without_a_folder_there_are_no_own_images(trained, rows):
    assert len(load_own(trained, Task.create(trained, rows), SurrogateMix(), context())) == 0


@pytest.mark.parametrize("batch", [1, 2, 3, 5, 99])
def test_examples_come_round_by_round_for_each_batch_of_rows(batch):
    expected = [
        4 * row + target
        for start in range(0, 5, batch)
        for target in range(4)
        for row in range(start, min(start + batch, 5))
    ]
    assert order_in_rounds(5, 4, batch).tolist() == expected
