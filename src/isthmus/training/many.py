"""Many models trained at once: small dense ones together in batched products, the others one after another."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

from isthmus.errors import SettingError
from isthmus.likelihoods.base import FromCallable
from isthmus.module import AutoencoderModule
from isthmus.training import parallel
from isthmus.training.dense_step import DenseStep
from isthmus.training.devices import SMALL_STEP, products
from isthmus.training.history import History
from isthmus.training.loop import Batches, train
from isthmus.training.many_run import ManyRun, Member
from isthmus.training.many_step import linears
from isthmus.training.optimizers import Adam, AdamW
from isthmus.training.rows import split
from isthmus.training.settings import Training
from isthmus.training.warm_up import rising_of
from isthmus.training.watch import Watcher
from isthmus.variants import Denoising, L1Sparse

#: How many models go together at most: memory grows with them, and the time for each hardly falls any more.
MOST = 32
#: How much more may be computed for a model, so that it goes together with wider ones.
FILLING = 1.5


def train_many(
    modules: Sequence[AutoencoderModule],
    batches: Batches,
    n_samples: int,
    trainings: Training | Sequence[Training] | None = None,
    *,
    seeds: Sequence[int],
    watchers: Callable[[], Sequence[Watcher]] = tuple,
    bf16: bool = False,
    steady: bool = True,
) -> list[History]:
    """Train modules in place on the same samples and say what happened: for each what `train` does, sooner for many.

    Small dense autoencoders take their steps together, those of different widths too: narrower layers are filled up
    with zeros, which stay zero. Each has its own seed, order, noise, learning rate, epochs, history and end. Its result
    is that of `train` within rounding. They must share likelihood, activations, depth, batch size, held-out share and
    optimizer (adam, adamw), may be denoising or have an L1 penalty on the code, and have neither normalisation,
    dropout, tied weights, gaps, clipping, averages, pre-training, callbacks nor a checkpoint. What differs is trained
    apart, by `train`.

    Parameters
    ----------
    modules : what to train.
    batches : gives the rows asked for as a `Batch`.
    n_samples : how many rows there are.
    trainings : the settings of each, or of all; None for the defaults.
    seeds : of each, decides the split, the order and all randomness of the passes.
    watchers : makes those who look on, anew for each run; of models together they are told the mean of the losses.
    bf16 : whether products are taken in bfloat16; such models are trained one after another.
    steady : for models that are trained alone, as for `train`; those together have one thread.

    Raises
    ------
    SettingError : for a setting out of range, or when not every module has its seed and settings.
    TrainingError : when a loss is not finite and there are no better weights to go back to; it names the model.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> from isthmus.training.batch import Batch
    >>> x = torch.randn(64, 1) @ torch.ones(1, 4)
    >>> modules = [AutoencoderModule(SampleSpec((4,)), n_components=size) for size in (1, 2)]
    >>> histories = train_many(modules, lambda rows: Batch(x[torch.as_tensor(rows)]), 64, seeds=[0, 1])
    >>> [history["loss"][-1] < history["loss"][0] for history in histories]
    [True, True]
    """
    settings = [trainings or Training()] * len(modules) if not isinstance(trainings, Sequence) else list(trainings)
    if not len(modules) == len(settings) == len(seeds):
        numbers = f"{len(modules)} modules, {len(settings)} settings and {len(seeds)} seeds"
        raise SettingError(f"there are {numbers}; give one seed for each module, and one Training for each or for all.")
    for training in settings:
        training.check()
    histories: dict[int, History] = {}
    apart = bf16 or hasattr(batches, "blocks")  # rows on disk have an order of their own
    for places in companies(modules, settings, n_samples, apart):
        if len(places) == 1:
            place = places[0]
            alone = (modules[place], batches, n_samples, settings[place])
            histories[place] = train(*alone, seed=seeds[place], watchers=watchers(), bf16=bf16, steady=steady)
            continue
        members = [Member(place, modules[place], settings[place], seeds[place], n_samples) for place in places]
        ManyRun(members, batches, n_samples, watchers()).go()
        histories |= {member.place: member.history for member in members}
    return [histories[place] for place in range(len(modules))]


# -- who goes with whom


def companies(
    modules: Sequence[AutoencoderModule], trainings: Sequence[Training], n_samples: int, apart: bool = False
) -> list[list[int]]:
    """The places of the modules that are trained together; those that must go alone, or all `apart`, are lists of one.

    >>> from isthmus.networks import Dense
    >>> from isthmus.spec import SampleSpec
    >>> networks = Dense((8,)), Dense((8, 8)), Dense((7,))
    >>> companies([AutoencoderModule(SampleSpec((4,)), 2, network) for network in networks], 3 * [Training()], 100)
    [[0, 2], [1]]
    """
    kinds: dict[Any, list[int]] = {}
    for place, (module, training) in enumerate(zip(modules, trainings, strict=True)):
        kind = None if apart else _kind(module, training, n_samples)
        kinds.setdefault(("alone", place) if kind is None else kind, []).append(place)
    return [company for places in kinds.values() for company in _of_like_size(places, modules)]


def _kind(module: AutoencoderModule, training: Training, n_samples: int) -> Any:
    """What models must share to go together; None for one that must go alone."""
    optimizer: Any = training.resolved_optimizer()
    if not (DenseStep.fits(module, training) and type(optimizer) in (Adam, AdamW) and optimizer.epsilon > 0):
        return None
    if training.callbacks or any(
        wanted is not None for wanted in (training.clip, training.checkpoint, training.ema, training.pretrain)
    ):
        return None
    others = any(type(variant) not in (Denoising, L1Sparse) for variant in module.variants)
    others = others or bool(rising_of(module, training))
    if others or module.spec.gaps or isinstance(module.likelihood, FromCallable):
        return None
    chain = linears(module)
    n_rows = len(split(n_samples, training.validation, 0)[0])
    size = training.rows_per_step(n_rows, module.spec.shape)
    if chain is None or products(module, module.spec.shape) * size >= SMALL_STEP:  # large products gain nothing
        return None
    if parallel.joined(chain[0][0].weight.device).several:  # which only `train` knows how to do
        return None
    exact = any(curve is not None and not curve.keeps_zero for _, curve in chain)
    shapes = [tuple(linear.weight.shape) for linear, _ in chain] if exact else [len(chain)]
    network = cast(Any, module.network)
    depth, layers = len(network.encoder.layers), [*network.encoder.layers, *network.decoder.layers]
    words = [str(layer.after) for layer in layers] + [
        f"{type(part)}{part!r}" for part in (module.likelihood, optimizer)
    ]
    return (module.spec, chain[0][0].weight.dtype, tuple(shapes), depth, tuple(words), size, n_rows)


def _of_like_size(places: Sequence[int], modules: Sequence[AutoencoderModule]) -> Iterator[list[int]]:
    """Cut into companies for none of whose members filling up is too dear."""
    if len(places) == 1:
        yield list(places)
        return
    shapes = {place: [tuple(one.shape) for one in modules[place].parameters()] for place in places}
    company: list[int] = []
    largest: list[tuple[int, ...]] = []
    for place in sorted(places, key=lambda place: (-_size(shapes[place]), place)):
        filled = [tuple(map(max, *pair)) for pair in zip(largest, shapes[place], strict=False)] or shapes[place]
        if company and (len(company) == MOST or _size(filled) > FILLING * _size(shapes[place])):
            yield sorted(company)
            company, filled = [], shapes[place]
        company.append(place)
        largest = filled
    yield sorted(company)


def _size(shapes: Sequence[tuple[int, ...]]) -> int:
    return sum(map(math.prod, shapes))
