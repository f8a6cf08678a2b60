from __future__ import annotations

import sys
from typing import Self, cast

import torch
from torch import Tensor, nn

from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.variants._discrete import learns
from isthmus.variants.base import Variant


class TopK(Variant):
    """Keeps the k largest activations of the code and sets the others to zero.

        corrupt → encoder → BOTTLENECK → decoder → likelihood

    Makhzani & Frey 2013, "k-Sparse Autoencoders". Largest in absolute value, so that the sign is free.

    With `batch` the places are shared out over the batch in training, k for each sample on average, so that a rich
    sample gets more of them than a poor one. Outside training a component stays where it exceeds a threshold, the
    moving average of the smallest activation that was kept, so that samples do not depend on each other. Bussmann et
    al. 2024, "BatchTopK Sparse Autoencoders".

    A wide code often has components that are hardly ever among the largest and so never learn. With `revive` such a
    dead component gets its chance: in training every sample keeps its largest dead component beside its k, until that
    one is chosen often enough by itself. Gao et al. 2024, "Scaling and evaluating sparse autoencoders", have a loss of
    its own for the same purpose.

    Use it when a few of many components should explain each sample, and how few is to be known beforehand. Not for a
    short code, where every component is needed, and not where codes must change smoothly: a component comes or goes at
    once.

    Parameters
    ----------
    k : how many components stay, at least 1; as many as there are, and nothing changes.
    batch : whether k is an average over the batch; by default it holds for every sample.
    revive : a component chosen less often than this share of equal use, k / n_components, is dead (moving average over
        about 100 training passes); 0 (default) revives none.

    Raises
    ------
    SettingError : for k below 1.

    >>> import torch
    >>> TopK(k=1).bottleneck(torch.tensor([[1.0, -3.0, 2.0]]), None)[0]
    tensor([[[ 0., -3.,  0.]]])
    """

    aliases = ("k_sparse", "ksparse")

    limits = {"k": Limit(1, whole=True), "revive": Limit(0, 1)}

    def __init__(self, k: int = 8, batch: bool = False, revive: float = 0.0):
        self.k = k
        self.batch = batch
        self.revive = revive

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(k=2), cls(k=2, batch=True), cls(k=1, revive=0.97)]

    def build(self, spec: SampleSpec, n_components: int) -> nn.Module | None:
        remembers = (self.batch or self.revive > 0) and self.k < n_components
        return _Memory(n_components) if remembers else None

    def bottleneck(self, features: Tensor, reconstruction: Reconstruction) -> tuple[Tensor, Tensor | float]:
        if self.k >= features.shape[-1]:
            return features.unsqueeze(0), 0.0
        sizes = features.detach().abs()
        memory = cast(_Memory, self.trained)
        learning = self.trained is not None and learns(reconstruction, self.trained)
        if not self.batch:
            kept = torch.zeros_like(features).scatter(-1, sizes.topk(self.k, dim=-1).indices, 1.0)
        elif learning:
            places = sizes.flatten().topk(self.k * sizes[..., 0].numel())
            kept = torch.zeros_like(sizes.flatten()).scatter(0, places.indices, 1.0).view_as(sizes)
            memory.note_smallest(places.values[-1])
        else:
            kept = (sizes >= memory.threshold).to(features)
        if learning and self.revive > 0:
            memory.note_use(kept, self.k)
            kept = kept + memory.chances(sizes, kept, self.revive)
        return (features * kept).unsqueeze(0), 0.0

    def neutral(self) -> Self:
        return type(self)(k=sys.maxsize, batch=self.batch, revive=self.revive)


class _Memory(nn.Module):
    """What was kept in earlier passes."""

    threshold: Tensor
    use: Tensor

    def __init__(self, n_components: int):
        super().__init__()
        self.register_buffer("threshold", torch.tensor(-1.0))  # below 0: nothing was kept yet, so that all is
        self.register_buffer("use", torch.ones(n_components))  # how often each is chosen; 1 is equal use

    @torch.no_grad()
    def note_smallest(self, size: Tensor) -> None:
        average = torch.where(self.threshold < 0, size, self.threshold.lerp(size.to(self.threshold), 1 - _DECAY))
        self.threshold.copy_(average)

    @torch.no_grad()
    def note_use(self, kept: Tensor, k: int) -> None:
        share = kept.flatten(0, -2).mean(0) * (len(self.use) / k)
        self.use.lerp_(share.to(self.use), 1 - _DECAY)

    @torch.no_grad()
    def chances(self, sizes: Tensor, kept: Tensor, least: float) -> Tensor:
        """1 at the largest dead component of every sample or place that has one and keeps it not; shaped as sizes."""
        waiting = (self.use < least) & (kept == 0)
        largest = sizes.masked_fill(~waiting, -1.0).argmax(-1, keepdim=True)
        return torch.zeros_like(sizes).scatter(-1, largest, 1.0) * waiting.to(sizes)


_DECAY = 0.99
