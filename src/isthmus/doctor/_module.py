"""What the trained module does: copies, averages, leaves units unused, draws always the same."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from isthmus.doctor.base import Finding, is_guarded
from isthmus.metrics import explained_variance
from isthmus.module import AutoencoderModule
from isthmus.reconstruction import Reconstruction
from isthmus.training import Batch

DRAWN = 256  # from the prior
ENOUGH = 0.9  # of the variance
NARROW = 0.1  # of the variance that samples have when they come back


def of_width(module: AutoencoderModule) -> Iterable[Finding]:
    """Before training: whether copying is a solution."""
    if module.n_components >= module.spec.size and not is_guarded(module):
        yield Finding(
            "wide_code",
            f"the code has {module.n_components} numbers for samples of {module.spec.size}, so copying the input is "
            "a perfect solution and nothing need be learned: choose a smaller n_components, or add a variant such "
            "as 'denoising' or 'l1_sparse'.",
        )


def of_module(module: AutoencoderModule, some: Batch, done: Reconstruction) -> list[Finding]:
    """`done` is the deterministic pass of these rows."""
    assert done.code is not None and done.output is not None
    target = some.x if some.target is None else some.target
    explained = explained_variance(target, done.output.mean[0], some.weight)
    found = [
        *_output(module, explained),
        *_codes(module, done.code[0].flatten(1), explained),
        *_hidden(done.activations[:-1]),
    ]
    if not found:  # of a network that already says the same of all samples, draws do too
        found += _draws(module, done)
    return found


def _output(module: AutoencoderModule, explained: float) -> Iterable[Finding]:
    if explained > 0.999 and module.n_components >= module.spec.size and not is_guarded(module):
        yield Finding(
            "identity",
            f"the output explains {100 * explained:.2f} % of the variance from a code as wide as the input: the "
            "network has learned to copy; choose a smaller n_components, or add a variant such as 'denoising'.",
        )
    if explained < 0.05:
        yield Finding(
            "mean_only",
            f"the output explains only {100 * max(0.0, explained):.1f} % of the variance: nearly the same mean comes "
            "out for every sample; train longer, raise n_components, or weaken the penalties. Features that are "
            "independent of each other cannot be compressed at all.",
        )


def _codes(module: AutoencoderModule, codes: Tensor, explained: float) -> Iterable[Finding]:
    spread = codes.std(0)
    if any(variant.name() == "variational" for variant in module.variants):
        active = int((spread.square() > 0.01).sum())
        if active <= codes.shape[1] // 2 and explained < ENOUGH:  # a spare component that is shed does no harm
            yield Finding(
                "posterior_collapse",
                f"{codes.shape[1] - active} of {codes.shape[1]} components of the variational code carry nothing "
                "(the variance of their mean is below 0.01): the rate outweighs what they explain; lower beta, set "
                "free_bits, or choose a smaller n_components.",
            )
        return
    dead = int((spread <= 1e-6 * spread.max().clamp_min(1e-12)).sum())
    if dead and not getattr(module.architecture, "skips", False):  # whose code is the maps of a network, dead ones too
        yield Finding(
            "dead_code",
            f"{dead} of {codes.shape[1]} components of the code have the same value for every sample; choose a "
            "smaller n_components, or weaken the penalties.",
        )


def _hidden(layers: Iterable[Tensor]) -> Iterable[Finding]:
    dead = sum(int((layer.flatten(1).std(0) < 1e-8).sum()) for layer in layers)
    units = sum(layer[0].numel() for layer in layers)
    if units and dead > units // 4:
        yield Finding(
            "dead_units",
            f"{dead} of {units} hidden units answer every sample alike; the learning rate may be too large: lower "
            "it, or use activation='gelu'.",
        )


def _draws(module: AutoencoderModule, done: Reconstruction) -> Iterable[Finding]:
    """Whether what is drawn from the prior is as different as what comes back."""
    assert done.code is not None and done.output is not None
    generator = torch.Generator(done.code.device).manual_seed(0)
    if any(getattr(module.architecture, fact, False) for fact in ("skips", "autoregressive")) or module.spec.free:
        return
    codes = module.draw_codes((DRAWN, *done.code.shape[2:]), generator)
    if codes is None:
        return
    drawn, back = (of.flatten(1).double().var(0).sum() for of in (module.decode(codes).mean, done.output.mean[0]))
    if back > 0 and drawn < NARROW * back:
        yield Finding(
            "mode_collapse",
            f"what is drawn from the prior differs only {100 * float(drawn / back):.0f} % as much as what comes back "
            "for real samples: nearly the same one is drawn every time; strengthen what holds codes to the prior "
            "(beta, weight), train longer, or draw with a Synthesizer, which learns the law of the codes.",
        )
