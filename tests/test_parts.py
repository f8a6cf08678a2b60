"""Parts: found by name, printed, changed, compared, written to JSON and read back; and the spec of one sample."""

from __future__ import annotations

import copy
import json
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from isthmus import part
from isthmus.damage.base import Damage
from isthmus.damage.gaussian import Gaussian
from isthmus.damage.masking import Masking
from isthmus.errors import ModelFileError, SettingError
from isthmus.likelihoods.base import Likelihood
from isthmus.networks.base import Network
from isthmus.networks.dense import Dense
from isthmus.part import Part, find, from_json, known, resolve, to_json
from isthmus.spec import Column, SampleSpec
from isthmus.training.optimizers import Optimizer
from isthmus.training.schedules import Exponential, Schedule
from isthmus.training.settings import Training
from isthmus.variants.base import Variant
from isthmus.variants.denoising import Denoising
from isthmus.variants.top_k import TopK
from isthmus.variants.variational import Variational


class Shrink(Variant):
    """A part from outside the package."""

    def __init__(self, strength: float = 1.0, damage: object = None):
        self.strength = strength
        self.damage = damage


def every_part() -> list[type[Part]]:
    """All classes of our folders that are parts; the training folder also holds records."""
    packages = {kind: import_module(f"isthmus.{kind}") for kind in part.FOLDERS}
    found = [getattr(packages[kind], name) for kind in part.FOLDERS for name in known(kind).values()]
    return [cls for cls in found if isinstance(cls, type) and issubclass(cls, Part)]


def through_json(value: Any, parts: tuple[object, ...] = ()) -> Any:
    return from_json(json.loads(json.dumps(to_json(value))), parts)


def one_sentence(error: BaseException) -> str:
    """The message, which must be for people: not empty, no line break, not endless, and closed by a full stop."""
    text = str(error)
    assert text and "\n" not in text and len(text) < 600, text
    assert text[-1] in ".)]'", text
    return text


# ---- names


@pytest.mark.parametrize("cls", every_part(), ids=lambda cls: cls.name())
def test_every_part_is_found_by_its_name_and_its_aliases(cls: type[Part]) -> None:
    assert find(cls.kind, cls.name()) is cls
    for alias in cls.aliases:
        assert find(cls.kind, alias) is cls


@pytest.mark.parametrize("kind", part.FOLDERS)
def test_no_two_parts_of_a_kind_share_a_name(kind: str) -> None:
    names = [word for cls in every_part() if cls.kind == kind for word in {cls.name(), *cls.aliases}]
    assert len(names) == len(set(names))


