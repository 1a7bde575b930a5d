"""The page of hits, read the way a browser would: parsed, its policy recomputed, its pictures decoded."""

from __future__ import annotations

import base64
import hashlib
import io
import os
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from encoders.photos.decode import PhotoLimits
from foundation.errors import InputError
from lookup.hit import Hit
from lookup.page import THUMBNAIL, Answer, NoPhoto, duration, write_page

TAGS = {"html", "head", "meta", "title", "style", "body", "header", "main", "section", "div", "img", "ol", "li"}
TAGS |= {"h1", "h2", "h3", "p", "b", "span", "code", "dl", "dt", "dd"}
LIMITS = PhotoLimits()
VOID = {"meta", "img", "rect", "circle", "path"}


class Page(HTMLParser):
    """Tags with their attributes, all text outside <style>, and the style block."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.raw = path.read_text("utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text, self.style, self._open = "", "", [""]
        self.feed(self.raw)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        if self._open[-1] == "style":
            self.style += data
        else:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]

    def pictures(self) -> list[Image.Image]:
        sources = [(attributes["src"] or "").partition(",")[2] for attributes in self.all("img")]
        return [Image.open(io.BytesIO(base64.b64decode(one))) for one in sources]


def hit(**changes: Any) -> Hit:
    fields: dict[str, Any] = {
        "id": "sku-1",
        "score": 0.87654,
        "partition": "Dresses",
        "attributes": {"title": "A red dress", "price": 12.5},
        "photo": None,
        "source": ("catalog.parquet", 0, 0),
    }
    return Hit(**fields | changes)


def picture(width: int, height: int, form: str = "JPEG", orientation: int = 1) -> bytes:
    """A photo whose left half is red and right half blue."""
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[:, : width // 2, 0] = pixels[:, width // 2 :, 2] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form, exif=exif)
    return out.getvalue()


def page_of(
    folder: Path, *hits: Hit, photos: list[bytes | NoPhoto | None] | None = None, title: str = "red dress"
) -> Page:
    answer = Answer(title, None, hits, 0.0123, photos if photos is not None else [None] * len(hits))
    write_page(folder / "hits.html", [answer], "Vitrine", "2,000 products", LIMITS)
    return Page(folder / "hits.html")


def test_a_card_shows_rank_score_id_category_title_and_attributes(tmp_path: Path) -> None:
    """Everything known of a hit is on its card, in order; null attributes are left out."""
    second = hit(
        id="sku-2", score=0.5, partition="_none", attributes={"title": None, "brand": None, "tags": ["a", "b"]}
    )
    words = page_of(tmp_path, hit(), second).text.split("no photo")[1:]
    assert [" ".join(card.split()) for card in words] == [
        "1 score 0.877 A red dress Dresses · sku-1 price 12.5",
        "2 score 0.500 sku-2 no category · sku-2 tags a, b",
    ]


def test_the_question_its_count_and_time_are_shown(tmp_path: Path) -> None:
    """Each answer says what was asked, how many hits came and how long it took; none is said in words."""
    answers = [Answer("red dress", None, [hit()], 0.0123, [None]), Answer("nothing", None, [], 2.0, [])]
    write_page(tmp_path / "hits.html", answers, "Two queries", "note of the page", LIMITS)
    text = " ".join(Page(tmp_path / "hits.html").text.split())
    assert "Two queries" in text
    assert "note of the page" in text
    assert "red dress 1 hit in 12.3 ms" in text
    assert "nothing 0 hits in 2.0 s Nothing was found." in text


@pytest.mark.parametrize(
    "nasty",
    [
        "<script>alert(1)</script>",
        "</style><script>alert(1)</script>",
        '" onerror="alert(1)',
        "' autofocus onfocus='alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "javascript:alert(1)",
        "{{ 7 * 7 }} {% raw %}",
        "&lt;b&gt; &amp;",
        "<!-- -->]]><![CDATA[",
        "فستان أحمر \u202e evil",
        "👗🎉 红色连衣裙",
    ],
)
def test_hostile_words_stay_words(tmp_path: Path, nasty: str) -> None:
    """Whatever a catalog says is shown letter for letter and becomes neither tag nor attribute."""
    attributes = {"title": nasty, nasty: nasty, "image_link": nasty}
    page = page_of(tmp_path, hit(id=nasty, partition=nasty, attributes=attributes), photos=[picture(8, 8)], title=nasty)
    assert page.text.count(nasty) == 7  # asked, title, category, id, an attribute's name, two values
    assert [image["alt"] for image in page.all("img")] == [nasty]
    assert {name for name, _ in page.tags} <= TAGS
    known = {"lang", "dir", "class", "src", "alt", "charset", "http-equiv", "content", "name"}
    assert {name for _, attributes in page.tags for name in attributes} <= known


@given(st.text(st.characters(), max_size=40))
@example("half of a pair \ud83d, NUL \0, escape \x1b")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_title_makes_a_page(tmp_path: Path, title: str) -> None:
    """Control characters and lone surrogates neither break the page nor its structure."""
    page = page_of(tmp_path, hit(attributes={"title": title}))
    assert len(page.all("li")) == 1
    assert not page.all("script")


def test_long_titles_are_cut(tmp_path: Path) -> None:
    """A title of a megabyte does not make a page of a megabyte."""
    page = page_of(tmp_path, hit(attributes={"title": "long " * 200_000}))
    assert len(page.raw) < 20_000
    assert "…" in page.text


def test_the_policy_allows_the_pages_own_style_and_nothing_else(tmp_path: Path) -> None:
    """The content security policy names the hash of the very style block that the page holds; nothing is loaded."""
    page = page_of(tmp_path, hit(), photos=[picture(8, 8)])
    [policy] = [one["content"] for one in page.all("meta") if one.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in (policy or "").split(";"))
    digest = base64.b64encode(hashlib.sha256(page.style.encode()).digest()).decode()
    assert rules.pop("style-src") == f"'sha256-{digest}'"
    assert rules == {"default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}
    assert len(page.all("style")) == 1
    assert "url(" not in page.style
    assert "@import" not in page.style
    assert all((one["src"] or "").startswith("data:image/jpeg;base64,") for one in page.all("img"))
    assert not [name for name, attributes in page.tags if "style" in attributes or "href" in attributes]


def test_chinese_is_marked_as_such(tmp_path: Path) -> None:
    """Han text is marked zh, for Chinese shapes; kana make it Japanese, hangul Korean; English stays the page's."""
    hits = [hit(attributes={"title": title}) for title in ("红色连衣裙", "赤いドレス", "빨간 드레스", "red dress")]
    assert [one.get("lang") for one in page_of(tmp_path, *hits).all("h3")] == ["zh", "ja", "ko", None]


