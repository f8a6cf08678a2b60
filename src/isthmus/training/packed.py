"""Plain dense modules applied to many rows: weights packed once, activations joined to the products.

Wraps a module from outside, for passes without gradients on a CPU. oneDNN's packed products are private in torch, so
everything here may be missing: then, and where a first few rows come out differently, the module stays as it is.
Results differ from the plain ones by rounding (2e-5 of a sample's cost in float32; the doubt of float32 itself). oneDNN
knows no float64: there the layers stay as they are, and the twin has larger chunks and the joined cost.
"""

from __future__ import annotations

import math
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from isthmus.likelihoods.base import Distribution
from isthmus.likelihoods.normal import Normal
from isthmus.module import AutoencoderModule
from isthmus.networks.base import EncoderDecoder, mask_absent
from isthmus.reconstruction import Reconstruction
from isthmus.spec import SampleSpec
from isthmus.training.plain import outline

#: From so many rows on packing, which takes a millisecond or two, is worth it.
ROWS = 8192
#: Rows of one chunk, and bytes that one layer may hold in one; small enough to stay in the cache.
CHUNK, CHUNK_BYTES = 8192, 2**22
TOLERANCE = 1e-4
#: Activations as oneDNN calls them, with their settings.
JOINED: dict[str | None, tuple[str, list[float], str]] = {
    None: ("none", [], ""),
    "linear": ("none", [], ""),
    "relu": ("relu", [], ""),
    "gelu": ("gelu", [], "none"),
    "silu": ("swish", [], ""),
    "tanh": ("tanh", [], ""),
    "sigmoid": ("sigmoid", [], ""),
    "leaky_relu": ("leaky_relu", [0.01], ""),
}
APART = {"elu": functional.elu_, "selu": functional.selu_}


def packed(module: nn.Module, n_rows: int) -> Any:
    """A twin of this module that is faster on so many rows, sharing its parts; or the module itself."""
    if n_rows < ROWS or module.training or next(module.parameters()).device.type != "cpu":
        return module
    found = outline(module)
    hooked = any(part._forward_hooks or part._forward_pre_hooks for part in module.modules())
    if found is None or hooked or any(layer["batch"] for layer in [*found["encoder"], *found["decoder"]]):
        return module
    assert isinstance(module, AutoencoderModule)
    try:
        with torch.inference_mode():
            twin = PackedModule.of(module, found)
            return twin if _alike(twin, module) else module
    except (RuntimeError, AttributeError, NotImplementedError):  # this torch, or this machine, has no such products
        return module


def _alike(twin: AutoencoderModule, module: AutoencoderModule) -> bool:
    """Whether a few rows come out the same both ways."""
    size = module.spec.size
    rows = torch.linspace(-2.0, 2.0, 4 * size).view(size, 4).t().to(next(module.parameters())).contiguous()
    pairs = [
        (twin.encode(rows), module.encode(rows)),
        (twin.reconstruct(rows).distortion, module.reconstruct(rows).distortion),
    ]
    return all(torch.allclose(cast(Tensor, a), cast(Tensor, b), TOLERANCE, TOLERANCE, True) for a, b in pairs)


