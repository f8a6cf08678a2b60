"""Which trained modules are plain dense ones, so that they can be applied without all the machinery, and how.

Outside training most variants change nothing: corruption and penalties are for training alone. What is left of such a
model are a few products, activations between them, and a law. The outline says which, as plain JSON, in the names that
the tensors have in the module; whoever applies it (in NumPy, or with packed weights) needs no class of ours.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import nn

from isthmus.likelihoods.base import Likelihood
from isthmus.likelihoods.bernoulli import Bernoulli
from isthmus.likelihoods.mixed import Mixed
from isthmus.likelihoods.normal import Normal
from isthmus.module import AutoencoderModule
from isthmus.networks.dense import Dense
from isthmus.part import resolve
from isthmus.priors.base import Prior
from isthmus.priors.standard_normal import StandardNormal
from isthmus.spec import Kind, SampleSpec
from isthmus.variants.base import Variant
from isthmus.variants.variational import Variational

Outline = dict[str, Any]
KINDS: tuple[Kind, ...] = ("numeric", "boolean", "categorical")


def outline(module: nn.Module) -> Outline | None:
    """What a deterministic pass of this module computes; None where its network is more than dense layers.

    The bottleneck and the laws are None where they are not among the simple ones that can be written down.

    >>> from isthmus.spec import SampleSpec
    >>> found = outline(AutoencoderModule(SampleSpec((4,)), 2, Dense(widths=(3,)), "normal"))
    >>> [layer["weight"] for layer in found["encoder"]]
    ['network.encoder.layers.0.linear.weight', 'network.encoder.layers.1.linear.weight']
    >>> outline(AutoencoderModule(SampleSpec((4,)), 2, variants="top_k"))["bottleneck"] is None
    True
    """
    # exact classes: one that is derived from ours may do anything
    if type(module) is not AutoencoderModule or type(module.architecture) is not Dense:
        return None
    spec, settings = module.spec, module.architecture
    kinds = {parameter.dtype for parameter in module.parameters()}
    if len(spec.shape) != 1 or spec.free or settings.normalisation == "layer":
        return None
    if len(kinds) != 1 or not kinds <= {torch.float32, torch.float64}:
        return None
    return {
        "encoder": _layers(cast(nn.Module, module.network.encoder.layers), "network.encoder.layers", settings),
        "decoder": _layers(cast(nn.Module, module.network.decoder.layers), "network.decoder.layers", settings),
        "absent": "network.encoder.absent" if spec.gaps else None,
        "n_components": module.n_components,
        "bottleneck": _bottleneck(module),
        "laws": _laws(module.likelihood, spec),
    }


def _bottleneck(module: AutoencoderModule) -> dict[str, Any] | None:
    """How features become a code: as they are, or as the mean of a mean and a log-variance."""
    owner = next((variant for variant in module.variants if variant.changes("bottleneck")), Variant())
    if not owner.changes("bottleneck"):
        return {"kind": "plain"} if owner.n_features(module.n_components) == module.n_components else None
    if type(owner) is not Variational:
        return None
    known = type(resolve("priors", owner.prior, Prior)) is StandardNormal
    return {"kind": "mean", "beta": float(owner.beta) if known else None}


def _laws(likelihood: Likelihood, spec: SampleSpec) -> list[dict[str, Any]] | None:
    """The law of each kind of column in the order of the raw numbers; None where one is not simple."""
    if type(likelihood) is not Mixed:
        law = _law(likelihood)
        return None if law is None else [law | {"of": "all"}]
    own = {"numeric": likelihood.numeric, "boolean": likelihood.boolean, "categorical": likelihood.categorical}
    found = []
    for kind in KINDS:
        if len(spec.elements(kind)):
            law = _law(resolve("likelihoods", own[kind], Likelihood))
            if law is None:
                return None
            found.append(law | {"of": kind})
    return found


def _law(likelihood: Likelihood) -> dict[str, Any] | None:
    if type(likelihood) is Bernoulli:
        return {"law": "bernoulli"}
    if type(likelihood) is Normal:
        return {"law": "normal", "scale": likelihood.scale, "minimum": float(likelihood.minimum)}
    return None


def _layers(layers: Any, prefix: str, settings: Dense) -> list[dict[str, Any]]:
    """Each linear layer with what follows it; `rows` is set where it is another's, the other way round."""
    found = []
    for place, layer in enumerate(layers):
        linear, name = layer.linear, f"{prefix}.{place}"
        step: dict[str, Any] = {"weight": f"{name}.linear.weight", "bias": f"{name}.linear.bias", "rows": None}
        if not isinstance(linear, nn.Linear):
            mirrored = len(layers) - 1 - place
            step |= {"weight": f"network.encoder.layers.{mirrored}.linear.weight", "rows": linear.n_in}
        hidden = len(layer.after) > 0
        batch = next((norm for norm in layer.after if isinstance(norm, nn.BatchNorm1d)), None)
        step["activation"] = settings.activation if hidden else None
        step["batch"] = None if batch is None else {"prefix": f"{name}.after.0", "epsilon": batch.eps}
        found.append(step)
    return found
