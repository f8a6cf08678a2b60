from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Self

import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.variants.base import Pass, Variant


class KLSparse(Variant):
    """Asks every unit to be active a given share of the time, so that each is rarely used and none is never used.

        corrupt → encoder → bottleneck → decoder → likelihood   + PENALTY

    The penalty is the weight times the sum over units of KL(target || activity), the divergence between two coins that
    fall as often as the unit should be and is active. Ng 2011, "Sparse autoencoder" (CS294A lecture notes).

    A unit's activity is the mean of its squashed values over this batch, without a memory of earlier batches (and over
    the places of a grid or map): with few rows in a batch it is a noisy share, so give batches of 100 rows or more to
    small targets. Ng's units are sigmoids, whose values are shares already (`squash="none"`); codes and most layers
    here are not, so by default tanh(|value|) is taken: 0 for a value of zero, near 1 for a large one of either sign.

    Use it when many units should share the work, each with a meaning of its own, as strokes do in handwriting. Not when
    the number of active units has to be known: that is `top_k`.

    Parameters
    ----------
    target : the activity that is asked for, between 0 and 1; or one number for each component of the code.
    weight : strength of the penalty, in nats per nat of divergence.
    layers : "code", or "all" for every hidden layer of the encoder and the code.
    squash : how values become shares from 0 to 1: "tanh" (of the absolute value), "sigmoid" (values are logits, and
        what is quiet is negative), or "none" (they are shares already).

    Raises
    ------
    SettingError : for a target that is no share, targets that do not fit the code, or values that are no shares where
        squash is "none".

    >>> KLSparse(target=0.1, weight=3.0).neutral()
    KLSparse(target=0.1, weight=0.0)
    """

    aliases = ("sparse_kl", "ng_sparse")

    limits = {"weight": Limit(0)}

    def __init__(
        self, target: float | Sequence[float] = 0.05, weight: float = 1.0, layers: str = "code", squash: str = "tanh"
    ):
        self.target = target
        self.weight = weight
        self.layers = layers
        self.squash = squash

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(), cls(target=0.2, weight=0.5, layers="all", squash="sigmoid")]

    def check(self) -> None:
        super().check()
        targets = self.target if isinstance(self.target, (tuple, list)) else (self.target,)
        if not targets or not all(map(_SHARE.allows, targets)):
            raise SettingError(
                f"target of kl_sparse is {self.target!r}; it must be {_SHARE}, or one such number for each component."
            )
        for name, allowed in (("layers", ("code", "all")), ("squash", tuple(SQUASHES))):
            if (value := getattr(self, name)) not in allowed:
                raise SettingError(f"{name} of kl_sparse is {value!r}; it must be one of {', '.join(allowed)}.")
        if self.layers == "all" and isinstance(self.target, (tuple, list)):
            raise SettingError(
                "one target for each component goes with layers='code'; give one number for layers='all'."
            )

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor | float:
        total: Tensor | float = 0.0
        for activity in self.activities(reconstruction):
            wanted = torch.as_tensor(self.target, dtype=activity.dtype, device=activity.device)
            if wanted.ndim and len(wanted) != len(activity):
                raise SettingError(
                    f"target of kl_sparse has {len(wanted)} numbers and the code {len(activity)} components; give as "
                    "many, or one number for all."
                )
            total = total + _divergence(wanted, activity).sum()
        return self.weight * total

    def activities(self, reconstruction: Reconstruction) -> list[Tensor]:
        """The activity of each unit in this batch, from 0 to 1: (n_units,) for each layer, the code last."""
        assert reconstruction.code is not None
        found = [self._activity(_places(reconstruction.code, reconstruction))]
        if self.layers == "all":  # the last of the encoder's layers gives the features, which become the code
            hidden = reconstruction.activations[:-1]
            found = [*(self._activity(_units_last(values, reconstruction)) for values in hidden), *found]
        return found

    def neutral(self) -> Self:
        return type(self)(target=self.target, weight=0.0, layers=self.layers, squash=self.squash)

    def _activity(self, values: Tensor) -> Tensor:
        """(n, n_units) become (n_units,)."""
        shares = SQUASHES[self.squash](values)
        if self.squash == "none" and len(shares) and not bool(((shares >= 0) & (shares <= 1)).all()):
            raise SettingError(
                f"squash of kl_sparse is 'none' and a value is {float(values.detach().min()):.3g} to "
                f"{float(values.detach().max()):.3g}; give squash='tanh', or a layer that ends in a sigmoid."
            )
        return shares.mean(0)


def _identity(values: Tensor) -> Tensor:
    return values


def _tanh(values: Tensor) -> Tensor:
    return values.abs().tanh()


SQUASHES: dict[str, Callable[[Tensor], Tensor]] = {"tanh": _tanh, "sigmoid": torch.sigmoid, "none": _identity}
_SHARE = Limit(0, 1, between=True)
_SMALL = 1e-6


def _divergence(target: Tensor, activity: Tensor) -> Tensor:
    """KL between two coins, in nats."""
    activity = activity.clamp(_SMALL, 1 - _SMALL)
    return target * (target / activity).log() + (1 - target) * ((1 - target) / (1 - activity)).log()


def _places(code: Tensor, reconstruction: Reconstruction) -> Tensor:
    """(S, B, ..., n_components) become (n, n_components), without the padding of a batch, where a code is all zero."""
    flat = code.flatten(0, -2)
    padded = reconstruction.spec.free and code.ndim > 3
    return flat[flat.detach().ne(0).any(1)] if padded else flat


def _units_last(values: Tensor, reconstruction: Reconstruction) -> Tensor:
    """A hidden layer as (n, n_units): maps and steps have their units where the sample has its channels."""
    spec = reconstruction.spec
    axis = 1 + spec.channels if values.ndim == 1 + len(spec.shape) > 2 else -1
    return values.movedim(axis, -1).flatten(0, -2)
