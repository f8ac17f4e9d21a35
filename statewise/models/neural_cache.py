"""A neural cache: a model that expects again what followed where it felt as it does now.

    c_t(w) = sum_i [x_{i+1} = w] exp(sharpness h_t . h_i) / sum_i exp(sharpness h_t . h_i)
    p_t(w) = (1 - weight) softmax(model)_t(w) + weight c_t(w)

where h_i is what the head read at time i, for the last `size` times i < t of the same document. At
the first of it there is none, and p is the model's alone. Nothing is trained.

Grave, Joulin and Usunier, "Improving Neural Language Models with a Continuous Cache", 2017,
arXiv:1612.04426, section 3, equations 2 to 4.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from statewise.mixers.base import state_dtype, within
from statewise.models.language_model import LanguageModel
from statewise.models.tokenizers import Tokenizer

TIMES = 256
"""Times that are compared with a cache at once: it bounds the memory."""

EMPTY = -1
"""The word of a place in the cache that holds none."""


class NeuralCacheState(NamedTuple):
    """What the model remembers, and what it felt before which word."""

    model: Any
    features: Float[Tensor, "batch size dim"]
    """h_i, the latest last."""
    words: Int[Tensor, "batch size"]
    """x_{i+1}, or -1 where a place is empty."""
    last: Float[Tensor, "batch dim"]
    """h of the last time, whose next word was not read yet."""
    begun: Bool[Tensor, " batch"]
    """Whether there is a last time."""


class NeuralCache(nn.Module):
    """A language model with a cache: it maps tokens to logarithms of probabilities and a state.

    Args:
        model: in eval mode.
        size: times that are remembered.
        weight: of the cache, from 0 to 1.
        sharpness: how much likeness counts, at least 0. Features have norms of about the root of
            the model's width, so that good ones are far below 1.

    Raises:
        ValueError: for a number out of range.
    """

    def __init__(
        self, model: LanguageModel, *, size: int, weight: float = 0.1, sharpness: float = 0.05
    ):
        super().__init__()
        if size < 1 or not 0 <= weight <= 1 or not sharpness >= 0:
            raise ValueError(
                f"neural cache: size = {size} should be at least 1, weight = {weight} from 0 to 1, "
                f"and sharpness = {sharpness} at least 0"
            )
        self.model, self.size, self.weight, self.sharpness = model, size, weight, sharpness

    @property
    def tokenizer(self) -> Tokenizer | None:
        """Return that of the model."""
        return self.model.tokenizer

    def initial_state(
        self,
        batch: int,
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> NeuralCacheState:
        """Return the model's initial state and an empty cache."""
        weight, dim = next(self.model.parameters()), self.model.config.dim
        device, dtype = device or weight.device, state_dtype(dtype or weight.dtype)
        return NeuralCacheState(
            self.model.initial_state(batch, device=device, dtype=dtype),
            torch.zeros(batch, self.size, dim, device=device, dtype=dtype),
            torch.full((batch, self.size), EMPTY, device=device),
            torch.zeros(batch, dim, device=device, dtype=dtype),
            torch.zeros(batch, dtype=torch.bool, device=device),
        )

    def state_size(self, time: int) -> int:
        """Return how many numbers one row's state holds after `time` tokens."""
        dim = self.model.config.dim
        return self.model.state_size(time) + self.size * (dim + 1) + dim + 1

    def step(
        self, token: Int[Tensor, " batch"], state: NeuralCacheState
    ) -> tuple[Float[Tensor, "batch vocab"], NeuralCacheState]:
        """Read one token: return the logarithms of the next one's probabilities, and the state."""
        logits, state = self(token[:, None], state)
        return logits[:, 0], state

    def forward(
        self,
        tokens: Int[Tensor, "batch time"],
        state: NeuralCacheState | None = None,
        *,
        reset: Bool[Tensor, "batch time"] | None = None,
        lengths: Int[Tensor, " batch"] | None = None,
    ) -> tuple[Float[Tensor, "batch time vocab"], NeuralCacheState]:
        """Return the logarithm of the probability of each next token, and the state.

        Where `reset[b, t]`, row b starts afresh before token t, with an empty cache. Beyond
        `lengths[b]` what is answered is zero and nothing is read.
        """
        batch, time = tokens.shape
        if state is None:
            state = self.initial_state(batch, device=tokens.device)
        h, after = self.model.features(tokens, state.model, reset=reset, lengths=lengths)
        wide = h.to(state.features.dtype)
        begins = torch.zeros_like(tokens, dtype=torch.bool) if reset is None else reset
        real = torch.ones_like(begins) if lengths is None else within(lengths, time)
        # Place size + t holds the pair that token t completes, and t sees the last `size` of them.
        keys = torch.cat([state.features, state.last[:, None], wide[:, :-1]], 1)
        keys = keys[:, : self.size + time]
        begun = torch.cat([state.begun[:, None], torch.ones_like(begins)], 1)[:, :time]
        words = torch.cat([state.words, tokens.where(real & begun & ~begins, EMPTY)], 1)
        document = begins.cumsum(1)
        of = torch.cat([torch.zeros_like(state.words), document], 1)
        answers = []
        for at in range(0, time, TIMES):
            now, seen = slice(at, at + TIMES), slice(at, min(at + TIMES, time) + self.size)
            asked = (h[:, now], wide[:, now], document[:, now])
            answers.append(self._mixed(*asked, keys[:, seen], words[:, seen], of[:, seen]))
        found = torch.cat(answers, 1) if answers else self.model.logits(h)
        return (
            torch.where(real[..., None], found, 0),
            self._after(state, after, wide, keys, words, of, document, lengths),
        )

    def _mixed(
        self,
        h: Tensor,
        wide: Tensor,
        document: Tensor,
        keys: Tensor,
        words: Tensor,
        of: Tensor,
    ) -> Float[Tensor, "batch time vocab"]:
        """Return the logarithms of the mixture at some times; the first sees keys 1 to size."""
        log_model = self.model.logits(h).log_softmax(-1)
        time, places = wide.shape[1], torch.arange(keys.shape[1], device=keys.device)
        ago = places[:time, None] + self.size - places
        seen = ((ago >= 0) & (ago < self.size)) & (words >= 0)[:, None]
        seen = seen & (of[:, None] == document[..., None])
        some = seen.any(-1, keepdim=True)
        scores = self.sharpness * wide @ keys.mT
        # Where there is nothing all places are alike, and what they say is not heard.
        shares = scores.masked_fill(~seen & some, -torch.inf).softmax(-1)
        index = words.clamp(min=0)[:, None].expand_as(shares)
        cached = torch.zeros_like(log_model).scatter_add_(-1, index, shares.to(log_model.dtype))
        weight = torch.tensor(self.weight, dtype=log_model.dtype, device=log_model.device)
        mixed = torch.logaddexp((1 - weight).log() + log_model, weight.log() + cached.log())
        return torch.where(some, mixed, log_model)

    def _after(
        self,
        before: NeuralCacheState,
        model: Any,
        wide: Tensor,
        keys: Tensor,
        words: Tensor,
        of: Tensor,
        document: Tensor,
        lengths: Tensor | None,
    ) -> NeuralCacheState:
        """Return the state after the last real token of each row."""
        batch, time = document.shape
        read = torch.full((batch,), time, device=wide.device) if lengths is None else lengths
        rows = torch.arange(batch, device=wide.device)
        if not time:
            return NeuralCacheState(model, *(leaf.clone() for leaf in before[1:]))
        last = (read - 1).clamp(min=0)
        current = torch.where(read > 0, document[rows, last], 0)
        kept = read[:, None] + torch.arange(self.size, device=wide.device)
        there = words.gather(1, kept)
        there = there.where(of.gather(1, kept) == current[:, None], EMPTY)
        features = keys.gather(1, kept[..., None].expand(-1, -1, keys.shape[-1]))
        return NeuralCacheState(
            model,
            torch.where((there >= 0)[..., None], features, 0),
            there,
            torch.where((read > 0)[:, None], wide[rows, last], before.last),
            before.begun | (read > 0),
        )
