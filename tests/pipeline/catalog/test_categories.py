"""Categories and ids: the same string means the same in the catalog, `--category`, conditions and judgments."""

from __future__ import annotations

import html
import json
import unicodedata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import Result
from hypothesis import given
from hypothesis import strategies as st

import lookup
from encoders.names import (
    category_key,
    category_name,
    clean_id,
    clean_name,
    clean_separator,
    same_category,
    split_levels,
)
from pipeline.catalog import categories as code
from pipeline.config.sections import CatalogConfig
from tests.support.command import ANY_NIGHT, run_titles, told, vitrine, write_titles
from tests.support.stores import last_log, manifest_of

# What feeds have, and what a shop means by it.
SPELLINGS = {
    "Home & Garden > Kitchen": "Home & Garden",
    "Home &amp; Garden &gt; Kitchen": "Home & Garden",
    "Home &amp;amp; Garden": "Home & Garden",
    "Home & Garden>Kitchen": "Home & Garden",
    "home & garden": "Home & Garden",
    "HOME &#38; GARDEN &#62; Bath": "Home & Garden",
    "Home & Garden\u00a0> Kitchen": "Home & Garden",
    "\u200bHome & Gar\u00adden": "Home & Garden",
    "\ufeffHome  &\tGarden\u200e > ": "Home & Garden",
    "Caf\u00e9 > A": "Caf\u00e9",
    "Cafe\u0301 > A": "Caf\u00e9",
    "Home & Garden / Kitchen": "Home & Garden / Kitchen",
    "Home & Garden | Kitchen": "Home & Garden | Kitchen",
    " > Kitchen": "_none",
}
BY_KIND = "catalog.partition=kind"
SEPARATORS = 'catalog.partition_separator=[">", " / ", " | "]'


def night(folder: Path, kinds: list[str | None], *more: str, titles: list[str] | None = None) -> Result:
    """A run on products of these categories."""
    catalog = write_titles(
        folder / "c.parquet", titles or ["red dress"] * len(kinds), kind=pa.array(kinds, pa.string())
    )
    return run_titles(catalog, folder / "store", BY_KIND, *ANY_NIGHT, *more)


def rows_of(folder: Path) -> dict[str, int]:
    """Partition -> rows of the published snapshot."""
    return {one.name: one.rows for one in manifest_of(folder / "store").partitions}


def counts(meant: list[str]) -> dict[str, int]:
    return {name: meant.count(name) for name in sorted({*meant})}


