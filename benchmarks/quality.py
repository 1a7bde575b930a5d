"""How well each pair of encoders and fusion finds real products: weightless, built-in and trained, side by side.

    python benchmarks/quality.py --data FOLDER --work FOLDER [--only trained/concat]

FOLDER of the data has `products.parquet`, `listings.parquet` (id, title, description, category, product_type,
image_link), `queries.parquet`, `qrels.parquet` and the photos, as docs/quality.md describes them. All
is done by the command that users have: `vitrine train` on the listings, `vitrine train fusion` for fusions that learn,
then `vitrine run` and `vitrine eval`. What stands in the work folder is not done again.

Queries are those of the data, and its photos once more with the shop's word for the kind of product beside each.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from measure import publish

# Strong augmentation: the queries are from other visits to the shops, and listings of one visit resemble each other so
# much that held-out ones tell nothing of that.
TRAINING = [
    *("train.loss=softmax", "train.epochs=120", "train.batch=128", "train.lr=1e-3", "train.weight_decay=0.2"),
    *("train.crop=0.25", "train.colour=0.3", "train.erase=0.2", "train.held_out=0.05", "train.evaluate_every=150"),
]
FIGURES = ("precision@1", "precision@10", "recall@10", "f1@10", "mrr@10", "ndcg@10")
WEIGHTLESS = {"text": "{type: hashed_text, dim: 256}", "image": "{type: photo_descriptors}"}  # equally long: they add
ALONE = ("single text", "single image", "concat", "weighted_sum", "sum", "transformer")
LEARNED = ("transformer", "cross_attention")
NOTES = "Through the index, which is exact at this size. Means over queries, with 95% bootstrap intervals."


@dataclass(frozen=True)
class Case:
    """One pair of encoders and fusion, and the folders it lives in."""

    encoders: str
    fusion: str
    data: Path
    work: Path

    @property
    def name(self) -> str:
        """What --only calls it."""
        return f"{self.encoders}/{self.fusion}".replace(" ", "-")

    @property
    def store(self) -> Path:
        """Where its snapshots are."""
        return self.work / "stores" / self.name.replace("/", "-")

    def overrides(self) -> list[str]:
        """The keys of the config that make this case."""
        model = self.work / "trained" if self.encoders == "trained" else "builtin"
        dual = f"{{type: dual, model: {model}}}"
        towers = WEIGHTLESS if self.encoders == "weightless" else {"text": dual, "image": dual}
        kind, _, modality = self.fusion.partition(" ")
        fields = f"type: {kind}"
        if modality:
            fields += f", modality: {modality}, shared: {str(self.encoders != 'weightless').lower()}"
        if kind in LEARNED:
            fields += f", model: {self.model}"
        return [f"encoders.{tower}={spec}" for tower, spec in towers.items()] + [f"fusion={{{fields}}}"]

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of queries that this fusion can answer."""
        if not self.fusion.startswith("single"):
            return ("text", "photo", "both")
        if self.encoders != "weightless":
            return ("text", "photo")  # towers of one model share a space
        return ("text",) if self.fusion == "single text" else ("photo",)

    @property
    def model(self) -> Path:
        """Where the learned fusion of these encoders is."""
        return self.work / "fusions" / self.name.replace("/", "-")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only", help="a case, such as trained/concat: measured and printed, not published")
    words = parser.parse_args()
    data, work = words.data.resolve(), words.work.resolve()
    (work / "fusions").mkdir(parents=True, exist_ok=True)
    catalog(data, work)
    queries(data, work)
    train(work)
    rows: list[list[str]] = []
    for encoders in ("weightless", "builtin", "trained"):
        for fusion in (*ALONE, *(LEARNED[1:] if encoders != "weightless" else ())):
            case = Case(encoders, fusion, data, work)
            if words.only in (None, case.name):
                rows += measured(case)
    if words.only is None:
        columns = ["encoders", "fusion", "query", "n", *FIGURES]
        command = "python benchmarks/quality.py --data FOLDER --work FOLDER"
        publish(
            "quality", "How well each pair of encoders and fusion finds real products", command, columns, rows, NOTES
        )


