"""Several encoders as one: their unit vectors side by side, divided by the root of their number, so that the inner
product is the mean of their cosines. What each of them counts is not decided here: the weights of a fusion say it
(fusion/members.py), or a head learns it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import numpy as np
from pydantic import Field, PlainSerializer, PlainValidator, ValidationError
from pydantic_core import PydanticCustomError

from encoders.base import (
    Encoder,
    EncoderSpec,
    ImageEncoder,
    Modality,
    Role,
    RowText,
    TextEncoder,
    TwoTowers,
    encoder_spec,
    load_member,
)
from encoders.photos.golden import PIXELS
from foundation.arrays import Photo, Vectors
from foundation.errors import InputError
from foundation.identity import VERSION, identity_of


def _member(value: Any) -> EncoderSpec:
    if isinstance(value, EncoderSpec):
        return value
    try:
        return encoder_spec(dict(value))
    except InputError as err:
        raise PydanticCustomError("spec", "{said}", {"said": err.expected}) from err
    except ValidationError as err:
        first = err.errors(include_url=False)[0]
        said = f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
        raise PydanticCustomError("spec", "{said}", {"said": said}) from err
    except (TypeError, ValueError) as err:
        raise PydanticCustomError("spec", "an encoder, a mapping with `type`", {}) from err


Member = Annotated[EncoderSpec, PlainValidator(_member), PlainSerializer(lambda spec: spec.model_dump(mode="json"))]


class JoinedSpec(EncoderSpec):
    """Two encoders of one modality or more. Its identity is made of theirs; a photo is decoded once for all, by
    Pillow.
    """

    type: str
    towers: tuple[Member, ...] = Field(min_length=2, description="two encoders or more, each with its `type`")

    @property
    def modality(self) -> Modality:
        """What it encodes."""
        (found,) = self.modalities
        return found

    @property
    def dim(self) -> int:
        """The sum of theirs."""
        return sum(tower.dim for tower in self.towers)

    @property
    def members(self) -> tuple[EncoderSpec, ...]:
        """See EncoderSpec.members."""
        return tuple(one for tower in self.towers for one in tower.members)

    @property
    def joined(self) -> tuple[EncoderSpec, ...]:
        """See EncoderSpec.joined."""
        return self.towers

    @property
    def network(self) -> bool:  # type: ignore[override]
        """Whether one of them is a network."""
        return any(tower.network for tower in self.towers)

    @property
    def cpu_only(self) -> bool:  # type: ignore[override]
        """Whether all of them are; one that is stays on the CPU where others compute elsewhere."""
        return all(tower.cpu_only for tower in self.towers)

    def photo_provenance(self) -> dict[str, str]:
        """Those of all; texts have no pixels."""
        if self.modality == "text":
            return {}
        return {name: one for tower in self.towers for name, one in tower.photo_provenance().items()}

    def parts_for(self, modality: Modality) -> dict[str, str]:
        """The parts of each under its number; pixels are the same for all."""
        found = {"type": self.type, VERSION: str(self.version)}
        for number, tower in enumerate(self.towers, start=1):
            parts = tower.parts_for(modality).items()
            found |= {name if name.startswith(PIXELS) else f"tower {number} {name}": one for name, one in parts}
        return found

    def _fields(self) -> dict[str, Any]:
        return {"type": self.type, "towers": [identity_of(tower.parts_for(self.modality)) for tower in self.towers]}

    def refuse_others(self) -> None:
        """ValueError where one of them does not encode the modality."""
        for tower in self.towers:
            if self.modality not in tower.modalities:
                raise ValueError(f"an encoder of {self.modality}, type {tower.type} is none")

    def live(self, device: str) -> list[Encoder]:
        """The tower of each that encodes the modality, on `device` if it can be there; equal ones are one."""
        each = {tower.identity: tower for tower in self.towers}
        live = {name: load_member(tower, "cpu" if tower.cpu_only else device) for name, tower in each.items()}
        loaded = [live[tower.identity] for tower in self.towers]
        by_text = self.modality == "text"
        return [
            one if not isinstance(one, TwoTowers) else one.text if by_text else one.image  # of a model of both
            for one in loaded
        ]


class JoinedTexts(TextEncoder):
    """Texts through each of several encoders; of products each reads its column of `fields`, or the whole text (None).
    A query is one text, which all of them read.
    """

    def __init__(self, towers: Sequence[TextEncoder], fields: Sequence[str | None] = ()) -> None:
        self._towers = list(towers)
        self._fields = tuple(fields) or (None,) * len(self._towers)
        self.dim = sum(tower.dim for tower in towers)

    def forward(self, texts: Sequence[str], role: Role) -> Vectors:
        """(n, dim) float32, unit rows."""
        return _beside([tower.encode(texts, role) for tower in self._towers])

    def encode_rows(self, rows: Sequence[RowText]) -> Vectors:
        """(n, dim) float32, unit rows, of products' texts: zeros where a product lacks the column of a member."""
        sides = [
            _each(tower, [row.whole if field is None else row.fields[field] for row in rows])
            for tower, field in zip(self._towers, self._fields, strict=True)
        ]
        present = np.sum([side.any(axis=1) for side in sides], axis=0)
        roots = np.sqrt(np.maximum(present, 1))[:, None]
        return np.asarray(np.concatenate(sides, axis=1) / roots, np.float32)


class JoinedPhotos(ImageEncoder):
    """Photos through each of several encoders, decoded once."""

    def __init__(self, towers: Sequence[ImageEncoder]) -> None:
        self._towers = list(towers)
        self.dim = sum(tower.dim for tower in towers)

    def prepare(self, photo: Photo) -> Any:
        """What each of them needs of a photo."""
        return tuple(tower.prepare(photo) for tower in self._towers)

    def forward(self, prepared: Sequence[Any]) -> Vectors:
        """(n, dim) float32, unit rows."""
        sides = zip(*prepared, strict=True)
        return _beside([tower.encode_prepared(side) for tower, side in zip(self._towers, sides, strict=True)])


def _each(tower: TextEncoder, texts: Sequence[str | None]) -> Vectors:
    out = np.zeros((len(texts), tower.dim), np.float32)
    there = [(row, text) for row, text in enumerate(texts) if text is not None]
    if there:
        out[[row for row, _ in there]] = tower.encode([text for _, text in there])
    return out


def _beside(vectors: Sequence[Vectors]) -> Vectors:
    return np.concatenate(vectors, axis=1) * np.float32(len(vectors) ** -0.5)
