"""The lexical index beside its peers: what building costs, what a row takes on disk, how fast and how well it finds.

    uv run --with bm25s --with tantivy python benchmarks/lexical.py [--rows 1000000] [--data FOLDER]

bm25s and tantivy are no dependencies of the project: where they are not installed, their rows are left out. Titles are
made: 4 to 14 words of a vocabulary of 300,000 by Zipf's law, codes and measures among them. Queries are one to four
words of a title; misspelled ones have two letters swapped in each word of five or more. `--data` is a folder of
products.parquet (id, title), queries.parquet (query_id, text) and qrels.parquet (query_id, id, gain), of real titles.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measure import apart, here, publish

K, QUERIES, BLOCK = 10, 1000, 20_000
ENGINES = ("vitrine", "bm25s", "tantivy")
Search = Callable[[str], list[int]]


def vocabulary(words: int, rng: np.random.Generator) -> np.ndarray:
    """(words,) distinct words of two to four syllables, the most frequent first."""
    syllables = np.array([a + b + c for a in "bcdfghjklmnprstvwz" for b in "aeiou" for c in ("", "n", "r", "s", "l")])
    made = dict.fromkeys(
        "".join(syllables[rng.integers(len(syllables), size=rng.integers(2, 5))]) for _ in range(2 * words)
    )
    return np.array(list(made)[:words])


def titles(rows: int, seed: int = 7) -> list[str]:
    """`rows` titles; the first are the same for every number of rows."""
    rng = np.random.default_rng(seed)
    words = vocabulary(300_000, rng)
    shares = 1 / np.arange(1, len(words) + 1) ** 1.05
    cumulated = np.cumsum(shares / shares.sum())
    made = list[str]()
    while len(made) < rows:
        lengths = rng.integers(4, 12, BLOCK)
        drawn = words[np.searchsorted(cumulated, rng.random(int(lengths.sum())))]
        ends, extra = np.cumsum(lengths), rng.random(BLOCK)
        for end, length, kind, code in zip(ends, lengths, extra, rng.integers(1, 10_000, BLOCK), strict=True):
            text = " ".join(drawn[end - length : end])
            if kind < 0.2:
                text += f" {chr(97 + code % 26)}{chr(97 + code % 23)}-{code}{chr(97 + code % 7)}"
            elif kind < 0.5:
                text += f" {(code % 40) * 25} {('ml', 'cm', 'pack', 'inch')[code % 4]}"
            made.append(text)
    return made[:rows]


def queries(texts: Sequence[str], seed: int = 11) -> list[str]:
    """One to four words of each of some titles, from its front."""
    rng = np.random.default_rng(seed)
    chosen = rng.integers(len(texts), size=QUERIES)
    return [" ".join(rng.permutation(texts[at].split())[: rng.integers(1, 5)]) for at in chosen]


def misspelled(asked: Sequence[str], seed: int = 13) -> list[str]:
    """The same with two neighbouring letters of each word of five or more swapped."""
    rng = np.random.default_rng(seed)

    def swapped(word: str) -> str:
        at = int(rng.integers(1, max(len(word) - 2, 2)))
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :] if len(word) >= 5 and word.isalpha() else word

    return [" ".join(map(swapped, text.split())) for text in asked]


def vitrine(texts: Sequence[str], folder: Path) -> Callable[[], Search]:
    """Build this project's index; what opens it."""
    from index_builders.lexical.build import build_lexical
    from lookup.lexical.analysis import Analysis
    from lookup.lexical.index import LexicalIndex
    from lookup.lexical.reading import read_query
    from lookup.lexical.scoring import Statistics

    analysis = Analysis()
    blocks = (pa.table({"title": texts[at : at + BLOCK]}) for at in range(0, len(texts), BLOCK))
    built = build_lexical(blocks, ["title"], analysis, folder)

    def open_index() -> Search:
        index = LexicalIndex.open(
            {role: folder / name for role, name in built.files.items()}, built.rows, {"title": 1.0}, analysis
        )

        def search(text: str) -> list[int]:
            query = read_query(text, analysis, [index])
            found: list[int] = index.search(query, Statistics.of(query, [index]), K)[1].tolist()
            return found

        return search

    return open_index


def bm25s(texts: Sequence[str], folder: Path) -> Callable[[], Search]:
    """Build an index of bm25s, with the same stemmer; what opens it, memory-mapped."""
    import bm25s as peer
    import Stemmer

    stemmer = Stemmer.Stemmer("english")
    tokens = peer.tokenize(list(texts), stopwords="en", stemmer=stemmer, show_progress=False)
    made = peer.BM25()
    made.index(tokens, show_progress=False)
    made.save(folder)

    def open_index() -> Search:
        opened = peer.BM25.load(folder, mmap=True)

        def search(text: str) -> list[int]:
            asked = peer.tokenize(text, stopwords="en", stemmer=stemmer, show_progress=False)
            found: list[int] = opened.retrieve(asked, k=K, show_progress=False)[0][0].tolist()
            return found

        return search

    return open_index


