"""A learned fusion, live: a network under both items and queries, and the rule for a missing modality around it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
from pydantic import Field

from encoders.base import Modality
from encoders.fusion.base import Fusion, FusionSpec, States, StatesFusion, fusion_class, fusion_types
from encoders.fusion.learned.folder import FusionFolder, Scales, Sizes
from encoders.fusion.learned.inputs import Inputs, Rows
from encoders.networks.device import device_of
from encoders.towers import Tower
from foundation.arrays import Mask, Vectors
from foundation.errors import InputError
from foundation.liveness import beat
from foundation.metric import Metric

if TYPE_CHECKING:
    import torch

_ROWS = 4096  # in one forward; 256 of those that bring their states, which are a thousand times as large
_STATES_ROWS = 256


class LearnedSpec(FusionSpec):
    """A fusion that `vitrine train fusion` makes for two towers, and refuses others. A type adds its network."""

    places: ClassVar[frozenset[str]] = FusionSpec.places | {"model"}
    learned: ClassVar[bool] = True
    unit_items: ClassVar[bool] = True

    type: str
    model: str | None = Field(
        None, description="the folder that `vitrine train fusion` wrote; null until it is trained"
    )

    @classmethod
    def examples(cls, dim: int, trained: Callable[[str], str]) -> Sequence[Self]:
        """See FusionSpec.examples."""
        return [cls.model_validate({"model": trained(cls.model_fields["type"].default)})]

    @staticmethod
    @abstractmethod
    def network(sizes: Sizes, dropout: float = 0.0) -> torch.nn.Module:
        """A network of `sizes`, its weights drawn from torch's generator."""

    @staticmethod
    @abstractmethod
    def fuse(network: torch.nn.Module, inputs: Inputs) -> torch.Tensor:
        """(n, sizes.dim) float, unit rows, of items or queries that each have a modality."""

    @property
    def needs(self) -> frozenset[Modality]:
        """Both towers."""
        return frozenset({"text", "image"})

    @property
    def folder(self) -> FusionFolder:
        """The folder that `model` names; InputError when it cannot be used."""
        return FusionFolder(self.model, self.type, self.version)

    def provenance(self) -> dict[str, str]:
        """The digests of the folder's files."""
        return self.folder.digests()

    def refuse_towers(self, text: Tower | None, image: Tower | None) -> None:
        """InputError unless the towers are those that the fusion was trained on."""
        self.folder.refuse_towers(text, image)

    def load(self, text_dim: int | None, image_dim: int | None, device: str = "cpu") -> Fusion:
        """The network on `device`, in fp32."""
        folder = self.folder
        folder.refuse_dims(text_dim, image_dim)
        network = self.network(folder.settings.sizes)
        folder.fill(network)
        live = Live(self, network, folder.settings.sizes, folder.settings.scales, device_of(device))
        return LearnedOfStates(live) if self.reads_states else LearnedOfVectors(live)


