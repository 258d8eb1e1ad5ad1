"""Double precision, which some devices lack, and eigenvectors, which some algorithms don't find."""

import scipy.linalg
import torch
from jaxtyping import Float
from torch import Tensor


def to_float64(tensor: Tensor) -> Tensor:
    """Return the tensor in double precision, on the CPU if its device has none, as MPS.

    >>> to_float64(torch.ones(1)).dtype
    torch.float64
    """
    try:
        return tensor.double()
    except (TypeError, RuntimeError):
        return tensor.cpu().double()


def eigh(matrices: Float[Tensor, "g n n"]) -> tuple[Float[Tensor, "g n"], Float[Tensor, "g n n"]]:
    """Return eigenvalues, smallest first, and eigenvectors as columns, in double precision.

    LAPACK's divide and conquer (syevd) does not converge for some matrices with many equal eigenvalues, depending on
    library and processor. QR iterations (syev) take over then: slower, and they converge.

    Args:
        matrices: g of them, each its own mirror image; of any precision.

    >>> values, vectors = eigh(torch.diag(torch.tensor([3.0, 1.0])).unsqueeze(0))
    >>> values.tolist()
    [[1.0, 3.0]]
    """
    matrices = to_float64(matrices)
    try:
        values, vectors = torch.linalg.eigh(matrices)
    except torch.linalg.LinAlgError:  # type: ignore[attr-defined]
        found = [scipy.linalg.eigh(each, driver="ev") for each in matrices.cpu().numpy()]
        values, vectors = (torch.stack([torch.from_numpy(pair[i]) for pair in found]).to(matrices) for i in range(2))
    return values, vectors
