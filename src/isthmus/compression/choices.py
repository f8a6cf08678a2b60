"""Which autoencoder to train for compressing, and whether it codes exactly or nearly."""

from __future__ import annotations

from typing import Any

from isthmus import fitting
from isthmus.autoencoder import Autoencoder
from isthmus.compression.pictures import PictureAlphabet
from isthmus.data import Images, Series, Tables
from isthmus.data.base import Data
from isthmus.errors import DataError, SettingError
from isthmus.likelihoods import Bernoulli, BetaBinomial, DiscretisedLogistic, Mixed, Normal
from isthmus.likelihoods.base import Likelihood
from isthmus.module import AutoencoderModule, resolve_network, resolve_variants
from isthmus.networks import Conv, Dense

MODES = ("auto", "lossless", "lossy")
SMALL = 64 * 64  # pixels of pictures that are coded exactly unless asked otherwise
PATCH = 64


def choose(model: Autoencoder, data: Data, X: Any, mode: str) -> bool:
    """Fill in what is open of an autoencoder for these data; whether it is to code exactly. Raises SettingError."""
    if mode not in MODES:
        raise SettingError(f"mode is {mode!r}; it must be one of {', '.join(MODES)}.")
    if not isinstance(data, (Tables, Images, Series)):
        raise DataError(f"{data.name()} cannot be compressed yet; give a table, pictures, or series.")
    data.fit(X)
    variants = resolve_variants(model.variant)
    variational = any(variant.name() == "variational" for variant in variants)
    exact = mode == "lossless" or (mode == "auto" and _exactly(data, bool(variants), variational))
    _refuse(model, data, exact, bool(variants), variational)
    if isinstance(data, Tables):
        _for_tables(model, exact, bool(variants))
    elif isinstance(data, Series):
        model.network = "dense" if model.network == "auto" else model.network
    elif exact:
        _for_small_pictures(model, data, X, bool(variants))
    else:
        _for_photos(model, data, X, bool(variants))
    return exact


def _exactly(data: Data, given: bool, variational: bool) -> bool:
    """What "auto" means."""
    if isinstance(data, Series):
        return False
    small = isinstance(data, Tables) or (not data.spec.free and data.spec.shape[1] * data.spec.shape[2] <= SMALL)
    return small and (variational or not given)


def _refuse(model: Autoencoder, data: Data, exact: bool, given: bool, variational: bool) -> None:
    if fitting.own_module(model.network) is not None:
        raise SettingError("a whole module of your own cannot compress; give network=(encoder, decoder).")
    network = None if model.network == "auto" else resolve_network(model.network)  # type: ignore[arg-type]
    if getattr(network, "skips", False):
        raise SettingError("a U-Net (skips=True) carries whole samples in its code; compress with one without skips.")
    if getattr(network, "autoregressive", False):
        raise SettingError("this network makes a sample step by step and cannot compress; take dense or conv.")
    if exact and given and not variational:
        raise SettingError(
            "mode is 'lossless', and bits back needs the posterior of a variational autoencoder; add "
            "variant='variational', or take mode='lossy'."
        )
    if exact and isinstance(data, Series):
        raise SettingError("mode is 'lossless', and series can only be compressed nearly so far; take mode='lossy'.")
    if exact and data.spec.free:
        raise SettingError(
            "mode is 'lossless', and these pictures have several sizes; give them one size, or take mode='lossy'."
        )


def refuse_prior(module: AutoencoderModule) -> None:
    """A sentence for a prior whose numbers cannot be coded one by one."""
    prior = getattr(module.bottleneck, "prior", "standard_normal")
    name = prior if isinstance(prior, str) else prior.name()
    if name not in ("standard_normal", "normal"):
        raise SettingError(
            f"bits back needs prior='standard_normal', and this autoencoder has {name}; leave prior out."
        )


def _for_tables(model: Autoencoder, exact: bool, given: bool) -> None:
    if not exact:
        return
    if not given:
        model.variant = "variational"
    if model.likelihood == "auto":
        model.likelihood = Mixed(numeric=Normal(scale="learned", minimum=0.02))


def _for_small_pictures(model: Autoencoder, data: Images, X: Any, given: bool) -> None:
    if not given:
        model.variant = "variational"
    pixels = data.spec.shape[1] * data.spec.shape[2]
    if model.network == "auto" and pixels <= 32 * 32:
        model.network = Dense(widths=(256,))
        if model.n_components == "auto":
            model.n_components = min(32, max(2, data.spec.size // 8))
    if model.likelihood == "auto":
        model.likelihood = _law_of(data, X)


def _law_of(data: Images, X: Any) -> Likelihood:
    """The likelihood whose levels are those of the pictures."""
    alphabet = PictureAlphabet(data)
    alphabet.learn(X)
    n_levels = len(alphabet.targets)
    if bool(((alphabet.x == 0) | (alphabet.x == 1)).all()):
        return Bernoulli()
    return DiscretisedLogistic() if n_levels == 256 else BetaBinomial(trials=max(1, n_levels - 1))


def _for_photos(model: Autoencoder, data: Images, X: Any, given: bool) -> None:
    if not given:
        model.variant = "variational"
    side = max(data.spec.shape[1:])
    if model.network == "auto" and side <= 32 and not data.spec.free:
        model.network = Dense(widths=(256,))
        if model.n_components == "auto":
            model.n_components = min(32, max(2, data.spec.size // 8))
    elif model.network == "auto":
        model.network = Conv(channels=(32, 48, 64), kernel_size=5, code="grid")
        if model.n_components == "auto":
            model.n_components = 16 * (1 + data.spec.shape[0])
        if model.data_type == "auto" and side > PATCH:
            model.data_type = Images(patch=PATCH)
    if model.likelihood == "auto":
        model.likelihood = Normal(scale=0.03)