@pytest.mark.parametrize(
    ("kind", "given", "base", "hint"),
    [
        ("variants", "sprase", Variant, "'l1_sparse'"),
        ("variants", "variatonal", Variant, "'variational'"),
        ("variants", "iwea", Variant, "'importance_weighted'"),  # near an alias: the name it stands for
        ("damage", "gausian", Damage, "'gaussian'"),
        ("likelihoods", "bernouli", Likelihood, "'bernoulli'"),
        ("training", "adamm", Optimizer, "'adam"),
        ("training", "cosin", Schedule, "'cosine'"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest_right_one(kind: str, given: str, base: Any, hint: str) -> None:
    with pytest.raises(SettingError) as caught:
        resolve(kind, given, base)
    text = one_sentence(caught.value)
    assert repr(given) in text and f"did you mean {hint}" in text and "Known: " in text


def test_only_what_would_be_allowed_there_is_offered() -> None:
    """Optimizers, schedules and records live in one folder; the answer about one names none of the others."""
    for wrong in ("adamm", "cosine", "batch", "zzz"):
        with pytest.raises(SettingError) as caught:
            resolve("training", wrong, Optimizer)
        text = one_sentence(caught.value)
        assert "optimizer" in text and "sgd" in text
        assert "checkpoint" not in text and "epoch" not in text and "plateau" not in text


@pytest.mark.parametrize("wrong", [3, None, 2.5, object, Gaussian, Gaussian(), b"top_k", ["top_k"]])
def test_what_is_neither_name_nor_part_is_refused(wrong: object) -> None:
    with pytest.raises(SettingError, match=r"variant .*name or an object of class Variant"):
        resolve("variants", wrong, Variant)


# ---- "name(setting=value)"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("top_k", TopK()),
        ("top-k", TopK()),
        ("k_sparse", TopK()),
        (" top_k ( k = 3 ) ", TopK(k=3)),
        ("top_k()", TopK()),
        ("vae(beta=4.0, free_bits=1e-1)", Variational(beta=4.0, free_bits=0.1)),
        ("denoising(damage='masking(share=0.5)')", Denoising("masking(share=0.5)")),
    ],
)
def test_a_name_with_settings_becomes_the_part(text: str, expected: Part) -> None:
    assert resolve("variants", text, Variant) == expected


def test_a_class_or_an_object_is_taken_as_it_is() -> None:
    mine = TopK(k=3)
    assert resolve("variants", mine, Variant) is mine
    assert resolve("variants", TopK, Variant) == TopK()


@pytest.mark.parametrize(
    "text",
    [
        *("", "top_k(", "top_k)", "top_k(3)", "top_k(k=)", "top_k(k=1, k=2)", "top_k(width=3)", "top_k(k=open)"),
        *("top_k(k=__import__('os'))", "top_k(**{'k': 3})", "top_k(*[3])", "top_k; top_k", "top_k(k=3)(k=5)"),
        *("top_k(k=3) + top_k(k=4)", "top_k(k=3), top_k(k=4)", "top_k(k=" + "(" * 500 + ")", "top_k(k=1\x00)"),
        "top_k(k=" + "-" * 20000 + "1)",
    ],
)
def test_settings_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(SettingError) as caught:
        resolve("variants", text, Variant)
    one_sentence(caught.value)


def test_a_part_that_cannot_do_without_an_object_says_so() -> None:
    for wanted in ("custom", part.find("networks", "custom")):
        with pytest.raises(SettingError, match="custom needs encoder, decoder"):
            resolve("networks", wanted, Network)  # type: ignore[type-abstract]


# ---- settings


@pytest.mark.parametrize("cls", every_part(), ids=lambda cls: cls.name())
def test_settings_go_out_and_in_again(cls: type[Part]) -> None:
    for example in cls.examples() if cls.name() != "custom" else []:
        settings = example.get_params(deep=False)
        assert cls(**settings) == example
        assert copy.deepcopy(example) == example
        assert copy.deepcopy(example).set_params(**settings) == example
        assert repr(example).startswith(cls.__name__) and repr(cls(**settings)) == repr(example)


def test_settings_of_a_part_inside_are_reached_by_two_underscores() -> None:
    outer = Denoising(Gaussian(sigma=0.2))
    assert outer.get_params()["damage__sigma"] == 0.2
    assert outer.set_params(damage__sigma=0.7) is outer and outer == Denoising(Gaussian(sigma=0.7))
    with pytest.raises(SettingError, match="gaussian has no setting 'share'; it has: sigma"):
        outer.set_params(damage__share=0.5)
    with pytest.raises(SettingError, match="no setting 'noise'"):
        outer.set_params(noise=0.5)
    with pytest.raises(SettingError, match="no settings of its own"):
        Denoising("gaussian").set_params(damage__sigma=0.7)


def test_equality_and_repr_go_by_the_settings() -> None:
    assert TopK(k=3) == TopK(k=3) != TopK(k=4)
    assert Gaussian() != Masking() and TopK() != "top_k"
    assert repr(Variational()) == "Variational()" and repr(Variational(beta=2.0)) == "Variational(beta=2.0)"
    assert Shrink(damage=np.zeros(3)) != Shrink(damage=np.zeros(3))  # arrays have no single truth: no guess, no crash
    assert "array" in repr(Shrink(damage=np.zeros(3)))


# ---- JSON


@pytest.mark.parametrize("cls", every_part(), ids=lambda cls: cls.name())
def test_every_example_survives_json(cls: type[Part]) -> None:
    for example in cls.examples() if cls.name() != "custom" else []:
        back = through_json(example)
        assert type(back) is cls and to_json(back) == to_json(example)


def test_parts_inside_parts_and_numpy_numbers_survive_json() -> None:
    assert through_json(Denoising(Masking(share=0.5))) == Denoising(Masking(share=0.5))
    assert through_json([TopK(k=3), Denoising(Gaussian(0.1))]) == (TopK(k=3), Denoising(Gaussian(0.1)))
    training = through_json(Training(max_epochs=3, schedule=Exponential(decay=0.5), clip=1.0))
    assert training == Training(max_epochs=3, schedule=Exponential(decay=0.5), clip=1.0)
    assert through_json(Dense(widths=[8, 4])).widths == (8, 4)
    assert through_json(TopK(k=np.int64(3))) == TopK(k=3)  # type: ignore[arg-type]
    assert through_json(Gaussian(sigma=np.float32(0.5))) == Gaussian(sigma=0.5)  # type: ignore[arg-type]
    assert through_json({"a": [1, None, True, "x"]}) == {"a": (1, None, True, "x")}


def test_parts_from_outside_come_back_when_they_are_given() -> None:
    stored = json.loads(json.dumps(to_json(Shrink(strength=2.0, damage=Gaussian(sigma=0.4)))))
    assert from_json(stored, [Shrink]) == Shrink(strength=2.0, damage=Gaussian(sigma=0.4))
    mine = Shrink(strength=9.0)
    assert from_json(stored, [mine]) is mine  # an object stands for itself
    with pytest.raises(ModelFileError, match=r"'Shrink', which is not part of Isthmus; load it with parts=\[Shrink\]"):
        from_json(stored)
    function = through_json(Shrink(damage=one_sentence), (Shrink, one_sentence)).damage
    assert function is one_sentence


@pytest.mark.parametrize(
    "document",
    [
        {"part": ["variants", "no_such"], "settings": {}},
        {"part": ["variants", "top_k"], "settings": {"kk": 3}},
        {"part": ["variants", "top_k"], "settings": [3]},
        {"part": ["variants", "top_k"], "settings": None},
        {"part": ["variants", "top_k"]},
        {"part": ["variants", "a", "b"], "settings": {}},
        {"part": ["variants"], "settings": {}},
        {"part": ["variants", 7], "settings": {}},
        {"part": ["variants", None], "settings": {}},
        {"part": ["variants", "+"], "settings": {}},
        {"part": ["variants", "+os"], "settings": {}},
        {"part": ["variants", "x" * 100_000], "settings": {}},
        {"part": ["variants", "two\nlines"], "settings": {}},
        {"part": ["", "top_k"], "settings": {}},
        {"part": ["", ""], "settings": {}},
        {"part": [None, "top_k"], "settings": {}},
        {"part": [["variants"], "top_k"], "settings": {}},
        {"part": ["os", "system"], "settings": {}},
        {"part": ["..evil", "top_k"], "settings": {}},
        {"part": ["interfaces", "cli"], "settings": {}},
        {"part": ["training", "train"], "settings": {}},
        {"part": ["training", "epoch"], "settings": {}},
        {"part": ["training", "batch"], "settings": {"x": 1}},
        {"part": ["networks", "custom"], "settings": {}},
        {"part": "variants", "settings": {}},
        {"part": 3, "settings": {}},
        {"outside": "os.system"},
        {"outside": ["os"]},
        {"outside": None},
        {"mapping": 5},
        {"mapping": [1]},
        {"part": ["variants", "denoising"], "settings": {"damage": {"mapping": 5}}},
        {"part": ["variants", "denoising"], "settings": {"damage": {"part": ["damage", "boom"], "settings": {}}}},
        {},
        {"unheard": "of"},
    ],
    ids=lambda document: repr(document)[:50],
)
def test_hostile_json_is_refused_in_a_sentence(document: Any) -> None:
    with pytest.raises(ModelFileError) as caught:
        from_json(document)
    one_sentence(caught.value)


JSON = st.recursive(
    st.sampled_from([None, True, 3, 0.5, "", "top_k", "+Mine", "two\nlines", *part.FOLDERS]) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["part", "settings", "outside", "mapping", "k"]), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(JSON)
def test_any_json_gives_a_value_or_one_sentence(document: Any) -> None:
    try:
        from_json(document)
    except ModelFileError as error:
        one_sentence(error)


# ---- the spec

COLUMNS = (
    *(Column("age"), Column("colour", "categorical", 3)),
    *(Column("member", "boolean"), Column("size", "categorical", 2)),
)


@pytest.mark.parametrize(("shape", "channels"), [((7,), 0), ((7, 5), 0), ((5, 7), 1), ((2, 7, 3), 1)])
def test_spread_and_gather_are_each_others_transpose(shape: tuple[int, ...], channels: int) -> None:
    """<spread(u), v> = <u, gather(v)> for every u and v, wherever the channel axis stands."""
    spec = SampleSpec(shape, channels=channels, columns=COLUMNS)
    narrow = list(shape)
    narrow[channels] = spec.n_columns
    for leading in ((), (4,), (2, 4)):
        u, v = torch.randn(*leading, *narrow, dtype=torch.float64), torch.randn(*leading, *shape, dtype=torch.float64)
        assert spec.spread(u).shape == v.shape and spec.gather(v).shape == u.shape
        torch.testing.assert_close((spec.spread(u) * v).sum(), (u * spec.gather(v)).sum())


def test_spread_and_gather_on_a_row() -> None:
    spec = SampleSpec((7,), columns=COLUMNS)
    assert spec.spread(torch.tensor([1.0, 2, 3, 4])).tolist() == [1, 2, 2, 2, 3, 4, 4]
    assert spec.gather(torch.tensor([1.0, 2, 3, 4, 5, 6, 7])).tolist() == [1, 9, 5, 13]
    assert spec.gather(spec.spread(torch.ones(4))).tolist() == [1, 3, 1, 2]


def test_elements_share_out_the_channel_axis() -> None:
    spec = SampleSpec((7,), columns=COLUMNS)
    kinds = [spec.elements(kind).tolist() for kind in ("numeric", "boolean", "categorical")]
    assert kinds == [[0], [4], [1, 2, 3, 5, 6]] and sorted(sum(kinds, [])) == list(range(7))
    assert (spec.size, spec.n_channels, spec.n_columns, spec.axis) == (7, 7, 4, -1)
    bare = SampleSpec((3, 8, 8))
    assert bare.elements("numeric").tolist() == [0, 1, 2] and not len(bare.elements("categorical"))
    assert (bare.size, bare.n_channels, bare.n_columns, bare.axis) == (192, 3, 3, -3)
    assert torch.equal(bare.spread(torch.ones(3, 8, 8)), torch.ones(3, 8, 8))
