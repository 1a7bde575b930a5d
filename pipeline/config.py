"""The config: frozen sections, every key with its meaning, and all problems reported at once.

`load_config` lays defaults, a YAML file, the environment (`VITRINE_SECTION__KEY`) and `section.key=value` overrides
over one another and validates the result. It imports neither torch, Beam, faiss nor pyarrow: `config show` must answer
at once.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic_core import ErrorDetails

from encoders.base import EncoderSpec, encoder_spec
from encoders.fusion.base import FusionSpec, fusion_spec
from encoders.training.fusion_trainer import FusionTrainSettings
from encoders.training.trainer import TrainSettings
from index_builders.sizing import DEVICE, IndexSettings
from pipeline import config_sources as sources
from pipeline.byte_sizes import Bytes
from pipeline.config_sources import Problem, Tree, shown
from pipeline.config_specs import (
    SPECS,
    Fields,
    checked_fusion,
    checked_index,
    checked_tower,
    fields_of,
    fusion_problems,
)

Count = Annotated[int, Field(ge=1, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, strict=True)]
Name = Annotated[str, Field(min_length=1)]
Switch = Annotated[bool, Field(strict=True)]


class Section(BaseModel):
    """A frozen part of the config that refuses unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class CatalogConfig(Section):
    """The input table, its columns, and where its photos are."""

    path: Name = Field(
        description="Parquet file, folder or glob; local (relative to the current directory) or an fsspec URL"
    )
    image_root: Name | None = Field(
        None, description="folder that photo paths are relative to and stay inside; null: the catalog's folder"
    )
    columns: dict[Name, Name] = Field(
        {}, description="canonical column: its name in the file; columns not listed keep their names"
    )
    text: tuple[Name, ...] = Field(
        ("title", "description"), description="canonical columns joined, in order, for the text tower"
    )
    image: Name | None = Field(
        "image_link", description="canonical column of the first photo: path, URI, bytes or {bytes, path}"
    )
    more_images: Name | None = Field(
        None, description="canonical column of further photos, such as additional_image_link"
    )
    partition: Name | None = Field(None, description="canonical column that splits the catalog; null: one partition")
    partition_levels: Count = Field(1, description="levels of the partition column that count, as in `Fruit > Apple`")
    attributes: tuple[Name, ...] = Field(
        ("title",), description="canonical columns carried to each hit, and filtered by"
    )
    image_identity: Literal["stat", "bytes", "version"] = Field(
        "stat", description="what tells that a photo changed: path + size + mtime, its bytes, or path + version_column"
    )
    version_column: Name | None = Field(None, description="canonical column whose value changes with the photo")
    # 20 MB and 50 MP: caps under which none of 7,500 damaged or hostile photos exhausted a worker.
    max_photo_bytes: Bytes = Field(
        20_000_000, description="bytes of a photo file, such as 20MB; larger ones are rejected"
    )
    max_photo_pixels: Count = Field(
        50_000_000, description="width x height that a photo may claim; larger ones are not decoded"
    )
    max_text_chars: Count = Field(
        10_000, description="characters of cleaned text that reach the text tower; the rest is cut"
    )
    max_partitions: Count = Field(
        256, description="partitions beyond which the partition column is taken for a mistake"
    )


class EncodersConfig(Section):
    """The towers; each may be null, not both. A tower is the fields of a spec, completed with its defaults."""

    device: str = Field("cpu", pattern=DEVICE, description="where encoders run: cpu, cuda or cuda:N")
    text: Annotated[Fields | None, PlainValidator(checked_tower("text"))] = Field(
        {"type": "hashed_text", "dim": 256},
        validate_default=True,
        description="encoder of texts, by type; null: no text tower",
    )
    image: Annotated[Fields | None, PlainValidator(checked_tower("image"))] = Field(
        {"type": "photo_descriptors"},
        validate_default=True,
        description="encoder of photos, by type; null: no image tower",
    )

    @property
    def text_spec(self) -> EncoderSpec | None:
        """The spec that `text` describes."""
        return None if self.text is None else encoder_spec(self.text)

    @property
    def image_spec(self) -> EncoderSpec | None:
        """The spec that `image` describes."""
        return None if self.image is None else encoder_spec(self.image)


