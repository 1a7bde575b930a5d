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

if TYPE_CHECKING:
    import torch


def matches(texts: Sequence[str]) -> npt.NDArray[np.bool_]:
    """(n, n) bool: whether text i and text j are equal; True on the diagonal."""
    numbers: dict[str, int] = {}
    same = np.array([numbers.setdefault(text, len(numbers)) for text in texts], dtype=np.int64)
    equal: npt.NDArray[np.bool_] = same[:, None] == same[None, :]
    return equal


def sigmoid_loss(logits: torch.Tensor, matched: torch.Tensor) -> torch.Tensor:
    """SigLIP's loss (Zhai et al. 2023, arXiv 2303.15343), a scalar: each of the n x n pairs is a question of its own.

    `logits` is (n, n) float, row i text i, column j photo j, scale and bias applied; `matched` is (n, n) bool.
    """
    from torch.nn.functional import logsigmoid

    signs = matched.to(logits.dtype) * 2 - 1
    return -logsigmoid(signs * logits).sum() / len(logits)


def softmax_loss(logits: torch.Tensor, matched: torch.Tensor) -> torch.Tensor:
    """CLIP's loss (Radford et al. 2021, arXiv 2103.00020), a scalar: the mean of text to photo and photo to text.

    `logits` is (n, n) float, row i text i, column j photo j, scale applied; `matched` is (n, n) bool. The target of a
    row is spread evenly over its matches.
    """
    targets = matched.to(logits.dtype)
    to_photo = (targets / targets.sum(1, keepdim=True) * logits.log_softmax(1)).sum(1).mean()
    to_text = (targets / targets.sum(0, keepdim=True) * logits.log_softmax(0)).sum(0).mean()
    return -(to_photo + to_text) / 2
