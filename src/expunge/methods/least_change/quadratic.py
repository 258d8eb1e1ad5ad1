"""The small quadratic programme at the heart of a least change: the shortest step that meets linear constraints."""

import torch
from jaxtyping import Float
from torch import Tensor

from expunge.base.errors import ExpungeError

MAXIMUM_EXCHANGES = 5
TOLERANCE = 1e-9


def solve_multipliers(
    gram: Float[Tensor, "n n"], shortfall: Float[Tensor, " n"], *, ridge: float = 1e-6
) -> Float[Tensor, " n"]:
    """Return the multipliers of the shortest step d with J d <= -shortfall; the step is -J' multipliers.

    Solves the dual, min 1/2 l'(K + r I) l - s'l over l >= 0 with K = J J', by block principal pivoting (Judice and
    Pires 1994): guess which constraints are tight, solve for them, exchange those that are wrong; when blocks stop
    getting better, exchange one at a time by the least index (Murty's rule), which always ends. Float64 inside.

    Args:
        gram: K, positive semi-definite; n up to some thousand.
        shortfall: s, how far each constraint is from holding now; negative where it holds with room.
        ridge: r as a share of K's mean diagonal; makes the solution unique and bounds it where rows contradict.

    Raises:
        ExpungeError: a value that is not finite.

    >>> solve_multipliers(torch.eye(2), torch.tensor([2.0, -1.0]), ridge=0.0)
    tensor([2., 0.])
    """
    count = len(shortfall)
    if not bool(torch.isfinite(gram).all() and torch.isfinite(shortfall).all()):
        raise ExpungeError("constraints", "finite inner products and shortfalls", "NaN or infinity")
    matrix, target = gram.double(), shortfall.double()
    matrix = matrix + ridge * matrix.diagonal().mean() * torch.eye(count, dtype=torch.float64, device=matrix.device)
    scale = target.abs().max().clamp_min(1e-300)
    tight = target > 0
    fewest, patience = count + 1, MAXIMUM_EXCHANGES
    while True:
        multipliers = _solve_tight(matrix, target, tight)
        slack = matrix @ multipliers - target
        wrong = (tight & (multipliers < 0)) | (~tight & (slack < -TOLERANCE * scale))
        number = int(wrong.sum())
        if number == 0:
            return multipliers.to(shortfall.dtype)
        if number < fewest:
            fewest, patience = number, MAXIMUM_EXCHANGES
        else:
            patience -= 1
        if patience < 0:
            wrong = torch.zeros_like(wrong).index_fill_(0, wrong.nonzero()[-1], value=True)
        tight = tight ^ wrong


def compute_duality_gap(
    gram: Float[Tensor, "n n"], shortfall: Float[Tensor, " n"], multipliers: Float[Tensor, " n"]
) -> float:
    """Return primal minus dual objective of the step that `multipliers` make, plus its largest violation; 0 is optimal.

    Primal: 1/2 |d|^2 with d = -J'l, which is 1/2 l'Kl. Dual: s'l - 1/2 l'Kl.
    """
    matrix, target, chosen = gram.double(), shortfall.double(), multipliers.double()
    energy = chosen @ matrix @ chosen
    violation = (target - matrix @ chosen).clamp_min(0).max()
    return float((energy - target @ chosen).abs() + violation)


def _solve_tight(matrix: Tensor, target: Tensor, tight: Tensor) -> Tensor:
    multipliers = torch.zeros_like(target)
    rows = tight.nonzero().flatten()
    if len(rows):
        factor, failed = torch.linalg.cholesky_ex(matrix[rows][:, rows])
        if bool(failed):
            multipliers[rows] = torch.linalg.lstsq(
                matrix[rows][:, rows], target[rows].unsqueeze(1), driver="gelsd"
            ).solution.squeeze(1)
        else:
            multipliers[rows] = torch.cholesky_solve(target[rows].unsqueeze(1), factor).squeeze(1)
    return multipliers