def test_photos_become_small_upright_jpegs(tmp_path: Path) -> None:
    """A thumbnail has at most 240 pixels a side, keeps its proportions and is turned as EXIF says."""
    photos: list[bytes | NoPhoto | None] = [picture(960, 480), picture(30, 20, "PNG"), picture(480, 240, orientation=6)]
    wide, small, turned = page_of(tmp_path, hit(), hit(), hit(), photos=photos).pictures()
    assert (wide.format, wide.size, small.size, turned.size) == ("JPEG", (THUMBNAIL, 120), (30, 20), (120, THUMBNAIL))
    red, blue = (np.asarray(turned, int)[row, 60] for row in (20, 220))  # orientation 6: the left side goes up
    assert red[0] > 200 > 60 > red[2]
    assert blue[2] > 200 > 60 > blue[0]


def test_a_photo_that_is_absent_or_broken_is_drawn_as_no_photo(tmp_path: Path) -> None:
    """No photo and an undecodable one give the same drawn placeholder; the others are unharmed."""
    page = page_of(tmp_path, hit(), hit(), hit(), photos=[None, b"<html>not found</html>", picture(8, 8)])
    assert len(page.pictures()) == 1
    assert [one["aria-label"] for one in page.all("svg")] == ["no photo", "no photo"]


def test_the_photo_that_was_asked_is_shown(tmp_path: Path) -> None:
    """A photo query shows its photo with an alternative text; a text query shows no placeholder."""
    write_page(tmp_path / "a.html", [Answer("shoe.jpg", picture(8, 8), [], 0.1, [])], "h", "n", LIMITS)
    write_page(tmp_path / "b.html", [Answer("shoe", None, [], 0.1, [])], "h", "n", LIMITS)
    asked, plain = Page(tmp_path / "a.html"), Page(tmp_path / "b.html")
    assert [one["alt"] for one in asked.all("img")] == ["the photo that was asked: shoe.jpg"]
    assert not plain.all("img") + plain.all("svg")


def test_an_existing_page_is_replaced_in_one_step(tmp_path: Path) -> None:
    """A reader who has the old page open keeps it whole; nothing but the new page is left in the folder."""
    path = tmp_path / "hits.html"
    path.write_text("old")
    with path.open() as reader:
        page_of(tmp_path, hit())
        assert reader.read() == "old"
    assert os.listdir(tmp_path) == ["hits.html"]
    assert "A red dress" in path.read_text("utf-8")


def test_a_page_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """A path below a file is an input error that names the path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"a page of hits at .*file/hits\.html"):
        page_of(tmp_path / "file", hit())


def test_fewer_photos_than_hits_is_refused(tmp_path: Path) -> None:
    """Photos belong to hits by position, so their numbers must agree."""
    with pytest.raises(ValueError, match="shorter"):
        page_of(tmp_path, hit(), hit(), photos=[None])


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.0084, "8.4 ms"), (0.9999, "1.0 s"), (59.99, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_durations(seconds: float, words: str) -> None:
    """Durations carry the unit that people would use, also next to its border."""
    assert duration(seconds) == words


def test_photos_that_are_not_shown_are_counted_by_reason(tmp_path: Path) -> None:
    """The page says how many photos are not shown for which reason, and each card why; a product that never had one
    does not count.
    """
    gone, html = NoPhoto("no such file"), b"<html>not found</html>"
    found = page_of(tmp_path, *[hit()] * 5, photos=[picture(8, 8), gone, gone, html, None])
    assert "; 2 photos are not shown: no such file; 1 photo is not shown: HTML, not a photo" in found.text
    titles = [one.get("title") for one in found.all("div") if one.get("class") == "photo none"]
    assert titles == [gone.why, gone.why, "HTML, not a photo", None]
    assert "not shown" not in page_of(tmp_path, hit()).text
