"""What importing a feed costs beside reading it at all: CPU seconds and peak memory of `vitrine import` on a Google
Merchant TSV, the same with HTML, quotes and ends of lines in its texts as a CSV, and of pyarrow.csv alone on the same
files, which is the limit; and of an XML feed of a fifth as many items.

    python benchmarks/feeds.py --rows 1000000

Each figure is of a process of its own. Feeds are drawn, 18 columns; the page that it writes is `feeds.md` of the
benchmarks.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from measure import apart, here, publish

_NAMES = (
    "id title description link image_link additional_image_link availability price sale_price product_type "
    "google_product_category brand gtin condition color size item_group_id shipping"
)
NAMES = _NAMES.split()
COLUMNS = ["feed", "MB", "import CPU s", "wall s", "peak MB", "pyarrow.csv CPU s", "peak MB", "ratio of CPU"]
_WORDS = (
    "soft cotton linen wide slim classic garden kitchen steel glass lamp table chair blue green red black white bottle "
    "shirt dress boots leather wool warm light bright large small set of two for home and travel with pockets"
)
WORDS = np.array(_WORDS.split())


def lines(rows: int, html: bool) -> Iterator[list[str]]:
    """The values of each item."""
    rng = np.random.default_rng(7)
    for n in range(rows):
        words = WORDS[rng.integers(0, len(WORDS), 48)].tolist()
        kind, price, brand = n % 97, f"{rng.integers(100, 99_999) / 100:.2f}", f"Brand {n % 1013}"
        photo = f"https://cdn.shop.example/photos/{n % 997}/{n}"
        text = " ".join(words[8:])
        if html:
            text = f'<p>{" ".join(words[8:20])}</p>\n<ul><li>{" ".join(words[20:])} &amp; 12" more</li></ul>'
        yield [
            f"SKU-{n:08}",
            " ".join(words[:8]),
            text,
            f"https://shop.example/p/{n}",
            f"{photo}.jpg",
            f"{photo}-2.jpg,{photo}-3.jpg" if n % 3 else "",
            ("in_stock", "in stock", "out_of_stock", "preorder")[n % 4],
            f"{price} USD",
            f"{float(price) * 0.8:.2f} USD" if n % 5 == 0 else "",
            f"Department {kind % 12} > Aisle {kind} > Shelf {n % 1009}",
            str(1000 + kind),
            brand,
            f"{4_000_000_000_000 + n}",
            "new",
            words[0],
            ("S", "M", "L", "XL")[n % 4],
            f"G{n // 4}",
            "US:::5.95 USD",
        ]


def write(path: Path, rows: int, html: bool) -> None:
    """A feed at `path`: TSV, or CSV as a spreadsheet writes it."""
    import csv

    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n", delimiter="," if html else "\t")
        writer.writerow(NAMES)
        writer.writerows(lines(rows, html))


def write_xml(path: Path, rows: int) -> None:
    """The same as RSS 2.0."""
    from xml.sax.saxutils import escape

    with path.open("w", encoding="utf-8") as file:
        file.write('<rss version="2.0" xmlns:g="http://base.google.com/ns/1.0"><channel>\n')
        for values in lines(rows, html=False):
            pairs = [(name, escape(value)) for name, value in zip(NAMES, values, strict=True) if value]
            file.write("".join(["<item>", *(f"<g:{name}>{value}</g:{name}>" for name, value in pairs), "</item>\n"]))
        file.write("</channel></rss>\n")


def import_alone(path: str, folder: str) -> None:
    """`vitrine import`, in this process."""
    from pipeline.feeds.import_feed import ImportRequest, import_feed

    report = import_feed(ImportRequest(path, Path(folder)), lambda *_: None)
    assert not report.rejected, report.rejected


def read_alone(path: str, delimiter: str) -> None:
    """What Arrow needs to look at every value, block by block."""
    import pyarrow as pa
    from pyarrow import csv

    reader = csv.open_csv(
        path,
        csv.ReadOptions(use_threads=False, block_size=2**22),
        csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
        csv.ConvertOptions(column_types=dict.fromkeys(NAMES, pa.string())),
    )
    for _ in reader:
        pass


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--one", nargs=3)
    given = parser.parse_args()
    if given.one:
        kind, path, other = given.one
        works: dict[str, Callable[[str, str], None]] = {"import": import_alone, "read": read_alone}
        print(json.dumps(here(lambda: works[kind](path, other))))
        return
    table = []
    with tempfile.TemporaryDirectory() as folder:
        for name, html in (("Google TSV", False), ("CSV, HTML and quoted lines in texts", True)):
            path = Path(folder, "feed.csv" if html else "feed.tsv")
            write(path, given.rows, html)
            mine = apart(__file__, "--one", "import", str(path), str(Path(folder, "shop")))
            alone = apart(__file__, "--one", "read", str(path), "," if html else "\t")
            size = f"{path.stat().st_size / 1e6:,.0f}"
            own = [f"{mine['cpu_s']:.1f}", f"{mine['wall_s']:.1f}", f"{mine['peak_mb']:,.0f}"]
            theirs = [f"{alone['cpu_s']:.1f}", f"{alone['peak_mb']:,.0f}", f"{mine['cpu_s'] / alone['cpu_s']:.1f}"]
            table.append([f"{name}, {given.rows:,} rows", size, *own, *theirs])
            path.unlink()
        path, rows = Path(folder, "feed.xml"), given.rows // 5
        write_xml(path, rows)
        mine = apart(__file__, "--one", "import", str(path), str(Path(folder, "shop")))
        own = [f"{mine['cpu_s']:.1f}", f"{mine['wall_s']:.1f}", f"{mine['peak_mb']:,.0f}"]
        table.append([f"Google XML, {rows:,} items", f"{path.stat().st_size / 1e6:,.0f}", *own, "", "", ""])
    notes = """
An import types prices, normalises availability, splits lists, strips HTML, looks for broken quotes, and writes Parquet
with zstd and page checksums; pyarrow.csv only parses. Wall seconds are of a machine that others used too.
"""
    publish("feeds", "Feeds", f"python benchmarks/feeds.py --rows {given.rows}", COLUMNS, table, notes)


if __name__ == "__main__":
    main()
