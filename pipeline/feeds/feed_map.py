"""A map: which column of a catalog comes from where in a feed, and through which conversions. One YAML file each.

    name: mine
    syntax: delimited
    columns:
      id: sku
      title: [name_en, name]                     # the first that has a value
      description: {from: body, strip_html: true}
      price: {from: amount, type: price, currency: currency_code}
      additional_image_link: {from: photos, split: "|"}

Those that ship lie beside this file; nothing lists them. A map of one's own is the same by its path.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from foundation.errors import InputError
from foundation.identity import identity_of
from pipeline.config.section import Name, Switch, listed

_MAPS = Path(__file__).parent
_MOST_BYTES = 2**18

Kind = Literal["text", "list", "number", "whole", "price", "availability", "boolean"]
Names = Annotated[tuple[Name, ...], BeforeValidator(listed)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Where(_Part):
    """A condition on rows: what stands in another raw column. Of options that every product has others of."""

    names: Names = Field(min_length=1, description="raw columns or paths, one for each of from, or one for all")
    are: Names = Field(min_length=1, description="values of them, of which one has to be there; case does not count")


class Column(_Part):
    """Where a canonical column comes from, and what becomes of its values: language, where, escaped, split, unique,
    first or join, strip_html, replace, lower, type, then without, in this order.
    """

    sources: Names = Field(
        (), alias="from", description="raw columns or paths into them; the first with a value counts"
    )
    constant: Name | None = Field(None, description="the value of every item, in the place of from")
    language: tuple[Name, Name] | None = Field(
        None, description="[tag, value]: the keys of a list of values of several languages, of which one is taken"
    )
    escaped: Switch = Field(
        False, description=r"`\n` is an end of line and `\,` no separator, as WooCommerce's exporter writes them"
    )
    split: Names = Field((), description="what stands between the values of a list; the first found in a value counts")
    where: Where | None = Field(None, description="values of rows alone in which other columns have certain values")
    first: Switch = Field(False, description="of several values the first alone")
    unique: Switch = Field(False, description="of several values each once")
    join: str | None = Field(None, description="what to put between the values of all of from, or of a list")
    strip_html: Switch = Field(False, description="text without tags, with characters for entities")
    lower: Switch = Field(False, description="in small letters")
    replace: dict[Name, str | None] = Field(
        {}, description="value: what it becomes; null for none. Case does not count"
    )
    without: Name | None = Field(
        None, description="another column of the map, whose value is left out of this one, which is a list"
    )
    type: Kind = Field("text", description="what the column is in the catalog")
    currency: Names = Field(
        (),
        description="raw columns with the currency of prices that have none, the first that is there, or a code: EUR",
    )

    @model_validator(mode="after")
    def _possible(self) -> Column:
        told = self.sources, self.constant
        if bool(self.sources) == (self.constant is not None):
            raise ValueError(f"`from` or `constant`, one of them: {told[0] or 'neither'}")
        if self.currency and self.type != "price":
            raise ValueError(f"currency is of prices: `type: price`, not {self.type}")
        if self.split and self.type != "list" and not (self.first or self.join is not None):
            raise ValueError(f"split makes a list: `type: list`, or first or join beside it, not `type: {self.type}`")
        if self.first and self.join is not None:
            raise ValueError("first takes one value and join takes all: one of them")
        if self.without is not None and self.type != "list":
            raise ValueError(f"without is of lists: `type: list`, not {self.type}")
        if self.where is not None and len(self.where.names) not in (1, len(self.sources)):
            raise ValueError(
                f"where.names: one, or one for each of from: {len(self.sources)}, not {len(self.where.names)}"
            )
        if self.first and self.type == "list":
            raise ValueError("first takes one value, and `type: list` is of several: one of them")
        if self.strip_html and self.type in ("price", "number", "whole", "boolean"):
            raise ValueError(f"strip_html is of texts, not of `type: {self.type}`, which is read without markup anyway")
        return self


class Group(_Part):
    """Items that are several rows of the feed: raw columns become lists of the rows' values."""

    by: Name = Field(description="raw column whose value the rows of an item share")


class FeedMap(_Part):
    """A map as its file has it."""

    name: Name = Field(description="what --as calls it, and reports")
    about: str = Field("", description="whose feed it is, and where that is specified")
    syntax: Names = Field(description="how such feeds are written: names of files in pipeline/feeds/syntax")
    recognise: Names = Field((), description="raw columns that, all together, tell such a feed; none: only by name")
    items: str | None = Field(None, description="where in a document the items are, for syntaxes that nest")
    group: Group | None = None
    columns: dict[Name, Column] = Field(description="canonical column: where it comes from")
    drop: Names = Field((), description="raw columns that are left out on purpose")
    others: Literal["text", "drop"] = Field("text", description="what becomes of raw columns that nothing here names")
    _own: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        """`title: name` and `title: [name_en, name]` stand for `title: {from: ...}`."""
        columns = value.get("columns") if isinstance(value, Mapping) else None
        if not isinstance(columns, Mapping):
            return value
        spelled = {name: {"from": one} if isinstance(one, str | list) else one for name, one in columns.items()}
        return {**value, "columns": spelled}

    @model_validator(mode="after")
    def _whole(self) -> FeedMap:
        if "id" not in self.columns:
            raise ValueError("columns must say where `id` comes from: an item without one is no product")
        if self.columns["id"].type != "text":
            raise ValueError("columns.id is text")
        for name, one in self.columns.items():
            if one.without is not None and self.columns.get(one.without, one).type != "text":
                raise ValueError(f"columns.{name}.without: a column of the map that is text, not {one.without}")
        taken = [f"{name}_currency" for name, one in self.columns.items() if one.type == "price"]
        if twice := [name for name in taken if name in self.columns]:
            raise ValueError(f"{', '.join(twice)} is made by the price itself: leave it out, name it by `currency:`")
        return self

    @property
    def own(self) -> tuple[str, ...]:
        """Columns that somebody's own map names itself: those of this feed, so that it has to have them."""
        return self._own

    @property
    def identity(self) -> str:
        """64 hex digits of what the map says."""
        return identity_of(self.model_dump(mode="json"))


