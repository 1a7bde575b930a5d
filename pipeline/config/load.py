"""The config: frozen sections, every key with its meaning, and all problems reported at once.

`load_config` lays defaults, a YAML file, the environment (`VITRINE_SECTION__KEY`) and `section.key=value` overrides
over one another and validates the result. It imports neither torch, Beam, faiss nor pyarrow: `config show` must answer
at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, NamedTuple, get_args

from pydantic import AfterValidator, BaseModel, Field, PlainValidator, ValidationError
from pydantic_core import ErrorDetails

from encoders.fusion.base import FusionSpec
from encoders.training.fusion_trainer import FusionTrainSettings
from encoders.training.trainer import TrainSettings
from index_builders.settings import IndexSettings
from pipeline.config import layers as sources
from pipeline.config.duplicates import DuplicatesConfig
from pipeline.config.golden import GoldenConfig
from pipeline.config.layers import Tree
from pipeline.config.lexical import LexicalConfig
from pipeline.config.paths import cache_problems, path_problems, unwritable_problems
from pipeline.config.run_section import RunConfig
from pipeline.config.search_section import SearchConfig, understood_problems
from pipeline.config.section import Section
from pipeline.config.sections import (
    CatalogConfig,
    Embedding,
    EncodersConfig,
    GatesConfig,
    Indexing,
    RunSettings,
    ShardsConfig,
    StoreConfig,
)
from pipeline.config.specs import AS_FIELDS, SPECS, checked_fusion, checked_index, fields_of, fusion_problems
from pipeline.config.yaml_files import Problem, shown


class Config(Section):
    """Everything that decides a run."""

    catalog: CatalogConfig
    encoders: EncodersConfig = Field(default_factory=EncodersConfig)
    fusion: Annotated[FusionSpec, PlainValidator(checked_fusion), AS_FIELDS] = Field(
        {"type": "concat"}, validate_default=True, description="how towers become one embedding, by type"
    )
    shards: ShardsConfig = ShardsConfig()
    index: Annotated[IndexSettings, AfterValidator(checked_index)] = IndexSettings()
    lexical: LexicalConfig | None = Field(
        None, description="What is searched by its words, beside vectors; null: nothing"
    )
    duplicates: DuplicatesConfig | None = Field(
        None, description="Which products count as one, for searches that show one of each; null: none are looked for"
    )
    gates: GatesConfig = GatesConfig()
    golden: GoldenConfig = GoldenConfig()
    search: SearchConfig = SearchConfig()
    store: StoreConfig
    run: RunConfig = RunConfig()
    train: TrainSettings = TrainSettings()  # of `vitrine train` alone: it decides nothing of a run
    train_fusion: FusionTrainSettings = FusionTrainSettings()  # nor does this, of `vitrine train fusion`

    @property
    def settings(self) -> RunSettings:
        """What a run goes by, for those below the commands."""
        lexical, catalog = self.lexical, self.catalog
        if lexical is not None:
            lexical = lexical.model_copy(update={"fields": lexical.weights(catalog.text)})
            catalog = catalog.searching(lexical.fields)
        if self.encoders.text is not None and self.encoders.text.text_fields:
            catalog = catalog.reading(self.encoders.text.text_fields)
        embedding = Embedding(catalog, self.encoders, self.fusion, self.shards)
        indexing = Indexing(embedding, self.index, lexical, self.duplicates)
        return RunSettings(indexing, self.gates, self.run, self.store.path, self.golden, self.search)


@dataclass(frozen=True)
class Loaded:
    """A valid config, and of each key the origin: `default`, the YAML's path, `environment X` or `command line`."""

    config: Config
    origins: dict[str, str]


class Row(NamedTuple):
    """One line of `config show`."""

    key: str
    value: Any
    origin: str


def load_config(
    path: str | None,
    overrides: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
    untrained: bool = False,
) -> Loaded:
    """The config of the YAML at `path`, the environment (by default the process's) and `overrides`; the later wins.

    InputError lists everything that is wrong, in whichever layer. With `untrained`, a learned fusion need not name its
    folder yet: it is about to be trained.
    """
    tree, origins = _defaults(Config), dict[str, str]()
    problems: list[Problem] = []
    layers: list[tuple[str, Tree]] = []
    if path is not None:
        layer, wrong = sources.read_yaml(path)
        layers, problems = [(path, layer)], wrong
    unread = bool(problems) and not layers[0][1]
    for more, wrong in (
        sources.read_environment(os.environ if env is None else env),
        sources.read_overrides(overrides),
    ):
        layers, problems = layers + more, problems + wrong
    for origin, layer in layers:
        if isinstance(layer.get("golden"), str):  # in short
            layer["golden"] = {"path": layer["golden"]}
        sources.merge(tree, layer, origin, origins, frozenset(SPECS))
    if unread:  # what the file would have set is unknown: complaints about missing keys would mislead
        raise sources.refuse(problems)
    return _validated(tree, origins, problems, untrained)