class Live:
    """The network and the lengths of items.

    What an item lacks to length 1 stands in one more coordinate, which is 0 in queries and so changes no score. The
    length is rounded up to a multiple of 8 by zeros, because a product quantizer must divide it.
    """

    def __init__(
        self, spec: LearnedSpec, network: torch.nn.Module, sizes: Sizes, scales: Scales, device: torch.device
    ) -> None:
        self._spec, self._network, self._device = spec, network.to(device).eval(), device
        self._sizes, self._scales = sizes, scales
        self.dim = -(-(sizes.dim + 1) // 8) * 8

    def items(self, rows: Rows) -> Vectors:
        """(n, dim) float32, unit rows."""
        scales = self._scales
        lengths = np.where(rows.has_image, np.where(rows.has_text, scales.both, scales.image), scales.text)
        out = np.zeros((len(rows), self.dim), dtype=np.float32)
        out[:, : self._sizes.dim] = self.unit(rows) * lengths[:, None]
        out[:, self._sizes.dim] = np.sqrt(1 - lengths**2)
        return out

    def queries(self, text: Vectors | None, image: Vectors | None, states: States | None) -> Vectors:
        """(nq, dim) float32, unit rows."""
        given = text if text is not None else image
        if given is None:
            raise ValueError("expected text or image vectors, both are None")
        n = len(given)
        absent = np.zeros(n, dtype=bool)
        rows = Rows(
            np.zeros((n, self._sizes.text_dim), np.float32) if text is None else text,
            np.zeros((n, self._sizes.image_dim), np.float32) if image is None else image,
            absent if text is None else ~absent,
            absent if image is None else ~absent,
            None if states is None else self._whole(states, n),
        )
        out = np.zeros((n, self.dim), dtype=np.float32)
        out[:, : self._sizes.dim] = self.unit(rows)
        return out

    def queries_of_items(self, items: Vectors) -> Vectors:
        """(n, dim) float32, unit rows: what the network says of an item is in it, scaled."""
        out = np.zeros_like(items)
        out[:, : self._sizes.dim] = items[:, : self._sizes.dim]
        return Metric.COSINE.stored(out)

    def unit(self, rows: Rows) -> Vectors:
        """(n, sizes.dim) float32, unit rows: what the network says."""
        import torch

        size = _STATES_ROWS if self._spec.reads_states else _ROWS
        out = np.empty((len(rows), self._sizes.dim), dtype=np.float32)
        for start in range(0, len(rows), size):
            piece = rows.piece(start, start + size)
            with torch.inference_mode():
                fused = self._spec.fuse(self._network, Inputs.of(piece, self._device))
            out[start : start + size] = fused.float().cpu().numpy()
            beat()
        return out

    def _whole(self, states: States, n: int) -> States:
        """`states` with an empty array for each row of a side that is not asked."""
        none = np.zeros((0, 0), dtype=np.float32)
        return States(states.text or [none] * n, states.image or [none] * n)


class LearnedOfVectors(Fusion):
    """A learned fusion of the towers' vectors; its spec's class says what a missing modality means."""

    def __init__(self, live: Live) -> None:
        self._live, self.dim = live, live.dim

    def items(self, text: Vectors, image: Vectors, has_text: Mask, has_image: Mask) -> Vectors:
        """(n, dim) float32, unit rows."""
        return self._live.items(Rows(text, image, has_text, has_image))

    def queries(self, text: Vectors | None = None, image: Vectors | None = None) -> Vectors:
        """(nq, dim) float32, unit rows."""
        return self._live.queries(text, image, None)

    def queries_of_items(self, items: Vectors) -> Vectors:
        """See Fusion.queries_of_items."""
        return self._live.queries_of_items(items)


class LearnedOfStates(StatesFusion):
    """A learned fusion of the towers' vectors and states; its spec's class says what a missing modality means."""

    def __init__(self, live: Live) -> None:
        self._live, self.dim = live, live.dim

    def items(
        self, text: Vectors, image: Vectors, has_text: Mask, has_image: Mask, states: States | None = None
    ) -> Vectors:
        """(n, dim) float32, unit rows."""
        return self._live.items(Rows(text, image, has_text, has_image, _given(states)))

    def queries(
        self, text: Vectors | None = None, image: Vectors | None = None, states: States | None = None
    ) -> Vectors:
        """(nq, dim) float32, unit rows."""
        return self._live.queries(text, image, _given(states))

    def queries_of_items(self, items: Vectors) -> Vectors:
        """See Fusion.queries_of_items."""
        return self._live.queries_of_items(items)


def _given(states: States | None) -> States:
    if states is None:
        raise ValueError("expected the states of tokens and patches, which this fusion reads")
    return states


def learned_of(spec: FusionSpec) -> LearnedSpec:
    """`spec` if it is learned; InputError for one that has nothing to learn."""
    if not isinstance(spec, LearnedSpec):
        known = sorted((name for name in fusion_types() if fusion_class(name).learned), reverse=True)
        raise InputError(
            f"a fusion that is learned: {' or '.join(known)}",
            f"fusion.type: {spec.type}",
            f"set fusion.type={known[0]}; the others are used as they are",
        )
    return spec
