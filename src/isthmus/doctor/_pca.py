"""A code too small, too large, or badly used, by what principal components of the same samples give back."""

from __future__ import annotations

from collections.abc import Iterable

from isthmus.doctor.base import Finding, is_guarded
from isthmus.likelihoods import Mixed, Normal
from isthmus.metrics import explained_variance, variance_curve
from isthmus.module import AutoencoderModule
from isthmus.networks.base import mask_absent
from isthmus.reconstruction import Reconstruction
from isthmus.training import Batch

MOST_NUMBERS = 2**18  # in the samples whose components are looked for: a fraction of a second
WIDEST = 2**12  # numbers in a sample
LITTLE, MOST = 0.5, 0.9  # of the variance
CLEARLY, NEARLY = 0.2, 0.01  # of the variance
A_MAP = 3  # numbers of a code that is meant to be looked at


def beside_pca(module: AutoencoderModule, some: Batch, done: Reconstruction) -> Iterable[Finding]:
    """Only where the squared error is what the network was after, from a code that nothing but its size holds."""
    size, spec = module.n_components, module.spec
    vector = done.code is not None and done.code[0, 0].numel() == size
    if spec.size > WIDEST or not vector or some.target is not None or is_guarded(module) or size >= spec.size:
        return
    if not _after_squares(module.likelihood):
        return
    n = max(2, min(len(some.x), MOST_NUMBERS // spec.size))
    assert done.output is not None
    explained = explained_variance(
        some.x[:n], done.output.mean[0, :n], None if some.weight is None else some.weight[:n]
    )
    curve = variance_curve(mask_absent(some.x, some.weight)[:n])
    if n < 5 * size or len(curve) <= size:
        return
    theirs, needed = float(curve[size - 1]), 1 + int((curve < MOST).sum())
    as_good = 1 + int((curve < explained - NEARLY).sum())
    if explained < theirs - CLEARLY:
        yield Finding(
            "below_pca",
            f"the output explains {100 * explained:.0f} % of the variance, and as many principal components, "
            f"{size}, explain {100 * theirs:.0f} %: training has not found what is there; take a larger learning rate, "
            "more epochs or wider layers, or PCA.",
        )
    elif (
        explained < LITTLE and A_MAP < size and 2 * size < needed <= spec.size // 2
    ):  # of more there is nothing to be compressed
        yield Finding(
            "small_code",
            f"the output explains only {100 * explained:.0f} % of the variance from codes of {size}, and principal "
            f"components need {needed} for {100 * MOST:.0f} %: most of each sample is lost, which will do for a map; "
            "raise n_components where samples are to come back, or ask isthmus.advise.",
        )
    elif explained >= MOST and size >= 4 * as_good + 4:
        yield Finding(
            "large_code",
            f"codes have {size} numbers and give back {100 * explained:.0f} % of the variance, and {as_good} "
            "principal components do nearly as well: what is spare carries noise and lets the network copy; choose a "
            "smaller n_components, or ask isthmus.advise.",
        )


def _after_squares(likelihood: object) -> bool:
    """Whether a law asks for a small squared error, of all numbers alike."""
    law = likelihood.numeric if isinstance(likelihood, Mixed) else likelihood
    return law == "normal" or (isinstance(law, Normal) and law.scale != "learned")
