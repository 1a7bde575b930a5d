"""Contrastive losses of a batch of (text, photo) pairs, in which equal texts are no negatives of each other.

Shops sell many products under one title. A photo of another product with the very same title fits the text as well as
its own does, so both losses take every pair of equal texts as a match: for the softmax loss as in UniCL (Yang et al.
2022, arXiv 2204.03610), for the sigmoid loss by its label.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from encoders.training.pairs import Pair

if TYPE_CHECKING:
    import torch


def matches(texts: Sequence[str]) -> npt.NDArray[np.bool_]:
    """(n, n) bool: whether text i and text j are equal; True on the diagonal."""
    numbers: dict[str, int] = {}
    same = np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64)
    equal: npt.NDArray[np.bool_] = same[:, None] == same[None, :]
    return equal


def answers(pairs: Sequence[Pair], texts: Sequence[str], shown: Sequence[Pair]) -> npt.NDArray[np.bool_]:
    """(n, m) bool: whether the product of `shown` j is a right answer to text i, which pair i uses: it is of the same
    group, was ever chosen for the text, or pair j uses an equal text. The first n of `shown` are the pairs; what
    follows uses its first text.
    """
    asked = [*texts, *(pair.texts[0] for pair in shown[len(pairs) :])]
    groups = [pair.group or pair.id for pair in shown]
    right = matches(asked)[: len(pairs)] | matches(groups)[: len(pairs)]
    places: dict[str, list[int]] = {}
    for place, group in enumerate(groups):
        places.setdefault(group, []).append(place)
    for row, pair in zip(right, pairs, strict=True):
        row[[place for group in pair.right & places.keys() for place in places[group]]] = True
    return right


def sigmoid_loss(logits: torch.Tensor, matched: torch.Tensor) -> torch.Tensor:
    """SigLIP's loss (Zhai et al. 2023, arXiv 2303.15343), a scalar: each of the n x n pairs is a question of its own.

    `logits` is (n, m) float, row i text i, column j photo j, scale and bias applied; `matched` is (n, m) bool. Photos
    beyond the first n are of no pair of the step: mined negatives.
    """
    from torch.nn.functional import logsigmoid

    signs = matched.to(logits.dtype) * 2 - 1
    return -logsigmoid(signs * logits).sum() / len(logits)


def softmax_loss(logits: torch.Tensor, matched: torch.Tensor) -> torch.Tensor:
    """CLIP's loss (Radford et al. 2021, arXiv 2103.00020), a scalar: the mean of text to photo and photo to text.

    `logits` is (n, m) float, row i text i, column j photo j, scale applied; `matched` is (n, m) bool. The target of a
    row is spread evenly over its matches. Photos beyond the first n are of no pair of the step, mined negatives: one
    without a match asks for no text.
    """
    targets = matched.to(logits.dtype)
    to_photo = (targets / targets.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean()
    asking = matched.any(0)
    down = (targets / targets.sum(0, keepdim=True).clamp(min=1) * logits.log_softmax(0)).sum(0)
    return -(to_photo + down[asking].mean()) / 2
