import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge.errors import DataError
from expunge.images import Joined, Subset, TensorImages, batches

BYTES = torch.randint(0, 256, (7, 3, 4, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
IMAGES = TensorImages([f"id-{row}" for row in range(7)], torch.arange(7) % 3, BYTES)
ROWS = st.lists(st.integers(0, 6), min_size=1, max_size=9)


@given(ROWS)
def test_bytes_are_scaled_and_come_in_the_order_asked_for(rows):
    loaded = IMAGES.load(rows)
    assert loaded.dtype == torch.float32
    assert torch.equal((loaded * 255).round().to(torch.uint8), BYTES[rows])
    assert 0 <= float(loaded.min()) <= float(loaded.max()) <= 1


@given(ROWS)
def test_floats_stay_as_they_are(rows):
    pixels = BYTES.double() / 255
    assert torch.equal(TensorImages(IMAGES.ids, IMAGES.labels, pixels).load(rows), pixels[rows])


@given(st.data())
def test_a_subset_of_a_subset_is_a_subset(data):
    outer = data.draw(ROWS)
    inner = data.draw(st.lists(st.integers(0, len(outer) - 1), min_size=1, max_size=5))
    nested, direct = Subset(Subset(IMAGES, outer), inner), Subset(IMAGES, [outer[row] for row in inner])
    assert nested.ids == direct.ids
    assert torch.equal(nested.labels, direct.labels)
    everything = range(len(inner))
    assert torch.equal(nested.load(everything), direct.load(everything))


@given(st.integers(1, 9))
def test_batches_are_everything_once_and_in_order(batch_size):
    parts = list(batches(IMAGES, batch_size))
    assert all(len(x) == len(y) <= batch_size for x, y in parts)
    assert torch.equal(torch.cat([x for x, _ in parts]), IMAGES.load(range(7)))
    assert torch.equal(torch.cat([y for _, y in parts]), IMAGES.labels)


def test_ids_labels_and_images_are_as_many():
    with pytest.raises(DataError, match="`images`: expected as many ids and labels as images, got 6, 7, 7"):
        TensorImages(IMAGES.ids[:6], IMAGES.labels, BYTES)


def test_joined_images_are_the_rows_of_both_each_in_its_place():
    first = TensorImages(("a", "b"), torch.tensor([1, 2]), torch.rand(2, 3, 4, 6))
    second = TensorImages(("c",), torch.tensor([0]), torch.rand(1, 3, 4, 6))
    joined = Joined(first, second)
    assert joined.ids == ["a", "b", "c"]
    assert joined.labels.tolist() == [1, 2, 0]
    assert torch.equal(joined.load([2, 0]), torch.stack([second.pixels[0], first.pixels[0]]))
    assert torch.equal(joined.load([1]), first.pixels[1:])
