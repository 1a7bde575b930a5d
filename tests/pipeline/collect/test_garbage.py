"""What nobody needs, as a function of what lies there and what is named: drawn stores."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from lookup.store.backends.backend import Found
from pipeline.collect.garbage import Inventory, Needed, to_collect

CUTOFF = 100.0
SNAPSHOTS = [f"20261121T00000{n}Z-{n:016x}" for n in range(3)]
NAMES = [
    *(f"snapshots/{name}.{end}" for name in SNAPSHOTS for end in ("json", "segments")),
    *(f"shards/{n:032x}.{end}" for n in range(4) for end in ("json", "parquet", "rejects.parquet")),
    *(f"indexes/{n:064x}/{name}" for n in range(3) for name in ("record.json", "ids.parquet")),
    *(f"indexes/{n:064x}.json" for n in range(10, 14)),
    *(f"runs/{n}/{name}" for n in range(3) for name in ("run.json", "units/000001.json")),
    "shards/notes.txt", "snapshots/README", "indexes/list",
]  # fmt: skip
OURS = NAMES[:-3]
RECORDS = [name for name in NAMES if name.startswith("shards/") and name.endswith(".json")]
FILES = [name for name in NAMES if name.endswith("parquet") and name.startswith("shards/")]
POINTERS = [f"indexes/{n:064x}.json" for n in range(10, 14)]
INDEXES = [f"{n:064x}" for n in range(3)]


def inventory(
    written: Mapping[str, float], records: Mapping[str, list[str]], pointers: Mapping[str, str | None]
) -> Inventory:
    return Inventory([Found(name, 1, at) for name, at in sorted(written.items())], records, pointers)


@settings(max_examples=150, deadline=None)
@given(
    written=st.dictionaries(st.sampled_from(NAMES), st.sampled_from([1.0, 99.0, 100.0, 200.0])),
    records=st.dictionaries(st.sampled_from(RECORDS), st.lists(st.sampled_from(FILES), max_size=2, unique=True)),
    pointers=st.fixed_dictionaries({name: st.sampled_from([None, *INDEXES]) for name in POINTERS}),
    needed=st.sets(st.sampled_from([*FILES, *RECORDS])),
    snapshots=st.sets(st.sampled_from(SNAPSHOTS)),
    indexes=st.sets(st.sampled_from(INDEXES)),
    runs=st.sets(st.sampled_from(["0", "1", "2"])),
)
def test_what_is_needed_or_young_stays_and_all_else_goes(
    written: dict[str, float],
    records: dict[str, list[str]],
    pointers: dict[str, str | None],
    needed: set[str],
    snapshots: set[str],
    indexes: set[str],
    runs: set[str],
) -> None:
    """Nothing that is named or young, nor what belongs to that; nothing that is not ours; no pointer without its index,
    and no record without its files; and what is left has no garbage.
    """
    records = {record: files for record, files in records.items() if record in written}
    found = inventory(written, records, pointers)
    names = Needed(snapshots, set(needed), indexes, runs)
    garbage = to_collect(found, names, CUTOFF)
    gone = {name for one in garbage for name in written if f"{name}/".startswith(f"{one.name}/")}
    assert gone <= set(OURS)
    assert not any(written[name] >= CUTOFF or name in needed for name in gone)
    assert not any(name.startswith(f"snapshots/{one}") for one in snapshots for name in gone)
    assert not any(name.startswith(f"indexes/{one}/") for one in indexes for name in gone)
    assert not any(name.startswith(f"runs/{one}/") for one in runs for name in gone)
    left = {name: at for name, at in written.items() if name not in gone}
    for record, files in records.items():
        if record in left:
            assert not gone.intersection(files)
    for pointer, index in pointers.items():
        if pointer in left and left[pointer] >= CUTOFF:
            assert not any(name.startswith(f"indexes/{index}/") for name in gone)
    assert sum(one.bytes for one in garbage) == len(gone)
    known = {record: files for record, files in records.items() if record in left}
    assert not to_collect(inventory(left, known, pointers), names, CUTOFF)
