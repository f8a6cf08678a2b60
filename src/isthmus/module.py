"""AutoencoderModule: the picture of the whole library on one screen.

    x → corrupt → encoder → bottleneck → decoder → likelihood,   loss = distortion + rate + penalties

Axes: S samples of the code, B samples of the batch, *spec.shape one sample.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Self, cast

import torch
from torch import Tensor, nn

from isthmus.errors import SettingError
from isthmus.likelihoods.base import Distribution, FromCallable, Likelihood, built
from isthmus.networks.base import EncoderDecoder, Network, mask_absent
from isthmus.networks.custom import Custom
from isthmus.part import Part, resolve
from isthmus.reconstruction import Doubly, Reconstruction
from isthmus.spec import SampleSpec
from isthmus.variants.base import Variant

Variants = str | Variant | Sequence[str | Variant]


class AutoencoderModule(nn.Module):
    """x → corrupt → encoder → bottleneck → decoder → likelihood.

    A pass is stochastic (corruption, sampled codes) while the module is in training mode or when a generator is given;
    otherwise it is deterministic, and the code of a sample does not depend on the other rows of its batch.

    Parameters
    ----------
    spec : what one sample looks like.
    n_components : how many numbers one code has.
    network : name, Network object, or a pair (encoder, decoder) of modules.
    likelihood : name, Likelihood object, or a callable (output, target) -> one number per element.
    variants : names or Variant objects; they are copied, their trainable parts are built here.

    Raises
    ------
    SettingError : when two variants own the bottleneck or the merge, or one lacks a variant it requires.

    >>> import torch
    >>> from isthmus.spec import SampleSpec
    >>> module = AutoencoderModule(SampleSpec((6,)), n_components=2, variants="variational").eval()
    >>> module.encode(torch.zeros(5, 6)).shape
    torch.Size([5, 2])
    """

    def __init__(
        self,
        spec: SampleSpec,
        n_components: int,
        network: str | Network | tuple[nn.Module, nn.Module] = "dense",
        likelihood: str | Likelihood | Callable[[Tensor, Tensor], Tensor] = "normal",
        variants: Variants = (),
    ):
        super().__init__()
        self.variants = [copy.deepcopy(variant) for variant in resolve_variants(variants)]
        self.spec = replace(spec, gaps=spec.gaps or any(variant.hides for variant in self.variants))
        self.n_components = n_components
        self.likelihood = resolve_likelihood(likelihood)
        self.bottleneck = _owner(self.variants, "bottleneck")
        self.merge = _owner(self.variants, "merge")
        n_features = n_components
        for variant in self.variants:
            n_features = variant.n_features(n_features)
        self.architecture = resolve_network(network)
        self.network: EncoderDecoder = self.architecture.build(
            self.spec, n_features, n_components, self.likelihood.n_parameters(self.spec)
        )
        self.built = nn.ModuleDict()
        self.likelihood = built(self.likelihood, self.spec)
        if self.likelihood.trained is not None:
            self.built["likelihood"] = self.likelihood.trained
        for variant in self.variants:
            variant.trained, variant.encoder = variant.build(self.spec, n_components), self.network.encoder
            if variant.trained is not None:
                twin = f"_{len(self.built)}" if variant.name() in self.built else ""
                self.built[variant.name() + twin] = variant.trained

    def encode(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """The code of each sample, (B, ..., n_components): the posterior's mean where it is a distribution."""
        return self.code_of(self.features(x, weight))

    def features(self, x: Tensor, weight: Tensor | None = None) -> Tensor:
        """The encoder's output, before the bottleneck: (B, ..., n_features)."""
        return cast(Tensor, self.network.encoder(x, weight))

    def code_of(self, features: Tensor) -> Tensor:
        """The deterministic code of these features."""
        quiet = Reconstruction(self.spec, features, None, features, None, features)
        return self.bottleneck.bottleneck(features, quiet)[0][0]

    def chain(self) -> list[tuple[nn.Linear, nn.Module]] | None:
        """From sample to code as linear layers, each with its element-wise activation; None where there is more."""
        return None if self.bottleneck.changes("bottleneck") else self.network.chain()

    def decode(self, code: Tensor, weight: Tensor | None = None, previous: Tensor | None = None) -> Distribution:
        """The law over samples given codes, (B, ..., n_components) or with an axis of samples before it."""
        axes = 1 + self.network.code_axes
        rows = code.shape[: code.ndim - axes + 1]  # (B,) or (S, B); every sample of a code goes with its row
        weight, previous = (
            None if given is None else given.expand(*rows, *given.shape[1:]).flatten(0, len(rows) - 1)
            for given in (weight, previous)
        )
        raw = self.network.decoder(code.flatten(0, code.ndim - axes), weight, previous)
        return self.likelihood(raw.unflatten(0, rows), self.spec)

    def reconstruct(
        self,
        x: Tensor,
        weight: Tensor | None = None,
        seen: Tensor | None = None,
        target: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Reconstruction:
        """One pass. `seen` is what the encoder is shown and `target` what the output is held against, if not x."""
        # cleared here and not only before the encoder: damage looks at other rows, NaN would survive a weight of 0
        x = mask_absent(x, weight)
        shown, asked = (x if given is None else mask_absent(given, weight) for given in (seen, target))
        pass_ = Reconstruction(self.spec, x, weight, shown, weight, asked, generator)
        if self.training and generator is None:
            pass_.generator = torch.Generator(x.device).manual_seed(int(torch.randint(2**62, ())))
        if pass_.generator is not None:
            pass_.samples = getattr(self.merge, "samples", 0)
            pass_.doubly = Doubly() if getattr(self.merge, "gradient", None) == "dreg" else None
            for variant in self.variants:
                variant.corrupt(pass_)
        if torch.is_grad_enabled() and any(variant.differentiates for variant in self.variants):
            pass_.seen = pass_.seen if pass_.seen.requires_grad else pass_.seen.detach().requires_grad_()
        pass_.features = features = self.network.encoder(pass_.seen, pass_.seen_weight, pass_.activations)
        pass_.code, pass_.rate = self.bottleneck.bottleneck(features, pass_)
        pass_.output = self.decode(pass_.weighed(pass_.code), pass_.seen_weight, pass_.target)
        pass_.distortion = self.cells(pass_).flatten(2).sum(2)
        pass_.bound = self.merge.merge(pass_.log_weights)
        if pass_.doubly is not None:
            pass_.doubly.log_weights = pass_.log_weights.detach()
        return pass_

    def cells(self, pass_: Reconstruction) -> Tensor:
        """The distortion of every element, (S, B, *spec.shape); absent values have none."""
        assert pass_.output is not None
        pass_.output = pass_.output.given(pass_.target, pass_.weight)
        cells = pass_.output.nll(pass_.target)
        return cells if pass_.weight is None else torch.where(pass_.weight > 0, cells * pass_.weight, 0.0)

    def penalise(self, pass_: Reconstruction) -> Reconstruction:
        """Adds every variant's penalty, averaged over the batch."""
        for variant in self.variants:
            if variant.changes("penalty"):
                penalty = torch.as_tensor(variant.penalty(pass_, self)).mean()
                pass_.penalties[variant.name()] = pass_.penalties.get(variant.name(), 0.0) + penalty
        return pass_

    def loss(
        self,
        x: Tensor,
        weight: Tensor | None = None,
        seen: Tensor | None = None,
        target: Tensor | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """What training minimises: the mean over the batch, a scalar in nats per sample."""
        return self.penalise(self.reconstruct(x, weight, seen, target, generator)).loss

    def train(self, mode: bool = True) -> Self:
        """As torch's, but layers whose parameters are all frozen stay as they are used: nothing drops out of them, and
        no running statistics change.
        """
        super().train(mode)
        for part in self.network.modules():
            own = list(part.parameters())
            if own and not any(parameter.requires_grad for parameter in own):
                part.eval()
        return self

    def draw_codes(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor | None:
        """New codes of this shape from the prior; None where there is none.

        It is the bottleneck's; where codes are the features as they are, a penalty's that holds them to a prior.
        """
        owners = [self.bottleneck] if self.bottleneck.changes("bottleneck") else self.variants
        draws = (variant.draw_codes(shape, generator, next(self.parameters())) for variant in owners)
        return next((drawn for drawn in draws if drawn is not None), None)

    def adversaries(self) -> list[nn.Parameter]:
        """Parameters that have an optimizer of their own."""
        return [parameter for variant in self.variants for parameter in variant.adversary()]

    def summary(self) -> str:
        """The leaf layers in order, with their output shapes and parameters, as text."""
        ideas = ", ".join(map(repr, self.variants)) or "none"
        head = f"sample {self.spec.shape} → code ({self.n_components},) → {self.likelihood!r}; variants: {ideas}"
        return f"{head}\n{layers(self, self.spec)}"

    def stages(self) -> list[tuple[nn.Module, nn.Module]]:
        """Pairs of encoder and decoder layers, from the outside in."""
        return self.network.stages()


def resolve_variants(variants: Variants) -> list[Variant]:
    """Names or objects become objects; a combination that cannot work is refused in a sentence."""
    listed: Sequence[str | Variant] = [variants] if isinstance(variants, (str, Variant)) else variants
    found = [resolve("variants", variant, Variant) for variant in listed]
    names = [variant.name() for variant in found]
    for station in ("bottleneck", "merge"):
        owners = [variant.name() for variant in found if variant.changes(station)]
        if len(owners) > 1:
            raise SettingError(
                f"{' and '.join(owners)} both own the {station}; an autoencoder has one, so keep one of them."
            )
    for variant in found:
        for needed in variant.requires:
            if needed not in names:
                raise SettingError(f"{variant.name()} needs {needed}; write variant={[needed, *names]!r}.")
    return found


def resolve_network(network: str | Network | tuple[nn.Module, nn.Module]) -> Network:
    """A pair of modules is a custom network."""
    if isinstance(network, (tuple, list)) and len(network) == 2:
        halves = [half() if isinstance(half, type) and issubclass(half, nn.Module) else half for half in network]
        if all(isinstance(half, nn.Module) for half in halves):
            return Custom(*halves)
    return resolve("networks", network, Network)


def resolve_likelihood(likelihood: str | Likelihood | Callable[[Tensor, Tensor], Tensor]) -> Likelihood:
    """A function is a likelihood of its own."""
    if callable(likelihood) and not isinstance(likelihood, (Part, type)):
        return FromCallable(likelihood)
    return resolve("likelihoods", likelihood, Likelihood)


def _owner(variants: Iterable[Variant], station: str) -> Variant:
    return next((variant for variant in variants if variant.changes(station)), Variant())


@torch.inference_mode()
def layers(module: nn.Module, spec: SampleSpec) -> str:
    """What each leaf layer of a module with `encode` and `decode` gives for one sample, and its parameters, as text."""
    lines = [f"  {'layer':<34} {'kind':<16} {'output':<16} {'parameters':>12}"]

    def note(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, _: object, out: object) -> None:
            shape = tuple(out.shape[1:]) if isinstance(out, Tensor) else ""
            own = sum(parameter.numel() for parameter in layer.parameters())
            lines.append(f"  {name:<34} {type(layer).__name__:<16} {shape!s:<16} {own:>12,}")

        return hook

    leaves = [(name, layer) for name, layer in module.named_modules() if not any(layer.children())]
    hooks = [layer.register_forward_hook(note(name.removeprefix("network."))) for name, layer in leaves]
    try:
        module.decode(module.encode(next(module.parameters()).new_zeros(1, *spec.shape)))  # type: ignore[operator]
    finally:
        for hook in hooks:
            hook.remove()
    total = sum(parameter.numel() for parameter in module.parameters())
    return "\n".join([*lines, f"  {'in all':<68} {total:>12,}"])
