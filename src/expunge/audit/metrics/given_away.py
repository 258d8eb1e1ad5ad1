"""How well scores name the forgotten images among others, when the layer that tells most is chosen afterwards."""

import numpy as np
from jaxtyping import Float
from scipy import stats

Ranks = Float[np.ndarray, "layers n"]


def ranks(forget: Float[np.ndarray, "layers k"], others: Float[np.ndarray, "layers n"]) -> tuple[Ranks, Ranks]:
    """Return the places of both among all, layer by layer: 1 for the lowest score, ties in between."""
    found = stats.rankdata(np.concatenate([forget, others], axis=1), axis=1)
    return found[:, : forget.shape[1]], found[:, forget.shape[1] :]


def named(chosen: Ranks, count: int) -> float:
    """Return the percentage of chosen images that are among the `k` highest of `count`, by the layer that names most.

    >>> named(np.array([[1.0, 5.0], [4.0, 5.0]]), 5)
    100.0
    """
    return float(100 * (chosen > count - chosen.shape[1]).mean(axis=1).max())


def area(chosen: Ranks, count: int) -> float:
    """Return the AUC of chosen images against all others, by the layer where it is largest.

    >>> area(np.array([[5.0, 4.0], [1.0, 2.0]]), 5)
    1.0
    """
    k = chosen.shape[1]
    wins = chosen.sum(axis=1) - k * (k + 1) / 2
    return float((wins / (k * (count - k))).max())


def by_chance(others: Ranks, k: int, rng: np.random.Generator, draws: int) -> tuple[np.ndarray, np.ndarray]:
    """Return `named` and `area` of k other images drawn at random among the others, for each draw."""
    own = stats.rankdata(others, axis=1)
    count = own.shape[1]
    drawn = [own[:, rng.choice(count, k, replace=False)] for _ in range(draws)]
    return np.array([named(each, count) for each in drawn]), np.array([area(each, count) for each in drawn])
