from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Self

import torch
from torch import Tensor

from isthmus.errors import SettingError
from isthmus.part import Limit
from isthmus.reconstruction import Reconstruction
from isthmus.variants._graph import Graph, graph_of, some_rows
from isthmus.variants.base import Pass, Variant


class Neighbours(Variant):
    """Keeps neighbours together and others apart, for maps of the data that a picture can show.

        corrupt → encoder → bottleneck → decoder → likelihood   + PENALTY

    Before training the nearest neighbours of every row are found. In every step as many edges of this graph as the
    batch has rows are drawn, the nearer ones more often, and the rows at their ends go through the encoder. The penalty
    is the weight times a cross-entropy in nats: how badly the one end of an edge tells the other from the ends of all
    other edges, where codes at distance d belong together in proportion to 1 / (1 + d²). It is parametric t-SNE (van
    der Maaten 2009) in the form that Damrich et al. 2023 give it, "From t-SNE to UMAP with contrastive learning", over
    UMAP's graph (McInnes et al. 2018); as the encoder does it, new rows have a place too.

    The graph is exact, by Euclidean distance between samples as the encoder is shown them, for up to `most_rows` rows
    (fewer where samples are large: what is kept must not exceed 2**26 numbers, 256 MB in float32); of more rows it is
    that of a random part of them. Absent values are left out of a distance. Held-out rows have no place in it: the
    held-out penalty is over edges between training rows. It is forgotten after training.

    Use it with two or three components, to look at data or to group them. The sizes of groups and the distances between
    them mean little, and so it is not for detecting what is odd. In each step the encoder sees two rows more for each
    row of the batch. The map takes longer to settle than the samples do: give it a few thousand steps.

    Parameters
    ----------
    weight : strength of the penalty, in nats per edge.
    n_neighbors : how many neighbours of each row are edges of the graph; fewer show smaller groups.
    repulsion : how strongly the others are pushed away; below 1 groups become denser and lie closer together.
    most_rows : of more rows, so many at random are taken into the graph.

    Raises
    ------
    SettingError : for a setting out of range, or in a training pass without a graph.

    >>> Neighbours(weight=5.0).neutral()
    Neighbours(weight=0.0)
    """

    aliases = ("neighbors", "parametric_tsne", "tsne", "parametric_umap")

    limits = {
        "weight": Limit(0),
        "n_neighbors": Limit(1, whole=True),
        "repulsion": Limit(0),
        "most_rows": Limit(2, whole=True),
    }

    #: Of the training rows; None before training and after it, and where one row has no other.
    graph: Graph | None = None
    prepared: bool = False

    def __init__(self, weight: float = 1.0, n_neighbors: int = 15, repulsion: float = 1.0, most_rows: int = 20_000):
        self.weight = weight
        self.n_neighbors = n_neighbors
        self.repulsion = repulsion
        self.most_rows = most_rows

    @classmethod
    def examples(cls) -> list[Self]:
        return [cls(n_neighbors=5), cls(n_neighbors=3, most_rows=12)]

    def prepare(self, batches: Callable[[], Iterable[Tensor]], generator: torch.Generator) -> None:
        if self.weight:
            self.graph = graph_of(some_rows(batches(), self.most_rows, generator), self.n_neighbors)
            self.prepared = True

    def forget(self) -> None:
        self.graph, self.prepared = None, False

    def penalty(self, reconstruction: Reconstruction, module: Pass) -> Tensor | float:
        wanted = self.weight > 0 and reconstruction.generator is not None
        if wanted and not self.prepared:
            raise SettingError(
                "neighbours has no graph: training makes it and lets it go; in a loop of your own call `prepare` of "
                "each of the module's variants first."
            )
        if not self.weight or self.graph is None:
            return reconstruction.x.new_zeros(())
        ends = self.graph.edges(len(reconstruction.x), reconstruction.generator)
        codes = module.code_of(module.features(*self.graph.take(torch.cat(ends))))
        places = codes[0].numel() // codes.shape[-1]  # a grid of codes is as far as its places are on average
        heads, tails = codes.flatten(1).chunk(2)
        return self.weight * self.cross_entropy(_squared_distances(heads, tails) / places)

    def cross_entropy(self, squares: Tensor) -> Tensor:
        """Of squared distances from heads to tails, (m, m), edges on the diagonal: the mean over edges, in nats."""
        alike = -squares.log1p()  # logarithms
        return self.repulsion * alike.logsumexp(1).mean() - alike.diagonal().mean()

    def neutral(self) -> Self:
        return type(self)(0.0, self.n_neighbors, self.repulsion, self.most_rows)


def _squared_distances(heads: Tensor, tails: Tensor) -> Tensor:
    """(m, d) twice to (m, m); by differences where codes are short, as near ones must not be lost in rounding."""
    if heads.shape[1] <= 8:
        return (heads.unsqueeze(1) - tails).square().sum(2)
    squares = heads.square().sum(1, keepdim=True) + tails.square().sum(1)
    return torch.addmm(squares, heads, tails.t(), alpha=-2).clamp_min(0.0)