def describe(loaded: Loaded) -> list[Row]:
    """Every key of the effective config, in the order of the sections, with its value and origin."""
    flat = sources.leaves(loaded.config.model_dump(mode="json"))
    return [Row(key, value, loaded.origins[key]) for key, value in flat]


def meaning(key: str) -> str:
    """What dotted `key` means, with its unit; empty where it belongs to a spec."""
    section: Any = Config
    said = ""
    for part in key.split("."):
        field = section.model_fields.get(part) if _is_model(section) else None
        if field is None:
            return ""
        section, said = _section_of(field.annotation), field.description or ""
    return said


# --- inside ---


def _validated(tree: Tree, origins: dict[str, str], problems: list[Problem], untrained: bool) -> Loaded:
    unwritable = list(unwritable_problems(tree))
    apart = [] if unwritable else _overlaps(tree)
    problems = [*problems, *_cross_problems(tree), *unwritable, *apart, *fusion_problems(tree, untrained)]
    try:
        config = Config.model_validate(tree)
    except ValidationError as err:
        problems += [_problem(error, tree, origins) for error in err.errors(include_url=False)]
        raise sources.refuse(problems) from err
    if problems:
        raise sources.refuse(problems)
    keys = [key for key, _ in sources.leaves(config.model_dump(mode="json"))]
    return Loaded(config, {key: sources.origin_of(key, origins) for key in keys})


def _declared_problems(catalog: Tree) -> list[Problem]:
    """Prices and numbers that are declared of columns which hits do not carry, or twice."""
    problems = list[Problem]()
    for key in ("prices", "numbers"):
        if undeclared := [name for name in _names(catalog, key) if name not in _names(catalog, "attributes")]:
            fix = f"add to catalog.attributes: {', '.join(undeclared)}"
            expected = f"columns of catalog.attributes, because {key} are carried to hits"
            problems.append(Problem(f"catalog.{key}", shown(undeclared), expected, fix))
    if both := [name for name in _names(catalog, "numbers") if name in _names(catalog, "prices")]:
        expected = "columns that are not in catalog.prices, whose amounts are numbers already"
        problems.append(Problem("catalog.numbers", shown(both), expected, f"leave out {', '.join(both)}"))
    return problems


def _cross_problems(tree: Tree) -> list[Problem]:
    """Combinations that cannot work. They are read from the raw tree, so that they are told beside other problems."""
    catalog, encoders = tree["catalog"], tree["encoders"]
    if not isinstance(catalog, dict) or not isinstance(encoders, dict):
        return []
    text, image = encoders.get("text") is not None, encoders.get("image") is not None
    photos, versioned = catalog.get("image") is not None, catalog.get("image_identity") == "version"
    problems = []
    if not text and not image:
        fix = "name an encoder: encoders.text.type=hashed_text"
        problems.append(Problem("encoders.text", "null, and encoders.image null", "at least one encoder", fix))
    if image and not photos:
        fix = "name the column, or set encoders.image=null"
        problems.append(
            Problem("catalog.image", "null", "the column of the photos, because encoders.image is set", fix)
        )
    if photos and not image and text:
        fix = "set catalog.image=null, or name an encoder"
        problems.append(
            Problem("encoders.image", "null", "an encoder, because catalog.image names the column of the photos", fix)
        )
    if text and not catalog.get("text"):
        fix = "name columns, such as [title], or set encoders.text=null"
        problems.append(
            Problem("catalog.text", shown(catalog.get("text")), "a column, because encoders.text is set", fix)
        )
    problems += _declared_problems(catalog)
    duplicates = tree.get("duplicates")
    group = duplicates.get("group") if isinstance(duplicates, dict) else None
    if isinstance(group, str) and group not in _names(catalog, "attributes"):
        expected = "a column of catalog.attributes, because shards keep these"
        problems.append(Problem("duplicates.group", group, expected, f"add to catalog.attributes: {group}"))
    lexical = tree.get("lexical")
    if isinstance(lexical, dict) and not lexical.get("fields") and not catalog.get("text"):
        fix = "name columns, as lexical.fields={title: 2.0}, or set lexical=null"
        problems.append(
            Problem("lexical.fields", shown(lexical.get("fields")), "a column, because catalog.text has none", fix)
        )
    problems += understood_problems(tree["search"], _names(catalog, "attributes"))
    if versioned and catalog.get("version_column") is None:
        fix = "name the column, or set catalog.image_identity=stat"
        expected = "a column, because catalog.image_identity is version"
        problems.append(Problem("catalog.version_column", "null", expected, fix))
    return problems


