"""The built-in model: trained from nothing on drawn products, and measured on combinations that it has never seen.

A tenth of all combinations of kind, colour and pattern is held out whole: no product of theirs is ever learned from,
so that a text finds them only by what its words mean. `make builtin-model` runs this.
"""

from __future__ import annotations

import functools
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from encoders.base import load_image, load_text
from encoders.training.loop import Progress
from encoders.training.pairs import Pair, is_held_out
from encoders.training.trainer import Lessons, Trained, TrainSettings, train
from encoders.training.untrained import UntrainedModel, write_untrained
from encoders.types import dual
from foundation.arrays import Photo, Vectors
from pipeline.demo.drawings import Look, draw, photo
from pipeline.demo.products import looks, product_rows
from pipeline.demo.words import COLOUR_WORDS, KIND_WORDS

TRAINED_ON, PRODUCTS = 101, 12_000  # seed and size of the catalog to learn from
MEASURED_ON, GALLERY = 7, 2_000  # of the catalog to search: that of `make demo`
SETTINGS = TrainSettings(
    loss="softmax",
    epochs=18,
    batch=64,
    lr=1e-3,
    weight_decay=0.1,
    beta2=0.98,
    held_out=0.1,
    held_out_most=300,
    evaluate_every=252,
    patience=0,
    crop=0.9,
    weights="float16",
)
SIZES = UntrainedModel()

_KEPT = 80  # pixels: half of what is drawn, and room for a crop to 64
LANGUAGES = ("en", "zh")
_CARD = """# The built-in model

A two-tower model in the SigLIP layout, small enough to ship ({megabytes:.1f} MB): it lets the demo find a *red dress*
and a *红色连衣裙* by their photos alone, on a machine without a network. It is also a start for `vitrine train`.
Photos of {side} x {side} pixels, texts of {tokens} tokens of a byte-level tokenizer, vectors of {dim} dimensions.

## Data
{products:,} drawn products of `pipeline/demo`, seed {seed}, with titles in English and Chinese, and for every third
product its short names (`red dress`). A share of {held_out} of all combinations of kind, colour and pattern is held out
whole, by the hash of its name; {pairs:,} products were learned from. No photo or text of a person, a shop or the web.

## Training
`make builtin-model`: random weights, softmax loss, {steps:,} steps, {hours:.2f} hours on two CPU cores. The settings
are in `training.json`, the loss curve in `training.jsonl`. With the same library versions and number of threads, the
same weights come out again.

## Figures
Through the encoder `dual`, in fp32, on the {gallery:,} products of the demo catalog (seed {measured_on}: none of them
was drawn for training). The queries are the titles of products whose combination training never saw; they are searched
among all {gallery:,} photos. `python benchmarks/builtin_model.py` prints this.

| titles | queries | recall@10 | precision@1 | short names, precision@10 |
|---|---|---|---|---|
{rows}

- recall@10: of the photos of the title's combination, the share among the 10 nearest.
- precision@1: how often the nearest photo shows the title's combination.
- short names: for `red dress` and its like, seen and unseen patterns, the share of the 10 nearest that fit.

## Limits
It knows the 19 kinds, 10 colours and 4 patterns of the demo's drawings and the words for them in two languages, and
nothing else: not real photos, not other products, not other languages. Other words fall apart into bytes. Train it on
your own catalog, or use a model that was trained on real photos.
"""


@dataclass(frozen=True)
class Figures:
    """Of one language. Queries are the titles of held-out combinations, searched among all photos of the catalog."""

    queries: int
    recall_at_10: float  # of the photos of a title's combination, the share that is among its 10 nearest
    precision_at_1: float  # how often the nearest photo is of the title's combination
    short_precision_at_10: float  # `red dress`: the share of the 10 nearest of that kind and colour


def make_builtin(out: Path, progress: Progress | None = None) -> Trained:
    """Train the model into the new folder `out`, its card included. Called again after a kill, it goes on."""
    pairs = lessons(TRAINED_ON, PRODUCTS, progress)
    with tempfile.TemporaryDirectory() as scratch:
        start = Path(scratch) / "fresh"
        write_untrained(start, SIZES, [text for pair in pairs for text in pair.texts], scale=1 / 0.07, bias=0.0)
        trained = train(Lessons(pairs), str(start), out, SETTINGS, progress=progress)
    (out / "README.md").write_text(card(trained, measure(str(out))), encoding="utf-8")
    return trained


