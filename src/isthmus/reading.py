"""What a trained module gives for each sample: of many, in chunks, and of one row at a time in microseconds.

For one row there are callables without validation. Those of plain dense models of number columns go through NumPy
(`light`), all others through torch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus.data.base import Data
from isthmus.light.model import UNFIT, LightModel
from isthmus.light.model import encoder as light_encoder
from isthmus.light.model import scorer as light_scorer
from isthmus.module import AutoencoderModule
from isthmus.saving import Packed
from isthmus.training import Batch
from isthmus.training.applying import Array, apply
from isthmus.training.packed import packed

Read = Callable[[AutoencoderModule, Batch], Tensor]


def read_codes(module: AutoencoderModule, batch: Batch) -> Tensor:
    """The code of each sample, (B, n); a grid of codes is laid flat."""
    return module.encode(batch.x, batch.weight).flatten(1)


def read_likelihoods(module: AutoencoderModule, batch: Batch) -> Tensor:
    """What each sample has in likelihood, given its code, minus the code's rate, (B,), in nats."""
    return module.reconstruct(batch.x, batch.weight).log_weights.mean(0)


class Reading:
    """What a fitted autoencoder reads from samples, many or one."""

    data_: Data

    def read(self, X: Any, read: Read) -> Array:
        """What `read(module, batch)` gives for every sample: how tasks look into the pass."""
        check_is_fitted(self)
        samples, dtype = self.data_.open(X), self.data_.number_type(X)
        module = packed(self.as_type(dtype), len(samples))
        batches = lambda rows: self.data_.batch(samples, rows, dtype)  # noqa: E731
        return apply(module, batches, len(samples), lambda batch: read(module, batch), self.data_.spec.size)

    def score_samples(self, X: Any) -> Array:
        """The log-likelihood of each sample given its code, minus the code's rate, in nats: higher is more usual."""
        return self.read(X, read_likelihoods)

    def encoder(self) -> Callable[[Any], Any]:
        """A callable that gives what `transform` gives, for one row at a time or a few: fast, without validation.

        It takes floats in the data's own units, shape (n_features,) or (n_samples, n_features), and gives a code or
        codes, computed in float64. Gaps are NaN. It is a snapshot: later training does not change it. Where samples
        are no rows of a table it is `transform` itself.

        >>> import numpy as np
        >>> from isthmus import Autoencoder
        >>> X = np.random.default_rng(0).normal(size=(60, 3))
        >>> model = Autoencoder(n_components=2, random_state=0).fit(X)
        >>> encode = model.encoder()
        >>> bool(np.allclose(encode(X[0]), model.transform(X[:1])[0]))
        True
        """
        check_is_fitted(self)
        light = light_model(self._pack(), type(self).__name__)
        return through_torch(self, read_codes, "transform") if light is None else light_encoder(light)

    def scorer(self) -> Callable[[Any], Any]:
        """A callable that gives what `score_samples` gives, for one row at a time or a few: fast, without validation.

        It takes what `encoder()` takes, and gives a number for a row and an array (n_samples,) for rows.
        """
        check_is_fitted(self)
        light = light_model(self._pack(), type(self).__name__)
        if light is not None and light.beta is not None:
            return light_scorer(light, with_rate=True)
        return through_torch(self, read_likelihoods, "score_samples")

    def as_type(self, dtype: torch.dtype, device: str | None = None) -> AutoencoderModule:
        """The trained module in this number type."""
        raise NotImplementedError

    def _pack(self) -> Packed:
        raise NotImplementedError


def light_model(packed: Packed, owner: str) -> LightModel | None:
    """The model in NumPy; None where it is no plain dense one of number columns."""
    fitted, tensors = packed
    if fitted["outline"] is None:
        return None
    try:
        return LightModel(fitted, {name: value.detach().cpu().numpy() for name, value in tensors.items()}, owner)
    except UNFIT:
        return None


def through_torch(model: Any, read: Read, method: str) -> Callable[[Any], Any]:
    """The same callable of any fitted autoencoder; its method of this name where samples are no rows."""
    if len(model.data_.spec.shape) != 1:
        found: Callable[[Any], Any] = getattr(model, method)
        return found
    data, module = model.data_, model.as_type(torch.float64)
    device = next(module.parameters()).device

    @torch.inference_mode()
    def answer(values: Any) -> Any:
        values = np.asarray(values, dtype=np.float64)
        samples = data.open(values[None] if values.ndim == 1 else values)
        batch = data.batch(samples, slice(None), torch.float64).to(device)
        result = read(module, batch).cpu().numpy()
        return result[0] if values.ndim == 1 else result

    return answer