@pytest.fixture(scope="module")
def spelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a catalog of all the spellings, its store, and what the run printed. Tests must not change it."""
    folder = tmp_path_factory.mktemp("spelled")
    done = night(folder, [*SPELLINGS])
    assert done.exit_code == 0, done.stderr
    (folder / "stdout").write_text(done.stdout, encoding="utf-8")
    return folder


def test_spellings_of_a_category_are_one_partition(spelled: Path) -> None:
    """Entities, composition, invisible characters, white space and case make no partition of their own; spaces around
    a separator neither.
    """
    assert rows_of(spelled) == counts([*SPELLINGS.values()])


def test_what_was_merged_and_what_seems_meant_is_told(spelled: Path) -> None:
    """plan, run, report and run.json name each spelling with its partition and rows, and the separator to set."""
    notices = {one["what"]: one for one in json.loads(last_log(spelled / "store", "run.json"))["notices"]}
    merged, separator = notices["categories_merged"], notices["separator_unused"]
    assert merged["count"] == 9
    for line in (
        "Caf\u00e9: 'Cafe\\u0301' (1)",
        "Home & Garden: 'Home &amp; Garden' (1)",
        "Home & Garden: 'Home &amp;amp; Garden' (1)",
        "Home & Garden: 'HOME &#38; GARDEN' (1)",
        "Home & Garden: 'home & garden' (1)",
        "_none: '> Kitchen' (1)",
    ):
        assert line in merged["examples"]
        assert line in (spelled / "stdout").read_text(encoding="utf-8")
    assert SEPARATORS.partition("=")[2] in separator["told"]
    where = (f"catalog.path={spelled / 'c.parquet'}", "store.path=unused", "catalog.image=null", "encoders.image=null")
    done = vitrine("plan", "-c", "configs/weightless.yaml", *where, BY_KIND, "catalog.text=[title]", "--json",
                   "catalog.attributes=[title]", "catalog.image_root=null")  # fmt: skip
    assert json.loads(done.stdout)["notices"] == [merged, separator]
    assert "HOME &amp;#38; GARDEN" in last_log(spelled / "store", "report.html")


def test_separators_that_are_set_are_levels(tmp_path: Path) -> None:
    """With ` / ` and ` | ` set their first level counts, and one without spaces is part of a name."""
    kinds = [*SPELLINGS, "TV/Audio", "TV/Audio / Radio"]
    assert night(tmp_path, kinds, SEPARATORS).exit_code == 0
    meant = [one.partition(" / ")[0].partition(" | ")[0] for one in SPELLINGS.values()]
    assert rows_of(tmp_path) == counts([*meant, "TV/Audio", "TV/Audio"])


@pytest.mark.parametrize("asked", ["Home & Garden", "home &amp; GARDEN", "\u200bHome &amp;amp;  Garden\u00a0"])
def test_every_spelling_asks_for_the_category(spelled: Path, asked: str) -> None:
    """`search --category`, `category=`, a condition on the column and `--category` of plan mean the same partition."""
    rows = sum(one == "Home & Garden" for one in SPELLINGS.values())
    done = vitrine("search", spelled / "store", "--text", "dress", "-k", 50, "--category", asked, "--json")
    assert {hit["partition"] for hit in json.loads(done.stdout)["hits"]} == {"Home & Garden"}
    reader = lookup.open(str(spelled / "store"))
    assert len(reader.search("dress", category=asked, k=50)) == rows
    assert len(reader.search("dress", where=f"kind = {asked.strip()}", k=50)) == rows
    without = 1  # category: `!=` is not met by what is not there
    assert len(reader.search("dress", where=f"kind != {asked.strip()}", k=50)) == len(SPELLINGS) - rows - without


def test_a_category_is_indexed_again_by_any_of_its_spellings(tmp_path: Path) -> None:
    """`--category` reads every row that means it, also where tonight's rows spell it otherwise than the snapshot."""
    kinds: list[str | None] = ["Home & Garden", "home & garden", "Sport"]
    assert night(tmp_path, kinds).exit_code == 0
    later: list[str | None] = ["HOME &amp; GARDEN", "home & garden", "Sport"]
    done = night(tmp_path, later, "--category", "Home &amp; garden", titles=["blue dress", "blue mug", "not seen"])
    assert done.exit_code == 0, done.stderr
    assert rows_of(tmp_path) == {"Home & Garden": 2, "Sport": 1}
    titles = {hit.attributes["title"] for hit in lookup.open(str(tmp_path / "store")).search("dress", k=9)}
    assert titles == {"blue dress", "blue mug", "red dress"}


def test_a_blank_category_is_no_category(spelled: Path) -> None:
    """`--category ""`, a variable that was not set, is refused, and does not mean products without a category."""
    done = vitrine("search", spelled / "store", "--text", "dress", "--category", "")
    assert (done.exit_code, told(done.stderr)[1]) == (2, "''")


def test_a_partition_keeps_its_name_when_a_few_rows_change_case(tmp_path: Path) -> None:
    """The name of the snapshot before stays, though most rows have another; without one, that of most rows."""
    assert night(tmp_path, ["Sport", "Sport", "SPORT"]).exit_code == 0
    assert rows_of(tmp_path) == {"Sport": 3}
    assert night(tmp_path, ["Sport", "SPORT", "SPORT"]).exit_code == 0
    assert rows_of(tmp_path) == {"Sport": 3}
    assert night(tmp_path, ["SPORT", "SPORT", "SPORT"]).exit_code == 0
    assert rows_of(tmp_path) == {"SPORT": 3}


