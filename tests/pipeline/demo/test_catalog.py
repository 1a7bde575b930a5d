"""The demo catalog: what it draws and says, how it streams, and how its folder comes about."""

import hashlib
import io
import json
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from foundation.errors import InputError, LockedError
from pipeline.demo.catalog import MARK, DemoOptions, row_groups, write_demo_catalog
from pipeline.demo.drawings import COLOURS, KINDS, PATTERNS, Look, draw, photo
from pipeline.demo.words import COLOUR_WORDS, KIND_WORDS, PATTERN_WORDS

DIRTY = DemoOptions(products=90, dirty=True, row_group_rows=16, file_rows=60)

# Written here a second time, by hand: what a person calls these colours, and the Chinese for each word.
SEEN = {
    "red": (220, 20, 40),
    "orange": (255, 130, 10),
    "yellow": (255, 215, 40),
    "green": (30, 140, 60),
    "blue": (30, 80, 200),
    "purple": (125, 50, 165),
    "pink": (250, 130, 180),
    "brown": (120, 75, 45),
    "black": (30, 30, 35),
    "white": (250, 250, 250),
}
CHINESE_COLOURS = dict(
    zip(SEEN, ["红色", "橙色", "黄色", "绿色", "蓝色", "紫色", "粉色", "棕色", "黑色", "白色"], strict=True)
)
CHINESE_PATTERNS = {
    "plain": "纯色", "solid-colour": "素面", "striped": "条纹", "stripy": "条纹",
    "dotted": "波点", "polka-dot": "圆点", "checked": "格子", "gingham": "格纹",
}  # fmt: skip
CHINESE_KINDS = {
    "dress": "连衣裙", "shirt": "衬衫", "trousers": "裤子", "shoes": "鞋", "socks": "袜子", "hat": "帽子",
    "handbag": "手提包", "watch": "手表", "umbrella": "雨伞", "backpack": "双肩包", "mug": "马克杯", "teapot": "茶壶",
    "apron": "围裙", "chair": "椅子", "lamp": "台灯", "vase": "花瓶", "ball": "球", "kite": "风筝", "bottle": "水壶",
}  # fmt: skip


@pytest.fixture(scope="module")
def dirty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_catalog(tmp_path_factory.mktemp("demo") / "dirty", DIRTY)


def table(folder: Path) -> pa.Table:
    return pa.concat_tables(pq.read_table(path) for path in sorted((folder / "catalog").iterdir()))


def titles(rows: pa.Table) -> list[str]:
    return rows.column("title").to_pylist()


def digests(folder: Path) -> dict[str, str]:
    """Every file and link below the folder and what it holds."""
    paths = (path for path in folder.rglob("*") if not path.is_dir())
    return {
        str(path.relative_to(folder)): f"-> {path.readlink()}"
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths
    }


def words(text: str) -> set[str]:
    return {word.strip(",.:;").lower() for word in text.split()}


def one_of(names: dict[str, str], text: str) -> str:
    found = words(text) & names.keys()
    assert len(found) == 1, (text, found)
    return found.pop()


# --- the same arguments, the same catalog ---


def test_the_same_options_give_the_same_bytes(dirty: Path, tmp_path: Path) -> None:
    """Two folders of equal options are equal in every byte of Parquet, photos and links."""
    again = digests(write_demo_catalog(tmp_path / "again", DIRTY))
    assert len(again) > DIRTY.products
    assert again == digests(dirty)


def test_another_seed_gives_other_products() -> None:
    """The seed decides what the products are."""
    first, second = (next(row_groups(DemoOptions(products=50, seed=seed, photos="none"))) for seed in (1, 2))
    assert titles(first) != titles(second)


@settings(max_examples=15, deadline=None)
@given(
    products=st.integers(1, 150),
    group=st.integers(1, 400),
    file=st.integers(1, 400),
    seed=st.integers(0, 2**64),
    dirt=st.booleans(),
)
def test_rows_do_not_depend_on_how_they_are_grouped(
    products: int, group: int, file: int, seed: int, dirt: bool
) -> None:
    """Any sizes of row groups and files give the same rows in the same order, none larger than asked for."""
    options = DemoOptions(products, seed, dirt, "none", group, file)
    tables = list(row_groups(options))
    whole = list(row_groups(DemoOptions(products, seed, dirt, "none", 10_000, 10_000)))
    assert len(whole) == 1
    assert max(table.num_rows for table in tables) <= min(group, file)
    # As bytes: one faulty title is not UTF-8.
    assert pa.concat_tables(tables).combine_chunks().column("id").equals(whole[0].column("id"))
    assert [t for table in tables for t in raw_titles(table)] == raw_titles(whole[0])


def raw_titles(rows: pa.Table) -> list[bytes]:
    return [raw for chunk in rows.column("title").chunks for raw in chunk.view(pa.binary()).to_pylist()]


