"""A fusion and what towers' vectors go through before it: weights of what is joined, and then heads. Items and queries
go the same way.
"""

from __future__ import annotations

import threading

import numpy as np

from encoders.base import Modality
from encoders.fusion.base import Fusion, FusionSpec, States, StatesFusion
from encoders.fusion.members import Members, weighted_tower
from encoders.heads.folder import Head
from encoders.towers import Tower, dims_of
from foundation.arrays import Mask, Vectors
from foundation.errors import InputError

_Pair = tuple[Vectors | None, Vectors | None]


def load_fusion(spec: FusionSpec, text: Tower | None, image: Tower | None, device: str) -> Fusion:
    """The live fusion of `spec` for these towers (None: absent), its heads before it, loaded once per process, shared
    by threads.

    InputError when it does not fit them, or it or a head was trained on others.
    """
    refuse_towers(spec, text, image)
    key = (spec.identity, text, image, device)
    with _loading:
        if key not in _loaded:
            _loaded[key] = _live(spec, text, image, device)
        return _loaded[key]


def fused_towers(spec: FusionSpec, text: Tower | None, image: Tower | None) -> tuple[Tower | None, Tower | None]:
    """The towers as the fusion itself sees them: behind weights and heads. InputError for weights or a head of another
    tower.
    """
    folders, shares = spec.heads, spec.shares
    weighted = [
        weighted_tower(shares.get(name), tower, name) for name, tower in zip(_NAMES, (text, image), strict=True)
    ]
    text, image = (
        folders[name].tower(name, tower) if name in folders else tower
        for name, tower in zip(_NAMES, weighted, strict=True)
    )
    return text, image


def refuse_towers(spec: FusionSpec, text: Tower | None, image: Tower | None) -> None:
    """InputError when the fusion, or one of its heads, cannot work with these towers; nothing is loaded for that."""
    _refuse_parted(spec)
    spec.refuse_towers(*fused_towers(spec, text, image))


def _refuse_parted(spec: FusionSpec) -> None:
    """InputError for a head of one tower where texts are compared with photos: these would lie in two spaces."""
    heads = spec.heads
    if not heads or not spec.one_space:
        return
    digests = [folder.digests() for folder in heads.values()]
    if len(digests) == len(_NAMES) and digests[0] == digests[1]:
        return
    came = ", ".join(f"fusion.{name}_head={folder.path}" for name, folder in heads.items())
    raise InputError(
        f"one head of both towers, as text_head and image_head, because fusion.type={spec.type} compares texts with "
        "photos: `vitrine train head --type cca`, or ridge",
        came,
        "set fusion.type=concat, where each tower has a space of its own, or leave the head out",
    )


class Before:
    """What vectors of these towers go through before they are fused; none of it was refused."""

    def __init__(self, spec: FusionSpec, text: Tower | None, image: Tower | None) -> None:
        folders, shares = spec.heads, spec.shares
        towers: dict[Modality, Tower | None] = {"text": text, "image": image}
        self._members = {
            name: Members(tower.members, shares[name]) for name, tower in towers.items() if tower and name in shares
        }
        self._heads = {modality: Head(folder, modality) for modality, folder in folders.items()}
        self._dims = {modality: folder.settings.shapes[modality][1] for modality, folder in folders.items()}

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self._members or self._heads)

    def pair(self, text: Vectors | None, image: Vectors | None) -> _Pair:
        """Both sides, (n, d) float32 unit rows or None, as the fusion takes them."""
        text = None if text is None else self.rows("text", text)
        return text, None if image is None else self.rows("image", image)

    def rows(self, modality: Modality, vectors: Vectors) -> Vectors:
        """One side, (n, d) float32 unit rows."""
        members, head = self._members.get(modality), self._heads.get(modality)
        vectors = vectors if members is None else members.rows(vectors)
        return vectors if head is None else head.rows(vectors)

    def item(self, modality: Modality, vectors: Vectors, there: Mask) -> Vectors:
        """A side of items; absent rows stay zeros."""
        if modality not in self._heads and modality not in self._members:
            return vectors
        width = self._dims[modality] if modality in self._heads else vectors.shape[1]
        out = np.zeros((len(vectors), width), np.float32)
        if there.any():
            out[there] = self.rows(modality, vectors[there])
        return out


class PrecededFusion(Fusion):
    """A fusion of towers' vectors behind weights and heads; its spec's class says what a missing modality means."""

    def __init__(self, fusion: Fusion, before: Before) -> None:
        self._fusion, self._before = fusion, before
        self.dim, self.uses = fusion.dim, fusion.uses

    def items(self, text: Vectors, image: Vectors, has_text: Mask, has_image: Mask) -> Vectors:
        """See Fusion.items."""
        sides = self._before.item("text", text, has_text), self._before.item("image", image, has_image)
        return self._fusion.items(*sides, has_text, has_image)

    def queries(self, text: Vectors | None = None, image: Vectors | None = None) -> Vectors:
        """See Fusion.queries."""
        return self._fusion.queries(*self._before.pair(text, image))

    def queries_of_items(self, items: Vectors) -> Vectors | None:
        """See Fusion.queries_of_items."""
        return self._fusion.queries_of_items(items)

    def before(self, modality: Modality, vectors: Vectors) -> Vectors:
        """See Fusion.before."""
        return self._before.rows(modality, vectors)

    def score_parts(self, asked: _Pair, item: _Pair) -> dict[Modality, float] | None:
        """See Fusion.score_parts."""
        return self._fusion.score_parts(self._before.pair(*asked), self._before.pair(*item))


class PrecededStatesFusion(StatesFusion):
    """As `PrecededFusion`, of a fusion that reads states, which neither touches."""

    def __init__(self, fusion: StatesFusion, before: Before) -> None:
        self._fusion, self._before = fusion, before
        self.dim, self.uses = fusion.dim, fusion.uses

    def items(
        self, text: Vectors, image: Vectors, has_text: Mask, has_image: Mask, states: States | None = None
    ) -> Vectors:
        """See StatesFusion.items."""
        sides = self._before.item("text", text, has_text), self._before.item("image", image, has_image)
        return self._fusion.items(*sides, has_text, has_image, states)

    def queries(
        self, text: Vectors | None = None, image: Vectors | None = None, states: States | None = None
    ) -> Vectors:
        """See StatesFusion.queries."""
        return self._fusion.queries(*self._before.pair(text, image), states)

    def queries_of_items(self, items: Vectors) -> Vectors | None:
        """See Fusion.queries_of_items."""
        return self._fusion.queries_of_items(items)

    def before(self, modality: Modality, vectors: Vectors) -> Vectors:
        """See Fusion.before."""
        return self._before.rows(modality, vectors)


def _live(spec: FusionSpec, text: Tower | None, image: Tower | None, device: str) -> Fusion:
    fusion = spec.load(*dims_of(*fused_towers(spec, text, image)), device)
    before = Before(spec, text, image)
    if not before:
        return fusion
    return PrecededStatesFusion(fusion, before) if isinstance(fusion, StatesFusion) else PrecededFusion(fusion, before)


_NAMES: tuple[Modality, Modality] = ("text", "image")
_loaded: dict[tuple[str, Tower | None, Tower | None, str], Fusion] = {}
_loading = threading.Lock()
