"""Queries that a user lists in a file: texts, photos, or both."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from encoders.photos.paths import is_web
from foundation.errors import InputError


@dataclass(frozen=True)
class Question:
    """One query: a text, a photo, or both; neither where it asks by products alone. `name` is its query_id, or what was
    asked.
    """

    name: str
    text: str | None
    image: str | None

    @property
    def title(self) -> str:
        """What is asked, for people: the text, the photo's file name, or both; else the name."""
        return " + ".join(part for part in (self.text, self.image and Path(self.image).name) if part) or self.name


def read_questions(path: Path, option: str = "--queries") -> list[Question]:
    """The rows of the queries file that `option` names, in order; photo paths are relative to its folder, URLs stay."""
    from pipeline.catalog.user_tables import user_table  # a search by --text or --image needs none of it

    table, columns = user_table(path, option, ("query_id", "text", "image"))
    asking = [field for field in table.schema if field.name in ("text", "image")]
    if not asking:
        raise InputError(
            "a column text or image", f"{path} with {', '.join(columns)}", "call the columns text and image"
        )
    wrong = [f"{field.name}: {field.type}" for field in asking if not _is_text(field.type)]
    if wrong:
        raise InputError("text and image as strings, image the path of a photo", ", ".join(wrong), "cast the columns")
    if not table.num_rows:
        raise InputError("at least one query", f"{path} without rows", "ask for something")
    asked = []
    for number, row in enumerate(table.to_pylist()):
        text, image = row.get("text"), row.get("image")
        if text is None and image is None:
            raise InputError("a text or a photo in each row", f"neither in row {number} of {path}", "leave the row out")
        name = str(row.get("query_id") or text or image)
        asked.append(Question(name, text, image if image is None or is_web(image) else str(path.parent / image)))
    return asked


def _is_text(kind: pa.DataType) -> bool:
    kinds = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_null)
    return any(check(kind) for check in kinds)