class PackedModule(AutoencoderModule):
    """The twin; it takes everything but its network and its law from the module it was made of."""

    chunk: int

    @classmethod
    def of(cls, module: AutoencoderModule, found: dict[str, Any]) -> PackedModule:
        twin = cls.__new__(cls)
        twin.__dict__.update(module.__dict__)
        weights = list(module.parameters())
        widest = max(max(weight.shape) for weight in weights if weight.ndim == 2)
        twin.chunk = max(1024, min(CHUNK, CHUNK_BYTES // (widest * weights[0].itemsize)))
        if weights[0].dtype == torch.float32:
            twin._modules = {**module._modules, "network": _Network(module, found, twin.chunk)}
        laws = found["laws"] or []
        if len(laws) == 1 and laws[0]["law"] == "normal":
            twin.likelihood = _Law(scale=laws[0]["scale"], minimum=laws[0]["minimum"])
        return twin

    def reconstruct(
        self,
        x: Tensor,
        weight: Tensor | None = None,
        seen: Tensor | None = None,
        target: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Reconstruction:
        if seen is not None or target is not None or generator is not None:
            return super().reconstruct(x, weight, seen, target, generator)
        x = mask_absent(x, weight)
        pass_ = Reconstruction(self.spec, x, weight, x, weight, x)
        features = self.network.encoder(x, weight)
        pass_.code, pass_.rate = self.bottleneck.bottleneck(features, pass_)
        pass_.output = output = self.decode(pass_.code)
        if weight is None and isinstance(output, _Output):
            pass_.distortion = output.total(x)
        else:
            pass_.distortion = self.cells(pass_).flatten(2).sum(2)
        pass_.bound = self.merge.merge(pass_.log_weights)
        return pass_


class _Network(EncoderDecoder):
    def __init__(self, module: AutoencoderModule, found: dict[str, Any], chunk: int):
        super().__init__()
        self.plain = module.network
        weights = module.state_dict()
        self.encoder = _Encoder(self.plain.encoder, found["encoder"], weights, chunk)
        self.decoder = _Half(self.plain.decoder, found["decoder"], weights, chunk)


class _Half(nn.Module):
    """The layers of one half; the plain half answers where its layers are asked for."""

    def __init__(self, plain: nn.Module, steps: list[dict[str, Any]], weights: dict[str, Tensor], chunk: int):
        super().__init__()
        self.plain = plain
        self.layers = []
        for step in steps:
            weight = weights[step["weight"]]
            weight = weight if step["rows"] is None else weight[: step["rows"]].t().contiguous()
            ready = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), chunk)
            joined = JOINED.get(step["activation"], JOINED[None])
            self.layers.append((ready, weights[step["bias"]].detach(), joined, APART.get(step["activation"])))

    def run(self, hidden: Tensor, start: int = 0) -> Tensor:
        """The layers from this one on."""
        for matrix, bias, joined, apart in self.layers[start:]:
            hidden = torch.ops.mkldnn._linear_pointwise(hidden, matrix, bias, *joined)
            hidden = hidden if apart is None else apart(hidden)
        return hidden

    def forward(self, code: Tensor, weight: Tensor | None = None, previous: Tensor | None = None) -> Tensor:
        return self.run(code) if code.ndim == 2 else cast(Tensor, self.plain(code, weight, previous))


class _Encoder(_Half):
    def forward(self, x: Tensor, weight: Tensor | None = None, activations: Any = None) -> Tensor:
        if x.ndim != 2 or activations is not None:
            return cast(Tensor, self.plain(x, weight, activations))
        x, absent = mask_absent(x, weight), cast(Tensor | None, self.plain.absent)
        if weight is None or absent is None:
            return self.run(x)
        matrix, bias, _, _ = self.layers[0]
        hidden = torch.ops.mkldnn._linear_pointwise(x, matrix, bias, *JOINED[None])
        hidden += functional.linear((weight <= 0).to(x), absent)
        first: Any = self.plain.layers
        return self.run(first[0].after(hidden), 1)


class _Law(Normal):
    """The same normal law, of which only what is asked for is worked out."""

    def __call__(self, raw: Tensor, spec: SampleSpec) -> _Output:
        return _Output(raw, self)


class _Output(Distribution):
    def __init__(self, raw: Tensor, law: _Law):
        self.raw, self.law = raw, law

    @property
    def mean(self) -> Tensor:
        return self.raw.chunk(2, -1)[0] if self.law.scale == "learned" else self.raw

    def scale(self) -> Tensor:
        """The learned scale. Softplus is taken apart, as torch's own is many times slower."""
        free = self.raw.chunk(2, -1)[1]
        return torch.maximum(free.clamp(max=20.0).exp_().log1p_(), free).add_(self.law.minimum)

    def nll(self, target: Tensor) -> Tensor:
        return self._plain().nll(target)

    def total(self, target: Tensor) -> Tensor:
        """The cost of each row, summed over the last axis."""
        gap = target - self.mean
        n = gap.shape[-1]
        constant = n * 0.5 * math.log(2 * math.pi)
        if self.law.scale != "learned":
            scale = float(self.law.scale)
            return gap.square_().sum(-1).mul_(0.5 / scale**2).add_(n * math.log(scale) + constant)
        learned = self.scale()
        return gap.div_(learned).square_().mul_(0.5).add_(learned.log_()).sum(-1).add_(constant)

    def sample(self, generator: torch.Generator | None = None) -> Tensor:
        return self._plain().sample(generator)

    def draw(self, generator: torch.Generator | None = None) -> Tensor:
        return self._plain().draw(generator)

    def _plain(self) -> Distribution:
        spec = SampleSpec((self.mean.shape[-1],))
        return Normal(self.law.scale, self.law.minimum)(self.raw, spec)