def test_files_and_row_groups_have_the_sizes_asked_for(dirty: Path) -> None:
    """file_rows cuts files, row_group_rows cuts row groups within each, and only the last of each is shorter."""
    groups = {}
    for path in sorted((dirty / "catalog").iterdir()):
        footer = pq.read_metadata(path)
        groups[path.name] = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
    total = DIRTY.products + pq.read_metadata(dirty / "outcomes.parquet").num_rows
    assert list(groups.values())[:2] == [[16, 16, 16, 12], [16, 16, 16, 12]]
    assert sum(map(sum, groups.values())) == total
    assert list(groups)[:2] == ["part-00000.parquet", "part-00001.parquet"]


# --- what products are, in pictures and in two languages ---


def test_there_are_kinds_colours_patterns_and_categories_enough() -> None:
    """At least 12 kinds in 4 top-level categories, 10 colours, 4 patterns, and each has its words."""
    assert len(KINDS) >= 12
    assert len({kind.product_type.split(" > ")[0] for kind in KIND_WORDS.values()}) >= 4
    assert (len(COLOURS), len(PATTERNS)) == (10, 4)
    assert set(KIND_WORDS) == set(KINDS)
    assert set(COLOUR_WORDS) == set(COLOURS)
    assert set(PATTERN_WORDS) == set(PATTERNS)


def test_english_and_chinese_agree() -> None:
    """Colour, pattern and kind of each title are the same in both languages, and so are those of the description."""
    kinds = Counter()
    for row in next(row_groups(DemoOptions(products=1000, photos="none"))).to_pylist():
        for english, chinese in ((row["title"], row["title_zh"]), (row["description"], row["description_zh"])):
            colour, kind = one_of(SEEN_NAMES, english), one_of(CHINESE_KINDS, english)
            pattern = one_of(CHINESE_PATTERNS, english)
            assert [c for c in CHINESE_COLOURS.values() if c in chinese] == [CHINESE_COLOURS[colour]]
            assert CHINESE_PATTERNS[pattern] in chinese
            assert CHINESE_KINDS[kind] in chinese
        assert one_of(CHINESE_KINDS, row["title"]) == one_of(CHINESE_KINDS, row["description"])
        assert one_of(SEEN_NAMES, row["title"]) == one_of(SEEN_NAMES, row["description"])
        kinds[kind, row["product_type"]] += 1
    assert len(kinds) == len(KINDS)  # each kind stands in one category


SEEN_NAMES = dict.fromkeys(SEEN, "")


def seen_colour(picture: Image.Image) -> str:
    """The name of the colour that most of what is not background has, details of ink, wood and metal left out."""
    pixels = np.asarray(picture, dtype=np.float64)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])[::6]
    flat = pixels[::3, ::3].reshape(-1, 3)
    far = np.linalg.norm(flat[:, None] - border[None], axis=2).min(axis=1) > 24
    names = [*SEEN, *SEEN, *SEEN, "white", "wood", "metal", "leaf"]
    shades = [tuple(c * 0.7 for c in rgb) for rgb in SEEN.values()]  # seams, cuffs, handles
    tints = [tuple((c + 250) / 2 for c in rgb) for rgb in SEEN.values()]  # half a gingham is half white
    palette = np.array(
        [*SEEN.values(), *tints, *shades, (204, 206, 210), (172, 128, 84), (172, 176, 184), (84, 138, 84)],
        dtype=np.float64,
    )
    nearest = np.linalg.norm(flat[far][:, None] - palette[None], axis=2).argmin(axis=1)
    counts = Counter(names[i] for i in nearest.tolist())
    chromatic = max((name for name in SEEN if name not in ("black", "white")), key=lambda name: counts[name])
    if counts[chromatic] > 0.12 * far.sum():
        return chromatic
    return max(("black", "white"), key=lambda name: counts[name])


def test_photos_have_the_colour_that_titles_name(tmp_path: Path) -> None:
    """The dominant colour of a photo is the one that its title names."""
    folder = write_demo_catalog(tmp_path / "clean", DemoOptions(products=200))
    wrong = []
    for row in table(folder).to_pylist():
        with Image.open(folder / row["image_link"]) as picture:
            assert (picture.format, picture.size) == ("JPEG", (160, 160))
            seen = seen_colour(picture)
        if seen != one_of(SEEN_NAMES, row["title"]):
            wrong.append((row["title"], seen))
    assert len(wrong) <= 2, wrong


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_posed_in_many_ways_and_stays_in_the_picture(kind: str) -> None:
    """Other seeds give other photos of the same look, and nothing is cut off: the rim shows background only."""
    pictures = [np.asarray(draw(Look(kind, "red", "plain", str(seed))), dtype=np.int64) for seed in range(12)]
    assert len({picture.tobytes() for picture in pictures}) == 12
    for picture in pictures:
        rim = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
        assert (rim.max(axis=1) - rim.min(axis=1)).max() < 40  # grounds are nearly grey; red, ink and wood are not
        assert rim.min() > 190
    assert photo(Look(kind, "red", "plain", "1")) == photo(Look(kind, "red", "plain", "1"))


