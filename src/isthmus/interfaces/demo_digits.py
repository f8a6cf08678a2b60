"""The demo's pictures: real digits, some made odd on purpose, some made noisy; find the ones, clean the others."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from isthmus.interfaces import output
from isthmus.interfaces.demo_pictures import ACROSS, Pixels, Row, strip
from isthmus.interfaces.demo_shared import Places, found_sentence, heading, say, unless_missing, verbose

N_DIGITS = 1400  # digits to fit on; the rest are the new ones
ABREAST = 8  # digits in a line of text
N_FILES = 100  # digits in a folder, enough to try commands on
CODE = 8  # numbers in the code of a digit
SIGMA = 0.3  # of the noise, where 1 is the way from black to white
MOST = 0.4  # the strongest noise to learn


@dataclass(frozen=True)
class Digits:
    """Pictures of 8 x 8 pixels with the figures that they show: to fit on, and new ones."""

    known: Pixels  # (n, 8, 8) of uint8
    figures: Pixels  # (n,)
    new: Pixels
    new_figures: Pixels


@dataclass(frozen=True)
class OddDigit:
    """A digit that the demo made odd, and how."""

    row: int
    what: str


def real_digits() -> Digits:
    """Handwritten digits as scikit-learn brings them, as pictures of 8 bits."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    pictures = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    figures = bunch.target
    return Digits(pictures[:N_DIGITS], figures[:N_DIGITS], pictures[N_DIGITS:], figures[N_DIGITS:])


def plant(digits: Digits) -> tuple[Pixels, list[OddDigit]]:
    """The known digits with seven made odd, each out of the most ordinary one of its figure."""
    known = digits.known.copy()
    seven = digits.known[_typical(digits, 7, 2)[1]]
    changed: list[tuple[int, str, Callable[[Pixels], Pixels]]] = [
        (0, "has black and white exchanged", lambda x: 255 - x),
        (2, "has a 7 written over it", lambda x: np.maximum(x, seven)),
        (3, "lies on its side", np.rot90),
        (4, "is seen in a mirror", lambda x: x[:, ::-1]),
        (5, "has slipped to the right and over the edge", lambda x: np.roll(x, 2, axis=1)),
        (6, "has its left and its right half exchanged", lambda x: np.roll(x, 4, axis=1)),
        (7, "stands on its head", lambda x: x[::-1]),
    ]
    planted = []
    for figure, what, change in changed:
        row = int(_typical(digits, figure, 1)[0])
        known[row] = change(digits.known[row])
        planted.append(OddDigit(row, f"this {figure} {what}"))
    return known, planted


def _typical(digits: Digits, figure: int, count: int) -> Pixels:
    """The rows of a figure that are nearest to its mean."""
    rows = np.flatnonzero(digits.figures == figure)
    away = np.square(digits.known[rows] - digits.known[rows].mean(0)).sum((1, 2))
    chosen: Pixels = rows[np.argsort(away, kind="stable")[:count]]
    return chosen


# ---- find the odd ones


def find_odd_digits(digits: Digits, places: Places) -> Row:
    """A detector fitted on the digits, and where the planted ones stand among all; the oddest for the sheet."""
    from isthmus import AnomalyDetector, Autoencoder, Training
    from isthmus.likelihoods import Normal

    known, planted = plant(digits)
    heading(4, "Pictures: find the odd ones")
    say(
        f"{len(digits.known) + len(digits.new):,} handwritten digits of 8 x 8 pixels (Alpaydin and Kaynak 1998, "
        f"bundled with scikit-learn). We fit on the first {len(known):,} and keep {len(digits.new)} as new ones. Into "
        f"the first we plant {len(planted)} odd ones, made from the most ordinary ones:"
    )
    for one in planted:
        output.write(f"  digit {one.row:>4}: {one.what}\n")
    model = Autoencoder(
        CODE,
        likelihood=Normal(scale="learned", minimum=0.1),
        training=Training(max_epochs=40, batch_size=64, learning_rate=2e-3),
        verbose=verbose(),
    )
    started = time.monotonic()
    detector = AnomalyDetector(model, contamination=0.01, random_state=places.seed).fit(known)
    detector.save(places.of("digits.safetensors"))
    rows = [one.row for one in planted]
    order, ours = _places(-detector.score_samples(known), rows)
    say(f"The {ABREAST} oddest after {time.monotonic() - started:.1f} s of training:")
    captions = ["planted" if row in rows else "" for row in order[:ABREAST]]
    output.write("\n".join(["", *strip(known[order[:ABREAST]], captions), ""]) + "\n")
    _, theirs = _places(_principal_errors(known), rows)
    say(
        f"Of the {len(rows)} planted ones {found_sentence(ours, ABREAST, len(known))} By what {CODE} principal "
        f"components miss, {found_sentence(theirs, ABREAST, len(known))}"
    )
    some = sorted([*rows, *(row for row in range(N_FILES) if row not in rows)][:N_FILES])
    if unless_missing(places, ["digits"], lambda: write_folder(known[some], places.of("digits"))):
        say(f"The folder digits/ holds {len(some)} of them as files, with all planted ones.")
    framed = tuple(place for place, row in enumerate(order[:ACROSS]) if row in rows)
    return Row(f"The {ACROSS} oddest of {len(known):,} digits; orange: planted", known[order[:ACROSS]], framed)


