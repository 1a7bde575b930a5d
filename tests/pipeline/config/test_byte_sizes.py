"""Sizes in bytes: every key of the config that is one takes a number and words, read alike."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import PydanticCustomError

from foundation.errors import InputError
from pipeline.config.byte_sizes import parse_bytes
from pipeline.config.encoding import encoding_identity
from pipeline.config.load import describe, load_config, meaning

NEEDED = ("catalog.path=a.parquet", "store.path=store")
KEYS = [
    row.key
    for row in describe(load_config(None, NEEDED, {}))
    if meaning(row.key).startswith("bytes of") and "vector" not in row.key  # those of a vector are fractions
]
UNITS = {"": 1, "B": 1, "KB": 1e3, "MB": 1e6, "GB": 1e9, "TB": 1e12, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}


def loaded(text: Any, key: str, *more: str) -> Any:
    config = load_config(None, [*NEEDED, f"{key}={text}", *more], {}).config
    section, name = key.split(".")
    return getattr(getattr(config, section), name)


def test_there_are_sizes() -> None:
    """The walk over the config finds the keys that are known to be sizes."""
    assert set(KEYS) >= {"catalog.max_photo_bytes", "shards.max_unit_bytes", "run.memory"}


@pytest.mark.parametrize("key", KEYS)
def test_every_size_takes_a_number_and_words(key: str, tmp_path: Path) -> None:
    """On the command line, in the environment and in a file; a plain int comes out, whose JSON is a number."""
    for text, size in (("10MB", 10**7), ("10 MiB", 10 * 2**20), ("1.5gb", 1.5e9), (12_345, 12_345), ("2e9", 2e9)):
        found = loaded(text, key)
        assert (found, type(found)) == (size, int)
    env = {f"VITRINE_{key.upper().replace('.', '__')}": "10MB"}
    section, name = key.split(".")
    for config in (
        load_config(None, NEEDED, env).config,
        load_config(str(_written(tmp_path, f"{section}: {{{name}: 10MB}}")), NEEDED, {}).config,
    ):
        assert config.model_dump(mode="json")[section][name] == 10**7


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "text", ["much", "-1", "-1GB", "1,000", "true", "1.5", "0.5B", "4GB each", "3 XB", "''", ".inf"]
)
def test_what_is_no_size_is_refused(key: str, text: str) -> None:
    """Not read as something else: the message shows what a size looks like."""
    with pytest.raises(InputError, match="a size, such as 4GB or 800MB"):
        loaded(text, key)
    with pytest.raises(InputError, match="greater than"):
        loaded(0, key)


@given(number=st.integers(0, 10**6), unit=st.sampled_from(sorted(UNITS)), case=st.sampled_from([str, str.lower]))
def test_words_mean_what_they_say(number: int, unit: str, case: Any) -> None:
    """By 1,000, or with an i by 1,024; a thousandth of a unit is exact, or refused where it is no whole byte."""
    assert parse_bytes(f"{number}{case(unit)}") == number * UNITS[unit]
    exact = Fraction(number, 1000) * Fraction(UNITS[unit])
    written = f"{number / 1000:.3f} {unit}"
    if exact.denominator == 1:
        assert parse_bytes(written) == exact
    else:
        with pytest.raises(PydanticCustomError):
            parse_bytes(written)


def test_words_change_no_fingerprint() -> None:
    """A limit of photos decides what is encoded: written otherwise it is the same limit."""
    identities = {
        encoding_identity(load_config(None, [*NEEDED, f"catalog.max_photo_bytes={text}"], {}).config.settings.embedding)
        for text in ("20000000", "20MB", "0.02GB")
    }
    assert len(identities) == 1


def _written(folder: Path, text: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return path
