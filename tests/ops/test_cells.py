"""The classical cells: torch's kernels beside the definition, with resets and lengths anywhere."""

import inspect

import pytest
import torch

from statewise import backends
from statewise.ops import cells

CELLS = {cell.name: cell for cell in (cells.TANH, cells.RELU, cells.LSTM, cells.GRU)}


def case(cell, time, *, masks, dtype=torch.float64):
    torch.manual_seed(time)
    rows = 5 * cell.gates
    shapes = [(4, time, 3), (rows, 3), (rows, 5), (rows,), (rows,), *[(4, 5)] * cell.leaves]
    tensors = [torch.randn(shape, dtype=dtype) / 2 for shape in shapes]
    marks = {"reset": None, "lengths": None}
    if masks:
        lengths = torch.tensor([time, time // 2, 0, time])
        marks = {"reset": torch.rand(4, time) < 0.2, "lengths": lengths}
        tensors[0][torch.arange(time) >= lengths[:, None]] = torch.nan
    return [tensor.requires_grad_() for tensor in tensors], marks


def run(cell, tensors, marks):
    x, *rest = tensors
    y, final = cells.recur(cell, x, cells.Weights(*rest[:4]), initial=tuple(rest[4:]), **marks)
    return y, final


def results(backend, cell, tensors, marks):
    with backends.use(backend):
        y, final = run(cell, tensors, marks)
    loss = y.square().sum() + sum(leaf.sin().sum() for leaf in final)
    return y, final, torch.autograd.grad(loss, tensors, materialize_grads=True)


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("time", [1, 2, 3, 16])
@pytest.mark.parametrize("name", CELLS)
def test_kernels_agree_with_the_definition(name, time, masks):
    cell = CELLS[name]
    expected = results("reference", cell, *case(cell, time, masks=masks))
    found = results("torch", cell, *case(cell, time, masks=masks))
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("name", CELLS)
def test_kernels_have_right_second_derivatives_in_float32(name):
    """There torch's LSTM is another kernel than in float64, with a backward pass of its own."""
    cell = CELLS[name]
    found = []
    for backend, dtype in (("torch", torch.float32), ("reference", torch.float64)):
        tensors, marks = case(cell, 4, masks=False, dtype=torch.float32)
        tensors = [tensor.detach().to(dtype).requires_grad_() for tensor in tensors]
        with backends.use(backend):
            y, final = run(cell, tensors, marks)
        loss = y.square().sum() + sum(leaf.sin().sum() for leaf in final)
        first = torch.autograd.grad(loss, tensors, create_graph=True)
        second = torch.autograd.grad(sum(g.square().sum() for g in first), tensors)
        found.append([g.double() for g in second])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


def test_a_row_that_ended_in_nan_spoils_no_gradient():
    for backend in ("torch", "reference"):
        (x, *weights, h), _ = case(cells.GRU, 3, masks=False)
        h = torch.full_like(h, torch.nan).detach()
        with backends.use(backend):
            y, (final,) = cells.recur(
                cells.GRU,
                x,
                cells.Weights(*weights),
                initial=(h,),
                reset=torch.tensor([[True, False, False]] * 4),
                lengths=torch.tensor([3, 0, 0, 2]),
            )
        assert final.isnan().all(1).tolist() == [False, True, True, False]
        assert all(g.isfinite().all() for g in torch.autograd.grad(y.sum(), weights))


def test_the_table_turns_to_the_loop_where_kernels_do_not_serve():
    x = torch.randn(2, 3, 4)
    assert backends.choose("cells", cells.TABLE, x).backend == "torch"
    assert backends.choose("cells", cells.TABLE, x[:0]).backend == "reference"
    seen = []
    torch.func.vmap(lambda x: seen.append(backends.choose("cells", cells.TABLE, x)) or x)(x[None])
    assert [choice.backend for choice in seen] == ["reference"]


def test_arguments_that_do_not_fit_are_refused_in_words():
    recur = inspect.unwrap(cells.recur)  # past the hook that checks shapes in tests
    x, weights = torch.randn(2, 3, 3), cells.Weights(torch.randn(20, 3), torch.randn(20, 5))
    with pytest.raises(ValueError, match=r"initial \(2, 4\) should be \(batch, hidden\)"):
        recur(cells.LSTM, x, weights, initial=(torch.zeros(2, 4), torch.zeros(2, 4)))
    with pytest.raises(ValueError, match="lstm has 2 tensors in its state, not 1"):
        recur(cells.LSTM, x, weights, initial=(torch.zeros(2, 5),))
    with pytest.raises(ValueError, match=r"input weights \(5, 3\) should be \(4 \* hidden, dim\)"):
        recur(cells.LSTM, x, weights._replace(input=torch.randn(5, 3)))