def _places(errors: Pixels, rows: list[int]) -> tuple[list[int], list[int]]:
    """All rows, the oddest first, and the places of some of them, sorted, 1 being the oddest."""
    order = [int(row) for row in np.argsort(-errors, kind="stable")]
    return order, sorted(order.index(row) + 1 for row in rows)


def _principal_errors(pictures: Pixels) -> Pixels:
    from sklearn.decomposition import PCA

    flat = flattened(pictures)
    pca = PCA(CODE, random_state=0).fit(flat)
    errors: Pixels = np.square(flat - pca.inverse_transform(pca.transform(flat))).sum(1)
    return errors


# ---- clean the noisy ones


def clean_digits(digits: Digits, places: Places) -> list[Row]:
    """A denoiser fitted on the known digits, tried on noisy new ones beside two rivals; rows for the sheet."""
    heading(5, "Clean noisy pictures")
    random = np.random.default_rng(places.seed)
    noisy = with_noise(digits.new, random)
    started = time.monotonic()
    denoiser = fit_denoiser(digits, places.seed)
    denoiser.save(places.of("denoiser.safetensors"))
    seconds = time.monotonic() - started
    cleaned, filtered = denoiser.transform(noisy), median(noisy)
    n_components, projected = principal(digits.known, with_noise(digits.known, random), noisy)
    say(
        f"A denoiser, trained on the first {len(digits.known):,} for {seconds:.1f} s, and {len(digits.new)} new digits "
        f"with noise of {100 * SIGMA:.0f} % of the way from black to white:"
    )
    for words, pictures in (("noisy", noisy), ("cleaned", cleaned), ("as they were", digits.new)):
        output.write("\n".join(["", f"  {words}", *strip(pictures[:ABREAST])]) + "\n")
    output.write("\n")
    rivals = (noisy, filtered, projected, cleaned)
    spoiled, by_median, by_components, ours = (f"{decibels(pictures, digits.new):.1f} dB" for pictures in rivals)
    say(
        f"How near they come to what was there before, over all {len(noisy)} (peak signal-to-noise ratio, more is "
        f"better): noisy {spoiled}; after a median filter {by_median}; by {n_components} principal components, the "
        f"best number on training's digits, {by_components}; cleaned by the autoencoder {ours}."
    )
    pairs = (("noisy", noisy), ("cleaned", cleaned))
    unless_missing(
        places,
        ["noisy", "cleaned"],
        lambda: [write_folder(some[:N_FILES], places.of(name)) for name, some in pairs],
    )
    return [
        Row(words, pictures[:ACROSS])
        for words, pictures in (
            (f"Noisy: {spoiled}", noisy),
            (f"Median filter: {by_median}", filtered),
            (f"{n_components} principal components: {by_components}", projected),
            (f"Isthmus: {ours}", cleaned),
            ("As they were", digits.new),
        )
    ]


def fit_denoiser(digits: Digits, seed: int) -> Any:
    """For noise of any strength up to MOST."""
    from isthmus import Autoencoder, Denoiser, Training
    from isthmus.damage import Gaussian
    from isthmus.likelihoods import Normal
    from isthmus.networks import Dense

    model = Autoencoder(
        32,
        network=Dense((512, 256)),
        likelihood=Normal(scale=0.1),
        training=Training(max_epochs=80, batch_size=64, learning_rate=2e-3),
        verbose=verbose(),
    )
    return Denoiser(model, damage=Gaussian((0.0, MOST)), random_state=seed).fit(digits.known)


def with_noise(pictures: Pixels, random: np.random.Generator) -> Pixels:
    """Normal noise, cut off at black and at white as picture files do."""
    spoiled = pictures + 255 * SIGMA * random.normal(size=pictures.shape)
    return np.rint(np.clip(spoiled, 0, 255)).astype(np.uint8)


def median(noisy: Pixels) -> Pixels:
    """Each pixel as the median of its 3 x 3 neighbourhood."""
    from scipy.ndimage import median_filter

    filtered: Pixels = median_filter(noisy, size=(1, 3, 3))
    return filtered


def principal(clean: Pixels, spoiled: Pixels, noisy: Pixels) -> tuple[int, Pixels]:
    """Projected to as many principal components of clean digits as clean spoiled copies of these best."""
    from sklearn.decomposition import PCA

    def projected(n_components: int, pictures: Pixels) -> Pixels:
        pca = PCA(n_components, random_state=0).fit(flattened(clean))
        values = pca.inverse_transform(pca.transform(flattened(pictures)))
        back: Pixels = np.rint(255 * np.clip(values, 0, 1)).astype(np.uint8)
        return back.reshape(pictures.shape)

    best = max(range(4, 41, 4), key=lambda n_components: decibels(projected(n_components, spoiled), clean))
    return best, projected(best, noisy)


def decibels(pictures: Pixels, truth: Pixels) -> float:
    """Peak signal-to-noise ratio over all pictures together.

    >>> truth = np.zeros((1, 2, 2), dtype=np.uint8)
    >>> decibels(truth + 255, truth), decibels(truth + 51, truth)
    (0.0, 13.9794...)
    """
    return float(-10 * np.log10(np.square((pictures / 255) - (truth / 255)).mean()))


def flattened(pictures: Pixels) -> Pixels:
    """(n, 8, 8) of 0 to 255 as (n, 64) of 0 to 1."""
    return pictures.reshape(len(pictures), -1) / 255


def write_folder(pictures: Pixels, folder: Path) -> Path:
    """As PNG files, by our own data type."""
    from isthmus.data import Images

    Images.write(pictures, folder)
    return folder
