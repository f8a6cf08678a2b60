from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
import polars as pl
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from isthmus import fitting
from isthmus.autoencoder import Autoencoder
from isthmus.data import Tables
from isthmus.densities.base import Density, Law
from isthmus.drawing import draw
from isthmus.errors import DataError, ModelFileError, SettingError
from isthmus.likelihoods import Mixed, Normal
from isthmus.module import resolve_network, resolve_variants
from isthmus.part import resolve
from isthmus.saving import Packed, put, take
from isthmus.tasks._labels import Label, labels_of, places_of
from isthmus.tasks._marginals import Marginals
from isthmus.tasks._paths import spherical, straight
from isthmus.tasks.base import Answer, Plan, Task
from isthmus.words import counted

MOST_NUMBERS = 4096  # of a code that a density is fitted on
CHUNK = 1024  # samples decoded at a time
MOST_ROWS, OWN = 100_000, 20_000  # whose quantiles are taken: real rows at most, and rows that the model draws
SHOWN = 10
PATHS = {"straight": straight, "spherical": spherical}


class Synthesizer(Task):
    """Draws new samples like those it was fitted on: rows, pictures, of one class if you like; and fades between two.

        DENSITY OF CODES → decoder → likelihood → a draw

    An autoencoder learns codes, then a density learns the law of these codes; what is drawn from it is decoded. With
    labels there is a density for each class, so that samples of one class can be drawn; a class of one sample borrows
    the one that is nearest. New rows resemble old ones;
    nothing here promises that they give nobody away: `evaluation.copying` looks whether they are copies.

    Dai & Wipf 2019, "Diagnosing and Enhancing VAE Models"; Ghosh et al. 2020, "From Variational to Deterministic
    Autoencoders".

    Parameters
    ----------
    autoencoder : the autoencoder to train, in a copy; None takes a plain one. Where its likelihood is "auto", for
        tables it is one that also learns how much each number scatters around what its code says.
    marginals : whether each number of a table takes the distribution of values that it had: its range, its ties, its
        tails. The file then holds a thousand quantiles of each, the smallest and the largest value among them.
    density : the law of the codes: mixture, second_stage, or a Density object; "prior" draws from the prior that the
        autoencoder was trained with (variant variational); "auto" is mixture.
    random_state : an int for the same result every time; None leaves it to the autoencoder.

    Attributes
    ----------
    autoencoder_ : the trained autoencoder; classes_ : the labels, none where there were none;
    shares_ : how frequent each is.

    Raises
    ------
    SettingError : for "prior" where the autoencoder has none, or with labels; for an autoencoder with skips.
    DataError : for labels that do not fit the samples.

    Examples
    --------
    >>> import polars as pl
    >>> from isthmus import Synthesizer
    >>> height = np.random.default_rng(0).normal(170, 8, size=600)
    >>> table = pl.DataFrame({"height": height, "weight": 0.9 * height - 90})
    >>> new = Synthesizer(random_state=0).fit(table).sample(400)
    >>> new.columns, bool(np.corrcoef(new["height"], new["weight"])[0, 1] > 0.9)
    (['height', 'weight'], True)
    """

    verbs = ("sample",)
    gives_samples: ClassVar[bool] = True
    draws: ClassVar[bool] = True

    def __init__(
        self,
        autoencoder: Autoencoder | None = None,
        *,
        density: Literal["auto", "prior"] | str | Density = "auto",
        marginals: bool = True,
        random_state: int | np.random.RandomState | None = None,
    ):
        self.autoencoder = autoencoder
        self.density = density
        self.marginals = marginals
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> Self:
        """Train on X, then learn the law of its codes, of each class apart where y gives a label for each sample."""
        plan = self._plan(X)
        labels = None if y is None else labels_of(y, plan.autoencoder.count(X))
        if labels is not None and self._density is None:
            raise SettingError("density is 'prior', which knows no classes; leave y out, or take density='mixture'.")
        plan.autoencoder.fit_rows(X, plan.rows)
        return self._conclude(X, plan, labels)

    def prepared(self, X: Any, y: Any = None) -> Autoencoder:
        model = self._fresh()
        data = fitting.data_type(model.data_type, X, type(self).__name__)
        if isinstance(model.likelihood, str) and model.likelihood == "auto" and isinstance(data, Tables):
            model.likelihood = Mixed(numeric=Normal(scale="learned", minimum=0.05))
        if self.random_state is not None:
            model.set_params(random_state=self.random_state)
        return model

    def _plan(self, X: Any) -> Plan:
        model = self.prepared(X)
        if model.network != "auto" and fitting.own_module(model.network) is None:
            fitting.refuse_skips(resolve_network(model.network))  # type: ignore[arg-type]
        drawn = any(variant.changes("draw_codes") for variant in resolve_variants(model.variant))
        if self._density is None and not drawn:
            raise SettingError(
                "density is 'prior', and this autoencoder has none; give one with variant='variational', or take "
                "density='mixture'."
            )
        return Plan(model)

    def _conclude(self, X: Any, plan: Plan, labels: list[Label] | None = None) -> Self:
        self.autoencoder_ = plan.autoencoder
        self.autoencoder_.data_.owner = type(self).__name__
        self.classes_ = sorted(set(labels or ()), key=lambda label: (isinstance(label, str), label))
        counts = Counter(labels)
        self.shares_ = np.array([counts[label] / counts.total() for label in self.classes_] or [1.0])
        density = self._density
        self._laws = [] if density is None else self._fitted_laws(X, density, labels)
        tabular = isinstance(self.autoencoder_.data_, Tables)
        self._marginals = self._fitted_marginals(X) if self.marginals and tabular else None
        return self

    def _fitted_laws(self, X: Any, density: Density, labels: list[Label] | None) -> list[Law]:
        """The law of all codes, or of those of each class."""
        codes = torch.from_numpy(self.autoencoder_.transform(X)).double()
        if codes.shape[1] > MOST_NUMBERS:
            raise SettingError(
                f"codes have {codes.shape[1]:,} numbers, and a density takes at most {MOST_NUMBERS:,}; fit an "
                "autoencoder with a smaller code, such as network=Conv(code='dense')."
            )
        generator, laws = self._generator(self.random_state), []
        for label in self.classes_ or [""]:
            mine = codes if labels is None else codes[[place for place, one in enumerate(labels) if one == label]]
            if len(mine) == 1:  # no law can be seen in one
                mine = codes[torch.cdist(mine, codes)[0].argsort()[:2]]
            laws.append(density.fit(mine, generator))
        return laws

    def _fitted_marginals(self, X: Any) -> Marginals | None:
        """How the numbers that this model draws are taken to those that there were."""
        data = self.autoencoder_.data_
        elements = data.spec.elements("numeric").tolist()
        if not elements:
            return None
        samples = data.open(X)
        rows = np.unique(np.linspace(0, len(samples) - 1, min(len(samples), MOST_ROWS)).astype(np.int64))
        batch = data.batch(samples, rows, torch.float64)
        generator = self._generator(self.random_state)
        drawn = self._tensors(self._classes(OWN, None, generator), generator)
        return Marginals.of(elements, drawn, batch.x, batch.weight)

    @property
    def _density(self) -> Density | None:
        """The density to fit; None for the autoencoder's own prior."""
        if isinstance(self.density, str) and self.density == "prior":
            return None
        word = isinstance(self.density, str) and self.density == "auto"
        return resolve("densities", "mixture" if word else self.density, Density)

    def _generator(self, random_state: object) -> torch.Generator:
        given = self.autoencoder_.random_state if random_state is None else random_state
        return torch.Generator().manual_seed(int(fitting.random_numbers(given).randint(2**31)))

    # -- drawing

    def sample(
        self,
        n_samples: int = 1,
        y: str | int | float | Sequence[Label] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """New samples, of the type of data fitted on.

        Parameters
        ----------
        n_samples : how many, at least 1.
        y : the class to draw from, or one for each sample; None draws classes as often as they were.
        random_state : an int for the same samples every time; None takes the model's own.
        """
        return self._drawn(n_samples, y, random_state)[0]

    def answer(
        self,
        X: Any = 10,
        y: str | int | float | Sequence[Label] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> Answer:
        """New samples, and of which class each is.

        Parameters
        ----------
        X : how many.
        y, random_state : as for `sample`.
        """
        samples, classes = self._drawn(X, y, random_state)
        table = pl.DataFrame({"row": np.arange(int(X))})
        if self.classes_:
            table = table.with_columns(pl.Series("class", [str(self.classes_[place]) for place in classes]))
        unit = self.autoencoder_.data_.unit
        return Answer(table, f"Drew {counted(int(X), unit)}.", table[:SHOWN], samples, unit)

    def _drawn(self, n_samples: Any, y: Any, random_state: Any) -> tuple[Any, npt.NDArray[np.int64]]:
        """The samples, and the place of the class of each."""
        check_is_fitted(self)
        if isinstance(n_samples, bool) or not isinstance(n_samples, (int, np.integer)) or n_samples < 1:
            raise SettingError(f"n_samples is {n_samples!r}; it must be a whole number of at least 1.")
        generator = self._generator(self.random_state if random_state is None else random_state)
        classes = self._classes(int(n_samples), y, generator)
        drawn = self._tensors(classes, generator)
        if self._marginals is not None:
            drawn = self._marginals(drawn)
        return self.autoencoder_.data_.from_tensor(drawn), classes

    def _tensors(self, classes: npt.NDArray[np.int64], generator: torch.Generator) -> Tensor:
        """What the model draws of these classes, as tensors."""
        model, shape = self.autoencoder_, self.autoencoder_.code_density_.shape
        module = model.as_type(torch.float64, "cpu")
        with torch.inference_mode():
            if self._laws:
                codes = torch.empty((len(classes), model.code_density_.size), dtype=torch.float64)
                for place in np.unique(classes):
                    rows = torch.from_numpy(classes == place)
                    codes[rows] = self._laws[place].sample(int(rows.sum()), generator)
                codes = codes.reshape(-1, *shape)
            else:
                codes = module.draw_codes((len(classes), *shape), generator)  # type: ignore[assignment]
            drawn = [draw(module.decode(some), model.data_.spec, generator) for some in codes.split(CHUNK)]
        return torch.cat(drawn)

    def _classes(self, n_samples: int, y: Any, generator: torch.Generator) -> npt.NDArray[np.int64]:
        if y is None and not self.classes_:
            return np.zeros(n_samples, dtype=np.int64)
        if y is None:
            shares = torch.from_numpy(self.shares_)
            return torch.multinomial(shares, n_samples, replacement=True, generator=generator).numpy()
        return np.array(places_of(y, n_samples, self.classes_))

    # -- between two

    def interpolate(self, a: Any, b: Any, steps: int = 10, path: Literal["straight", "spherical"] = "straight") -> Any:
        """What lies between two samples, both ends among it, of the type of data fitted on.

        Parameters
        ----------
        a, b : the ends: data that hold one sample each, such as X[:1], or codes as rows of `autoencoder_.transform`.
        steps : how many samples to give, at least 2.
        path : "straight" through the codes, or "spherical", in equal angles around zero: for codes with a normal prior.
        """
        check_is_fitted(self)
        if isinstance(steps, bool) or not isinstance(steps, (int, np.integer)) or steps < 2:
            raise SettingError(f"steps is {steps!r}; it must be a whole number of at least 2.")
        if path not in PATHS:
            raise SettingError(f"path is {path!r}; it must be one of {', '.join(PATHS)}.")
        way: Callable[..., npt.NDArray[np.float64]] = PATHS[path]
        return self.autoencoder_.inverse_transform(way(self._code("a", a), self._code("b", b), int(steps)))

    def transfer(self, X: Any, start: Any, end: Any, strength: float = 1.0) -> Any:
        """Samples that gain what one group has and another lacks, of the type of data fitted on.

        Codes move along the difference between the mean codes of two groups, such as faces without and with glasses,
        and are decoded (Larsen et al. 2016, "Autoencoding beyond Pixels", ICML).

        Parameters
        ----------
        X : the samples to change.
        start, end : samples of the two groups, such as X[y == 0] and X[y == 1].
        strength : how far: 1 is the whole difference, 0 none, below 0 the other way.
        """
        check_is_fitted(self)
        first, last = (self.autoencoder_.transform(group).mean(0) for group in (start, end))
        return self.autoencoder_.inverse_transform(self.autoencoder_.transform(X) + strength * (last - first))

    def _code(self, name: str, sample: Any) -> npt.NDArray[np.float64]:
        if isinstance(sample, np.ndarray) and sample.ndim == 1:
            if len(sample) != self.autoencoder_.code_density_.size:
                size = self.autoencoder_.code_density_.size
                raise DataError(f"{name} has {len(sample)} numbers, and codes of this model have {size}.")
            return sample.astype(np.float64)
        codes = self.autoencoder_.transform(sample)
        if len(codes) != 1:
            raise DataError(f"{name} holds {len(codes)} samples; give one, such as X[:1], or one code.")
        code: npt.NDArray[np.float64] = codes[0].astype(np.float64)
        return code

    # -- files

    def _learned(self) -> Packed:
        tensors = {"shares": torch.from_numpy(self.shares_)}
        for place, law in enumerate(self._laws):
            tensors |= put(law.state(), f"law{place}")
        if self._marginals is not None:
            tensors |= put(self._marginals.state(), "marginals")
        return {"classes": list(self.classes_)}, tensors

    def _relearn(self, learned: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        density = self._density
        self.classes_, self.shares_ = list(learned["classes"]), tensors["shares"].double().numpy()
        if self.shares_.shape != (max(1, len(self.classes_)),):
            raise ModelFileError("the classes in this file and their shares do not go together.")
        places = range(len(self.shares_)) if density is not None else ()
        self._laws = [density.restore(take(tensors, f"law{place}")) for place in places if density is not None]
        marginals = take(tensors, "marginals")  # files from before there were any have none
        self._marginals = Marginals.restore(marginals) if marginals else None
