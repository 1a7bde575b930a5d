"""Which gate stops which poisoned night, down to which strength, and how many ordinary nights are stopped too.

    python benchmarks/poisoned_nights.py [--products 600] [--ordinary 100] [--kinds titles_cut,rows_gone]

Strength is the share of products that a poison hits; rows that are gone are that share of all, junk rows nine for each
product that is hit. The table goes into docs/reliability.md.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the poisons are those of the tests

from tests.support.poisoned_runs import KINDS, Night, Shop

STRENGTHS = (1.0, 0.5, 0.25, 0.1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--products", type=int, default=600)
    parser.add_argument("--ordinary", type=int, default=100, help="nights, in chains of 10")
    parser.add_argument("--kinds", default=",".join(KINDS))
    words = parser.parse_args()
    started = time.time()
    with tempfile.TemporaryDirectory() as folder:
        shop = Shop(Path(folder), words.products)
        _row("poison", *(f"{strength:.0%}" for strength in STRENGTHS))
        _row(*["---"] * (1 + len(STRENGTHS)))
        for kind in filter(None, words.kinds.split(",")):
            _row(kind.replace("_", " "), *(_told(shop.poisoned(kind, strength)) for strength in STRENGTHS))
        stopped: list[Night] = []
        for seed in range(words.ordinary // 10):
            for night in shop.ordinary(10, seed):
                if night.exit_code:
                    stopped.append(night)
                    print(night, flush=True)
                    break
    print(f"\n{words.ordinary} ordinary nights, {len(stopped)} of them stopped; {time.time() - started:.0f} s")


def _told(night: Night) -> str:
    if night.exit_code == 3:
        return ", ".join(f"`{name}`" for name in night.stopped_by)
    return "published" if night.exit_code == 0 else f"exit {night.exit_code}"


def _row(*cells: str) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
