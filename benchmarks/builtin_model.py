"""How well the built-in model finds combinations that it never saw; with --train FOLDER it is made there first."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from pipeline.demo.builtin import GALLERY, make_builtin, measure

SHIPPED = Path(__file__).resolve().parents[1] / "encoders" / "builtin"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=SHIPPED, help="model folder to measure")
    parser.add_argument("--train", type=Path, metavar="FOLDER", help="new folder to train the model into")
    words = parser.parse_args()
    if words.train:
        torch.set_num_threads(2)  # what it was measured with; another number gives other last bits
        trained = make_builtin(words.train, _told)
        print(f"trained in {trained.seconds / 60:.1f} minutes, {trained.steps:,} steps on {trained.pairs:,} products")
    model = words.train or words.model
    size = sum(file.stat().st_size for file in model.iterdir())
    print(f"{model}: {size:,} bytes, searched among {GALLERY:,} photos by titles of unseen combinations")
    for language, one in measure(str(model)).items():
        print(
            f"{language}: {one.queries} queries, recall@10 {one.recall_at_10:.3f}, precision@1 {one.precision_at_1:.3f}"
            f", short names precision@10 {one.short_precision_at_10:.3f}"
        )


def _told(step: str, done: int, total: int) -> None:
    if done % 500 == 0 or done == total:
        print(f"{step} {done:,} of {total:,}", flush=True)


if __name__ == "__main__":
    main()
