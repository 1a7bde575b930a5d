"""Golden queries: what a shop asks every night, and the products of which one at least has to be found.

A file is YAML, a list of entries, or Parquet with the same columns:

    - text: red dress
      expect: [D1, D7]  # one of them is enough
    - image: photos/lamp.jpg  # relative to the folder of this file
      category: Home
      k: 3
      expect: L5
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from encoders.names import clean_id
from encoders.photos.decode import PhotoError, PhotoLimits, decode
from encoders.text import TextError, clean_text
from foundation.errors import InputError
from lookup.query import read_photo
from pipeline.config.yaml_files import MOST_BYTES, Problem, parse, shown

_MOST = 1_000  # queries: each is asked every night
_MOST_CHARS = 10_000


def _ids(value: object) -> object:
    """Ids as a catalog's become: whole numbers are ids too."""
    listed = value if isinstance(value, list | tuple) else [value]
    whole = (str(one) if isinstance(one, int) and not isinstance(one, bool) else one for one in listed)
    return tuple(clean_id(one) if isinstance(one, str) else one for one in whole)


class GoldenQuery(BaseModel):
    """One query: a text, a photo or both, in one category or in all, and ids of which one is among the first `k` hits;
    without `k` those of the config.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: Annotated[str, Field(min_length=1)] | None = None
    image: Annotated[str, Field(min_length=1)] | None = None  # a path
    category: Annotated[str, Field(min_length=1)] | None = None
    k: Annotated[int, Field(ge=1, le=1_000, strict=True)] | None = None
    expect: Annotated[tuple[Annotated[str, Field(min_length=1)], ...], BeforeValidator(_ids), Field(min_length=1)]

    @model_validator(mode="after")
    def _asks(self) -> GoldenQuery:
        if self.text is None and self.image is None:
            raise ValueError("a text or an image, or both")
        return self

    @property
    def title(self) -> str:
        """What is asked, for people."""
        asked = " + ".join(part for part in (self.text, self.image and Path(self.image).name) if part)
        return f"{asked} in {self.category}" if self.category else asked


def read_golden(path: str, limits: PhotoLimits) -> list[GoldenQuery]:
    """The queries of a file, paths of photos made relative to the current directory; InputError tells everything that
    is wrong with it.
    """
    file = Path(path)
    entries, problems = _entries(file)
    found = list[GoldenQuery]()
    for number, entry in enumerate(entries, 1):
        where = f"{path}, query {number}"
        try:
            one = GoldenQuery.model_validate(entry)
        except ValidationError as err:
            problems += [_problem(where, error) for error in err.errors(include_url=False)]
            continue
        if one.image is not None:
            one = one.model_copy(update={"image": str(file.parent / one.image)})
        problems += _unaskable(where, one, limits)
        found.append(one)
    if not entries and not problems:
        problems.append(Problem(path, "no query", "a list of one or more", "ask for something, or drop golden.path"))
    if len(entries) > _MOST:
        problems.append(Problem(path, f"{len(entries):,} queries", f"at most {_MOST:,}", "keep those that matter"))
    if problems:
        listed = "".join(f"\n  {one.key}: {one.came}; expected: {one.expected}; to do: {one.fix}" for one in problems)
        came = f"{len(problems)} problems:{listed}" if len(problems) > 1 else f"{problems[0].key}: {problems[0].came}"
        expected = "golden queries that can be asked" if len(problems) > 1 else problems[0].expected
        raise InputError(expected, came, problems[0].fix if len(problems) == 1 else "correct each of them")
    return found


def _entries(file: Path) -> tuple[list[Any], list[Problem]]:
    path = str(file)
    try:
        if file.suffix == ".parquet":
            rows = pq.read_table(file).to_pylist()
            return [{name: value for name, value in row.items() if value is not None} for row in rows], []
        with file.open("rb") as opened:
            raw = opened.read(MOST_BYTES + 1)
    except (OSError, pa.ArrowInvalid) as err:
        said = getattr(err, "strerror", None) or str(err)
        return [], [Problem(path, said, "the file of the golden queries", "correct golden.path, or drop it")]
    value, problems = parse(raw, path)
    if problems:
        return [], list(problems)
    if not isinstance(value, list):
        fix = "begin each query with `- `"
        return [], [Problem(path, shown(value), "a list of queries, each with `expect` and `text` or `image`", fix)]
    return value, []


def _problem(where: str, error: Any) -> Problem:
    key = ".".join(str(part) for part in error["loc"])
    place = f"{where}: {key}" if key else where
    if error["type"] == "extra_forbidden":
        return Problem(place, shown(error["input"]), "a key of a query", "known are text, image, category, k, expect")
    if error["type"] == "missing":
        return Problem(place, "nothing", "one id or more that the query has to find", "add `expect: [ID]`")
    said = error["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
    return Problem(place, shown(error["input"]), said, "give a value that fits")


def _unaskable(where: str, one: GoldenQuery, limits: PhotoLimits) -> Iterator[Problem]:
    """Why a reader could not ask it."""
    if one.text is not None:
        try:
            if not clean_text(one.text, _MOST_CHARS):
                yield Problem(f"{where}: text", shown(one.text), "a visible character", "ask in words")
        except TextError as err:
            yield Problem(f"{where}: text", str(err), "a text", "ask in plain words")
    if one.image is not None:
        try:
            decode(read_photo(one.image, limits.max_bytes), limits)
        except InputError as err:
            yield Problem(f"{where}: image", err.came, err.expected, err.fix)
        except PhotoError as err:
            yield Problem(f"{where}: image", f"{one.image}: {err}", "a photo that can be read", "give another file")
