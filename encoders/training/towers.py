"""A two-tower model that learns: inputs as its own tokenizer and image processor make them, gradients, recall."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from encoders.models.folders import ModelFolder, deciding_files, open_model, refuse_model_type
from encoders.training.low_rank import add_adapters, merge_adapters
from encoders.training.pairs import Augmentation, Pair, augmenting, photo_size
from encoders.types.dual import FAMILIES
from encoders.types.hf_text import load_transformer
from foundation.arrays import Photo, Vectors
from foundation.liveness import beat

if TYPE_CHECKING:
    import torch

_TOWERS = {"text": ("text_model", "text_projection"), "image": ("vision_model", "visual_projection")}
_PIECE = 64  # pairs in one forward of an evaluation
_OURS = ("training.json",)  # of an earlier training; the result has its own


class Towers:
    """The live model in fp32, and what makes its inputs."""

    def __init__(self, folder: ModelFolder, device: torch.device, precision: Literal["fp32", "bf16"]) -> None:
        family = FAMILIES[refuse_model_type(folder, sorted(FAMILIES.keys() - {"siglip2"}))]
        from transformers import AutoTokenizer

        self.device = device
        self.model: Any = load_transformer(folder, device, "fp32", ())
        self._folder, self._precision = folder.path, precision
        self._tokenizer: Any = AutoTokenizer.from_pretrained(
            folder.path, local_files_only=True, trust_remote_code=False
        )
        self._processor = _processor(folder)
        positions = getattr(self.model.config.text_config, "max_position_embeddings", family.positions_default)
        # SigLIP attends to its padding, so it learns with all of it, as it is asked later.
        self._padding = "max_length" if family.padding == "fixed" else "longest"
        self._most_tokens = min(int(positions), int(self._tokenizer.model_max_length))

    def augmenting(self, how: Augmentation) -> Callable[[Photo], torch.Tensor]:
        """A function of one (h, w, 3) uint8 photo: (3, height, width) float32, another one in each epoch."""
        return augmenting(self._processor, how)

    def freeze(self, tower: Literal["none", "text", "image"]) -> None:
        """Keep a tower as it is: no gradients, no dropout. The other learns."""
        self.model.train()
        for name in _TOWERS.get(tower, ()):
            if hasattr(self.model, name):
                getattr(self.model, name).requires_grad_(False).eval()

    def adapt(self, rank: int, seed: int) -> None:
        """Low-rank adapters learn instead of the weights, in every tower that is not frozen; saving merges them."""
        add_adapters(self.model, rank, seed)

    def backward(
        self,
        photos: torch.Tensor,
        texts: Sequence[str],
        loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        micro_batch: int,
        seed: int,
    ) -> float:
        """Add the gradients of `loss`(text vectors, photo vectors) of a batch, and return it. `photos` is (m, 3, h, w)
        float, for n texts.

        With a `micro_batch` below n or m it does as GradCache (Gao et al. 2021, arXiv 2101.06983): vectors first,
        without gradients; the loss of all of them; then piece by piece again, so that memory holds one piece and the
        gradient is that of the whole batch. `seed` makes both passes drop the same units.
        """
        import torch

        n = max(len(texts), len(photos))
        if not 0 < micro_batch < n:
            total = loss(self._text(texts), self._photo(photos))
            total.backward()  # type: ignore[no-untyped-call]
            return float(total.detach())

        def pieces() -> Iterator[tuple[slice, torch.Tensor | None, torch.Tensor | None]]:
            for start in range(0, n, micro_batch):
                rows = slice(start, start + micro_batch)
                torch.manual_seed(seed + start)
                beat()  # a step may be hours, a piece is not
                text = self._text(texts[rows]) if start < len(texts) else None
                yield rows, text, self._photo(photos[rows]) if start < len(photos) else None

        with torch.no_grad():
            vectors = [(text, photo) for _, text, photo in pieces()]
        text, photo = (
            torch.cat([one for one in side if one is not None]).requires_grad_() for side in zip(*vectors, strict=True)
        )
        total = loss(text, photo)
        total.backward()  # type: ignore[no-untyped-call]
        if text.grad is None or photo.grad is None:
            raise RuntimeError(f"the loss must depend on the vectors of both towers, not {loss}")
        for rows, text_piece, photo_piece in pieces():
            learning = [
                (piece, grad[rows])
                for piece, grad in ((text_piece, text.grad), (photo_piece, photo.grad))
                if piece is not None and piece.requires_grad
            ]
            if learning:
                torch.autograd.backward([piece for piece, _ in learning], [grad for _, grad in learning])
        return float(total.detach())

    def text_vectors(self, texts: Sequence[str]) -> Vectors:
        """(n, d) float32, unit rows."""
        return self._vectors(self._text, texts)

    def photo_vectors(self, photos: Sequence[Photo]) -> Vectors:
        """(n, d) float32, unit rows, of (h, w, 3) uint8 photos, not augmented."""
        return self._vectors(lambda some: self._photo(self._prepared(some)), photos)

    def save(self, folder: Path, weights: str) -> None:
        """Write the model, its weights as torch's type `weights`, with the tokenizer and settings that it came with."""
        import torch

        merge_adapters(self.model)
        self.model.to(getattr(torch, weights)).save_pretrained(folder)
        for file in deciding_files(self._folder):
            if file.suffix != ".safetensors" and file.name not in _OURS and not (folder / file.name).exists():
                shutil.copyfile(file, folder / file.name)

    def _text(self, texts: Sequence[str]) -> torch.Tensor:
        encoded = self._tokenizer(
            list(texts), truncation=True, max_length=self._most_tokens, padding=self._padding, return_tensors="pt"
        )
        with self._arithmetic():
            return _unit(self.model.get_text_features(**encoded.to(self.device)).pooler_output)

    def _photo(self, pixels: torch.Tensor) -> torch.Tensor:
        with self._arithmetic():
            return _unit(self.model.get_image_features(pixel_values=pixels.to(self.device)).pooler_output)

    def _prepared(self, photos: Sequence[Photo]) -> torch.Tensor:
        pixels: torch.Tensor = self._processor(
            images=list(photos), return_tensors="pt", input_data_format="channels_last"
        )["pixel_values"]
        return pixels

    def _vectors(self, encode: Callable[[Sequence[Any]], torch.Tensor], items: Sequence[Any]) -> Vectors:
        import torch

        learning = [module for module in self.model.modules() if module.training]
        self.model.eval()
        try:
            with torch.inference_mode():
                pieces = []
                for start in range(0, len(items), _PIECE):
                    pieces.append(encode(items[start : start + _PIECE]))
                    beat()
                vectors: Vectors = torch.cat(pieces).cpu().numpy()
        finally:
            for module in learning:
                module.training = True
        return vectors

    def _arithmetic(self) -> AbstractContextManager[None]:
        """bf16 where the settings ask for it. Autocast, because steps smaller than a bf16 weight's last bit would be
        lost.
        """
        import torch

        on = self._precision == "bf16"
        context: AbstractContextManager[None] = torch.autocast(self.device.type, torch.bfloat16, enabled=on)
        return context