def map_names() -> list[str]:
    """The maps that ship, by name: one name may be of several, each for another syntax."""
    return sorted({one.name for one in shipped_maps().values()})


@cache
def shipped_maps() -> Mapping[str, FeedMap]:
    """File -> map of those that ship, by the file's name without its ending."""
    return {path.stem: read_map(path) for path in sorted(_MAPS.glob("*.yaml"))}


def find_maps(given: str) -> list[FeedMap]:
    """The maps that ship under a name, or the one that lies at a path which ends in .yaml; InputError for neither."""
    if found := [one for one in shipped_maps().values() if one.name == given]:
        return found
    if given.endswith((".yaml", ".yml")):
        return [_of_ones_own(Path(given))]
    raise InputError(
        f"auto, {', '.join(map_names())}, or the path of a map, which ends in .yaml",
        f"--as {given}",
        "name one of them",
    )


def read_map(path: Path) -> FeedMap:
    """The map at a path; InputError with all that is wrong with it, each with its line and key."""
    raw = _raw(path)
    value = _written(raw, path)
    value.setdefault("name", path.stem)
    if "extends" in value:
        value = _extended(value, path)
    try:
        found = FeedMap.model_validate(value)
    except ValidationError as err:
        raise _wrong([_told(one, raw, path) for one in err.errors()]) from err
    _refuse_unknown_syntax(found, path)
    return found


# --- inside ---


def _of_ones_own(path: Path) -> FeedMap:
    found = read_map(path)
    found._own = tuple(_written(_raw(path), path).get("columns") or ())
    return found


def _raw(path: Path) -> bytes:
    try:
        raw = path.read_bytes()[: _MOST_BYTES + 1]
    except OSError as err:
        raise InputError("a map that can be read", f"{path}: {err.strerror}", "correct --as") from err
    if len(raw) > _MOST_BYTES:
        raise InputError(f"a map of at most {_MOST_BYTES:,} bytes", f"{path} has more", "name a map with --as")
    return raw


def _written(raw: bytes, path: Path) -> dict[str, Any]:
    """What the file of a map says."""
    from pipeline.config.yaml_files import parse

    value, problems = parse(raw, str(path))
    if problems:
        raise _wrong([one.line() for one in problems])
    if not isinstance(value, dict):
        raise InputError("a map: name, syntax, columns", f"{path} has none of them", "see docs/feeds.md")
    return value


def _extended(value: dict[str, Any], path: Path) -> dict[str, Any]:
    """A map with what it does not say itself taken from the one that it extends."""
    base = value.pop("extends")
    known = sorted(one.stem for one in _MAPS.glob("*.yaml"))
    if base not in known or (_MAPS / f"{base}.yaml").resolve() == path.resolve():
        raise _wrong([f"{path}: extends: came {base!r}; expected: one of {', '.join(known)}"])
    under_path = _MAPS / f"{base}.yaml"
    under = _written(_raw(under_path), under_path)
    under = _extended(under, under_path) if "extends" in under else under
    own = value.get("columns") or {}
    both = under.get("columns", {}) | own if isinstance(own, dict) else own  # what is none is refused with its line
    return {**under, "about": "", **value, "columns": both}


def _refuse_unknown_syntax(found: FeedMap, path: Path) -> None:
    from pipeline.feeds.syntax.base import syntaxes

    if unknown := [one for one in found.syntax if one not in syntaxes()]:
        known = f"syntax: one of {', '.join(syntaxes())}"
        raise InputError(known, f"{path}: syntax: {', '.join(unknown)}", "name one of them")


def _wrong(lines: list[str]) -> InputError:
    return InputError("a map that can be followed", "\n  ".join(["", *lines]) if len(lines) > 1 else lines[0], _FIX)


_FIX = "correct the map: docs/feeds.md has its keys"


def _told(error: Any, raw: bytes, path: Path) -> str:
    keys = [str(part) for part in error["loc"]]
    said = (
        error["msg"]
        .removeprefix("Value error, ")
        .removeprefix("Input should be ")
        .replace("a valid tuple", "a name, or a list of names")
    )
    if error["type"] == "extra_forbidden":
        model: type[BaseModel] = Column if keys[0] == "columns" else Group if keys[0] == "group" else FeedMap
        known = ", ".join(field.alias or name for name, field in model.model_fields.items())
        known += ", extends" if model is FeedMap else ""
        said = f"no key of a map; known here: {known}"
    came = "" if isinstance(error["input"], dict) else f" came {error['input']!r:.120}"
    return (
        f"{path}, line {_line(raw, keys)}: {'.'.join(keys) or 'the map'}:{came}{';' if came else ''} expected: {said}"
    )


def _line(raw: bytes, keys: list[str]) -> int:
    """The line of a key, or of the innermost one around it that is written."""
    import yaml

    node, line = yaml.compose(raw, Loader=yaml.SafeLoader), 1
    for key in keys:
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        inner = next((pair for pair in pairs if pair[0].value == key), None)
        if inner is None:
            break
        line, node = inner[0].start_mark.line + 1, inner[1]
    return line
