"""The demo's last steps: draw digits that nobody wrote, map the real ones, write the report and the sheet."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from isthmus.interfaces import output
from isthmus.interfaces.demo_digits import ABREAST, Digits, flattened
from isthmus.interfaces.demo_pictures import ACROSS, Map, Pixels, Row, scatter, sheet, strip
from isthmus.interfaces.demo_shared import Places, heading, say, unless_missing, verbose

N_DRAWN = 1000
WIDTHS = (512, 256, 128)  # of the hidden layers
NEIGHBOURS, ENOUGH = 10, 9
CODE = 4  # numbers in the code that digits are drawn from
TWO = 2  # numbers in the code of the map


# ---- draw


def draw_digits(digits: Digits, places: Places) -> Row:
    """A variational autoencoder, and how much what it draws looks like digits; some of it for the sheet."""
    heading(6, "Draw new ones")
    started = time.monotonic()
    model = fit_drawing(digits, places.seed)
    model.save(places.of("drawing.safetensors"))
    drawn = model.sample(N_DRAWN, random_state=places.seed + 1)
    say(f"{TWO * ABREAST} of {N_DRAWN:,} drawn by a variational autoencoder after {time.monotonic() - started:.1f} s:")
    for start in (0, ABREAST):
        output.write("\n".join(["", *strip(drawn[start : start + ABREAST])]) + "\n")
    output.write("\n")
    rivals = (drawn, digits.new, normal_law(digits.known, places.seed))
    ours, real, theirs = (100 * clear(digits, pictures) for pictures in rivals)
    near, far = (nearest(digits.known, pictures) for pictures in rivals[:2])
    say(
        f"A digit is clear when {ENOUGH} of the {NEIGHBOURS} real digits most like it show one figure: {ours:.0f} % of "
        f"the drawn ones are, {real:.0f} % of the new real ones, and {theirs:.0f} % of those drawn from a normal law "
        f"fitted on the pixels. They are no copies: from the nearest digit of training they are {near:.2f} away on "
        f"average, new real ones {far:.2f}."
    )
    return Row("Drawn: nobody wrote these", drawn[: 2 * ACROSS])


def fit_drawing(digits: Digits, seed: int) -> Any:
    """The scale of the noise weighs exactness against a code that is easy to draw from."""
    return _variational(CODE, 0.3, digits, seed)


def _variational(size: int, scale: float, digits: Digits, seed: int) -> Any:
    """A variational autoencoder of the known digits, with so many numbers in its code."""
    from isthmus import Autoencoder, Training
    from isthmus.likelihoods import Normal
    from isthmus.networks import Dense

    return Autoencoder(
        size,
        variant="variational",
        network=Dense(WIDTHS),
        likelihood=Normal(scale=scale),
        training=Training(max_epochs=60, batch_size=64, learning_rate=2e-3),
        random_state=seed,
        verbose=verbose(),
    ).fit(digits.known)


def normal_law(pictures: Pixels, seed: int) -> Pixels:
    """Drawn from the normal law with the mean and the covariance of the pixels."""
    flat = flattened(pictures)
    drawn = np.random.default_rng(seed).multivariate_normal(flat.mean(0), np.cov(flat.T), size=N_DRAWN)
    return np.rint(255 * np.clip(drawn, 0, 1)).astype(np.uint8).reshape(-1, *pictures.shape[1:])


def clear(digits: Digits, pictures: Pixels) -> float:
    """The share of pictures of which nearly all of the nearest known digits show one figure."""
    from sklearn.neighbors import KNeighborsClassifier

    judge = KNeighborsClassifier(NEIGHBOURS).fit(flattened(digits.known), digits.figures)
    shares = judge.predict_proba(flattened(pictures)).max(1)
    return float((shares > (ENOUGH - 0.5) / NEIGHBOURS).mean())


def nearest(known: Pixels, pictures: Pixels) -> float:
    """The mean distance to the nearest known digit, where a pixel's way from black to white is 1."""
    from sklearn.neighbors import NearestNeighbors

    distances, _ = NearestNeighbors(n_neighbors=1).fit(flattened(known)).kneighbors(flattened(pictures))
    return float(distances.mean())


# ---- map and report


def map_digits(digits: Digits, places: Places) -> Map:
    """An autoencoder with two numbers in its code, its map of the new digits, and the report about it."""
    heading(7, "Map them")
    started = time.monotonic()
    model = fit_map(digits, places.seed)
    model.save(places.of("map.safetensors"))
    codes = model.transform(digits.new)
    say(
        f"Another one with {TWO} numbers in its code, after {time.monotonic() - started:.1f} s. The {len(codes)} new "
        "digits at the places of their codes, each as the figure that it shows, which nobody told it:"
    )
    output.write("\n".join(["", *scatter(codes, [str(figure) for figure in digits.new_figures]), ""]) + "\n")
    labels = digits.new_figures.tolist()
    ours, theirs = agreement(codes, labels), agreement(_principal_codes(digits), labels)
    say(
        f"The nearest neighbour on the map shows the same figure for {100 * ours:.0f} % of the digits; with two "
        f"principal components it is {100 * theirs:.0f} %."
    )
    path, title = places.of("report.html"), "A map of handwritten digits"
    unless_missing(places, ["report.html"], lambda: model.report(path, digits.new, colour=labels, title=title))
    return Map("Mapped by two numbers each; colours: the figures", digits.new, codes, digits.new_figures)


def fit_map(digits: Digits, seed: int) -> Any:
    """Two numbers; the variational rate spreads them evenly over the map."""
    return _variational(TWO, 0.2, digits, seed)


def _principal_codes(digits: Digits) -> Pixels:
    from sklearn.decomposition import PCA

    codes: Pixels = PCA(TWO, random_state=0).fit(flattened(digits.known)).transform(flattened(digits.new))
    return codes


def agreement(codes: Pixels, labels: Sequence[Any]) -> float:
    """The share of samples whose nearest neighbour has the same label.

    >>> agreement(np.array([[0.0], [0.1], [5.0], [5.2]]), ["a", "a", "b", "a"])
    0.5
    """
    from sklearn.neighbors import NearestNeighbors

    places = NearestNeighbors(n_neighbors=1).fit(codes).kneighbors(return_distance=False)[:, 0]
    same = [labels[place] == label for place, label in zip(places, labels, strict=True)]
    return float(sum(same) / len(labels))


def write_sheet(parts: Sequence[Row | Map], places: Places) -> None:
    """The pictures of all steps as one, by our own data type."""
    from isthmus.data import Images

    Images.write([sheet(parts)], places.of("demo.png"))