def photo_side(model: str) -> int:
    """The shorter side, in pixels, of the photos that a model folder takes."""
    return min(photo_size(_processor(open_model(model))))


def recall_at(k: int, towers: Towers, pairs: Sequence[Pair]) -> float:
    """Share of the texts of `pairs` that have a photo of their own group, or one of an equal text, among the k nearest
    photos of `pairs`.
    """
    pieces = [pairs[start : start + _PIECE] for start in range(0, len(pairs), _PIECE)]
    photos = np.concatenate([towers.photo_vectors([pair.photo() for pair in piece]) for piece in pieces])
    asked = [(pair.group or pair.id, text) for pair in pairs for text in pair.texts]
    similar = towers.text_vectors([text for _, text in asked]) @ photos.T
    nearest = np.argsort(-similar, axis=1, kind="stable")[:, :k].tolist()
    found = 0
    for (group, text), places in zip(asked, nearest, strict=True):
        answers = (pairs[place] for place in places)
        found += any((pair.group or pair.id) == group or text in pair.texts for pair in answers)
    return found / len(asked)


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    from torch.nn.functional import normalize

    return normalize(vectors.float(), dim=1)


def _processor(folder: ModelFolder) -> Any:
    from transformers import AutoImageProcessor

    found: Any = AutoImageProcessor
    return found.from_pretrained(folder.path, local_files_only=True, trust_remote_code=False)
