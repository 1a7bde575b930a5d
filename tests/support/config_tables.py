"""The tables of docs/reference/config.md that the code itself gives; `python -m tests.support.config_tables` writes
those of the types.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
from collections.abc import Iterator
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from encoders.base import encoder_class, encoder_types
from encoders.fusion.base import FusionSpec, fusion_class, fusion_types
from index_builders.base import BuilderSpec, builder_class, builder_types
from pipeline.config.load import Config
from tests.support.places import ROOT

PAGE = ROOT / "docs" / "reference" / "config.md"
TYPES = re.compile(r"(?<=<!-- types -->\n).*?(?=<!-- /types -->)", re.DOTALL)


def section_tables() -> str:
    """Those of the sections."""
    parts = []
    for name, field in Config.model_fields.items():
        annotation: Any = field.annotation
        section: Any = next(filter(None, get_args(annotation)), annotation) if field.default is None else annotation
        if isinstance(section, type) and issubclass(section, BaseModel) and not issubclass(section, FusionSpec):
            null = f"Null by default. {field.description}.\n\n" if section is not annotation else ""
            parts.append(f"### {name}\n\n{null}{_table(section, f'{name}.')}")
        else:
            parts.append(f"### {name}\n\n| key | default | meaning |\n|---|---|---|\n{_line(name, field, 'required')}")
    return "\n\n".join(parts)


def type_tables() -> str:
    """Those of the types, each under what its module says of itself first."""
    return "\n" + "".join(f"### type: {name}\n\n{_about(spec)}\n\n{_table(spec, '')}\n\n" for name, spec in _specs())


def _specs() -> Iterator[tuple[str, type[BaseModel]]]:
    yield from ((name, encoder_class(name)) for name in encoder_types())
    yield from ((name, fusion_class(name)) for name in fusion_types())
    yield from ((name, builder_class(name)) for name in builder_types())


def _about(spec: type[BaseModel]) -> str:
    """The first paragraph of a type's module."""
    module = inspect.getdoc(sys.modules[spec.__module__])
    assert module, spec
    return module.split("\n\n")[0]


def _table(section: type[BaseModel], prefix: str) -> str:
    required = "from the partition's size" if issubclass(section, BuilderSpec) else "required"
    lines = [line for key, field in section.model_fields.items() for line in _lines(key, field, prefix, required)]
    head = "| key | default | meaning |\n|---|---|---|\n"
    return head + "\n".join(lines) if lines else "No fields."


def _lines(key: str, field: FieldInfo, prefix: str, required: str) -> Iterator[str]:
    """The lines of a field: of a section within a section those of its own."""
    inside = field.annotation
    if prefix and isinstance(inside, type) and issubclass(inside, BaseModel) and not issubclass(inside, BuilderSpec):
        for name, one in inside.model_fields.items():
            yield from _lines(name, one, f"{prefix}{key}.", required)
    elif prefix or key != "type":
        yield _line(prefix + key, field, required)


def _line(key: str, field: FieldInfo, required: str) -> str:
    if field.is_required():
        default = required
    else:
        value = field.get_default(call_default_factory=False)
        default = f"`{json.dumps(value, ensure_ascii=False)}`"
    choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
    said = (field.description or "").replace("|", "\\|")
    return f"| `{key}` | {default} | {said}{': ' if choices else ''}{', '.join(f'`{one}`' for one in choices)} |"


if __name__ == "__main__":
    PAGE.write_text(TYPES.sub(lambda found: type_tables(), PAGE.read_text()))