class ShardsConfig(Section):
    """How the catalog is cut into units of work: whole row groups, or pieces of 32,768 rows of a larger one."""

    unit_rows: Count = Field(1_024, description="rows at which a unit takes no further row group; at most 32,768 count")
    max_unit_bytes: Bytes = Field(
        268_435_456,
        description="bytes of a unit's used columns once decoded, such as 256MiB; more are refused, over 1 GiB always",
    )
    towers: Switch = Field(
        True, description="keep the vectors of both towers beside the embedding, for whoever reads shards"
    )


class GatesConfig(Section):
    """What a snapshot must satisfy to be published. Shares are of 1."""

    max_reject_share: Share = Field(0.05, description="rejected rows, share of the rows read")
    max_degraded_share: Share = Field(
        0.3, description="rows indexed without one of their modalities, share of the rows embedded"
    )
    max_row_drop: Share = Field(0.3, description="rows fewer than in the parent snapshot, share of the parent's")
    min_recall: Share = Field(0.9, description="measured recall@k of each partition's index")


class StoreConfig(Section):
    """Where snapshots are published."""

    path: Name = Field(description="folder of the store, relative to the current directory; made where it is absent")


class RunConfig(Section):
    """How the machine is used; no value here changes a result."""

    workers: Count = Field(
        2, description="threads of the local runner, each with a unit in memory; they share one encoder"
    )
    photo_threads: Count = Field(2, description="threads that fetch and decode photos, in each worker")
    part_rows: Count = Field(
        262_144,
        description="rows added to an index at a time, up to whole blocks of 16,384: larger partitions are built as "
        "parts, in parallel, and merged on disk",
    )
    memory: Bytes | None = Field(
        None,
        description="bytes of memory that a run may hold, such as 4GB: less is done at once until it fits, or it is "
        "refused; null: any",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level that is logged")


class Config(Section):
    """Everything that decides a run."""

    catalog: CatalogConfig
    encoders: EncodersConfig = Field(default_factory=EncodersConfig)
    fusion: Annotated[Fields, PlainValidator(checked_fusion)] = Field(
        {"type": "concat"}, validate_default=True, description="how towers become one embedding, by type"
    )
    shards: ShardsConfig = ShardsConfig()
    index: Annotated[IndexSettings, AfterValidator(checked_index)] = IndexSettings()
    gates: GatesConfig = GatesConfig()
    store: StoreConfig
    run: RunConfig = RunConfig()
    train: TrainSettings = TrainSettings()  # of `vitrine train` alone: it decides nothing of a run
    train_fusion: FusionTrainSettings = FusionTrainSettings()  # nor does this, of `vitrine train fusion`

    @property
    def fusion_spec(self) -> FusionSpec:
        """The spec that `fusion` describes."""
        return fusion_spec(self.fusion)


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
        section, said = field.annotation, field.description or ""
    return said


# --- inside ---


def _validated(tree: Tree, origins: dict[str, str], problems: list[Problem], untrained: bool) -> Loaded:
    problems = [*problems, *_cross_problems(tree), *fusion_problems(tree, untrained)]
    try:
        config = Config.model_validate(tree)
    except ValidationError as err:
        problems += [_problem(error, tree, origins) for error in err.errors(include_url=False)]
        raise sources.refuse(problems) from err
    if problems:
        raise sources.refuse(problems)
    keys = [key for key, _ in sources.leaves(config.model_dump(mode="json"))]
    return Loaded(config, {key: sources.origin_of(key, origins) for key in keys})


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
    if versioned and catalog.get("version_column") is None:
        fix = "name the column, or set catalog.image_identity=stat"
        expected = "a column, because catalog.image_identity is version"
        problems.append(Problem("catalog.version_column", "null", expected, fix))
    return problems


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
        section = section.model_fields[part].annotation if _is_model(section) and part in section.model_fields else None
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


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _place(origin: str) -> str:
    return f"the {origin}" if origin == sources.COMMAND_LINE or origin.startswith("environment ") else origin
