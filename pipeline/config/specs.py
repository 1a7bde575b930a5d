"""The specs inside a config: which fields they have depends on their `type`, and their own modules validate them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from pydantic import BaseModel, PlainSerializer, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from encoders.base import EncoderSpec, Modality, encoder_class, encoder_spec, encoder_types
from encoders.fusion.base import FusionSpec, fusion_class, fusion_spec, fusion_types
from encoders.fusion.load import refuse_fields
from encoders.fusion.members import refuse_count
from encoders.towers import Tower
from foundation.errors import InputError
from foundation.metric import Metric
from index_builders.base import builder_class
from index_builders.settings import AUTO, IndexSettings
from pipeline.config.layers import Tree, nearest
from pipeline.config.yaml_files import Problem, shown

Fields = dict[str, Any]

SPECS: dict[str, Callable[[Any], type[BaseModel]]] = {  # key of a spec -> its class, by its `type`
    "encoders.text": encoder_class,
    "encoders.image": encoder_class,
    "fusion": fusion_class,
    "index.large": builder_class,  # or auto, which is no module
}


def checked_tower(modality: Modality) -> Callable[[Any], EncoderSpec | None]:
    """A validator: the spec of an encoder of `modality`, or None."""

    def checked(value: Any) -> EncoderSpec | None:
        if value is None:
            return None
        spec: EncoderSpec = _spec(value, encoder_spec, encoder_types)
        if modality not in spec.modalities:
            able = [name for name in encoder_types() if modality in encoder_class(name).modalities]
            raise PydanticCustomError(
                "modality", "an encoder of {wanted}: {able}", {"wanted": modality, "able": ", ".join(able)}
            )
        return spec

    return checked


def checked_fusion(value: Any) -> FusionSpec:
    """A validator: the spec of a fusion."""
    spec: FusionSpec = _spec(value, fusion_spec, fusion_types)
    return spec


def _fields(spec: EncoderSpec | FusionSpec | None) -> Fields | None:
    return None if spec is None else spec.model_dump(mode="json")


AS_FIELDS = PlainSerializer(_fields)  # a spec in a config is written as its fields, completed with their defaults


def checked_index(settings: IndexSettings) -> IndexSettings:
    """`settings` after a trial of `large`, whose fields depend on its `type`."""
    try:
        settings.choose(rows=10**9, dim=256)
    except InputError as err:
        wrong = [
            InitErrorDetails(
                type=PydanticCustomError("spec", "{said}", {"said": err.expected}), loc=("large",), input=settings.large
            )
        ]
    except ValidationError as err:
        wrong = [
            InitErrorDetails(
                type=PydanticCustomError(line["type"], "{said}", {"said": line["msg"]}),
                loc=("large", *line["loc"]),
                input=line["input"],
            )
            for line in err.errors(include_url=False)
        ]
    else:
        return settings
    raise ValidationError.from_exception_data("index", wrong)


def fusion_problems(tree: Tree, untrained: bool) -> list[Problem]:
    """What the fusion of a raw tree lacks: towers that it needs, states of them, or, unless `untrained`, its training;
    and a metric that its items are not made for.

    Nothing is told of specs that are wrong in themselves: that is told elsewhere.
    """
    fusion: FusionSpec | None = _parsed(tree.get("fusion"), fusion_spec)
    encoders = tree.get("encoders")
    if fusion is None or not isinstance(encoders, dict):
        return []
    problems = [
        *_tower_problems(fusion, encoders),
        *_weight_problems(fusion, encoders),
        *_field_problems(fusion, encoders, tree.get("catalog")),
    ]
    if fusion.learned and getattr(fusion, "model", None) is None and not untrained:
        fix = "`vitrine train fusion -c CONFIG --out FOLDER` makes one; then set fusion.model=FOLDER"
        problems.append(Problem("fusion.model", "null", f"the folder of a trained {fusion.type}", fix))
    return [*problems, *_metric_problems(fusion, encoders, tree.get("index"))]


def _metric_problems(fusion: FusionSpec, encoders: Tree, index: Any) -> Iterator[Problem]:
    """Of two towers, items that lack a modality can be shorter: cosine and L2 would put these first."""
    metric = index.get("metric") if isinstance(index, dict) else None
    both = all(encoders.get(modality) is not None for modality in ("text", "image"))
    if both and not fusion.unit_items and metric in (Metric.COSINE, Metric.L2):
        expected = (
            f"{Metric.INNER_PRODUCT}, because fusion.type is {fusion.type}: its items are shorter where a modality is "
            f"missing, and {metric} would put them first"
        )
        able = ", ".join(name for name in fusion_types() if fusion_class(name).unit_items)
        fix = f"set index.metric={Metric.INNER_PRODUCT}, or a fusion whose items are of unit length: {able}"
        yield Problem("index.metric", shown(metric), expected, fix)


def _tower_problems(fusion: FusionSpec, encoders: Tree) -> Iterator[Problem]:
    for modality in sorted(fusion.needs):
        key, value = f"encoders.{modality}", encoders.get(modality)
        spec: EncoderSpec | None = _parsed(value, encoder_spec)
        if value is None and encoders.get("text" if modality == "image" else "image") is not None:
            expected = f"an encoder, because fusion.type is {fusion.type}"
            yield Problem(key, "null", expected, "name one, or set fusion.type=concat, which works with one tower")
        elif spec is not None and fusion.reads_states and not spec.gives_states:
            kinds = {name: encoder_class(name) for name in encoder_types()}
            able = [name for name, kind in kinds.items() if kind.gives_states and modality in kind.modalities]
            expected = f"an encoder with states of tokens or patches, which {fusion.type} reads: {', '.join(able)}"
            fix = "choose one of these, or set fusion.type=transformer, which reads vectors only"
            yield Problem(f"{key}.type", shown(spec.type), expected, fix)


def _weight_problems(fusion: FusionSpec, encoders: Tree) -> Iterator[Problem]:
    """Weights of towers that are not joined, or of more or fewer."""
    given: tuple[tuple[Modality, tuple[float, ...] | None], ...]
    given = (("text", fusion.text_weights), ("image", fusion.image_weights))
    for modality, weights in given:
        value = encoders.get(modality)
        spec: EncoderSpec | None = _parsed(value, encoder_spec)
        if weights is None or (value is not None and spec is None):
            continue
        try:
            refuse_count(len(weights), None if spec is None else len(spec.joined), modality)
        except InputError as err:
            key = f"fusion.{modality}_weights"
            yield Problem(key, err.came, err.expected.removeprefix(f"{key}: "), err.fix)


def _field_problems(fusion: FusionSpec, encoders: Tree, catalog: Any) -> Iterator[Problem]:
    """Columns that a text tower reads by themselves and the catalog has not, or that none of its members reads."""
    text: EncoderSpec | None = _parsed(encoders.get("text"), encoder_spec)
    columns = catalog.get("text") if isinstance(catalog, dict) else None
    if text is None or not text.text_fields or not isinstance(columns, list | tuple):
        return
    key = "encoders.text.fields"
    for name in text.text_fields:
        if name not in columns:
            expected = f"columns of catalog.text: {', '.join(map(str, columns))}"
            yield Problem(key, shown(name), expected, f"name one of these, or add {name} to catalog.text")
    unread = [] if text.reads_whole else [name for name in columns if name not in text.text_fields]
    if unread:
        expected = "each column of catalog.text read by a tower, or one tower that reads the whole text (null)"
        fix = f"add a tower for {', '.join(map(str, unread))}, put null for one, or take it out of catalog.text"
        yield Problem(key, f"none reads {', '.join(map(str, unread))}", expected, fix)
    try:
        refuse_fields(fusion, Tower(text.dim, "", members=tuple(one.dim for one in text.joined), by_field=True))
    except InputError as err:
        yield Problem("fusion", err.came, err.expected, err.fix)


def _parsed(value: Any, parse: Callable[[Fields], Any]) -> Any:
    """The spec that `value` describes; None where it describes none."""
    try:
        return parse(value) if isinstance(value, dict) else None
    except (InputError, ValidationError):
        return None


def fields_of(key: str, value: Fields) -> list[str]:
    """The fields that the spec at dotted `key` may have, given its `type`."""
    if key == "index.large" and value.get("type") == AUTO:
        return ["type"]
    return list(SPECS[key](value.get("type")).model_fields)


def _spec(value: Any, parse: Callable[[Fields], Any], types: Callable[[], list[str]]) -> Any:
    """The spec that mapping `value` describes; problems keep their own keys, to which pydantic adds the outer ones."""
    if not isinstance(value, dict):
        raise PydanticCustomError("spec", "a mapping with `type`: {types}", {"types": ", ".join(types())})
    try:
        return parse(value)
    except InputError as err:
        near = nearest(str(value.get("type")), types())
        said = f"{err.expected}; did you mean {near}?" if near else err.expected
        raise PydanticCustomError("spec", "{said}", {"said": said}) from err
