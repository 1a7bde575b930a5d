"""The `lexical` section: null unless it is asked for, its defaults those of the catalog's text, each mistake named."""

from __future__ import annotations

import pytest

from foundation.errors import InputError
from pipeline.config.load import Config, load_config

WHERE = ("catalog.path=a", "store.path=b")


def load(*overrides: str, env: dict[str, str] | None = None) -> Config:
    """The config of these overrides."""
    return load_config(None, [*WHERE, *overrides], env or {}).config


def test_without_the_section_nothing_is_searched_by_words() -> None:
    """It is null by default, and the catalog is read as it was before there was the section."""
    config = load()
    assert config.lexical is None
    assert config.settings.indexing.lexical is None
    assert config.settings.embedding.catalog.searched == ()


@pytest.mark.parametrize(
    ("overrides", "weights"),
    [
        (["lexical={}"], {"title": 2.0, "description": 1.0}),
        (["lexical.weight=auto", "catalog.text=[title, brand]"], {"title": 2.0, "brand": 1.0}),
        (["lexical.fields={title: 3, gtin: 0.5}"], {"title": 3.0, "gtin": 0.5}),
    ],
)
def test_fields_are_those_of_the_text_unless_they_are_named(overrides: list[str], weights: dict[str, float]) -> None:
    """Settings have the weight of every field, and the catalog which columns are kept, by name."""
    settings = load(*overrides).settings
    assert settings.indexing.lexical is not None
    assert settings.indexing.lexical.fields == weights
    assert settings.embedding.catalog.searched == tuple(sorted(weights))


@pytest.mark.parametrize(
    ("override", "key", "words"),
    [
        ("lexical.feilds={title: 1}", "lexical.feilds", "did you mean lexical.fields?"),
        ("lexical.fields={title: 0}", "lexical.fields.title", "greater than 0"),
        ("lexical.weight=1.5", "lexical.weight", "a share from 0 to 1, or `auto`"),
        ("lexical.weight=half", "lexical.weight", "a share from 0 to 1, or `auto`"),
        ("lexical.languages=[null]", "lexical.languages", "words in quotes"),
        ("lexical.judged={queries: q.parquet}", "lexical.judged.qrels", "nothing"),
        ("lexical=true", "lexical", "a section"),
    ],
)
def test_a_mistake_is_named_by_its_key(override: str, key: str, words: str) -> None:
    """Each is one problem, told like those of other sections."""
    with pytest.raises(InputError) as refused:
        load(override)
    assert refused.value.came.startswith(f"1 problem:\n  {key}\n"), refused.value.came
    assert words in refused.value.came


def test_a_catalog_without_text_needs_fields() -> None:
    """Where no column is text, those that are searched have to be named."""
    with pytest.raises(InputError, match=r"lexical\.fields"):
        load("lexical={}", "catalog.text=[]", "encoders.text=null", "fusion.type=single")


def test_the_environment_sets_it_too() -> None:
    """A key of it may stand alone: what is left out has its default."""
    assert load(env={"VITRINE_LEXICAL__WEIGHT": "0.3"}).lexical == load("lexical={weight: 0.3}").lexical
