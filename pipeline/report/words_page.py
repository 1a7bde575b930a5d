"""How a snapshot is searched by words, as tables of `vitrine inspect`."""

from __future__ import annotations

from lookup.store.manifest import Manifest

Table = tuple[list[str], list[list[str]]]


def weight_table(manifest: Manifest) -> Table:
    """(columns, rows): what words weigh in a score, and by field; what judged queries said of it, where they did."""
    columns, entry = ["searched by words", ""], manifest.lexical
    if entry is None:
        return columns, []
    rows = [
        ["share in a score", f"{entry.weight:g}"],
        ["fields", ", ".join(f"{name} {weight:g}" for name, weight in entry.fields.items())],
        ["languages", ", ".join(entry.analysis.get("languages", ())) or "none: words as they are written"],
    ]
    if entry.tuned is not None:
        one = entry.tuned
        halves = f"vectors {one.vectors:.3f}, words {one.words:.3f}"
        said = f"nDCG@10 {one.ndcg:.3f} on {one.queries:,} judged queries; {halves}"
        gain = f"gain on held-out folds {one.low:+.3f} to {one.high:+.3f}"
        rows.append(["tuned", f"{said}; {gain}: {'the weight before stays' if one.kept else 'a new weight'}"])
    return columns, rows


def words_table(manifest: Manifest) -> Table:
    """(columns, rows) of every partition's lexical index."""
    columns = ["partition", "lexical rows", "terms", "postings", "MB", "bytes/row", "built in s"]
    records = [(one.name, one.lexical) for one in manifest.partitions if one.lexical is not None]
    return columns, [
        [
            name,
            *(f"{count:,}" for count in (record.rows, record.terms, record.postings)),
            f"{record.bytes / 1e6:,.2f}",
            f"{record.bytes / max(1, record.rows):.0f}",
            f"{record.build_seconds:.1f}",
        ]
        for name, record in records
    ]