def test_a_snapshot_of_before_spellings_were_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All its partitions of one category are searched; one cannot be indexed again beside the others, all can."""
    kinds: list[str | None] = ["Home &amp; Garden", "home & garden", "Sport"]
    with monkeypatch.context() as patch:
        patch.setattr(code, "category_name", lambda value, *_: value or "_none")
        patch.setattr(code, "category_key", str)
        assert night(tmp_path, kinds).exit_code == 0
    assert rows_of(tmp_path) == {"Home &amp; Garden": 1, "Sport": 1, "home & garden": 1}
    assert len(lookup.open(str(tmp_path / "store")).search("dress", category="Home & Garden", k=9)) == 2
    refused = night(tmp_path, kinds, "--category", "Home & Garden")
    assert refused.exit_code == 2
    assert "'Home &amp; Garden'" in told(refused.stderr)[1]
    assert night(tmp_path, kinds).exit_code == 0
    assert rows_of(tmp_path) == {"home & garden": 2, "Sport": 1}


def test_judgments_mean_ids_and_categories_as_the_catalog_does(tmp_path: Path) -> None:
    """`vitrine eval` finds ids and categories that are spelled otherwise than the catalog spells them."""
    table = {"id": ["\ufeffA1", " B2 ", "Cafe\u0301"], "title": ["red dress", "blue mug", "green ball"]}
    pq.write_table(pa.table({**table, "kind": ["Home &amp; Garden", "home & garden", "Sport"]}), tmp_path / "c.parquet")
    done = run_titles(tmp_path / "c.parquet", tmp_path / "store", BY_KIND)
    assert done.exit_code == 0, done.stderr
    notices = {one["what"]: one["count"] for one in json.loads(last_log(tmp_path / "store", "run.json"))["notices"]}
    assert notices == {"ids_cleaned": 3, "categories_merged": 2}
    hits = lookup.open(str(tmp_path / "store")).search("red", k=3)
    assert {hit.id for hit in hits} == {"A1", "B2", "Caf\u00e9"}
    asked = {"query_id": ["q"], "text": ["red dress"], "category": ["HOME & GARDEN"]}
    pq.write_table(pa.table(asked), tmp_path / "queries.parquet")
    qrels = {"query_id": ["q", "q"], "id": ["A1\u200b", "B2"], "gain": [2, 1]}
    pq.write_table(pa.table(qrels), tmp_path / "qrels.parquet")
    files = ("--queries", tmp_path / "queries.parquet", "--qrels", tmp_path / "qrels.parquet")
    found = json.loads(vitrine("eval", tmp_path / "store", *files, "--json").stdout)
    assert (found["counts"]["evaluated"], found["counts"]["not_in_store"]) == (1, 0)
    assert {one["category"] for one in found["quality"]} == {None, "Home & Garden"}


def test_a_path_is_cut_where_the_plan_says_what_separates_it(tmp_path: Path) -> None:
    """Too many partitions name the separator that would make fewer."""
    done = night(tmp_path, [f"Shoes/{number}" for number in range(300)])
    assert done.exit_code == 2
    assert 'set catalog.partition_separator=\'[">", "/"]\'' in told(done.stderr)[2]


ARROWS = ("A > B", "A -> C", "A=&gt; B", "A --&gt; B", "A |> B")


def test_arrows_are_separators_where_their_head_is(tmp_path: Path) -> None:
    """Nothing of an arrow stays behind, and it is no spelling that was merged; a dash apart is part of the name."""
    assert night(tmp_path, [*ARROWS, "A - > B"]).exit_code == 0
    assert rows_of(tmp_path) == {"A": len(ARROWS), "A -": 1}
    told_of = json.loads(last_log(tmp_path / "store", "run.json"))["notices"]
    assert [one["what"] for one in told_of] == []
    assert night(tmp_path, [*ARROWS], "catalog.partition_levels=2").exit_code == 0
    assert rows_of(tmp_path) == {"A > B": len(ARROWS) - 1, "A > C": 1}


def test_arrows_beside_other_separators() -> None:
    """The longest separator comes first, and a row of dashes costs no more than another text."""
    assert split_levels("A |> B", ("|", ">")) == ["A", "B"]
    assert split_levels("A ->> B > C", (">>", ">")) == ["A", "B", "C"]
    assert split_levels("A -> B->C", (" > ",)) == ["A", "B->C"]
    assert split_levels("A -> B", ("/",)) == ["A -> B"]
    assert split_levels("-" * 200_000, (">",)) == ["-" * 200_000]


@pytest.mark.parametrize(
    "mark",
    [
        "\uff0f",
        "\uff5c",
        "\uff3c",
        "\uff1b",
        "\uff1a\uff1a",
        "\u2502",
        "\u25b8",
        "\u276f",
        "\u226b",
        "\u27e9",
        " - ",
        " &gt ",
    ],
)
def test_what_seems_to_separate_is_told(mark: str) -> None:
    """Full-width forms, lines and heads of arrows are told once two categories have a first level in common."""
    found = [seen(f"Shoes{mark}Men", f"Shoes{mark}Women"), seen(f"Shoes{mark}Men", f"Bags{mark}Men")]
    assert found == [[mark], []]


def test_forms_of_one_separator_are_told_together() -> None:
    """`/` and its full-width form, once each, are two levels of one path."""
    assert seen("Shoes/Men", "Shoes\uff0fWomen") == ["/", "\uff0f"]
    assert seen("T-Shirts", "T-Shirts - Men") == [" - "]
    assert seen("T-Shirts", "T-Bags", "T&gt", "A -B", "A -C") == []


def seen(*kinds: str) -> list[str]:
    """The separators that a plan of these categories says to set."""
    found = code.Categories(CatalogConfig(path="x", partition="kind"))
    found.add(pa.array(kinds))
    told_of = [one.told for one in found.notices({}) if one.what == "separator_unused"]
    return json.loads(told_of[0].partition("partition_separator='")[2].partition("'")[0])[1:] if told_of else []


@pytest.mark.parametrize("written", ["&gt;", "&amp;gt;", "\u00a0>  ", "\u200b>"])
def test_a_separator_is_cleaned_as_names_are(written: str) -> None:
    """Entities, white space and invisible characters of a separator are those of values, or it would never match."""
    settings = CatalogConfig(path="x", partition_separator=written)
    assert code.partition_names(pa.array(["A &gt; B", "A\u00a0> C"]), settings).to_pylist() == ["A", "A"]


@pytest.mark.parametrize("mark", ["|", ">", "-", "::", "*", " / ", "||", ",", "%", "\\"])
def test_a_separator_is_given_as_it_is_on_the_command_line(mark: str, tmp_path: Path) -> None:
    """What YAML would take for a block, an alias or nothing is the mark that was typed."""
    done = vitrine("config", "show", "--json", "catalog.path=x", "store.path=y", f"catalog.partition_separator={mark}")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["catalog.partition_separator"]["value"] == [clean_separator(mark)]


@pytest.mark.parametrize("blank", ["\u200b", "  ", "&nbsp;", "\ufe0f", ""])
def test_a_separator_of_nothing_is_refused(blank: str, tmp_path: Path) -> None:
    """What is blank once it is cleaned separates nothing: exit code 2 with key, value and fix."""
    done = night(tmp_path, ["A > B"], f'catalog.partition_separator=[">", "{blank}"]')
    assert done.exit_code == 2
    assert "catalog.partition_separator.1" in done.stderr
    assert "something that can be seen" in done.stderr
    assert "give a value that fits, in the command line" in done.stderr


UNSEEN_EVERYWHERE = [
    *(0xAD, 0x34F, 0x61C, 0x180B, 0x200D, 0x2065, 0x3164, 0xFE0F, 0xFEFF, 0xFFF0),
    *(0x1BCA0, 0x1D173, 0xE0001, 0xE0020, 0xE0100),
]


def test_what_nobody_sees_parts_neither_categories_nor_ids(tmp_path: Path) -> None:
    """Tags, fillers and variation selectors of every plane are in no name, and no category or id is of these alone."""
    unseen = [*map(chr, UNSEEN_EVERYWHERE)]
    assert night(tmp_path, ["Sport", "Sport", *(f"Sp{one}ort" for one in unseen), *unseen]).exit_code == 0
    assert rows_of(tmp_path) == {"Sport": 2 + len(unseen), "_none": len(unseen)}
    assert [clean_id(f"{one}A{one}1{one}") for one in unseen] == [f"A{one}1" for one in unseen]
    assert {clean_id(one) for one in unseen} == {""}


WORD = st.text(st.characters(categories=["Lu", "Ll", "Lo", "Nd", "Mn"]) | st.sampled_from("&<>;'é茶 "), max_size=12)
UNSEEN = st.sampled_from(["", "\u200b", "\ufeff", "\u00ad", "\u2060", "\u200e"])


@given(WORD, st.lists(UNSEEN, max_size=3), st.sampled_from(["\u00a0", "  ", "\t"]), st.integers(0, 2))
def test_how_a_name_is_written_decides_nothing(name: str, unseen: list[str], space: str, nesting: int) -> None:
    """A name decomposed, escaped, padded, with what nobody sees around it, is cleaned to the same; again to itself."""
    clean = clean_name(name)
    written: Any = unicodedata.normalize("NFD", clean)
    for _ in range(nesting):
        written = html.escape(written, quote=False)
    written = space + "".join(unseen) + written.replace(" ", space) + "".join(unseen) + space
    assert clean_name(written) == clean
    assert clean_name(clean) == clean
    assert category_key(written) == category_key(clean) == category_key(category_key(clean))
    category = category_name(clean)
    assert category_name(category) == category_name(written) == category
    assert same_category(written, [category]) == ([category] if clean else [])
    assert clean_id(space + name + space) == clean_id(clean_id(name)) == clean_id(name)
