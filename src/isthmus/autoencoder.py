"""Autoencoder: the scikit-learn face of the picture."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, Self

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from isthmus import doctor, fitting, giving
from isthmus.data.base import Data
from isthmus.drawing import draw
from isthmus.errors import DataError, DoctorWarning
from isthmus.estimator import Estimator
from isthmus.likelihoods.base import Likelihood
from isthmus.module import AutoencoderModule, Variants, layers, resolve_network
from isthmus.networks.base import Network
from isthmus.part import from_json, to_json
from isthmus.reading import Reading, read_codes
from isthmus.saving import Packed, check_shapes, put, take
from isthmus.storage import tensor_text, text_tensor
from isthmus.training import Batch, History, Training
from isthmus.training.applying import Array, apply
from isthmus.training.devices import own_randomness, reseed, resolve_device
from isthmus.training.plain import outline
from isthmus.training.rows import InBlocks


class Autoencoder(Reading, ClassNamePrefixFeaturesOutMixin, TransformerMixin, Estimator):
    """Learns a short code for each sample, and the way back.

        corrupt → encoder → bottleneck → decoder → likelihood

    A reduction like PCA, without PCA's straight lines: `transform` gives codes, `inverse_transform` samples,
    `reconstruct` both ways at once. Data may be arrays, sparse matrices, data frames with words and gaps, or files.

    Parameters
    ----------
    n_components : how many numbers a code has; "auto" takes as many as principal components explain 90 % of the
        variance, at most half the columns, and says so in the log.
    variant : idea or ideas added to the plain autoencoder: names, Variant objects, or a list of them.
    network : layers: a name, a Network object, a pair (encoder, decoder) of torch modules, or "auto" by data type.
    likelihood : law of the output: a name, a Likelihood object, a function (output, target) -> one number per element,
        or "auto" by the kind of the data.
    data_type : a name, a Data object, or "auto", which asks each type whether it accepts the data.
    training : a Training object, or "auto".
    precision : of training: "auto" and "float32", "float64", or "bf16": products in bfloat16 with weights in float32,
        faster where the processor knows it. Outside training float64 data are computed in float64, others in float32.
    device : "auto" (a GPU where there is one), "cpu", "cuda", ...
    random_state : an int for the same result every time (same machine, threads and versions).
    verbose : True shows progress and losses, in a notebook as curves; False nothing; None shows them in a terminal or
        notebook when training takes a while.

    Attributes
    ----------
    module_ : the trained torch module; encoder_, decoder_ : its halves, sharing the weights.
    data_ : the data type with the schema it learned; history_ : every term of the loss, epoch by epoch.
    doctor_ : list of findings; n_components_ : numbers in a code; n_samples_ : samples trained on.
    n_features_in_ : columns seen in fit.

    Raises
    ------
    SettingError, DataError, TrainingError : in one sentence each, when fitting.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from isthmus import Autoencoder
    >>> X = load_iris().data
    >>> model = Autoencoder(n_components=2, random_state=0).fit(X)
    >>> model.transform(X).shape, model.reconstruct(X).shape
    ((150, 2), (150, 4))
    """

    module_: AutoencoderModule
    history_: History

    def __init__(
        self,
        n_components: int | Literal["auto"] = "auto",
        *,
        variant: Variants = (),
        network: str | Network | tuple[nn.Module, nn.Module] | nn.Module = "auto",
        likelihood: str | Likelihood | Callable[[Tensor, Tensor], Tensor] = "auto",
        data_type: str | Data = "auto",
        training: str | Training = "auto",
        precision: str = "auto",
        device: str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | None = None,
    ):
        self.n_components = n_components
        self.variant = variant
        self.network = network
        self.likelihood = likelihood
        self.data_type = data_type
        self.training = training
        self.precision = precision
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    # -- learning

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on X. y is ignored, as pipelines expect."""
        return self.fit_rows(X)

    def fit_rows(self, X: Any, rows: Sequence[int] | np.ndarray | None = None, target: Any = None) -> Self:
        """Train on some rows of X (None: all), against `target` where clean counterparts are given."""
        run = self._start(*self._batches(X, rows, target))
        return self._end(run, run.train(fitting.watchers(self.verbose)))

    def build(self, X: Any) -> AutoencoderModule:
        """The untrained module that `fit` would train on X, for a look at its layers and sizes; learns only `data_`."""
        batches, n_rows = self._batches(X, None, None)
        return self._build(self._code_size(batches(fitting.some_rows(n_rows, self.data_.spec))))

    def _batches(self, X: Any, rows: Any, target: Any) -> tuple[Callable[[np.ndarray], Batch], int]:
        """Where training gets its batches from, and how many rows there are."""
        self.data_ = data = fitting.data_type(self.data_type, X, type(self).__name__).fit(X)
        whole, dtype = data.open(X), fitting.number_type(self.precision)
        self.n_samples_ = len(whole) if rows is None else len(rows)
        samples, chosen = data.for_training(whole, rows)
        counterparts = None
        if target is not None:
            clean = data.open(target)
            data.check_pairs(whole, clean)
            counterparts = data.for_training(clean, rows)[0]

        def batches(index: np.ndarray) -> Batch:
            batch = data.batch(samples, chosen[index], dtype)
            if counterparts is None:
                return batch
            return Batch(batch.x, batch.weight, data.batch(counterparts, chosen[index], dtype).x)

        blocks = getattr(samples, "blocks", None)
        return batches if blocks is None else InBlocks(batches, blocks), len(chosen)

    def _start(self, batches: Callable[[np.ndarray], Batch], n_rows: int) -> fitting.Run:
        """All that training needs."""
        settings = fitting.training_settings(self.training)
        some = batches(fitting.some_rows(n_rows, self.data_.spec))
        self.n_components_ = self._code_size(some)
        seed = int(fitting.random_numbers(self.random_state).randint(2**31))
        device = resolve_device(self.device)
        with own_randomness(device):
            reseed(device, seed)
            module = self._build(self.n_components_).to(device, fitting.number_type(self.precision))
        self.doctor_ = self._say(doctor.before_training(self.data_, some, module, n_rows, settings))
        how = {"bf16": self.precision == "bf16", "steady": isinstance(self.random_state, (int, np.integer))}
        return fitting.Run(module, batches, n_rows, settings, seed, some, **how)

    def _end(self, run: fitting.Run, history: History) -> Self:
        """Take over what training made."""
        self.module_, self.history_ = run.module, history
        self.doctor_ = self.doctor_ + self._say(doctor.after_training(run.module, run.some, history))
        self.code_density_ = fitting.code_density(run.module, run.some)
        return self

    def _say(self, findings: list[doctor.Finding]) -> list[doctor.Finding]:
        for finding in findings:
            warnings.warn(str(finding), DoctorWarning, stacklevel=5)
        return findings

    def _code_size(self, some: Batch) -> int:
        if (module := fitting.own_module(self.network)) is not None:
            with torch.inference_mode():
                return int(module.encode(some.x[:2]).flatten(1).shape[1])
        fixed = self._network().code_size(self.data_.spec) if self.n_components == "auto" else None
        return fitting.code_size(self.n_components, some.x, self.data_.spec) if fixed is None else fixed

    def _network(self) -> Network:
        return resolve_network(self.data_.network() if self.network == "auto" else self.network)  # type: ignore[arg-type]

    def _build(self, n_components: int) -> AutoencoderModule:
        if (module := fitting.own_module(self.network)) is not None:
            return module
        likelihood = self.data_.likelihood() if self.likelihood == "auto" else self.likelihood
        return AutoencoderModule(self.data_.spec, n_components, self._network(), likelihood, self.variant)

    # -- using what was learned

    @property
    def encoder_(self) -> nn.Module:
        """The trained encoder as a torch module of its own: samples to codes; it shares the weights."""
        check_is_fitted(self)
        return fitting.Half(self.module_, lambda module, x: module.encode(x))

    @property
    def decoder_(self) -> nn.Module:
        """The trained decoder as a torch module of its own: codes to expected samples; it shares the weights."""
        check_is_fitted(self)
        return fitting.Half(self.module_, lambda module, code: module.decode(code).mean)

    @property
    def _n_features_out(self) -> int:
        return self.code_density_.size

    def _learned_data(self) -> Data | None:
        return self.data_ if "module_" in vars(self) else None

    def transform(self, X: Any) -> Array:
        """The code of each sample, shape (n_samples, n_components_); a grid of codes is laid flat."""
        return self.read(X, read_codes)

    def reconstruct(self, X: Any) -> Any:
        """What comes out for each sample: the same type of data as went in."""
        check_is_fitted(self)
        dtype = self.data_.number_type(X)
        return giving.give(self.as_type(dtype), self.data_, self.data_.open(X), dtype, verbose=self.verbose)

    def inverse_transform(self, X: Any) -> Any:
        """The samples that codes as `transform` gives them stand for, as the type of data fitted on."""
        check_is_fitted(self)
        codes = np.asarray(X)
        codes = codes if codes.dtype in (np.float32, np.float64) else codes.astype(np.float64)
        if codes.ndim != 2 or codes.shape[1] != self.code_density_.size:
            raise DataError(f"codes have shape {codes.shape}; this model's are (n_samples, {self.code_density_.size}).")
        codes = codes.reshape(len(codes), *self.code_density_.shape)
        module = self.as_type(torch.from_numpy(codes[:1]).dtype)
        batches = lambda rows: Batch(torch.tensor(codes[rows]))  # noqa: E731
        means = apply(module, batches, len(codes), lambda batch: module.decode(batch.x).mean, self.data_.spec.size)
        return self.data_.from_tensor(torch.from_numpy(means))

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`; what GridSearchCV maximises."""
        return float(np.mean(self.score_samples(X)))

    def sample(self, n_samples: int = 1, random_state: int | np.random.RandomState | None = None) -> Any:
        """New samples, of the type of data fitted on.

        Codes are drawn from the prior where a variant has one, else from a normal law fitted on the training codes.
        """
        check_is_fitted(self)
        fitting.refuse_drawing(self.module_)
        random = fitting.random_numbers(self.random_state if random_state is None else random_state)
        generator = torch.Generator().manual_seed(int(random.randint(2**31)))
        module = self.as_type(torch.float64, "cpu")
        with torch.inference_mode():
            own = isinstance(module, AutoencoderModule)
            codes = module.draw_codes((n_samples, *self.code_density_.shape), generator) if own else None
            if codes is None:
                codes = self.code_density_.draw(n_samples, generator)
            return self.data_.from_tensor(draw(module.decode(codes), self.data_.spec, generator))

    def summary(self) -> str:
        """The layers with their shapes and parameters, as text."""
        check_is_fitted(self)
        own = isinstance(self.module_, AutoencoderModule)
        return self.module_.summary() if own else layers(self.module_, self.data_.spec)

    def as_type(self, dtype: torch.dtype, device: str | None = None) -> AutoencoderModule:
        """The trained module, in a copy where it must change its number type or device."""
        parameter = next(self.module_.parameters())
        if parameter.dtype == dtype and device in (None, parameter.device.type):
            return self.module_
        return copy.deepcopy(self.module_).to(device or parameter.device, dtype)

    def count(self, X: Any) -> int:
        """How many samples X holds."""
        return len(fitting.data_type(self.data_type, X, type(self).__name__).fit(X).open(X))

    # -- scikit-learn and files

    def set_params(self, **params: Any) -> Self:
        """Change settings; `variant__weight` reaches into a part, which may be given by its name."""
        for name in params:
            first, deeper, _ = name.partition("__")
            if deeper and isinstance(value := getattr(self, first, None), str):
                setattr(self, first, fitting.part_behind(first, value))
        super().set_params(**params)
        return self

    def _pack(self) -> Packed:
        schema, data_tensors = self.data_.state()
        fitted = {
            "data": to_json(self.data_),
            "schema": schema,
            "n_components": self.n_components_,
            "n_samples": self.n_samples_,
            "history": self.history_.outline(),
            "doctor": [finding.to_json() for finding in self.doctor_],
            "outline": outline(self.module_),
        }
        tensors = put(dict(self.module_.state_dict()), "module") | put(data_tensors, "data")
        tensors["history"] = text_tensor([json.dumps(self.history_.to_json())])
        tensors["codes.mean"] = torch.from_numpy(self.code_density_.mean)
        tensors["codes.covariance"] = torch.from_numpy(self.code_density_.spread)
        return fitted, tensors

    def _unpack(self, fitted: dict[str, Any], tensors: dict[str, Tensor], parts: Iterable[object]) -> None:
        self.data_ = from_json(fitted["data"], parts)
        self.data_.restore(fitted["schema"], take(tensors, "data"))
        self.data_.owner = type(self).__name__
        self.n_components_, self.n_samples_ = fitted["n_components"], fitted["n_samples"]
        weights = take(tensors, "module")
        with torch.device("meta"):
            check_shapes(self._build(self.n_components_).state_dict(), weights)
        with torch.random.fork_rng(devices=[]):
            module = self._build(self.n_components_)
        kind = next((value.dtype for value in weights.values() if value.is_floating_point()), torch.float32)
        module.to(resolve_device(self.device), kind).load_state_dict(weights)
        self.module_ = module.eval()
        self.history_ = History.from_json(json.loads(tensor_text(tensors["history"])[0]))
        self.doctor_ = [doctor.Finding(**finding) for finding in fitted["doctor"]]
        self.code_density_ = fitting.restored_density(module, self.data_.spec, take(tensors, "codes"))
