"""Texts through several encoders at once: their vectors side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, Literal, Self, cast

from pydantic import model_validator

from encoders.base import Modality, TextEncoder
from encoders.joined import JoinedSpec, JoinedTexts


class Spec(JoinedSpec):
    """Such as a network, which knows meanings, beside `hashed_text`, which knows model numbers."""

    modalities: ClassVar[frozenset[Modality]] = frozenset({"text"})

    type: Literal["joined_texts"] = "joined_texts"

    @classmethod
    def examples(cls, tiny: Callable[[str], str]) -> Sequence[Self]:
        """See EncoderSpec.examples: without weights, and with a network of both modalities."""
        plain = {"type": "hashed_text", "dim": 64}
        model = {"type": "dual", "model": tiny("clip")}
        return [
            cls.model_validate({"towers": [plain, {**plain, "seed": 1}]}),
            cls.model_validate({"towers": [model, plain]}),
        ]

    @model_validator(mode="after")
    def _of_texts(self) -> Self:
        self.refuse_others()
        return self

    def reads_tokens(self) -> tuple[Path, int] | None:
        """None where one of them reads to the end; else of the one that reads most."""
        ends = [tower.reads_tokens() for tower in self.towers]
        known = [end for end in ends if end is not None]
        return max(known, key=lambda end: end[1]) if len(known) == len(ends) else None

    def load(self, device: str) -> JoinedTexts:
        """All of them."""
        return JoinedTexts([cast(TextEncoder, one) for one in self.live(device)])

    def light_text(self, device: str) -> TextEncoder | None:
        """Without torch where each of them can do without."""
        lights = [
            tower.light_text(device) if tower.network else cast(TextEncoder, tower.load("cpu")) for tower in self.towers
        ]
        known = [one for one in lights if one is not None]
        return JoinedTexts(known) if len(known) == len(lights) else None
