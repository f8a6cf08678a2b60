"""How likely a variational autoencoder thinks new data are."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from isthmus import fitting
from isthmus.autoencoder import Autoencoder
from isthmus.errors import SettingError
from isthmus.module import AutoencoderModule
from isthmus.networks.base import mask_absent
from isthmus.reconstruction import Reconstruction
from isthmus.tasks.base import Task
from isthmus.training import Batch
from isthmus.training.applying import Array, apply
from isthmus.variants import Variational

MOST_SAMPLES = 64  # of a code that are decoded at a time


def log_likelihood(
    model: Autoencoder | Task,
    X: Any,
    samples: int = 100,
    random_state: int | np.random.RandomState | None = None,
) -> Array:
    """The importance weighted bound on log p(x) of each sample, in nats, shape (n_samples,).

    log of the mean of p(x, code) / q(code | x) over `samples` codes: with one the evidence lower bound, and the more
    there are the nearer to the truth it is, from below (Burda et al. 2016). Whatever `beta` and `free_bits` a model was
    trained with, and whatever spoiled its input, do not count here. Of data in [0, 1] or of scaled columns the density
    is that of the scaled values.

    Parameters
    ----------
    model : a fitted Autoencoder with the variant variational, or a task around one.
    X : the data.
    samples : codes drawn for each sample, at least 1; published figures take 5,000, 500 come within 0.3 nat of them.
    random_state : an int for the same result every time; None leaves it to the autoencoder.

    Raises
    ------
    SettingError : for a model whose code is not variational, or less than one sample.

    Examples
    --------
    >>> import numpy as np
    >>> from isthmus import Autoencoder
    >>> from isthmus.evaluation import log_likelihood
    >>> X = np.random.default_rng(0).normal(size=(300, 1)) @ np.ones((1, 4))
    >>> model = Autoencoder(1, variant="variational(beta=2)", random_state=0).fit(X)
    >>> loose, tight = (log_likelihood(model, X, samples, random_state=0).mean() for samples in (1, 50))
    >>> bool(loose < tight)
    True
    """
    autoencoder = model.autoencoder_ if isinstance(model, Task) else model
    if isinstance(samples, bool) or not isinstance(samples, (int, np.integer)) or samples < 1:
        raise SettingError(f"samples is {samples!r}; it must be a whole number of at least 1.")
    data = autoencoder.data_
    opened, dtype = data.open(X), data.number_type(X)
    module = autoencoder.as_type(dtype)
    owner = _unweighted(module)
    random = fitting.random_numbers(autoencoder.random_state if random_state is None else random_state)
    generator = torch.Generator(next(module.parameters()).device).manual_seed(int(random.randint(2**31)))
    batches = lambda rows: data.batch(opened, rows, dtype)  # noqa: E731
    together = min(int(samples), MOST_SAMPLES)
    read = lambda batch: _bound(module, owner, batch, int(samples), together, generator)  # noqa: E731
    # so few rows at a time that the outputs of all their codes fit
    return apply(module, batches, len(opened), read, data.spec.size * together)


def _unweighted(module: object) -> Variational:
    """The variational bottleneck as the bound has it; it shares what is trained."""
    owner = module.bottleneck if isinstance(module, AutoencoderModule) else None
    if not isinstance(owner, Variational):
        raise SettingError("this model's codes have no law, so that it has no likelihood; fit one with variant='vae'.")
    return copy.copy(owner).set_params(beta=1.0, free_bits=0.0)


def _bound(
    module: AutoencoderModule,
    owner: Variational,
    batch: Batch,
    samples: int,
    together: int,
    generator: torch.Generator,
) -> Tensor:
    """Of each row, (B,); some codes at a time."""
    x, weight = mask_absent(batch.x, batch.weight), batch.weight
    features = module.features(x, weight)
    found = []
    for start in range(0, samples, together):
        drawn = min(together, samples - start)
        pass_ = Reconstruction(module.spec, x, weight, x, weight, x, generator, drawn)
        pass_.code, pass_.rate = owner.bottleneck(features, pass_)
        pass_.output = module.decode(pass_.code, weight, x)
        pass_.distortion = module.cells(pass_).flatten(2).sum(2)
        found.append(pass_.log_weights)
    return torch.logsumexp(torch.cat(found), 0) - math.log(samples)
