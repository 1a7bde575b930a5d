"""A fusion and what towers' vectors go through before it: weights of what is joined, and then heads. Items and queries
go the same way.
"""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np

from encoders.base import Modality
from encoders.fusion.base import Fusion, FusionSpec, States, StatesFusion
from encoders.fusion.fields import PADDING, FieldMembers
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
    weighted = [replace(tower, dim=tower.dim + PADDING) if tower and tower.by_field else tower for tower in weighted]
    text, image = (
        folders[name].tower(name, tower) if name in folders else tower
        for name, tower in zip(_NAMES, weighted, strict=True)
    )
    return text, image


def refuse_towers(spec: FusionSpec, text: Tower | None, image: Tower | None) -> None:
    """InputError when the fusion, or one of its heads, cannot work with these towers; nothing is loaded for that."""
    _refuse_parted(spec)
    refuse_fields(spec, text)
    spec.refuse_towers(*fused_towers(spec, text, image))


def refuse_fields(spec: FusionSpec, text: Tower | None) -> None:
    """InputError where `text` has members that read a column each, and the fusion cannot say what stands in for one
    that a product lacks; and for what was measured of other members.
    """
    by_field, measured = text is not None and text.by_field, spec.text_missing
    if by_field and (spec.learned or spec.one_space or spec.text_head is not None):
        came = f"fusion.type={spec.type}" if spec.text_head is None else f"fusion.text_head={spec.text_head}"
        raise InputError(
            "fusion.type=concat, or single without `shared`, and no fusion.text_head, because encoders.text.fields "
            "names columns: what stands in for one that a product lacks is measured for these alone",
            came,
            "change the fusion, or leave encoders.text.fields out",
        )
    if measured is not None and (text is None or not by_field or len(text.members) != len(measured.slopes)):
        raise InputError(
            "fusion.text_missing of the towers of encoders.text.fields, one slope and one mean each",
            f"{len(measured.slopes)} slopes",
            "leave fusion.text_missing out: the run measures it",
        )


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
            name: Members(tower.members, shares[name])
            for name, tower in towers.items()
            if tower and name in shares and not tower.by_field
        }
        self._fields: dict[Modality, FieldMembers] = {}
        if text is not None and text.by_field:
            every = shares.get("text") or (1 / len(text.members),) * len(text.members)
            self._fields["text"] = FieldMembers(Members(text.members, every), spec.text_missing)
        self._heads = {modality: Head(folder, modality) for modality, folder in folders.items()}
        self._dims = {modality: folder.settings.shapes[modality][1] for modality, folder in folders.items()}
        self._dims |= {modality: one.dim for modality, one in self._fields.items()}

    def __bool__(self) -> bool:
        """Whether there is anything."""
        return bool(self._members or self._fields or self._heads)

    def asked(self, text: Vectors | None, image: Vectors | None) -> _Pair:
        """Both sides of queries, (nq, d) float32 unit rows or None, as the fusion takes them."""
        text = None if text is None else self.query("text", text)
        return text, None if image is None else self.query("image", image)

    def pair(self, text: Vectors | None, image: Vectors | None) -> _Pair:
        """Both sides of items, (n, d) float32 unit rows or None, as the fusion takes them."""
        text = None if text is None else self.rows("text", text)
        return text, None if image is None else self.rows("image", image)

    def query(self, modality: Modality, vectors: Vectors) -> Vectors:
        """One side of queries, (nq, d) float32."""
        fields = self._fields.get(modality)
        return self.rows(modality, vectors) if fields is None else fields.queries(vectors)

    def rows(self, modality: Modality, vectors: Vectors) -> Vectors:
        """One side of items, (n, d) float32 unit rows."""
        if modality in self._fields:
            return self._fields[modality].items(vectors)
        members, head = self._members.get(modality), self._heads.get(modality)
        vectors = vectors if members is None else members.rows(vectors)
        return vectors if head is None else head.rows(vectors)

    def item(self, modality: Modality, vectors: Vectors, there: Mask) -> Vectors:
        """A side of items; absent rows stay zeros."""
        if modality not in self._dims and modality not in self._members:
            return vectors
        out = np.zeros((len(vectors), self._dims.get(modality) or vectors.shape[1]), np.float32)
        if there.any():
            out[there] = self.rows(modality, vectors[there])
        return out

    def by_field(self) -> bool:
        """Whether a member reads a column by itself: items are no queries of their own."""
        return bool(self._fields)


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
        return self._fusion.queries(*self._before.asked(text, image))

    def queries_of_items(self, items: Vectors) -> Vectors | None:
        """See Fusion.queries_of_items."""
        return None if self._before.by_field() else self._fusion.queries_of_items(items)

    def before(self, modality: Modality, vectors: Vectors) -> Vectors:
        """See Fusion.before."""
        return self._before.rows(modality, vectors)

    def asked(self, modality: Modality, vectors: Vectors) -> Vectors:
        """See Fusion.asked."""
        return self._before.query(modality, vectors)

    def score_parts(self, asked: _Pair, item: _Pair) -> dict[Modality, float] | None:
        """See Fusion.score_parts."""
        return self._fusion.score_parts(self._before.asked(*asked), self._before.pair(*item))


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
        return self._fusion.queries(*self._before.asked(text, image), states)

    def queries_of_items(self, items: Vectors) -> Vectors | None:
        """See Fusion.queries_of_items."""
        return self._fusion.queries_of_items(items)

    def before(self, modality: Modality, vectors: Vectors) -> Vectors:
        """See Fusion.before."""
        return self._before.rows(modality, vectors)

    def asked(self, modality: Modality, vectors: Vectors) -> Vectors:
        """See Fusion.asked."""
        return self._before.query(modality, vectors)


def _live(spec: FusionSpec, text: Tower | None, image: Tower | None, device: str) -> Fusion:
    fusion = spec.load(*dims_of(*fused_towers(spec, text, image)), device)
    before = Before(spec, text, image)
    if not before:
        return fusion
    return PrecededStatesFusion(fusion, before) if isinstance(fusion, StatesFusion) else PrecededFusion(fusion, before)


_NAMES: tuple[Modality, Modality] = ("text", "image")
_loaded: dict[tuple[str, Tower | None, Tower | None, str], Fusion] = {}
_loading = threading.Lock()
