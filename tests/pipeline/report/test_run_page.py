"""The page of a night as a person opens it in the morning: what happened, what to do, and the night before."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.support.command import ANY_NIGHT
from tests.support.shop import Shop
from tests.support.stores import last_log

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop of 60 products, of which two have the id of another; one of these has a hostile title."""
    made = Shop(tmp_path, monkeypatch)
    made.change("id", [f"P{n % 58}" for n in range(60)])
    made.change("title", [*made.values("title")[:59], HOSTILE])
    return made


def page(shop: Shop) -> str:
    """The page of the last night, one line of words for each line of its HTML, without tags but with photos."""
    raw = last_log(shop.folder / "store", "report.html")
    assert "<script" not in raw
    assert "default-src 'none'" in raw
    assert len(raw) < 6_000_000
    return raw


def cells(raw: str, first: str) -> list[str]:
    """The cells of the table row that begins with `first`."""
    rows = [re.findall(r"<td[^>]*>(.*?)</td>", row, re.DOTALL) for row in re.findall(r"<tr.*?</tr>", raw, re.DOTALL)]
    plain = [[" ".join(re.sub(r"<[^>]*>", " ", cell).split()) for cell in row] for row in rows]
    return next(row for row in plain if row and row[0] == first)


def test_tonight_stands_beside_the_night_before(shop: Shop) -> None:
    """Rows, rejects and gates have their figures of the night before; the first sentence says what changed."""
    shop.night()
    assert "No earlier run of this kind is known" in page(shop)
    shop.table = shop.table.slice(2)  # whose ids two others repeated
    shop.night(*ANY_NIGHT)
    raw = page(shop)
    assert "Published. 58 products can be found, as before." in raw
    assert "Nothing has to be done." in raw
    assert cells(raw, "rows read") == ["rows read", "58", "60", "-2 (-3.3%)"]
    assert cells(raw, "rows rejected")[1:3] == ["0", "2"]
    assert cells(raw, "reject_share")[2:4] == ["0", "0.0333333"]


def test_rejected_rows_are_shown_with_their_photos(shop: Shop) -> None:
    """Beside the reason stand ids, titles, escaped, and photos as small data URIs."""
    shop.night()
    raw = page(shop)
    examples = re.search(r"the id came before</td>(.*?)</tr>", raw, re.DOTALL)
    assert examples is not None
    assert examples[1].count('<img src="data:image/jpeg;base64,') == 2
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in examples[1]
    assert len(examples[1]) < 20_000


def test_a_night_that_failed_says_what_to_do_first(shop: Shop) -> None:
    """What is served, and what to do, stand above all; what came to nothing is compared with nothing."""
    shop.night()
    shop.night("gates.min_recall=0.9", "gates.max_reject_share=0.01", "gates.least_rows=1", refused=True)
    raw = page(shop)
    assert raw.index("Not published. ") < raw.index("To do") < raw.index("rows in</dt>")
    shop.night("catalog.text=[nothing]", refused=True)
    raw = page(shop)
    assert re.search(r"Not published\. It failed, exit code 2; snapshot \S+ is served, as before\.", raw)
    assert "The run came to no snapshot that could be compared." in raw


def test_golden_queries_show_photos_of_both_nights(shop: Shop) -> None:
    """A query that finds other products than before shows the hits of both nights, with their photos."""
    (shop.folder / "golden.yaml").write_text("- {text: red dress number 7, expect: [P7]}\n")
    golden = f"golden.path={shop.folder / 'golden.yaml'}"
    shop.night(golden)
    shop.change("title", ["blue shoe" if n == 7 else title for n, title in enumerate(shop.values("title"))])
    shop.night(golden, "gates.min_golden=0")
    raw = page(shop)
    section = raw[raw.index("Golden queries</h2>") : raw.index("<h2>Steps")]
    assert "red dress number 7" in section
    tonight, before = section.split("before: ")
    assert tonight.count("data:image/jpeg") == before.count("data:image/jpeg") == 4