def test_patterns_differ_and_leave_the_pose_alone() -> None:
    """The four patterns of one look differ inside the product only: its outline is the same."""
    pictures = [np.asarray(draw(Look("ball", "blue", pattern, "3")), dtype=np.int64) for pattern in PATTERNS]
    assert len({picture.tobytes() for picture in pictures}) == 4
    for picture in pictures[1:]:
        assert np.array_equal(picture[0], pictures[0][0])
        assert 0.05 < (np.abs(picture - pictures[0]).max(axis=2) > 60).mean() < 0.6


# --- streaming ---


def test_rows_are_made_as_they_are_asked_for() -> None:
    """The first row groups of a hundred million products take no more memory than they themselves need."""
    tracemalloc.start()
    before = pa.total_allocated_bytes()
    tables = row_groups(DemoOptions(products=100_000_000, photos="none"))
    assert [next(tables).num_rows for _ in range(3)] == [1000] * 3
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6
    assert pa.total_allocated_bytes() - before < 20e6


# --- queries ---


def test_queries_are_there_with_photos_of_their_own(dirty: Path) -> None:
    """Queries come in English, Chinese and photos, and no photo of the catalog is a query's."""
    queries = pq.read_table(dirty / "queries.parquet").to_pylist()
    assert {query["language"] for query in queries} == {"en", "zh", None}
    known = {hashlib.sha256(path.read_bytes()).digest() for path in (dirty / "photos/00000").iterdir()}
    shown = [query for query in queries if query["image"] is not None]
    assert len(shown) == 3
    for query in shown:
        raw = (dirty / query["image"]).read_bytes()
        assert hashlib.sha256(raw).digest() not in known
        assert seen_colour(Image.open(io.BytesIO(raw))) == query["colour"]
        assert query["text"] is None
    for query in queries:
        if query["language"] == "en":
            assert {query["colour"], query["kind"]} <= words(query["text"])
        if query["language"] == "zh":
            assert CHINESE_COLOURS[query["colour"]] in query["text"]
            assert CHINESE_KINDS[query["kind"]] in query["text"]


# --- the folder ---


@pytest.mark.parametrize("wrong", [{"products": 0}, {"products": -3}, {"row_group_rows": 0}, {"file_rows": 0}])
def test_options_that_make_no_catalog_are_refused(tmp_path: Path, wrong: dict[str, int]) -> None:
    """Sizes below one are an InputError, and nothing is written."""
    with pytest.raises(InputError, match=f"{next(iter(wrong))} of 1 or more"):
        write_demo_catalog(tmp_path / "demo", DemoOptions(**wrong))
    assert not list(tmp_path.iterdir())


def test_the_same_options_again_do_nothing(tmp_path: Path) -> None:
    """A catalog that stands is left as it is."""
    folder = write_demo_catalog(tmp_path / "demo", DemoOptions(products=3))
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    calls: list[int] = []
    assert write_demo_catalog(folder, DemoOptions(products=3), calls.append) == folder
    assert calls == []
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_other_catalogs_and_other_files_are_not_overwritten(tmp_path: Path) -> None:
    """A folder with a catalog of other options, or with anything else, is an InputError and stays as it is."""
    folder = write_demo_catalog(tmp_path / "demo", DemoOptions(products=3))
    before = digests(folder)
    with pytest.raises(InputError, match='"products": 3'):
        write_demo_catalog(folder, DemoOptions(products=4))
    assert digests(folder) == before
    (folder / MARK).unlink()
    with pytest.raises(InputError, match="something else is there"):
        write_demo_catalog(folder, DemoOptions(products=3))


class Killed(BaseException):
    """What stops a run where it stands."""


def test_a_killed_run_leaves_no_catalog_and_the_next_one_is_whole(tmp_path: Path) -> None:
    """Until all is written there is no folder; a run after a killed one ends in the same bytes, without litter."""
    options = DemoOptions(products=40, row_group_rows=10)

    def stop(rows: int) -> None:
        assert not (tmp_path / "demo").exists()
        if rows >= 20:
            raise Killed

    with pytest.raises(Killed):
        write_demo_catalog(tmp_path / "demo", options, stop)
    assert not (tmp_path / "demo").exists()
    calls: list[int] = []
    whole = digests(write_demo_catalog(tmp_path / "demo", options, calls.append))
    assert calls == [10, 20, 30, 40]
    assert whole == digests(write_demo_catalog(tmp_path / "fresh", options))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["demo", "fresh"]
    assert json.loads((tmp_path / "demo" / MARK).read_text())["products"] == 40


def test_two_runs_do_not_write_the_same_folder_at_once(tmp_path: Path) -> None:
    """The second of two runs is a LockedError, and the first ends well."""
    options = DemoOptions(products=3, photos="none")

    def run_another(rows: int) -> None:
        with pytest.raises(LockedError):
            write_demo_catalog(tmp_path / "demo", options)

    assert table(write_demo_catalog(tmp_path / "demo", options, run_another)).num_rows == 3


def test_a_folder_that_cannot_be_made_is_an_input_error(tmp_path: Path) -> None:
    """A file where a parent folder should be is named in the message."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        write_demo_catalog(tmp_path / "file" / "demo", DemoOptions(products=1))
