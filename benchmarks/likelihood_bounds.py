"""Log-likelihood of binarised MNIST under a variational and an importance-weighted autoencoder.

    python3 dev.py bench likelihood_bounds

Burda, Grosse and Salakhutdinov 2016 (arXiv 1509.00519), one stochastic layer: 784-200-200-50 and back, tanh, Bernoulli.
Pixels are drawn anew in every epoch, one with the probability that its grey says. Theirs went through the data 3,280
times in steps of 20 pictures; ours goes as often as fits, in steps of 100, with Adam and a rate that falls along half a
cosine. Reported, in nats per picture: minus the logarithm of the mean of the importance weights of many codes drawn
from the encoder, over the 10,000 test pictures, drawn once; with few codes it errs upwards. Also the negative bound
with one code, and the rate. MNIST is looked for in $ISTHMUS_DATA, or in ../shared/data.
"""

from __future__ import annotations

import argparse
import math
import platform
import time
import warnings

import torch
from _digits import pictures
from rich.console import Console
from rich.table import Table
from torch import Tensor

import isthmus
from isthmus.module import AutoencoderModule, Variants
from isthmus.networks import Dense
from isthmus.spec import SampleSpec
from isthmus.training import Batch, Training, WarmUp, train
from isthmus.variants import ImportanceWeighted, Variational

PUBLISHED = {1: "86.76", 5: "85.54", 50: "84.78"}


def binarised(grey: Tensor, generator: torch.Generator) -> Tensor:
    """Each pixel is one with the probability that its grey says."""
    return (torch.rand(grey.shape, generator=generator) < grey).float()


def fitted(grey: Tensor, variants: Variants, epochs: int, rate: float, seed: int) -> tuple[AutoencoderModule, float]:
    """The trained module, and the seconds that it took."""
    torch.manual_seed(seed)
    network = Dense(widths=(200, 200), activation="tanh")
    module = AutoencoderModule(SampleSpec((784,)), 50, network, "bernoulli", variants)
    with torch.no_grad():  # the decoder begins at the average picture
        mean = grey.mean(0).clamp(1e-3, 1 - 1e-3)
        module.network.decoder.layers[-1].linear.bias.copy_(torch.logit(mean))
    settings = Training(max_epochs=epochs, batch_size=100, learning_rate=rate, validation=0.0)
    draws = torch.Generator().manual_seed(seed)
    started = time.perf_counter()
    train(module, lambda rows: Batch(binarised(grey[torch.as_tensor(rows)], draws)), len(grey), settings, seed=seed)
    return module, time.perf_counter() - started


@torch.inference_mode()
def measured(module: AutoencoderModule, x: Tensor, codes: int) -> tuple[float, float, float]:
    """Minus the log-likelihood by this many codes each, minus the bound by one, and the rate; in nats per picture."""
    judged = AutoencoderModule(module.spec, 50, module.architecture, module.likelihood, "variational").eval()
    judged.load_state_dict(module.state_dict(), strict=False)
    many = AutoencoderModule(
        module.spec, 50, module.architecture, module.likelihood, ["variational", ImportanceWeighted(samples=50)]
    ).eval()
    many.load_state_dict(module.state_dict(), strict=False)
    generator = torch.Generator().manual_seed(0)
    nll, bound, rate = 0.0, 0.0, 0.0
    for part in x.split(200):
        once = judged.reconstruct(part, generator=generator)
        bound, rate = bound + float(once.bound.sum()), rate + float(once.rate.sum())
        log_weights = torch.cat([many.reconstruct(part, generator=generator).log_weights for _ in range(codes // 50)])
        nll += float((math.log(len(log_weights)) - log_weights.logsumexp(0)).sum())
    return nll / len(x), bound / len(x), rate / len(x)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=100, help="of the variational one")
    parser.add_argument("--samples", type=int, default=5, help="codes averaged in the importance-weighted one")
    parser.add_argument("--fewer", type=int, default=40, help="epochs of the importance-weighted one")
    parser.add_argument("--codes", type=int, default=500, help="codes per test picture")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    grey, test = (torch.from_numpy(pictures(part)).flatten(1) for part in ("train", "t10k"))
    x = binarised(test, torch.Generator().manual_seed(1))
    table = Table(title=f"isthmus {isthmus.__version__}, Python {platform.python_version()}, seed {given.seed}")
    for name in ("model", "epochs", f"-log p, {given.codes} codes", "published", "-bound, 1 code", "rate", "wall s"):
        table.add_column(name, justify="left" if name == "model" else "right")
    vae = Variational(beta=WarmUp(1.0, epochs=given.epochs / 10))
    weighted = [Variational(), ImportanceWeighted(samples=given.samples)]
    for name, variants, epochs, k in (
        ("variational", vae, given.epochs, 1),
        (f"importance_weighted, {given.samples} codes", weighted, given.fewer, given.samples),
    ):
        module, seconds = fitted(grey, variants, epochs, 2e-3, given.seed)
        nll, bound, rate = (f"{one:.2f}" for one in measured(module, x, given.codes))
        table.add_row(name, str(epochs), nll, PUBLISHED.get(k, ""), bound, rate, f"{seconds:.0f}")
        Console(width=110, stderr=True).print(name, epochs, nll, bound, rate, f"{seconds:.0f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
