import pytest
import torch

from statewise.tasks import digits
from statewise.tasks.digits import Digits


def test_each_dot_becomes_a_square():
    drawn = Digits(torch.tensor([[1.0, 2.0, 3.0, 4.0]])[..., None], torch.tensor([7]))
    rows = digits.enlarge(drawn, 2).inputs.reshape(4, 4).tolist()
    assert rows == [[1, 1, 2, 2], [1, 1, 2, 2], [3, 3, 4, 4], [3, 3, 4, 4]]


def test_what_is_no_picture_is_refused():
    with pytest.raises(ValueError, match="dots of squares"):
        digits.enlarge(Digits(torch.zeros(1, 6, 1), torch.tensor([0])), 2)
