"""Small specs of every type that the folders hold: what contract tests run over. Nothing else lists the types."""

from __future__ import annotations

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