def _names(catalog: Tree, key: str) -> list[str]:
    listed = catalog.get(key)
    return [one for one in listed if isinstance(one, str)] if isinstance(listed, list | tuple) else []


def _overlaps(tree: Tree) -> list[Problem]:
    """Whether catalog, photos and store lie apart, as far as they are named."""
    catalog, store = tree["catalog"], tree["store"]
    if not isinstance(catalog, dict) or not isinstance(store, dict):
        return []
    where, root, kept = catalog.get("path"), catalog.get("image_root"), store.get("path")
    if not isinstance(where, str) or not isinstance(kept, str) or not where or not kept:
        return []
    problems = list(path_problems(where, root if isinstance(root, str) and root else None, kept))
    cache = catalog.get("photo_cache")
    return [*problems, *(cache_problems(cache, where, kept) if isinstance(cache, str) and cache else ())]


def _problem(error: ErrorDetails, tree: Tree, origins: Mapping[str, str]) -> Problem:
    """One pydantic error in the words of a user: dotted key, the value and its origin, what fits, what to do."""
    key = ".".join(str(part) for part in error["loc"])
    origin = sources.origin_of(key, origins)
    came = f"{shown(error['input'])} ({origin})"
    if error["type"] == "missing":
        parent = key.rpartition(".")[0]
        said = meaning(key) or f"a value; {parent or 'the config'} cannot be without it"
        return Problem(
            key,
            "nothing",
            said,
            f"add `{key.rpartition('.')[2]}:` to the file, {key}=... to the command, or name the file with -c",
        )
    if error["type"] == "extra_forbidden":
        return _unknown(key, came, tree, origin)
    said = error["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    if error["type"] == "string_pattern_mismatch":
        said = "one of what this key may be"
    if error["type"] == "tuple_type":
        said = "a list, such as [title]"
    if error["type"] in ("model_type", "dict_type"):
        said = "a section: lines of `key: value`"
    described = f"{said} ({meaning(key)})" if meaning(key) else said
    return Problem(key, came, described, _fix(key, error, origin))


def _fix(key: str, error: ErrorDetails, origin: str) -> str:
    if error["type"] == "string_type" and isinstance(error["input"], int | float):
        quoted = shown(str(error["input"]))
        return (
            f"quote it: {key}='{quoted}'"
            if origin == sources.COMMAND_LINE
            else f"quote it in {_place(origin)}: {quoted}"
        )
    return "give a value that fits" if origin == sources.DEFAULT else f"give a value that fits, in {_place(origin)}"


def _unknown(key: str, came: str, tree: Tree, origin: str) -> Problem:
    parent, _, last = key.rpartition(".")
    siblings = _known_keys(tree, parent)
    near = sources.nearest(last, siblings)
    guess = f"{parent}.{near}".lstrip(".") if near else _elsewhere(last)
    fix = f"did you mean {guess}?" if guess else f"remove it; known here: {', '.join(siblings)}"
    if guess and origin.startswith("environment "):
        fix = f"did you mean {sources.ENV_PREFIX}{guess.upper().replace('.', '__')}?"
    return Problem(key, came, f"a key of {parent or 'the config'}", fix)


def _known_keys(tree: Tree, parent: str) -> list[str]:
    """The keys that may stand in section or spec `parent`."""
    if parent in SPECS:
        value: Any = tree
        for part in parent.split("."):
            value = value[part]
        return fields_of(parent, value)
    section: Any = Config
    for part in parent.split(".") if parent else []:
        known = _is_model(section) and part in section.model_fields
        section = _section_of(section.model_fields[part].annotation) if known else None
    return list(section.model_fields) if _is_model(section) else []


def _elsewhere(last: str) -> str | None:
    """The key of another section that bears the name `last`."""
    known = [key for key, _ in sources.leaves(_defaults(Config, required=True))]
    return next((key for key in known if key.rpartition(".")[2] == last), None)


def _defaults(section: type[BaseModel], required: bool = False) -> Tree:
    """The tree of defaults; keys that have none are left out, or with `required` are null."""
    tree: Tree = {}
    for name, field in section.model_fields.items():
        if _is_model(field.annotation):
            tree[name] = _defaults(field.annotation, required)  # type: ignore[arg-type]
        elif not field.is_required():
            default = field.get_default(call_default_factory=False)
            tree[name] = dict(default) if isinstance(default, dict) else default
        elif required:
            tree[name] = None
    return tree


def _section_of(annotation: Any) -> Any:
    """The section that a key holds, also one that may be null."""
    return next(filter(_is_model, get_args(annotation)), annotation)


def _is_model(annotation: Any) -> bool:
    """Whether it is a section, whose keys are known. Those of a spec depend on its type."""
    return isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation is not FusionSpec


def _place(origin: str) -> str:
    return f"the {origin}" if origin == sources.COMMAND_LINE or origin.startswith("environment ") else origin
