"""Whether texts and photos belong to each other: products whose texts are alike have photos that are alike, as far as
the towers see it. That needs no common space. Titles that went to other products, or photos, break it.

Kriegeskorte et al., Representational similarity analysis (2008): the similarity matrices of both towers are centred by
rows and columns, their diagonals left out, and correlated. The error is that of a U-statistic of degree two (Hoeffding,
1948): twice the spread of the products' own parts of it, over the root of their number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from foundation.arrays import Vectors
from index_builders.measure.queries import inside
from index_builders.rows.shards import read_tower, shard_metadata
from lookup.store.entries.figures import Agreement
from lookup.store.shards import Shards
from lookup.store.store import Store
from pipeline.publish.figures.drawn_rows import draw_rows

_NOTHING = 1e-9
FEWEST = 20  # products with both, of which a figure says anything


def agreement_of(store: Store, shards: Shards, partitions: Sequence[str], segments: int, rows: int) -> Agreement | None:
    """Of about `rows` products of `partitions` those that have both; None where these are fewer than `FEWEST`."""
    drawn = draw_rows(store, shards, partitions, segments, rows)
    texts, photos = list[Vectors](), list[Vectors]()
    for ref, at in inside(drawn.segments, drawn.positions):
        lengths = shard_metadata(ref.path)
        if None in (lengths["text_dim"], lengths["image_dim"]):
            continue  # of a run that kept no towers: one category was run again since
        (text, has_text), (photo, has_photo) = read_tower(ref, "text"), read_tower(ref, "image")
        both = at[has_text[at] & has_photo[at]]
        texts.append(text[both])
        photos.append(photo[both])
    if sum(map(len, texts)) < FEWEST:
        return None
    return agreement(np.concatenate(texts), np.concatenate(photos))


def agreement(text: Vectors, photo: Vectors) -> Agreement:
    """Of (n, dt) and (n, di) float32 unit rows of the same products. Where all texts, or all photos, are equal there is
    nothing that they could agree on: 0.
    """
    mine, theirs = _centred(text), _centred(photo)
    scale = float(np.sqrt((mine**2).sum() * (theirs**2).sum()))
    if scale == 0:
        return Agreement(products=len(text), value=0.0, error=0.0)
    parts = (mine * theirs).sum(axis=1) * (len(text) / scale)
    error = 2 * float(parts.std()) / float(np.sqrt(len(text)))
    return Agreement(products=len(text), value=float(parts.mean()), error=error)


def _centred(rows: Vectors) -> npt.NDArray[np.float64]:
    """(n, n) similarities without what a row has in common with all others; 0 on the diagonal."""
    wide = rows.astype(np.float64)
    found = wide @ wide.T
    np.fill_diagonal(found, 0)
    others = len(found) - 1
    means = found.sum(axis=1) / others
    found += means.mean() - means[:, None] - means[None, :]
    found[np.abs(found) < _NOTHING] = 0  # what rounding leaves of equal rows
    np.fill_diagonal(found, 0)
    return found
