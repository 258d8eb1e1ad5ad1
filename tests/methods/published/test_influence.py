import pytest
import torch

from expunge.methods.published.influence import Influence, Inverse, solve_fisher, take_off_first
from expunge.methods.unlearn import unlearn
from expunge.training import Augmentation


def draw(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(len(shape)), dtype=torch.float64)


def test_the_inverse_is_that_of_the_whole_matrix():
    gradients, vector = draw(4, 7), draw(7)
    matrix = 0.1 * torch.eye(7, dtype=torch.float64) + gradients.T @ gradients / 4
    torch.testing.assert_close(solve_fisher(gradients, vector, 0.1), torch.linalg.solve(matrix, vector))


def test_the_closed_form_is_the_woodfisher_recursion():
    gradients, vector = draw(5, 8), draw(8)
    inverse = torch.eye(8, dtype=torch.float64) / 0.2
    for gradient in gradients:
        along = inverse @ gradient
        inverse = inverse - torch.outer(along, along) / (5 + gradient @ along)
    torch.testing.assert_close(solve_fisher(gradients, vector, 0.2), inverse @ vector)


def test_more_gradients_than_weights():
    gradients, vector = draw(9, 3), draw(3)
    matrix = 0.05 * torch.eye(3, dtype=torch.float64) + gradients.T @ gradients / 9
    torch.testing.assert_close(solve_fisher(gradients, vector, 0.05), torch.linalg.solve(matrix, vector))


def test_the_released_recursion_takes_off_the_first_gradient_and_nothing_else():
    gradients, vector = draw(6, 9), draw(9)
    off = vector - take_off_first(gradients, vector, 10)
    along = off @ gradients[0] / (gradients[0] @ gradients[0])
    assert abs(along) > 1e-3
    torch.testing.assert_close(off, along * gradients[0])


@pytest.mark.parametrize("inverse", Inverse)
def test_the_step_raises_the_loss_of_the_rows(trained, rows, retain, weights_of, inverse):
    methods = [Influence(scale=scale, inverse=inverse, augmentation=Augmentation.NONE) for scale in (1.0, 2.0)]
    edits = [unlearn(trained, rows, method=method, retain=retain) for method in methods]
    losses = [torch.nn.functional.cross_entropy(each(rows.x), rows.y).item() for each in (trained, edits[0].classifier)]
    assert losses[1] > losses[0]
    steps = [weights_of(edit.classifier) - weights_of(trained) for edit in edits]
    torch.testing.assert_close(steps[1], 2 * steps[0], atol=1e-6, rtol=1e-3)


def test_memory_bounds_the_number_of_gradients(trained, rows, retain):
    one = 4 * sum(weight.numel() for weight in trained.module.parameters()) / 2**30
    method = Influence(inverse=Inverse.DAMPED, memory_gigabytes=3.5 * one)
    edit = unlearn(trained, rows, method=method, retain=retain)
    assert edit.cost.gradient_evaluations == 6 + 20 + 3


def test_the_recursion_reads_two_gradients_more_than_its_count(trained, rows, retain):
    edit = unlearn(trained, rows, method=Influence(rows=5), retain=retain)
    assert edit.cost.gradient_evaluations == 6 + 20 + 7
