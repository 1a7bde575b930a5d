"""What every fusion is: both sides, items and queries, in one class, so that a query means the right thing against
items.

To add a fusion, add `encoders/fusion/<type>.py` with a class `Spec(FusionSpec)`; `type: <type>` in a config names the
file, and all that is to be known of the type stands there, also a small example of it for tests. A learned one has a
`Spec(LearnedSpec)` of `encoders/fusion/learned/`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, field_validator, model_serializer

import encoders.fusion
from encoders.base import Encoded, Modality
from encoders.fusion.fields import FieldsMissing
from encoders.fusion.members import shares_of
from encoders.heads.folder import HeadFolder
from encoders.towers import Tower
from foundation.arrays import Mask, Vectors
from foundation.identity import identity_of, parts_of
from foundation.named_types import spec_class, types_in

WEIGHTS = "what each tower of encoders.{}, one that joins several, counts, in their order; null: all the same"
TEXT_MISSING = "how a product is scored that lacks a column which a text tower reads; null: the run measures it"
HEAD = "folder of `vitrine train head` that vectors of {} go through before they are fused; null: none"


class States(NamedTuple):
    """What stands in the towers before pooling, row by row: (length, s) arrays of floats. An absent row's are not read;
    an absent side of a query is empty.
    """

    text: Sequence[npt.NDArray[np.floating[Any]]]
    image: Sequence[npt.NDArray[np.floating[Any]]]


_Weight = Annotated[float, Field(ge=0, le=1e6)]
LEFT_OUT = (
    "text_weights",
    "image_weights",
    "text_missing",
    "text_head",
    "image_head",
)  # of a fusion's fields, where they are null


class FusionSpec(BaseModel):
    """What makes two fusions the same: frozen, its fields are its YAML keys, hashed into fingerprints."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    version: ClassVar[int] = 1
    # Fields that say where files lie: their content decides, not these.
    places: ClassVar[frozenset[str]] = frozenset({"text_head", "image_head"})
    learned: ClassVar[bool] = False  # whether `vitrine train fusion` makes it
    reads_states: ClassVar[bool] = False  # whether `load` gives a StatesFusion
    # Whether items are of length 1, whatever is missing: only then do cosine and L2 rank as the inner product does.
    unit_items: ClassVar[bool] = False
    later: ClassVar[frozenset[str]] = frozenset()  # fields that came later: null, they leave the identity as it was

    type: str
    text_weights: tuple[_Weight, ...] | None = Field(None, description=WEIGHTS.format("text"))
    image_weights: tuple[_Weight, ...] | None = Field(None, description=WEIGHTS.format("image"))
    text_missing: FieldsMissing | None = Field(None, description=TEXT_MISSING)
    text_head: str | None = Field(None, description=HEAD.format("texts"))
    image_head: str | None = Field(None, description=HEAD.format("photos"))

    @classmethod
    def examples(cls, dim: int, trained: Callable[[str], str]) -> Sequence[Self]:
        """Small specs, one for each way in which its code differs, for two towers of length `dim`, which tests put to
        their proofs; by default one of the defaults. `trained` gives a folder of drawn weights, by the name of a type.
        """
        return [cls.model_validate({})]

    @property
    def needs(self) -> frozenset[Modality]:
        """The towers that must be there, as far as that is known without looking at them."""
        return frozenset()

    def provenance(self) -> dict[str, str]:
        """What else decides the numbers: digests of weights."""
        return {}

    @property
    def parts(self) -> dict[str, str]:
        """What `identity` is made of, by name."""
        return parts_of(self._counted(), self.version, {**self.provenance(), **self._head_digests()})

    @property
    def heads(self) -> dict[Modality, HeadFolder]:
        """The folders of its heads, by tower; InputError for one that cannot be used."""
        names: tuple[tuple[Modality, str | None], ...] = (("text", self.text_head), ("image", self.image_head))
        return {modality: HeadFolder(head, f"fusion.{modality}_head") for modality, head in names if head is not None}

    @property
    def shares(self) -> dict[Modality, tuple[float, ...]]:
        """What the members of joined towers count, by tower, where they do not all count the same."""
        given: tuple[tuple[Modality, tuple[float, ...] | None], ...]
        given = (("text", self.text_weights), ("image", self.image_weights))
        return {modality: shares for modality, weights in given if (shares := shares_of(weights)) is not None}

    @property
    def stands_in(self) -> bool:
        """Whether something is put in place of a modality that a product lacks: how such products fare is a gate's."""
        return self.learned

    @property
    def one_space(self) -> bool:
        """Whether texts are compared with photos, so that what maps one tower has to map the other with it."""
        return False

    @property
    def measure_weight(self) -> float | None:
        """What the text weighs, for `measured_missing`, where a run has yet to measure what is put there; else None."""
        return None

    @property
    def identity(self) -> str:
        """64 hex digits: equal exactly when two fusions give the same embedding for the same vectors."""
        digests = {**self.provenance(), **self._head_digests()}
        return identity_of({"fields": self._counted(), "version": self.version, **digests})

    def _head_digests(self) -> dict[str, str]:
        heads = self.heads.items()
        return {f"{side}_head {name}": one for side, head in heads for name, one in head.digests().items()}

    @field_validator("text_weights", "image_weights")
    @classmethod
    def _weighs(cls, weights: tuple[float, ...] | None) -> tuple[float, ...] | None:
        if weights is not None and not any(weights):
            raise ValueError("a weight above 0")
        return weights

    @model_serializer(mode="wrap")
    def _fields(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Heads and weights that are not there are not told: fusions of before there were any are the same as ever."""
        fields: dict[str, Any] = handler(self)
        return {name: one for name, one in fields.items() if one is not None or name not in LEFT_OUT}

    def _counted(self) -> dict[str, Any]:
        """The fields that decide the numbers. Of weights that is what each is of their sum."""
        fields = self.model_dump(mode="json", exclude={*self.places, "text_weights", "image_weights"})
        fields |= {f"{modality}_weights": list(shares) for modality, shares in self.shares.items()}
        return {name: value for name, value in fields.items() if value is not None or name not in self.later}

    def refuse_towers(self, text: Tower | None, image: Tower | None) -> None:
        """InputError when the fusion cannot work with these towers, as they are behind heads; nothing is loaded."""
        return

    @abstractmethod
    def load(self, text_dim: int | None, image_dim: int | None, device: str = "cpu") -> Fusion:
        """The fusion for towers of these lengths (None: the tower is absent); InputError if they do not fit.

        `device` is where a learned fusion computes; the only place that may import torch.
        """


class Fusion(ABC):
    """Items and queries in one space, compared by inner product."""

    dim: int
    # The modalities that items are made of. A product that has none of them is a reject, as if nothing else were there.
    uses: frozenset[Modality] = frozenset({"text", "image"})

    @abstractmethod
    def items(self, text: Vectors, image: Vectors, has_text: Mask, has_image: Mask) -> Vectors:
        """(n, dim) float32 of (n, dt) and (n, di) float32 unit rows; a row whose mask is False is zeros and counts as
        absent.

        Each product has at least one modality. The class docstring states what an absent one means.
        """

    @abstractmethod
    def queries(self, text: Vectors | None = None, image: Vectors | None = None) -> Vectors:
        """(nq, dim) float32 of (nq, dt) and / or (nq, di) float32 unit rows; ValueError when both are None."""

    def queries_of_items(self, items: Vectors) -> Vectors | None:
        """(n, dim) float32: what `queries` gives for the texts and photos of `items`, (n, dim) float32 as `items` made
        them, to the rounding of these; None where embeddings do not say it, and towers' vectors are needed.
        """
        return None

    def before(self, modality: Modality, vectors: Vectors) -> Vectors:
        """A tower's (n, d) float32 unit rows as they are when they are fused: what its head makes of them, unit rows
        too. What fused ones are held against.
        """
        return vectors

    def asked(self, modality: Modality, vectors: Vectors) -> Vectors:
        """As `before`, of the vectors of queries."""
        return self.before(modality, vectors)

    def score_parts(
        self, asked: tuple[Vectors | None, Vectors | None], item: tuple[Vectors | None, Vectors | None]
    ) -> dict[Modality, float] | None:
        """What of the score of one query and one item, each as (text, photo), (1, dt) and (1, di) float32 unit rows or
        None, is of the texts and what of the photos; None where that is no plain sum.
        """
        return None


class StatesFusion(Fusion):
    """A fusion that reads the states of tokens and patches besides the vectors of towers."""

    @abstractmethod
    def items(
        self, text: Vectors, image: Vectors, has_text: Mask, has_image: Mask, states: States | None = None
    ) -> Vectors:
        """(n, dim) float32, as `Fusion.items`; ValueError without `states`."""

    @abstractmethod
    def queries(
        self, text: Vectors | None = None, image: Vectors | None = None, states: States | None = None
    ) -> Vectors:
        """(nq, dim) float32, as `Fusion.queries`; ValueError without `states`."""


def fused_queries(fusion: Fusion, text: Encoded | None = None, image: Encoded | None = None) -> Vectors:
    """(nq, dim) float32 of what the towers say of queries, with the states where `fusion` reads them."""
    vectors = text.vectors if text else None, image.vectors if image else None
    if not isinstance(fusion, StatesFusion):
        return fusion.queries(*vectors)
    return fusion.queries(*vectors, States(text.states if text else [], image.states if image else []))


def fusion_types() -> list[str]:
    """The names that `fusion.type` can have."""
    return types_in(encoders.fusion.__path__)


def fusion_class(name: Any) -> type[FusionSpec]:
    """The class `Spec` of the module that `name` names; InputError for an unknown one."""
    spec: type[FusionSpec] = spec_class(encoders.fusion, name)
    return spec


def fusion_spec(fields: dict[str, Any]) -> FusionSpec:
    """The spec that YAML `fields` describe; pydantic.ValidationError for wrong fields, InputError for an unknown
    type.
    """
    return fusion_class(fields.get("type")).model_validate(fields)
