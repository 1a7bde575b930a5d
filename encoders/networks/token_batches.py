"""Texts -> token ids -> batches of texts of about one length, so that little of a batch is padding.

Measured against padding all to 77 tokens: 4 times as many texts of 15 words a second, 11 times as many short titles
(`benchmarks/encode.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from encoders.networks.device import Room, encode_distinct
from foundation.arrays import Vectors

if TYPE_CHECKING:
    import torch

Tokens = npt.NDArray[np.int64]

# Padded tokens in one forward. MiniLM and CLIP took 256 texts 1.2 to 1.3 times as fast by 512 as by 2,048, because
# a smaller piece has less padding and stays in the cache, and no slower by 256; a GPU wants to be filled.
_TOKENS = {"cpu": 512, "cuda": 65_536}


def token_room(device: torch.device) -> Room:
    """Room for as many padded tokens as are fast on `device`."""
    return Room(_TOKENS[device.type])


class Tokenizer:
    """A model folder's own tokenizer, which may be called from several threads."""

    def __init__(self, path: Path, max_tokens: int | None) -> None:
        from transformers import AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        self.max_tokens = min(max_tokens or self.limit, self.limit)
        # A call sets truncation on the shared tokenizer, and two at once fail ("Already borrowed").
        self._one_at_a_time = threading.Lock()

    @property
    def limit(self) -> int:
        """The tokens that the folder allows; a huge number where it does not say."""
        return int(self._tokenizer.model_max_length)

    @property
    def pad_id(self) -> int:
        """The id to pad with; 0 for tokenizers that have none, whose models are told which places are padding."""
        return int(self._tokenizer.pad_token_id or 0)

    def ragged(self, texts: Sequence[str]) -> list[Tokens]:
        """Each text's ids, (length,) int64, special ones too, at most `max_tokens`; ValueError for none."""
        with self._one_at_a_time:
            ids = self._tokenizer(list(texts), truncation=True, max_length=self.max_tokens)["input_ids"]
        if not all(ids):
            empty = next(text for text, row in zip(texts, ids, strict=True) if not row)
            raise ValueError(f"expected texts of at least one token, got {empty!r}: an empty text is absent, mask it")
        return [np.asarray(row, dtype=np.int64) for row in ids]

    def padded(self, texts: Sequence[str]) -> dict[str, Tokens]:
        """(n, max_tokens) int64 arrays, by name, just as the folder's tokenizer pads them to its full length."""
        with self._one_at_a_time:
            encoded = self._tokenizer(
                list(texts), truncation=True, padding="max_length", max_length=self.max_tokens, return_tensors="np"
            )
        return {name: np.asarray(array, dtype=np.int64) for name, array in encoded.items()}


def pad(rows: Sequence[Tokens], pad_id: int) -> tuple[Tokens, Tokens]:
    """(ids, mask) int64, (n, longest): rows filled up at their ends, and 1 where they are not."""
    ids = np.full((len(rows), max(map(len, rows))), pad_id, dtype=np.int64)
    mask = np.zeros_like(ids)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = row
        mask[i, : len(row)] = 1
    return ids, mask


def encode_by_length(rows: Sequence[Tokens], forward: Callable[[Sequence[Tokens]], Vectors], room: Room) -> Vectors:
    """(n, d) float32, in the order of `rows`: equal rows once, the shortest first, in pieces that fit `room`."""
    vectors, places = encode_distinct(rows, [row.tobytes() for row in rows], [len(row) for row in rows], forward, room)
    result: Vectors = vectors[places]
    return result