def tantivy(texts: Sequence[str], folder: Path) -> Callable[[], Search]:
    """Build an index of tantivy on one thread, with its English stemmer; what opens it."""
    import tantivy as peer

    schema = peer.SchemaBuilder()
    schema.add_text_field("title", stored=False, tokenizer_name="en_stem")
    schema.add_integer_field("at", stored=True)
    built = schema.build()
    index = peer.Index(built, path=str(folder))
    writer = index.writer(heap_size=200_000_000, num_threads=1)
    for at, text in enumerate(texts):
        writer.add_document(peer.Document(title=[text], at=at))
    writer.commit()
    writer.wait_merging_threads()

    def open_index() -> Search:
        opened = peer.Index.open(str(folder))
        searcher = opened.searcher()

        def search(text: str) -> list[int]:
            plain = " ".join("".join(one if one.isalnum() else " " for one in text).split())
            hits = searcher.search(opened.parse_query(plain, ["title"]), K).hits
            return [searcher.doc(address)["at"][0] for _, address in hits]

        return search

    return open_index


BUILD = {"vitrine": vitrine, "bm25s": bm25s, "tantivy": tantivy}


def digest(folder: Path) -> str:
    """Of all files in a folder, and their names."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    parts = [str(path.relative_to(folder)) + hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def milliseconds(search: Search, asked: Sequence[str]) -> dict[str, float]:
    """CPU milliseconds a query, median and 99th percentile, after all were asked once."""
    times = []
    for _ in range(2):
        times = []
        for text in asked:
            started = time.process_time()
            search(text)
            times.append(1000 * (time.process_time() - started))
    return {"p50": float(np.percentile(times, 50)), "p99": float(np.percentile(times, 99))}


def measured(engine: str, rows: int) -> dict[str, float]:
    """Figures of one engine, in this process."""
    texts = titles(rows)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        opening: list[Callable[[], Search]] = []
        figures = here(lambda: opening.append(BUILD[engine](texts, Path(one))))
        figures["bytes_a_row"] = sum(path.stat().st_size for path in Path(one).rglob("*") if path.is_file()) / rows
        search, asked = opening[0](), queries(texts)
        figures |= milliseconds(search, asked)
        figures |= {
            f"{name}_misspelled": value for name, value in milliseconds(search, misspelled(asked[:300])).items()
        }
        BUILD[engine](texts, Path(two))
        figures["same_bytes"] = float(digest(Path(one)) == digest(Path(two)))
    return figures


def judged(engine: str, data: Path) -> dict[str, float]:
    """Precision@1 and MRR@10 on real titles."""
    products = pq.read_table(data / "products.parquet", columns=["id", "title"])
    ids, relevant = products.column("id").to_pylist(), defaultdict[str, set[str]](set)
    for row in pq.read_table(data / "qrels.parquet").to_pylist():
        if row["gain"] > 0:
            relevant[row["query_id"]].add(row["id"])
    ranks = []
    with tempfile.TemporaryDirectory() as folder:
        search = BUILD[engine](products.column("title").to_pylist(), Path(folder))()
        for row in pq.read_table(data / "queries.parquet").to_pylist():
            found = [ids[at] in relevant[row["query_id"]] for at in search(row["text"])]
            ranks.append(found.index(True) + 1 if True in found else 0)
    return {"p_at_1": ranks.count(1) / len(ranks), "mrr": sum(1 / rank for rank in ranks if rank) / len(ranks)}


def table(rows: int, data: Path | None) -> Iterator[list[str]]:
    """A line for each engine and number of rows."""
    for count in sorted({min(rows, 100_000), rows}):
        for engine in ENGINES:
            if engine != "vitrine" and importlib.util.find_spec(engine) is None:
                continue
            one: dict[str, Any] = apart(__file__, "--measure", engine, "--rows", str(count))
            found = apart(__file__, "--judge", engine, "--data", str(data)) if data else {}
            yield [
                engine,
                f"{count:,}",
                f"{one['cpu_s']:.1f}",
                f"{one['peak_mb']:,.0f}",
                f"{one['bytes_a_row']:.1f}",
                f"{one['p50']:.2f} / {one['p99']:.2f}",
                f"{one['p50_misspelled']:.2f} / {one['p99_misspelled']:.2f}",
                "yes" if one["same_bytes"] else "no",
                f"{found['p_at_1']:.3f} / {found['mrr']:.3f}" if found else "",
            ]


def main() -> None:
    """Measure each engine in a process of its own, and publish one page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--measure", choices=ENGINES)
    parser.add_argument("--judge", choices=ENGINES)
    given = parser.parse_args()
    if given.measure:
        print(json.dumps(measured(given.measure, given.rows)))
    elif given.judge:
        print(json.dumps(judged(given.judge, given.data)))
    else:
        publish(
            "lexical",
            "The lexical index beside its peers",
            f"python benchmarks/lexical.py --rows {given.rows}" + (" --data FOLDER" if given.data else ""),
            [
                "engine",
                "rows",
                "build CPU s",
                "peak MB",
                "bytes a row",
                "ms p50 / p99",
                "misspelled",
                "same bytes",
                "P@1 / MRR",
            ],
            list(table(given.rows, given.data)),
            NOTES,
        )


NOTES = """
Each engine in a process of its own, on one thread; the same made titles and queries for all (`benchmarks/lexical.py`
says which). ms are CPU of a query for 10 hits, from its text, asked the second time. Only this index corrects
misspelled words, so the others answer those queries with little or nothing. `same bytes`: two builds of the same titles
gave equal files. P@1 and MRR@10 are of 997 titles of one shop asked of 2,074 of another, which are no part of the
project; bm25s and tantivy as they come, with an English stemmer.
"""

if __name__ == "__main__":
    sys.exit(main())
