"""What an index type's rules may know of a partition: how large it is, and how many lists that is worth.

Sources. FAISS wiki, "Guidelines to choose an index": below 1M vectors IVF with 4*sqrt(n) to 16*sqrt(n) lists. FAISS
`ClusteringParameters::min_points_per_centroid` = 39: fewer training points than that for each centroid are too few.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

POINTS_PER_CENTROID = 39  # FAISS, ClusteringParameters::min_points_per_centroid
LISTS_PER_SQRT_N = 4  # FAISS wiki: 4 to 16; the fewest train fastest, and nprobe is tuned anyway
# Scanning a code of a bit or two a dimension costs far less than comparing a centroid, so that fewer, longer lists find
# as much in less time, with fewer bytes of centroids: of 200,000 rows of 256 dimensions, at recall 0.95, PQ of 4 bits
# took 68, 58, 57 and 74 us a query with 2,048, 1,024, 512 and 256 lists, 1-bit RaBitQ 128, 85, 84 and 80.
LISTS_OF_FAST_CODES = 1
EXACT_UP_TO = 65_536  # rows up to which `auto` weighs exact search: 2 ms at 256 dimensions


@dataclass(frozen=True)
class PartitionSize:
    """`rows` vectors of length `dim`, of which `trainable` may be learned from, and the seed of what is drawn."""

    rows: int
    dim: int
    trainable: int
    seed: int


def nlist_for(rows: int, train_rows: int, per_sqrt: int = LISTS_PER_SQRT_N) -> int:
    """A power of two: the first from `per_sqrt` * sqrt(rows) on, or the last that has 39 training points for each
    centroid.
    """
    wanted = math.ceil(math.log2(per_sqrt * math.sqrt(rows)))
    trainable = math.floor(math.log2(max(1.0, train_rows / POINTS_PER_CENTROID)))
    return int(2 ** min(wanted, trainable))
