from __future__ import annotations

import math
from typing import Self, cast

import torch
from torch import Tensor, nn

from isthmus.errors import SettingError
from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.variants._discrete import learns, present_places, straight_through
from isthmus.variants.base import Variant


class Quantized(Variant):
    """Replaces the code by the nearest entries of a learned codebook, so that a sample becomes a few whole numbers.

        corrupt → encoder → BOTTLENECK → decoder → likelihood

    van den Oord et al. 2017, "Neural Discrete Representation Learning" (VQ-VAE). A dense code is cut into `groups`
    pieces, each with a codebook of its own; in a grid of codes every place has one index per group. The gradient of the
    code goes straight through to the features. The rate is the commitment, `commitment` times the squared distance of
    the features from the code.

    Entries follow the mean of the features that chose them, as a moving average over stochastic passes in training
    mode; the decoder of a pass sees the entries from before. An entry that is hardly chosen is dead and becomes a
    feature vector drawn from the batch; so does every entry in the first pass.

    Use it to compress, or when a second model is to learn the indices as a language is learned. Not with few rows,
    which cannot fill a codebook, and not for a smooth map: codes jump from entry to entry.

    Parameters
    ----------
    n_codes : entries of each codebook; an index takes log2(n_codes) bits.
    groups : pieces of one code vector; must divide n_components.
    commitment : weight of the rate, in nats per squared unit of the features.
    decay : share of the old moving average that one training pass keeps, from 0 to 1.
    revive : an entry chosen less often than this share of equal use is dead; 0 revives none.

    Raises
    ------
    SettingError : when groups does not divide n_components.

    >>> import torch
    >>> from isthmus.module import AutoencoderModule
    >>> module = AutoencoderModule(SampleSpec((6,)), n_components=4, variants=Quantized(n_codes=8, groups=2))
    >>> variant = module.variants[0]
    >>> variant.indices(module.features(torch.zeros(5, 6))).shape  # two whole numbers from 0 to 7 for each sample
    torch.Size([5, 2])
    """

    aliases = ("vqvae", "vq_vae", "vq", "quantised")
    exact_limit = "where every feature vector stands in the codebook it is the plain autoencoder, gradients and all"

    limits = {
        "n_codes": Limit(1, whole=True),
        "groups": Limit(1, whole=True),
        "commitment": Limit(0),
        "decay": Limit(0, 1),
        "revive": Limit(0, 1),
    }

    def __init__(
        self, n_codes: int = 512, groups: int = 1, commitment: float = 0.25, decay: float = 0.99, revive: float = 0.1
    ):
        self.n_codes = n_codes
        self.groups = groups
        self.commitment = commitment
        self.decay = decay
        self.revive = revive

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(n_codes=8), cls(n_codes=6, decay=0.5, revive=0.5)]

    def build(self, spec: SampleSpec, n_components: int) -> nn.Module:
        if n_components % self.groups:
            raise SettingError(
                f"groups of quantized is {self.groups}, which does not divide n_components={n_components}; "
                "every piece of the code must be equally long."
            )
        return _Codebooks(self.groups, self.n_codes, n_components // self.groups)

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor | float]:
        books, learning = self._books, learns(reconstruction, self.trained)
        vectors = self._vectors(features)  # (groups, places of all samples, size)
        present = present_places(features, reconstruction)
        heard = vectors if present is None else vectors[:, present.flatten()]
        if learning:
            assert reconstruction.generator is not None
            books.revive(heard, self.revive, reconstruction.generator)
        indices = books.nearest(vectors)
        chosen = books.read(indices).transpose(0, 1).reshape(features.shape)
        if learning:
            books.learn(heard, indices if present is None else indices[:, present.flatten()], self.decay)
        missed = (features - chosen).square()
        if present is not None:
            missed, chosen = missed * present.unsqueeze(-1), chosen * present.unsqueeze(-1)
        rate = self.commitment * missed.flatten(1).sum(1)
        return straight_through(chosen, features).unsqueeze(0), rate.unsqueeze(0)

    def indices(self, features: Tensor) -> Tensor:
        """Which entries these features choose: (B, ..., n_features) become whole numbers, (B, ..., groups)."""
        return self._books.nearest(self._vectors(features)).t().reshape(*features.shape[:-1], self.groups)

    def lookup(self, indices: Tensor) -> Tensor:
        """The code that stands for these indices: (B, ..., groups) becomes (B, ..., n_components)."""
        return self._books.read(indices.flatten(0, -2).t()).transpose(0, 1).reshape(*indices.shape[:-1], -1)

    def perplexity(self, indices: Tensor) -> float:
        """How many entries are in use, from 1 to n_codes: exp of the entropy of their use, the groups' average."""
        chosen = indices.flatten(0, -2).t()  # (groups, number of vectors)
        shares = [torch.bincount(one, minlength=self.n_codes).double() / len(one) for one in chosen]
        return float(torch.special.entr(torch.stack(shares)).sum(1).exp().mean())

    @property
    def _books(self) -> _Codebooks:
        if self.trained is None:
            raise SettingError("quantized has no codebook yet; it is built with an AutoencoderModule.")
        return cast(_Codebooks, self.trained)

    def _vectors(self, features: Tensor) -> Tensor:
        pieces = features.detach().reshape(-1, self.groups, features.shape[-1] // self.groups)
        return pieces.transpose(0, 1)


class _Codebooks(nn.Module):
    """One codebook for each group. Axes: G groups, K entries, d numbers of an entry, M vectors of a batch."""

    vectors: Tensor
    sums: Tensor
    use: Tensor

    def __init__(self, groups: int, n_codes: int, size: int):
        super().__init__()
        self.register_buffer("vectors", torch.randn(groups, n_codes, size) / math.sqrt(size))
        self.register_buffer("sums", torch.zeros(groups, n_codes, size))
        # 1 is equal use; below 0, an entry has not been used at all
        self.register_buffer("use", torch.full((groups, n_codes), -1.0))

    def nearest(self, vectors: Tensor) -> Tensor:
        """(G, M, d) to indices, (G, M)."""
        # |v - e|² without |v|², which is the same for all entries
        squares = self.vectors.square().sum(-1).unsqueeze(1)
        distances = torch.baddbmm(squares, vectors.to(squares), self.vectors.transpose(1, 2), alpha=-2)
        return distances.argmin(-1)

    def read(self, indices: Tensor) -> Tensor:
        """Indices (G, M) to entries, (G, M, d)."""
        group = torch.arange(len(indices), device=indices.device).unsqueeze(1)
        return self.vectors[group, indices]

    @torch.no_grad()
    def revive(self, vectors: Tensor, least: float, generator: torch.Generator) -> None:
        """Entries used less than `least` become vectors of the batch, and have time to be chosen."""
        n_vectors, n_codes = vectors.shape[1], self.use.shape[1]
        if not n_vectors:
            return
        # each but once while there are enough, as two equal entries would be told apart by rounding errors
        rows = torch.randperm(n_vectors, generator=generator, device=vectors.device)
        drawn = vectors[:, rows.repeat(-(-n_codes // n_vectors))[:n_codes]].to(self.vectors)
        dead = self.use < least
        self.vectors.copy_(torch.where(dead.unsqueeze(-1), drawn, self.vectors))
        self.sums.copy_(torch.where(dead.unsqueeze(-1), drawn, self.sums))
        self.use.masked_fill_(dead, 1.0)

    @torch.no_grad()
    def learn(self, vectors: Tensor, indices: Tensor, decay: float) -> None:
        """One step of the moving averages: entries go towards the mean of the vectors that chose them."""
        if not vectors.shape[1]:
            return
        chose = nn.functional.one_hot(indices, self.use.shape[1]).to(self.vectors)  # (G, M, K)
        scale = self.use.shape[1] / vectors.shape[1]
        self.use.lerp_(chose.sum(1) * scale, 1 - decay)
        self.sums.lerp_(chose.transpose(1, 2) @ vectors.to(self.vectors) * scale, 1 - decay)
        use = self.use.unsqueeze(-1)
        self.vectors.copy_(torch.where(use > _SMALL, self.sums / use.clamp_min(_SMALL), self.vectors))


_SMALL = 1e-8
