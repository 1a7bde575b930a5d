"""Whether products without a photo are found as often as their texts deserve, behind a head and by words too.

    python benchmarks/photoless.py --data FOLDER --work FOLDER [--share 0.3]

FOLDER of the data is that of docs/quality.md. A seeded share of its listings loses the photo; then `vitrine run`,
`vitrine train head` and `vitrine run` with that head and with `lexical`, weightless. Printed is the share of products
without a photo among the first ten hits of the text queries, and of the photos with the shop's word beside each.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import lookup
from lookup.search import Reader

TEXT = "encoders.text={type: hashed_text, dim: 256}"
SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--share", type=float, default=0.3)
    words = parser.parse_args()
    data, work = words.data.resolve(), words.work.resolve()
    without = catalog(data, work / "catalog", words.share)
    asked = [row for row in pq.read_table(data / "queries.parquet").to_pylist() if row["text"]]
    photos = [row["image"] for row in pq.read_table(data / "queries.parquet").to_pylist() if row["image"]]
    texts = [(row["text"], None) for row in asked]
    both = [(photo.split("/")[3].replace("-", " "), (data / photo).read_bytes()) for photo in photos]
    plain = ("fusion={type: concat}", "encoders.image={type: photo_descriptors, dim: 256, centre_weight: 0}")
    stores = {
        "text tower": ("fusion={type: single, modality: text}", "encoders.image=null", "catalog.image=null"),
        "concat": plain,
        "concat, head": (*plain, f"fusion.image_head={work / 'head'}"),
        "concat, words": (*plain, "lexical={weight: 0.5}"),
        "concat, head, words": (*plain, f"fusion.image_head={work / 'head'}", "lexical={weight: 0.5}"),
    }
    for name, settings in stores.items():
        store = work / name.replace(", ", "-").replace(" ", "-")
        run(data, work, "run", store, *settings)
        if name == "concat" and not (work / "head").exists():
            run(data, work, "train", store, *settings)
        reader = lookup.open(str(store))
        of_both = "" if name == "text tower" else f", of text and photo {share(reader, both, without):.3f}"
        words_alone = [(text, None) for text, _ in both]
        print(
            f"{name}: of text queries {share(reader, texts, without):.3f}, "
            f"of the shop's words {share(reader, words_alone, without):.3f}{of_both}",
            flush=True,
        )


def catalog(data: Path, folder: Path, share: float) -> set[str]:
    """The products and listings, some without their photo, in `folder`; the ids of those."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = pa.concat_tables([pq.read_table(data / f"{name}.parquet") for name in ("listings", "products")])
    gone = np.random.default_rng(SEED).random(len(rows)) < share
    photos = [None if missing else photo for photo, missing in zip(rows["image_link"].to_pylist(), gone, strict=True)]
    at = rows.column_names.index("image_link")
    if not (folder / "c.parquet").exists():  # written again it would be another catalog
        pq.write_table(rows.set_column(at, "image_link", pa.array(photos, pa.string())), folder / "c.parquet")
    return {name for name, missing in zip(rows["id"].to_pylist(), gone, strict=True) if missing}


def run(data: Path, work: Path, command: str, store: Path, *settings: str) -> None:
    """`vitrine run`, or `vitrine train head` on what it published."""
    config = Path(__file__).resolve().parents[1] / "configs" / "weightless.yaml"
    common = (f"catalog.path={work / 'catalog'}", f"catalog.image_root={data}", "catalog.text=[title]")
    more = ("catalog.partition=category", "catalog.attributes=[title, product_type]", TEXT, f"store.path={store}")
    words = ["run"] if command == "run" else ["train", "head", "--out", str(work / "head")]
    program = str(Path(sys.executable).with_name("vitrine"))
    given = [program, *words, "-c", str(config), *common, *more, *settings]
    subprocess.run(given, check=True, stdout=subprocess.DEVNULL)


def share(reader: Reader, asked: list[tuple[str, bytes | None]], without: set[str]) -> float:
    """Of the first ten hits of all queries, those without a photo."""
    found = [hit.id in without for text, photo in asked for hit in reader.search(text, photo, k=10)]
    return float(np.mean(found))


if __name__ == "__main__":
    main()
