from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from expunge.base.errors import ForgetSetError
from expunge.data.forget import ForgetSet

X = torch.rand(3, 3, 8, 6, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2])
IDS = ("a", "b", "c")


def test_empty():
    with pytest.raises(ForgetSetError, match="`forget set`: expected at least one instance, got none"):
        ForgetSet((), torch.zeros(0, 3, 8, 6), torch.zeros(0, dtype=torch.int64))


def test_an_id_twice():
    with pytest.raises(ForgetSetError, match="`ids`: expected each id once, got a more than once"):
        ForgetSet(("a", "b", "a"), X, Y)


@pytest.mark.parametrize("x", [X[0], (X * 255).to(torch.uint8), X.long()], ids=["3d", "uint8", "int64"])
def test_images_of_a_wrong_kind(x):
    with pytest.raises(ForgetSetError, match=r"`x`: expected floating-point images \(k, c, h, w\), got torch"):
        ForgetSet(IDS, x, Y)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_pixels_that_are_not_finite(bad):
    x = X.clone()
    x[2, 1, 0, 5] = bad
    with pytest.raises(ForgetSetError, match="`x`: expected finite pixels, got NaN or infinity"):
        ForgetSet(IDS, x, Y)


def test_as_many_images_as_ids():
    with pytest.raises(ForgetSetError, match="`x`: expected 3 images, one an id, got 2"):
        ForgetSet(IDS, X[:2], Y)


@pytest.mark.parametrize("y", [Y.float(), Y.int(), Y[:2], Y.unsqueeze(1)], ids=["float", "int32", "short", "2d"])
def test_labels_of_a_wrong_kind(y):
    with pytest.raises(ForgetSetError, match=r"`y`: expected int64 labels of shape \(3,\), got torch"):
        ForgetSet(IDS, X, y)
    with pytest.raises(ForgetSetError, match=r"`y_new`: expected int64 labels of shape \(3,\), got torch"):
        ForgetSet(IDS, X, Y, y)


def test_negative_labels():
    with pytest.raises(ForgetSetError, match="`y`: expected labels of at least 0, got -1"):
        ForgetSet(IDS, X, Y - 1)


def test_a_new_label_that_is_the_label():
    with pytest.raises(
        ForgetSetError, match="`y_new`: expected a new label other than the label, got the same one for b"
    ):
        ForgetSet(IDS, X, Y, torch.tensor([1, 1, 0]))


def test_numbered_and_length():
    rows = ForgetSet.numbered(X, Y)
    assert rows.ids == ("0", "1", "2")
    assert len(rows) == 3


@given(st.permutations(range(3)), st.integers(1, 3))
def test_rows_keep_ids_images_and_labels_together(order, count):
    chosen = order[:count]
    part = ForgetSet(IDS, X, Y, (Y + 1) % 3).rows(chosen)
    assert part.ids == tuple(IDS[number] for number in chosen)
    assert torch.equal(part.x, X[chosen])
    assert torch.equal(part.y, Y[chosen])
    assert torch.equal(part.y_new, (Y[chosen] + 1) % 3)


def test_no_rows_are_an_empty_forget_set():
    with pytest.raises(ForgetSetError, match="at least one instance"):
        ForgetSet(IDS, X, Y).rows([])


def test_to_a_device_keeps_everything():
    rows = ForgetSet(IDS, X, Y, (Y + 1) % 3)
    moved = rows.to(torch.device("cpu"))
    assert moved.ids == rows.ids
    assert moved.sha256() == rows.sha256()


def test_the_hash_sees_pixels_and_labels_but_not_ids():
    base = ForgetSet(IDS, X, Y).sha256()
    assert ForgetSet(("x", "y", "z"), X, Y).sha256() == base
    different = (ForgetSet(IDS, X + 1e-3, Y), ForgetSet(IDS, X, Y + 1), ForgetSet(IDS, X, Y, Y + 1))
    assert base not in [rows.sha256() for rows in different]


def test_joined_sets_are_all_rows_in_order():
    parts = [ForgetSet((name,), torch.rand(1, 3, 4, 4), torch.tensor([0]), torch.tensor([2])) for name in "ab"]
    joined = ForgetSet.join(parts)
    assert joined.ids == ("a", "b")
    assert torch.equal(joined.x, torch.cat([parts[0].x, parts[1].x]))
    assert (joined.y.tolist(), joined.y_new.tolist()) == ([0, 0], [2, 2])
    assert ForgetSet.join([replace(part, y_new=None) for part in parts]).y_new is None


def test_sets_that_do_not_go_together_are_not_joined():
    first, second = (ForgetSet((name,), torch.rand(1, 3, 4, 4), torch.tensor([0])) for name in "ab")
    relabelled = replace(second, y_new=torch.tensor([1]))
    with pytest.raises(ForgetSetError, match="new labels of all rows, or of none, got those of 1 of 2 parts"):
        ForgetSet.join([first, relabelled])
    with pytest.raises(ForgetSetError, match="each id once"):
        ForgetSet.join([first, first])
    with pytest.raises(ForgetSetError, match="at least one instance"):
        ForgetSet.join([])
