"""The small quadratic programme at the heart of a least change: the shortest step that meets linear constraints."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.base.errors import ExpungeError
from expunge.methods.least_change.jacobian import OutOfTime

MAXIMUM_EXCHANGES = 5
MOST_SOLVES = 60
"""Of either kind; an interior point is there after 20 or so."""
TOLERANCE = 1e-9
INTERIOR_TOLERANCE = 1e-12
SMALL = 512
"""Rows up to which a GPU, which would be waited for in each solve, is slower than the CPU."""
TO_THE_EDGE = 0.995
"""Share of the way to the nearest bound that a step of the interior point takes."""


def solve_multipliers(
    gram: Float[Tensor, "n n"],
    shortfall: Float[Tensor, " n"],
    *,
    ridge: float = 1e-6,
    expired: Callable[[], bool] = lambda: False,
) -> Float[Tensor, " n"]:
    """Return the multipliers of the shortest step d with J d <= -shortfall; the step is -J' multipliers.

    Solves the dual, min 1/2 l'(K + r I) l - s'l over l >= 0 with K = J J', by block principal pivoting (Judice and
    Pires 1994): guess which constraints are tight, solve for them, exchange those that are wrong. When blocks stop
    getting better, as where rows contradict, an interior point (Mehrotra 1992) takes over, whose work hardly depends
    on the problem. In float64 on the CPU, for which the problem is small; that of many rows is solved on a GPU of CUDA.

    Args:
        gram: K, positive semi-definite; n up to some thousand.
        shortfall: s, how far each constraint is from holding now; negative where it holds with room.
        ridge: r as a share of K's mean diagonal; makes the solution unique and bounds it where rows contradict.
        expired: whether to give up; asked before each solution of a linear system.

    Raises:
        ExpungeError: a value that is not finite.
        OutOfTime: `expired` said yes before the multipliers were found.

    >>> solve_multipliers(torch.eye(2), torch.tensor([2.0, -1.0]), ridge=0.0)
    tensor([2., 0.])
    """
    place = gram.device if gram.is_cuda and len(gram) > SMALL else torch.device("cpu")
    both = torch.cat([gram, shortfall.unsqueeze(1)], dim=1).detach().to(place).double()
    if not bool(torch.isfinite(both).all()):
        raise ExpungeError("constraints", "finite inner products and shortfalls", "NaN or infinity")
    matrix, target = both[:, :-1], both[:, -1]
    matrix = matrix + ridge * matrix.diagonal().mean() * torch.eye(len(target)).to(target)
    multipliers, solved = _exchange(matrix, target, target > 0, expired)
    if not solved:
        near = _approach(matrix, target, expired)
        multipliers, solved = _exchange(matrix, target, near > matrix @ near - target, expired)
        if not solved and expired():
            raise OutOfTime
        multipliers = multipliers if solved else near
    return multipliers.to(shortfall)


def _exchange(matrix: Tensor, target: Tensor, tight: Tensor, expired: Callable[[], bool]) -> tuple[Tensor, bool]:
    """Return multipliers and whether they are the solution, by exchanging blocks while that makes it better."""
    smallest = TOLERANCE * float(target.abs().max().clamp_min(1e-300))
    fewest, patience = len(target) + 1, MAXIMUM_EXCHANGES
    multipliers = torch.zeros_like(target)
    for _ in range(MOST_SOLVES):
        if expired():
            break
        multipliers = _solve_tight(matrix, target, tight)
        wrong = (tight & (multipliers < 0)) | (~tight & (matrix @ multipliers - target < -smallest))
        number = int(wrong.sum())
        if number == 0:
            return multipliers, True
        fewest, patience = (number, MAXIMUM_EXCHANGES) if number < fewest else (fewest, patience - 1)
        if patience < 0:
            break
        tight = tight ^ wrong
    return multipliers, False


def _approach(matrix: Tensor, target: Tensor, expired: Callable[[], bool]) -> Tensor:
    """Return multipliers near the solution, all above 0, by Mehrotra's predictor and corrector."""
    scale = target.abs().max() / matrix.diagonal().mean().clamp_min(1e-300)
    point, slack = torch.full_like(target, float(scale)), torch.full_like(target, float(target.abs().max()))
    start = float(point @ slack)
    for _ in range(MOST_SOLVES):
        gap, residual = float(point @ slack), matrix @ point - target - slack
        if expired() or (gap <= INTERIOR_TOLERANCE * start and residual.abs().max() <= TOLERANCE * target.abs().max()):
            break
        factor, failed = torch.linalg.cholesky_ex(matrix + torch.diag(slack / point))
        if bool(failed):
            break

        def move(wanted: Tensor) -> tuple[Tensor, Tensor]:
            """Return the change of both that makes their products what is wanted and the residual 0, to first order."""
            needed = (wanted / point - slack - residual).unsqueeze(1)  # noqa: B023 - called within the round
            change = torch.cholesky_solve(needed, factor).squeeze(1)  # noqa: B023
            return change, wanted / point - slack - slack / point * change  # noqa: B023

        ahead, slack_ahead = move(torch.zeros_like(point))
        reached = float((point + _reach(point, ahead) * ahead) @ (slack + _reach(slack, slack_ahead) * slack_ahead))
        ahead, slack_ahead = move((reached / gap) ** 3 * gap / len(point) - ahead * slack_ahead)
        point = point + _reach(point, ahead) * ahead
        slack = slack + _reach(slack, slack_ahead) * slack_ahead
    return point


def _reach(point: Tensor, change: Tensor) -> float:
    """Return the share of a change that leaves all of the point above 0, at most 1."""
    shares = torch.where(change < 0, -point / change, torch.inf)
    return min(1.0, TO_THE_EDGE * float(shares.min()))


def _solve_tight(matrix: Tensor, target: Tensor, tight: Tensor) -> Tensor:
    multipliers = torch.zeros_like(target)
    rows = tight.nonzero().flatten()
    if len(rows):
        factor, failed = torch.linalg.cholesky_ex(matrix[rows][:, rows])
        if bool(failed):
            square, right = matrix[rows][:, rows].cpu(), target[rows].unsqueeze(1).cpu()  # no GPU has gelsd
            found = torch.linalg.lstsq(square, right, driver="gelsd").solution.squeeze(1)
            multipliers[rows] = found.to(multipliers)
        else:
            multipliers[rows] = torch.cholesky_solve(target[rows].unsqueeze(1), factor).squeeze(1)
    return multipliers