def catalog(data: Path, work: Path) -> None:
    """Products and listings as one catalog, and the config of all cases."""
    folder = work / "catalog"
    folder.mkdir(exist_ok=True)
    for name in ("products.parquet", "listings.parquet"):
        if not (folder / name).exists():  # a copy of another time is another catalog
            shutil.copyfile(data / name, folder / name)
    (work / "config.yaml").write_text(
        f"""catalog:
  path: {folder}
  image_root: {data}
  text: [title]
  partition: category
  attributes: [title, product_type, image_link]
encoders:
  text: {{type: dual, model: builtin}}
  image: {{type: dual, model: builtin}}
store: {{path: {work / "store"}}}
"""
    )


def queries(data: Path, work: Path) -> None:
    """The queries by kind, with their judgments; those of both are the photos, each with the word that the data's
    folders have for it.
    """
    asked = pq.read_table(data / "queries.parquet").to_pylist()
    judged = pq.read_table(data / "qrels.parquet").to_pylist()
    kinds = {"text": [row for row in asked if row["text"]], "photo": [row for row in asked if row["image"]]}
    kinds["both"] = [row | {"text": row["image"].split("/")[3].replace("-", " ")} for row in kinds["photo"]]
    for row in kinds["photo"] + kinds["both"]:
        row["image"] = str(data / row["image"])  # an absolute path stays as it is
    for kind, rows in kinds.items():
        named = {row["query_id"] for row in rows}
        pq.write_table(pa.Table.from_pylist(rows), work / f"{kind}.parquet")
        pq.write_table(
            pa.Table.from_pylist([row for row in judged if row["query_id"] in named]), work / f"{kind}-qrels.parquet"
        )


def train(work: Path) -> None:
    """The built-in model, trained on the listings' photos and titles."""
    began = time.monotonic()
    only = [f"catalog.path={work / 'catalog' / 'listings.parquet'}", "catalog.text=[title]"]
    vitrine("train", "-c", work / "config.yaml", "--from", "builtin", "--out", work / "trained", *only, *TRAINING)
    print(f"train: {(time.monotonic() - began) / 60:.1f} minutes", flush=True)


def measured(case: Case) -> list[list[str]]:
    """The rows of one case, one for each kind of query."""
    if case.fusion in LEARNED:
        began = time.monotonic()
        vitrine("train", "fusion", "-c", case.work / "config.yaml", "--out", case.model, *case.overrides())
        print(f"train fusion {case.name}: {(time.monotonic() - began) / 60:.1f} minutes", flush=True)
    vitrine("run", "-c", case.work / "config.yaml", f"store.path={case.store}", *case.overrides())
    rows = []
    for kind in case.kinds:
        qrels = case.work / f"{kind}-qrels.parquet"
        told = vitrine("eval", case.store, "--queries", case.work / f"{kind}.parquet", "--qrels", qrels, "--json")
        for one in json.loads(told)["quality"]:
            if one["category"] is None and one["way"] == "through the index":
                rows.append([case.encoders, case.fusion, kind, str(one["queries"]), *map(cell, figures(one))])
                print(*rows[-1], sep=" | ", flush=True)
    return rows


def figures(one: dict[str, Any]) -> list[dict[str, float]]:
    return [one["figures"][name] for name in FIGURES]


def cell(figure: dict[str, float]) -> str:
    return f"{figure['mean']:.3f} ({figure['low']:.2f}-{figure['high']:.2f})"


def vitrine(*words: str | Path) -> str:
    """What the command prints on stdout; what it says on stderr is shown as it comes."""
    asked = [sys.executable, "-m", "pipeline", *map(str, words)]
    return subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True).stdout


if __name__ == "__main__":
    main()
