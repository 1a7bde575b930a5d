"""The specs inside a config: which fields they have depends on their `type`, and their own modules validate them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

from encoders.base import EncoderSpec, Modality, encoder_spec, encoder_types, spec_class
from encoders.errors import InputError
from encoders.fusion.base import FusionSpec, fusion_spec, fusion_types
from index_builders.base import builder_types
from index_builders.sizing import AUTO, IndexSettings
from pipeline.config_sources import nearest

Fields = dict[str, Any]

SPECS: dict[str, tuple[str, Callable[[], list[str]]]] = {  # key of a spec -> its package and the types there
    "encoders.text": ("encoders", encoder_types),
    "encoders.image": ("encoders", encoder_types),
    "fusion": ("encoders.fusion", fusion_types),
    "index.large": ("index_builders", builder_types),  # or auto, which is no module
}


def checked_tower(modality: Modality) -> Callable[[Any], Fields | None]:
    """A validator: the fields of an encoder of `modality`, completed with their defaults, or None."""

    def checked(value: Any) -> Fields | None:
        if value is None:
            return None
        spec: EncoderSpec = _spec(value, encoder_spec, encoder_types)
        if modality not in spec.modalities:
            able = [
                name
                for name in encoder_types()
                if modality in spec_class("encoders", [name], {"type": name}).modalities
            ]
            raise PydanticCustomError(
                "modality", "an encoder of {wanted}: {able}", {"wanted": modality, "able": ", ".join(able)}
            )
        return spec.model_dump(mode="json")

    return checked


def checked_fusion(value: Any) -> Fields:
    """A validator: the fields of a fusion, completed with their defaults."""
    spec: FusionSpec = _spec(value, fusion_spec, fusion_types)
    return spec.model_dump(mode="json")


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


def fields_of(key: str, value: Fields) -> list[str]:
    """The fields that the spec at dotted `key` may have, given its `type`."""
    package, types = SPECS[key]
    if key == "index.large" and value.get("type") == AUTO:
        return ["type"]
    return list(spec_class(package, types(), value).model_fields)


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
