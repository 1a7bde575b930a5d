"""Photos through several encoders at once, decoded once: their vectors side by side."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, Self, cast

from pydantic import model_validator

from encoders.base import ImageEncoder, Modality
from encoders.joined import JoinedPhotos, JoinedSpec


class Spec(JoinedSpec):
    """Such as a network beside `photo_descriptors`: what one does not see, the other may."""

    modalities: ClassVar[frozenset[Modality]] = frozenset({"image"})

    type: Literal["joined_photos"] = "joined_photos"

    @classmethod
    def examples(cls, tiny: Callable[[str], str]) -> Sequence[Self]:
        """See EncoderSpec.examples: without weights, and with a network of both modalities."""
        plain = {"type": "photo_descriptors", "dim": 64}
        model = {"type": "dual", "model": tiny("clip")}
        return [
            cls.model_validate({"towers": [plain, {**plain, "seed": 1}]}),
            cls.model_validate({"towers": [model, plain]}),
        ]

    @model_validator(mode="after")
    def _of_photos(self) -> Self:
        self.refuse_others()
        return self

    def load(self, device: str) -> JoinedPhotos:
        """All of them."""
        return JoinedPhotos([cast(ImageEncoder, one) for one in self.live(device)])
