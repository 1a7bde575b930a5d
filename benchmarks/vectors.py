"""Vectors that indexes are measured on, with queries that are in none of them, as files that each build reads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from foundation.metric import Metric
from index_builders.measure.recall import HeldOut, held_out
from index_builders.rows.vectors_file import VectorsFile

QUERIES, K = 1000, 10
IP = Metric.INNER_PRODUCT
VECTORS_FILE = "vectors.npy"


@dataclass(frozen=True)
class Vectors:
    """(n, d) float16 rows in `folder`, the group of each, (n,), and queries of the same source that are no rows."""

    folder: Path
    kept: VectorsFile
    group: np.ndarray
    queries: HeldOut


def drawn(rows: int, dim: int, photos: Path | None, folder: Path) -> Vectors:
    """`rows` vectors of clusters, or of crops of the photos in a folder, and `QUERIES` more to ask for."""
    made = photo_crops(photos, rows + QUERIES, dim) if photos else clustered(rows + QUERIES, dim)
    asked = np.zeros(rows + QUERIES, dtype=np.bool_)
    asked[np.random.default_rng(2).choice(rows + QUERIES, QUERIES, replace=False)] = True
    kept = written(made[0][~asked], folder)
    nobody = np.full(QUERIES, -2, dtype=np.int64)  # no row has such a position
    return Vectors(folder, kept, made[1][~asked], held_out(made[0][asked].astype(np.float32), nobody, kept, K))


def written(rows: np.ndarray, folder: Path) -> VectorsFile:
    """(n, d) float16 `rows` in a file of `folder`, opened."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / VECTORS_FILE, rows)
    return opened(folder)


def opened(folder: Path) -> VectorsFile:
    """The rows in `folder`, mapped."""
    return VectorsFile(np.asarray(np.load(folder / VECTORS_FILE, mmap_mode="r")), IP)


def clustered(n: int, dim: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, dim) float16 unit rows in 30 categories of 100 families, wide in 16 directions; and their categories."""
    rng = np.random.default_rng(seed)
    categories = rng.standard_normal((30, dim))
    families = 0.5 * rng.standard_normal((30, 100, dim))
    planes = rng.standard_normal((30, 16, dim)) / 4  # rows of length 1 in a direction of length sqrt(dim)
    rows = np.empty((n, dim), np.float16)
    category = rng.integers(0, 30, n)
    for start in range(0, n, 20_000):
        at = category[start : start + 20_000]
        family = families[at, rng.integers(0, 100, len(at))]
        within = np.einsum("nr,nrd->nd", rng.standard_normal((len(at), 16)), planes[at])
        x = categories[at] + family + within + 0.4 * rng.standard_normal((len(at), dim))
        rows[start : start + 20_000] = x / np.linalg.norm(x, axis=1, keepdims=True)
    return rows, category


def photo_crops(folder: Path, n: int, dim: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, dim) float16 unit rows: random square crops of photos as 16 x 16 pixels, their `dim` principal components."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    each = -(-n // len(paths))
    pixels, photo = np.empty((each * len(paths), 768), np.float32), np.repeat(np.arange(len(paths)), each)
    for number, path in enumerate(paths):
        opened = Image.open(path)
        opened.draft("RGB", (96, 96))
        image = opened.convert("RGB").resize((64, 64))
        for crop in range(each):
            side = int(rng.integers(20, 64))
            left, top = rng.integers(0, 65 - side, 2)
            cut = image.resize((16, 16), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
            pixels[number * each + crop] = np.asarray(cut, np.float32).ravel()
    pixels -= pixels.mean(axis=0)
    sample = pixels[rng.choice(len(pixels), min(len(pixels), 20_000), replace=False)]
    _, axes = np.linalg.eigh(sample.T @ sample)
    x = pixels[:n] @ axes[:, ::-1][:, :dim]
    return (x / np.maximum(1e-9, np.linalg.norm(x, axis=1, keepdims=True))).astype(np.float16), photo[:n]
