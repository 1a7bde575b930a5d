"""Small specs of every type that the folders hold: what contract tests run over. Nothing else lists the types."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

from encoders.base import EncoderSpec, encoder_class, encoder_types
from encoders.fusion.base import FusionSpec, fusion_class, fusion_types
from index_builders.base import BuilderSpec, builder_class, builder_types


def index_examples(dim: int) -> list[BuilderSpec]:
    """Of every index type in index_builders/types/, for vectors of length `dim`; it has some of each."""
    found = {name: builder_class(name).examples(dim) for name in builder_types()}
    assert all(found.values()), f"types without an example: {[name for name, some in found.items() if not some]}"
    return [spec for some in found.values() for spec in some]


def with_lists(spec: BuilderSpec, nlist: int) -> BuilderSpec:
    """`spec` with so many inverted lists, where it has lists."""
    return spec.model_copy(update={"nlist": nlist}) if spec.lists else spec


def named(spec: BuilderSpec) -> str:
    """What a test of `spec` is called."""
    return spec.described.replace(", ", "-").replace(" ", "_")


def encoder_examples(tiny: Callable[[str], str] = str) -> list[EncoderSpec]:
    """Of every encoder type in encoders/types/ whose packages are installed; `tiny` makes small models by their family,
    without it specs name what is not there.
    """
    kinds = [encoder_class(name) for name in encoder_types()]
    return [spec for kind in kinds if kind.package is None or find_spec(kind.package) for spec in kind.examples(tiny)]


def fusion_examples(dim: int, trained: Callable[[str], str] = str) -> list[FusionSpec]:
    """Of every fusion in encoders/fusion/, for towers of length `dim`; `trained` draws the weights of a learned type,
    without it specs name what is not there.
    """
    return [spec for name in fusion_types() for spec in fusion_class(name).examples(dim, trained)]


def learned_types() -> list[str]:
    """The fusions that `vitrine train fusion` makes."""
    return [name for name in fusion_types() if fusion_class(name).learned]
