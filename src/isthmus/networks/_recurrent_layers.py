"""Recurrent layers over time, and what they need to know of samples of different lengths.

Axes: T steps, B samples, C channels, H units; layers take and give (T, B, ...), so that every step lies in one piece.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn

CELLS: dict[str, Callable[[int, int], nn.RNNBase]] = {"lstm": nn.LSTM, "gru": nn.GRU, "plain": nn.RNN}


class Recurrence(nn.Module):
    """One cell going through the steps once, (T, B, n_in + hears) → (T, B, H).

    Of the inputs the last `hears` are marks of absent values, whose weights are zero at first, as if there were none.
    """

    def __init__(self, cell: str, n_in: int, hidden: int, hears: int = 0):
        super().__init__()
        self.cell = CELLS[cell](n_in + hears, hidden)
        start(self.cell, n_in)

    def forward(self, x: Tensor) -> Tensor:
        return cast(Tensor, self.cell(x)[0])


@torch.no_grad()
def start(cell: nn.RNNBase, n_in: int) -> None:
    """Weights that neither drown nor blow up what is carried along: orthogonal ones, and gates that do not forget."""
    weights = dict(cell.named_parameters())
    values = weights["weight_ih_l0"].zero_()[:, :n_in]
    values.copy_(nn.init.xavier_uniform_(torch.empty_like(values)))
    nn.init.orthogonal_(weights["weight_hh_l0"])
    weights["bias_hh_l0"].zero_()
    bias = weights["bias_ih_l0"].zero_()
    if isinstance(cell, nn.LSTM):  # Jozefowicz et al. 2015
        bias[cell.hidden_size : 2 * cell.hidden_size] = 1.0


class BothWays(nn.Module):
    """A layer of one or two directions, (T, B, n_in) → (T, B, H) or (T, B, 2 H) and the last states, (B, H or 2 H).

    The second direction begins at each sample's own end.
    """

    def __init__(self, cell: str, n_in: int, hidden: int, both: bool, hears: int = 0):
        super().__init__()
        self.forth = Recurrence(cell, n_in, hidden, hears)
        self.back = Recurrence(cell, n_in, hidden, hears) if both else None

    def forward(self, x: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        found = self.forth(x)
        state = last(found, lengths)
        if self.back is None:
            return found, state
        back = self.back(reverse(x, lengths))
        return torch.cat([found, reverse(back, lengths)], 2), torch.cat([state, last(back, lengths)], 1)


def lengths_of(weight: Tensor | None) -> Tensor | None:
    """How many steps each sample has up to its last one with a present value, (B,), from weights (B, T, C).

    >>> weight = torch.tensor([[[1.0], [0.0], [1.0], [0.0]]])
    >>> lengths_of(weight)
    tensor([3])
    """
    if weight is None:
        return None
    places = torch.arange(1, weight.shape[1] + 1, device=weight.device)
    return ((weight > 0).any(2) * places).amax(1)


def last(states: Tensor, lengths: Tensor | None) -> Tensor:
    """The state after each sample's last step, (B, H); zeros where a sample has none."""
    if lengths is None:
        return states[-1]
    index = (lengths - 1).clamp_min(0)[None, :, None].expand(1, *states.shape[1:])
    return states.gather(0, index)[0].masked_fill((lengths == 0)[:, None], 0.0)


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Every sample with its steps in reverse; what follows its end stays where it is."""
    if lengths is None:
        return x.flip(0)
    steps = torch.arange(len(x), device=x.device)[:, None]
    index = torch.where(steps < lengths, lengths - 1 - steps, steps)
    return x.gather(0, index[:, :, None].expand_as(x))


def kernels(x: Tensor) -> contextlib.AbstractContextManager[Any]:
    """Without cuDNN where someone asks for gradients by the sample: its cells can be differentiated once only."""
    if x.is_cuda and x.requires_grad:
        return cast("contextlib.AbstractContextManager[Any]", torch.backends.cudnn.flags(enabled=False))
    return contextlib.nullcontext()
