"""Texts through several encoders at once: their vectors side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self, cast

from pydantic import Field, model_validator

from encoders.base import Modality, TextEncoder
from encoders.joined import JoinedSpec, JoinedTexts

FIELDS = "column of catalog.text that each tower reads of products, in their order; null: all of them; empty: all do"


class Spec(JoinedSpec):
    """Such as a network, which knows meanings, beside `hashed_text`, which knows model numbers."""

    modalities: ClassVar[frozenset[Modality]] = frozenset({"text"})

    type: Literal["joined_texts"] = "joined_texts"
    fields: tuple[str | None, ...] = Field((), description=FIELDS)

    @classmethod
    def examples(cls, tiny: Callable[[str], str]) -> Sequence[Self]:
        """See EncoderSpec.examples: without weights, and with a network of both modalities."""
        plain = {"type": "hashed_text", "dim": 64}
        model = {"type": "dual", "model": tiny("clip")}
        return [
            cls.model_validate({"towers": [plain, {**plain, "seed": 1}]}),
            cls.model_validate({"towers": [model, plain]}),
            cls.model_validate({"towers": [plain, plain], "fields": ["title", None]}),
        ]

    @model_validator(mode="after")
    def _of_texts(self) -> Self:
        self.refuse_others()
        if self.fields and len(self.fields) != len(self.towers):
            raise ValueError(f"fields: one column or null for each of the {len(self.towers)} towers")
        return self

    @property
    def text_fields(self) -> tuple[str, ...]:
        """See EncoderSpec.text_fields."""
        return tuple(dict.fromkeys(one for one in self.fields if one is not None))

    @property
    def reads_whole(self) -> bool:
        """See EncoderSpec.reads_whole."""
        return not self.text_fields or None in self.fields

    def parts_for(self, modality: Modality) -> dict[str, str]:
        """Those of its towers, and the column of each that has one."""
        columns = {f"tower {number} field": one for number, one in enumerate(self.fields, start=1) if one is not None}
        return {**super().parts_for(modality), **columns}

    def _fields(self) -> dict[str, Any]:
        columns = {"fields": list(self.fields)} if self.text_fields else {}
        return {**super()._fields(), **columns}

    def reads_tokens(self) -> tuple[Path, int] | None:
        """None where one of them reads to the end; else of the one that reads most."""
        ends = [tower.reads_tokens() for tower in self.towers]
        known = [end for end in ends if end is not None]
        return max(known, key=lambda end: end[1]) if len(known) == len(ends) else None

    def load(self, device: str) -> JoinedTexts:
        """All of them."""
        return JoinedTexts([cast(TextEncoder, one) for one in self.live(device)], self.fields)

    def light_text(self, device: str) -> TextEncoder | None:
        """Without torch where each of them can do without."""
        lights = [
            tower.light_text(device) if tower.network else cast(TextEncoder, tower.load("cpu")) for tower in self.towers
        ]
        known = [one for one in lights if one is not None]
        return JoinedTexts(known, self.fields) if len(known) == len(lights) else None
