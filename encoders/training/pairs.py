"""What a training learns from: (texts, photo) pairs, which of them are held out, and what each step sees of them.

Everything is decided by the seed and the step's number alone, so that a training that was killed goes on as if nothing
had happened.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from foundation.arrays import Photo
from foundation.errors import InputError

Indices = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Pair:
    """One product: texts that each name what its photo shows, and how to get the photo, (h, w, 3) uint8 RGB.

    Each epoch takes one of the texts. A photo of the same `group` is a right answer to each of its texts; without one,
    the product's id is its group. Pairs of one `kin`, equal titles, are held out together; without one, those of a
    group are. `photo_digest` is of the file that the photo was decoded from; empty where nothing tells photos apart but
    their ids.

    A click is a pair too: its text is what was asked, `title` the first text of the product that was chosen, `right`
    the groups that were ever chosen for the text, and `negatives` are pairs of products that never were.
    """

    id: str
    texts: tuple[str, ...]
    photo: Callable[[], Photo]
    group: str = ""
    photo_digest: str = ""
    kin: str = ""
    title: str = ""
    right: frozenset[str] = frozenset()
    negatives: tuple[Pair, ...] = ()

    @property
    def family(self) -> str:
        """What is held out together."""
        return self.kin or self.group or self.id


@dataclass(frozen=True)
class Split:
    """The pairs to learn from and those to measure on."""

    training: list[Pair]
    held_out: list[Pair]


def split(pairs: Sequence[Pair], share: float, most: int) -> Split:
    """About `share` of the families are held out, whatever their order and company; the first `most` pairs by hash of
    the id are measured.

    InputError when either side is too small to be of use.
    """
    without = [pair.id for pair in pairs if not pair.texts or not all(pair.texts)]
    if without:
        came = f"{len(without)} pairs without one, {without[0]!r} first"
        raise InputError("a text, not empty, in every pair", came, "leave such products out")
    held = [pair for pair in pairs if is_held_out(pair.family, share)]
    training = [pair for pair in pairs if not is_held_out(pair.family, share)]
    if len(training) < 2:
        came = f"{len(pairs)} pairs, {len(held)} of them held out"
        raise InputError("at least 2 pairs to learn from", came, "give more products that have both a text and a photo")
    if share and not held:
        came = f"train.held_out={share} of {len(pairs)} pairs is none"
        raise InputError("a held-out pair to measure on", came, "raise train.held_out, or set it to 0: no measuring")
    return Split(training, sorted(held, key=lambda pair: blake3(pair.id.encode()).digest())[:most])


def is_held_out(group: str, share: float) -> bool:
    """Whether the family is among the `share`, 0..1, that training never sees; the same in every catalog."""
    return int.from_bytes(blake3(group.encode()).digest()[:8], "big") < share * 2**64


def digest(pairs: Sequence[Pair]) -> str:
    """64 hex digits of ids, groups, texts, the digests of photos and what clicks say, in order."""
    hashed = blake3()
    for pair in pairs:
        more: tuple[str, ...] = (pair.photo_digest,) if pair.photo_digest else ()
        if pair.title:
            more += (pair.title, *sorted(pair.right), *(one.id for one in pair.negatives))
        hashed.update(repr((pair.id, pair.group, pair.kin, pair.texts, *more)).encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()


def steps_per_epoch(n: int, batch: int) -> int:
    """Whole batches in n pairs; one smaller batch when there are fewer."""
    return max(1, n // batch)


def batch_of(pairs: Sequence[Pair], step: int, batch: int, seed: int) -> tuple[list[Pair], list[str]]:
    """The pairs of a step, numbered from 0, and for each the text that its epoch uses."""
    epoch, place = divmod(step, steps_per_epoch(len(pairs), batch))
    draw = np.random.default_rng([seed, epoch])
    order = draw.permutation(len(pairs))[place * batch : (place + 1) * batch]
    lots = draw.random(len(pairs))[order]
    chosen = [pairs[i] for i in order.tolist()]
    texts = [pair.texts[int(lot * len(pair.texts))] for pair, lot in zip(chosen, lots.tolist(), strict=True)]
    return chosen, texts


def negatives_of(chosen: Sequence[Pair], step: int, most: int, seed: int) -> list[Pair]:
    """`most` of the mined negatives of each of the pairs of a step, drawn by the seed and the step; no pair twice."""
    draw = np.random.default_rng([seed, step, 1])
    found: dict[str, Pair] = {}
    for pair in chosen:
        for place in draw.permutation(len(pair.negatives))[:most].tolist():
            found.setdefault(pair.negatives[place].id, pair.negatives[place])
    return list(found.values())


@contextmanager
def seeded(seed: int, step: int) -> Iterator[int]:
    """All random generators (Python's, NumPy's, torch's) start from the seed and the step; afterwards they are as they
    were. Yields the number that they were given.
    """
    import torch

    number = int.from_bytes(blake3(f"{seed}/{step}".encode()).digest()[:4], "big")
    states = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        random.seed(number)
        np.random.seed(number)
        torch.manual_seed(number)
        try:
            yield number
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


@dataclass(frozen=True)
class Augmentation:
    """How a photo varies between epochs; the words are timm's."""

    crop: float
    flip: float
    colour: float
    erase: float
    auto: str | None


def augmenting(processor: Any, how: Augmentation) -> Callable[[Photo], Any]:
    """A function of one (h, w, 3) uint8 photo: timm's training transform, (3, height, width) float32 as `processor`
    scales them.
    """
    from PIL import Image
    from timm.data.transforms_factory import create_transform

    transform = create_transform(
        input_size=(3, *photo_size(processor)),
        is_training=True,
        scale=(how.crop, 1.0),
        hflip=how.flip,
        color_jitter=how.colour,
        auto_augment=how.auto,
        re_prob=how.erase,
        re_mode="pixel",
        interpolation=Image.Resampling(processor.resample).name.lower(),
        mean=tuple(processor.image_mean),
        std=tuple(processor.image_std),
    )
    return lambda photo: transform(Image.fromarray(photo))


def photo_size(processor: Any) -> tuple[int, int]:
    """(height, width) of what an image processor hands to its model; InputError when it has no fixed size."""
    size = processor.crop_size if getattr(processor, "do_center_crop", False) else processor.size
    edge = getattr(size, "shortest_edge", None)
    height, width = getattr(size, "height", None) or edge, getattr(size, "width", None) or edge
    if not height or not width:
        fix = "train a model whose preprocessor_config.json has a size of height and width"
        raise InputError("a model for photos of one size", f"size {size} of {type(processor).__name__}", fix)
    return int(height), int(width)