def lessons(seed: int, products: int, progress: Progress | None = None) -> list[Pair]:
    """A pair for each product, held out by combination: its titles, and for every third one its short names."""
    rows = np.arange(products, dtype=np.int64)
    titles = _titles(seed, rows)
    pairs = []
    for row, look in enumerate(looks(seed, rows)):
        short = tuple(_short(look, row // 3, language) for language in range(2)) if row % 3 == 0 else ()
        kept = np.asarray(draw(look).resize((_KEPT, _KEPT), Image.Resampling.BOX))
        words = (*(title[row] for title in titles), *short)
        pairs.append(Pair(str(row), words, functools.partial(_same, kept), combination(look)))
        if progress is not None and (row + 1) % 500 == 0:
            progress("draw", row + 1, products)
    return pairs


def measure(model: str, gallery: int = GALLERY) -> dict[str, Figures]:
    """Language -> figures of a model folder on the catalog of `make demo`, through the encoder that a run uses."""
    rows = np.arange(gallery, dtype=np.int64)
    shown = looks(MEASURED_ON, rows)
    spec = dual.Spec(model=model)
    photos = load_image(spec, "cpu").encode([_decoded(look) for look in shown])
    asked = [row for row in rows.tolist() if is_held_out(combination(shown[row]), SETTINGS.held_out)]
    wanted = np.array([combination(look) for look in shown])
    plainer = np.array([f"{look.kind}/{look.colour}" for look in shown])
    short = sorted({(look.kind, look.colour) for look in shown})
    tower = load_text(spec, "cpu")
    figures = {}
    for language, titles in enumerate(_titles(MEASURED_ON, rows)):
        right = _ten_nearest(tower.encode([titles[row] for row in asked], "query"), photos, wanted, wanted[asked])
        names = [_short(Look(kind, colour, "plain", ""), 0, language) for kind, colour in short]
        names_right = _ten_nearest(
            tower.encode(names, "query"), photos, plainer, np.array([f"{kind}/{colour}" for kind, colour in short])
        )
        there = (wanted[None, :] == wanted[asked][:, None]).sum(axis=1)
        figures[LANGUAGES[language]] = Figures(
            queries=len(asked),
            recall_at_10=float((right.sum(axis=1) / np.minimum(there, 10)).mean()),
            precision_at_1=float(right[:, 0].mean()),
            short_precision_at_10=float(names_right.mean()),
        )
    return figures


def card(trained: Trained, figures: dict[str, Figures]) -> str:
    """The model card, Markdown."""
    rows = [
        f"| {language} | {one.queries} | {one.recall_at_10:.3f} | {one.precision_at_1:.3f} "
        f"| {one.short_precision_at_10:.3f} |"
        for language, one in figures.items()
    ]
    size = sum(file.stat().st_size for file in trained.folder.iterdir())
    return _CARD.format(
        products=PRODUCTS,
        seed=TRAINED_ON,
        pairs=trained.pairs,
        held_out=SETTINGS.held_out,
        hours=trained.seconds / 3600,
        steps=trained.steps,
        megabytes=size / 1e6,
        side=SIZES.photo_side,
        dim=SIZES.photo_width,
        tokens=SIZES.text_tokens,
        gallery=GALLERY,
        measured_on=MEASURED_ON,
        rows="\n".join(rows),
    )


def combination(look: Look) -> str:
    """What is held out together: `dress/red/striped`."""
    return f"{look.kind}/{look.colour}/{look.pattern}"


def _ten_nearest(
    queries: Vectors, photos: Vectors, gallery: npt.NDArray[np.str_], wanted: npt.NDArray[np.str_]
) -> npt.NDArray[np.bool_]:
    """(nq, 10) bool: whether each of the ten nearest photos is of what its query wants."""
    nearest = np.argsort(-(queries @ photos.T), axis=1, kind="stable")[:, :10]
    right: npt.NDArray[np.bool_] = gallery[nearest] == wanted[:, None]
    return right


def _titles(seed: int, rows: npt.NDArray[np.int64]) -> Sequence[list[str]]:
    table = product_rows(seed, rows)
    return [table.column(name).to_pylist() for name in ("title", "title_zh")]


def _short(look: Look, number: int, language: int) -> str:
    """`red dress`, `红色连衣裙`: colour and one of the kind's three names."""
    colour, noun = COLOUR_WORDS[look.colour][language], KIND_WORDS[look.kind].nouns[number % 3][language]
    return f"{colour} {noun}" if language == 0 else f"{colour}{noun}"


def _decoded(look: Look) -> Photo:
    """The photo as a catalog has it: through JPEG."""
    with Image.open(io.BytesIO(photo(look))) as image:
        return np.asarray(image.convert("RGB"))


def _same(kept: Photo) -> Photo:
    return kept
