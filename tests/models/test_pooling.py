import pytest
import torch

from statewise.models.pooling import POOLINGS, Attention, Last, Max, Mean

LENGTHS = torch.tensor([4, 2, 0, 1])


def padded(fill=float("nan")):
    """Rows of features, with something unreadable past their ends."""
    x = torch.randn(4, 4, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return torch.where(torch.arange(4)[None, :, None] < LENGTHS[:, None, None], x, fill)


@pytest.mark.parametrize("name", POOLINGS)
def test_padding_is_not_read(name):
    torch.manual_seed(0)
    pool = POOLINGS[name](6, both_ways=True).double()
    x = padded().requires_grad_()
    y = pool(x, LENGTHS)
    assert y[2].tolist() == [0] * 6
    for row, length in enumerate(LENGTHS.tolist()):
        alone = pool(x[row : row + 1, :length], LENGTHS[row : row + 1])
        torch.testing.assert_close(y[row], alone[0])
    y.sum().backward()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("name", POOLINGS)
def test_no_time_at_all(name):
    assert POOLINGS[name](6)(torch.zeros(2, 0, 6), torch.zeros(2, dtype=torch.int64)).eq(0).all()


def test_they_are_what_they_are_called():
    x = padded(0.0)
    torch.testing.assert_close(Mean(6)(x, LENGTHS)[0], x[0].mean(0))
    torch.testing.assert_close(Max(6)(x, LENGTHS)[1], x[1, :2].amax(0))
    both = Last(6, both_ways=True)(x, LENGTHS)[0]
    torch.testing.assert_close(both, torch.cat([x[0, 3, :3], x[0, 0, 3:]]))
    torch.testing.assert_close(Last(6)(x, LENGTHS)[1], x[1, 1])


def test_attention_is_its_formula():
    torch.manual_seed(0)
    pool, x = Attention(6).double(), padded(0.0)
    inner, _, outer = pool.score
    scores = (x[0] @ inner.weight.T + inner.bias).tanh() @ outer.weight[0]
    torch.testing.assert_close(
        pool(x, LENGTHS)[0], scores.float().softmax(0).double() @ x[0], rtol=1e-6, atol=1e-6
    )
    weights = pool.weights(x, LENGTHS)
    torch.testing.assert_close(weights.sum(1), torch.tensor([1.0, 1, 0, 1]).double())
