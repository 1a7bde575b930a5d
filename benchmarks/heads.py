"""What `vitrine train head` costs: CPU seconds of each step on one thread, and the peak memory of the process.

    python benchmarks/heads.py [--rows 1000000] [--dim 1280]

Made rows of one tower, of groups of four on average, go through the classes of the command: written to files by their
group, summed, tried on held-out groups with each ridge and length, and learned from once more with the ones chosen. All
of it is in a process of its own. What makes the rows is not counted; the command reads shards instead.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from measure import apart, here, publish

from encoders.heads.held_out import Sample, Trials, chosen, measure, widths_of
from encoders.heads.lda import Spec
from encoders.heads.sums import Sums
from foundation.arrays import Vectors
from pipeline.embed.vectors import Halves
from pipeline.train.head_groups import GroupFiles
from pipeline.train.head_rows import HeadRows, Keys, mixed

BATCH, EACH, BANK, NUISANCES = 8192, 4, 4096, 64
STEPS = {
    "written": "rows written to files by their group",
    "summed": "sums of each part, and the sample",
    "tried": "each ridge and length on held-out groups",
    "learned": "the head on all groups",
}


class MadeRows:
    """Rows of groups that differ inside most in few directions, in batches as `HeadRows` gives them; `seconds` of CPU
    went into making them.
    """

    def __init__(self, rows: int, dim: int) -> None:
        self.dims, self.manifest, self.seconds = {"image": dim}, SimpleNamespace(rows=rows), 0.0
        rng = np.random.default_rng(0)
        self._bank: Vectors = rng.standard_normal((BANK, dim), dtype=np.float32)
        self._nuisances: Vectors = rng.standard_normal((NUISANCES, dim), dtype=np.float32)

    def batches(self) -> Iterator[tuple[Keys, Halves]]:
        """((n,) uint64 keys of groups, (n, dim) float16 unit rows); the same at every call."""
        total = self.manifest.rows
        for start in range(0, total, BATCH):
            began = time.process_time()
            rng, count = np.random.default_rng([1, start]), min(BATCH, total - start)
            group = rng.integers(0, max(1, total // EACH), count)
            rows = self._bank[group % BANK] + self._bank[group // BANK]
            rows += self._bank[rng.integers(0, BANK, count)]
            rows += rng.standard_normal((count, NUISANCES), dtype=np.float32) @ self._nuisances
            rows /= np.sqrt(np.einsum("ij,ij->i", rows, rows))[:, None]
            made = mixed(group.astype(np.uint64)), rows.astype(np.float16)
            self.seconds += time.process_time() - began
            yield made


def measured(rows: int, dim: int) -> dict[str, float]:
    """CPU seconds of each step, the peak MB of this process after it, and how well held-out groups are found."""
    made, spec, seen = MadeRows(rows, dim), Spec(None), dict[str, Any]()
    dims = made.dims

    def written() -> None:
        seen["files"] = GroupFiles(cast(HeadRows, made), Path(folder) / "rows", 0)

    def summed() -> None:
        files: GroupFiles = seen["files"]
        seen["parts"], seen["sample"] = files.sums(files.counts().able)

    def tried() -> None:
        parts: list[Sums] = seen["parts"]
        sample: Sample = seen["sample"]
        whole = seen["whole"] = parts[0].plus(parts[1]).plus(parts[2]).plus(parts[3])
        tried_rank = min(spec.rank(whole.without(part), dims) for part in parts)
        widths = widths_of(spec.rank(whole, dims), tried_rank, None)
        seen["held_out"] = measure(Trials(spec, parts, dims, spec.ridges, widths, sample))

    def learned() -> None:
        spec.fit(seen["whole"], dims, best.ridge or 0.0)

    figures = dict[str, float]()
    with tempfile.TemporaryDirectory() as folder:
        for name, step in (("written", written), ("summed", summed), ("tried", tried)):
            done = here(step)
            figures |= {name: done["cpu_s"], f"{name}_mb": done["peak_mb"]}
        best = chosen(seen["held_out"], None)
        done = here(learned)
    figures |= {"learned": done["cpu_s"], "learned_mb": done["peak_mb"]}
    figures["written"] -= made.seconds
    figures |= {"groups": seen["whole"].groups, "before": seen["held_out"].before.recall}
    return figures | {"recall": best.recall, "dim": best.dim, "ridge": best.ridge or 0.0}


def main() -> None:
    """Measure in a process of its own, and publish the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=1280)
    parser.add_argument("--measure", action="store_true")
    given = parser.parse_args()
    size = ("--rows", str(given.rows), "--dim", str(given.dim))
    if given.measure:
        print(json.dumps(measured(given.rows, given.dim)))
        return
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    one = apart(__file__, "--measure", *size)
    table = [[told, f"{one[name]:.1f}", f"{one[f'{name}_mb']:,.0f}"] for name, told in STEPS.items()]
    table.append(["together", f"{sum(one[name] for name in STEPS):.1f}", f"{one['learned_mb']:,.0f}"])
    publish(
        "heads",
        f"Learning a head from {given.rows:,} vectors of {given.dim:,} numbers",
        f"python benchmarks/heads.py {' '.join(size)}",
        ["step", "CPU s", "peak MB until then"],
        table,
        NOTES.format(**one),
    )


NOTES = """
2 shared CPU cores, no GPU; one thread, in a process of its own. The kind is lda on rows that are made, of {groups:,.0f}
groups. Making them is not counted, and neither is what the command does before: reading the shards of a store and
checking their digests. Held-out groups: recall {before:.3f} without a head, {recall:.3f} with the one chosen, of
{dim:.0f} dimensions and ridge {ridge:g}.
"""

if __name__ == "__main__":
    sys.exit(main())
