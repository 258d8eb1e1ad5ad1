import pytest
import torch

from expunge.methods.published.l1_sparse import L1Sparse
from expunge.methods.unlearn import unlearn


def test_the_penalty_fades_from_its_weight_to_one_epoch_above_none(trained, rows, retain, plain_training, weights_of):
    method = L1Sparse(penalty=1e-3, training=plain_training(epochs=4, learning_rate=1e-9))
    edit = unlearn(trained, rows, method=method, retain=retain)
    norm = weights_of(trained).abs().sum().item()
    seen = [point.losses["sparsity"] / norm for point in edit.trace]
    assert seen == pytest.approx([1e-3, 7.5e-4, 5e-4, 2.5e-4], rel=1e-3)


def test_weights_shrink_toward_zero(trained, rows, retain, plain_training, weights_of):
    training = plain_training(epochs=20, learning_rate=0.01)
    sparse, dense = (
        unlearn(trained, rows, method=L1Sparse(penalty=penalty, training=training), retain=retain).classifier
        for penalty in (0.2, 0.0)
    )
    small = [int((weights_of(each).abs() < 5e-3).sum()) for each in (sparse, dense)]
    assert small[0] > 3 * small[1]
    assert torch.isfinite(weights_of(sparse)).all()
