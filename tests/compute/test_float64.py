"""Eigenvectors where the fast algorithm gives up."""

import pytest
import torch

from expunge.compute.float64 import eigh


@pytest.mark.parametrize("gives_up", [False, True])
def test_they_make_the_matrix_again(monkeypatch, gives_up):
    if gives_up:

        def fail(_):
            raise torch.linalg.LinAlgError("failed to converge")

        monkeypatch.setattr(torch.linalg, "eigh", fail)
    rows = torch.randn(2, 3, 8, generator=torch.Generator().manual_seed(0))
    rows[..., 3:] = 0  # most eigenvalues are equal
    matrices = rows.mT @ rows
    values, vectors = eigh(matrices)
    assert (values.diff(dim=1) >= 0).all()
    again = vectors @ torch.diag_embed(values) @ vectors.mT
    torch.testing.assert_close(again, matrices.double(), atol=1e-5, rtol=0)
