"""A 24-megapixel photo through `isthmus denoise`: time, peak memory, and whether its size comes back.

    python3 dev.py bench large_picture

The network is the Denoiser's own for pictures, trained for a moment: how well it cleans is measured in denoise.py. The
photo is scikit-learn's china.jpg, enlarged, with noise. Needs Pillow.
"""

from __future__ import annotations

import argparse
import platform
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_sample_images

import isthmus
from isthmus import Autoencoder, Denoiser, Training

CLI = "from isthmus.interfaces.cli import main; main()"


def prepare(folder: Path, width: int, height: int) -> None:
    """A model, and a photo of this size."""
    china = load_sample_images().images[0]
    warnings.simplefilter("ignore")
    model = Autoencoder(training=Training(max_epochs=1, batch_size=16))
    Denoiser(model, random_state=0).fit([china]).save(folder / "model.safetensors")
    large = np.asarray(Image.fromarray(china).resize((width, height), Image.Resampling.BICUBIC), np.float32)
    noise = np.random.default_rng(0).normal(size=large.shape).astype(np.float32)
    Image.fromarray(np.clip(large + 20 * noise, 0, 255).astype(np.uint8)).save(folder / "large.png", compress_level=1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="6000x4000", help="width x height in pixels")
    width, height = map(int, parser.parse_args().size.split("x"))
    table = Table(title=f"Isthmus {isthmus.__version__}, Python {platform.python_version()}, {platform.machine()}")
    for name in ("megapixels", "seconds", "peak memory MB", "size of the result"):
        table.add_column(name, justify="right")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # in a process of its own: the largest child counts
        subprocess.run([sys.executable, __file__, "--prepare", name, str(width), str(height)], check=True)
        before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        start = time.perf_counter()
        words = ["denoise", "model.safetensors", "large.png", "-o", "cleaned.png"]
        subprocess.run([sys.executable, "-c", CLI, *words], cwd=folder, check=True)
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        with Image.open(folder / "cleaned.png") as image:
            size = f"{image.width} x {image.height}, {image.mode}"
    least = " at most" if peak <= before else ""
    table.add_row(f"{width * height / 1e6:.0f}", f"{seconds:.0f}", f"{peak / 1024:.0f}{least}", size)
    Console(width=100).print(table)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--prepare"]:
        prepare(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        Image.MAX_IMAGE_PIXELS = None
        main()
