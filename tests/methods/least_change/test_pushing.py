"""Copies of earlier rows: how much they push follows those that no edit has learnt."""

from types import SimpleNamespace

import pytest
import torch

from expunge.compute.context import Context
from expunge.compute.runtime import Runtime
from expunge.data.forget import ForgetSet
from expunge.methods.least_change import pushing
from expunge.methods.least_change.pushing import EarlierCopies, find_balance
from expunge.task import earlier as of_earlier
from expunge.task.earlier import CHECKED_EVERY, Earlier
from expunge.task.goals import Misclassify
from expunge.task.transforms import TRANSFORMS


@pytest.fixture
def pushed(trained, rows, monkeypatch):
    """Return a function that makes ten steps, in which all learnt copies hold; the checked ones are as given."""
    monkeypatch.setattr(
        pushing, "push_copies", lambda problem, x, *_: (0.0, torch.full((len(x),), -1.0), [torch.ones(1)])
    )

    def push(checked_image, *, cut="network.7"):
        copies = torch.zeros(1, 8, 8, 1, 1)
        copies[:, ::CHECKED_EVERY] = checked_image
        earlier = Earlier(trained, ForgetSet(("a",), torch.zeros(1, 8, 1, 1), torch.tensor([0])), cut, copies)
        # a class that is answered wherever the first feature is large
        answer = lambda x: torch.stack([x.flatten(1)[:, 0], torch.full((len(x),), 0.5)], dim=1)  # noqa: E731
        problem = SimpleNamespace(
            task=SimpleNamespace(
                earlier=earlier,
                goal=Misclassify(),
                generator=lambda _: torch.Generator().manual_seed(0),
                transforms=TRANSFORMS,
            ),
            surrogates=torch.zeros(1),
            objective=SimpleNamespace(classifier=SimpleNamespace(device=torch.device("cpu"))),
            context=Context(Runtime()),
        )
        for place in (pushing, of_earlier):
            monkeypatch.setattr(place, "compute_logits", lambda classifier, x, sharing: answer(x))
        copies_of = EarlierCopies(problem, count=16, margin=0.5, temperature=0.5, gain=0.5)
        gradients = [copies_of.add_to([torch.zeros(1)], 1.0, steering=True) for _ in range(10)]
        return [float(gradient[0]) for gradient in gradients], copies_of

    return push


def test_they_push_more_as_long_as_checked_copies_come_back(pushed):
    weights, copies = pushed(checked_image=1.0)

    assert weights == sorted(weights)
    assert weights[-1] > 1.2 * weights[0]
    assert not copies.hold()


def test_they_push_less_where_more_hold_than_are_wanted(pushed):
    weights, copies = pushed(checked_image=0.0)

    assert weights == sorted(weights, reverse=True)
    assert copies.hold()


def test_the_balance_is_the_weight_at_which_gradient_and_push_cancel():
    push = [torch.tensor([1.0, -2.0]), torch.tensor([[3.0]])]

    assert find_balance([-4.0 * part for part in push], [push, push]) == pytest.approx(4.0)
    assert find_balance([4.0 * part for part in push], [push, push]) == 0.0


def test_noise_of_the_pushes_does_not_make_the_balance_smaller():
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(1000, generator=generator)
    noisy = [mean + 5 * torch.randn(1000, generator=generator) for _ in range(20)]

    assert find_balance([-4.0 * mean], [[part] for part in noisy]) == pytest.approx(4.0, rel=0.2)
    one = torch.stack(noisy).mean(0)
    assert float(4.0 * mean @ one / (one @ one)) < 2.2
