"""Nights that must not be published, and nights that must: what may befall a demo catalog and its photos.

A poison is a function on a feed: which share of the products it hits is its strength, which of them the seed decides.
"""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from pipeline.demo.catalog import DemoOptions, write_demo_catalog

TITLES = ("title", "title_zh")


@dataclass
class Feed:
    """A catalog, its photos, and a model, in a folder of its own."""

    folder: Path
    table: pa.Table
    next: int = 0  # number of the next new product

    @classmethod
    def drawn(cls, folder: Path, products: int, seed: int = 7) -> Feed:
        """A demo catalog of so many products."""
        write_demo_catalog(folder, DemoOptions(products=products, row_group_rows=100, seed=seed))
        (path,) = (folder / "catalog").iterdir()
        return cls(folder, pq.read_table(path))

    def copied(self, folder: Path) -> Feed:
        """The same in another folder, with the times of its photos."""
        shutil.copytree(self.folder, folder)
        return Feed(folder, self.table, self.next)

    def words(self, store: Path, *more: str) -> list[str]:
        """The words of the command that runs it, written as it is by now."""
        (path,) = (self.folder / "catalog").iterdir()
        pq.write_table(self.table, path, row_group_size=100, write_page_checksum=True)
        where = (f"catalog.path={self.folder / 'catalog'}", f"catalog.image_root={self.folder}", f"store.path={store}")
        return ["run", *where, "catalog.text=[title,title_zh]", *more]

    def values(self, column: str) -> list[Any]:
        """A column."""
        found: list[Any] = self.table.column(column).to_pylist()
        return found

    def change(self, rows: Sequence[int], **columns: Callable[[Any], Any]) -> None:
        """Other values of some rows, each made of the one that was."""
        for name, make in columns.items():
            values = self.values(name)
            for row in rows:
                values[row] = make(values[row])
            self._set(name, values)

    def shuffle(self, rows: Sequence[int], *names: str) -> None:
        """Each of some rows gets what the next one had."""
        for name in names:
            values = self.values(name)
            taken = [values[row] for row in rows]
            for row, value in zip(rows, [*taken[1:], *taken[:1]], strict=True):
                values[row] = value
            self._set(name, values)

    def keep(self, rows: Sequence[int]) -> None:
        """These rows alone, in this order."""
        self.table = self.table.take(pa.array(rows, pa.int64()))

    def add(self, products: Sequence[dict[str, Any]]) -> None:
        """More rows."""
        more = pa.Table.from_pylist([*products], schema=self.table.schema)
        self.table = pa.concat_tables([self.table, more])

    def paint(self, rows: Sequence[int], image: Image.Image) -> None:
        """One photo in the place of those of some rows."""
        links = self.values("image_link")
        for row in rows:
            image.save(self.folder / links[row], quality=90)

    def _set(self, name: str, values: list[Any]) -> None:
        at = self.table.schema.get_field_index(name)
        self.table = self.table.set_column(at, name, pa.array(values, self.table.schema.field(name).type))


Poison = Callable[[Feed, Sequence[int], random.Random], None]  # the feed, the rows that are hit, and chance


def titles_shuffled(feed: Feed, hit: Sequence[int], _: random.Random) -> None:
    """Each product has the title of another."""
    feed.shuffle(hit, *TITLES)


def photos_shuffled(feed: Feed, hit: Sequence[int], _: random.Random) -> None:
    """Each product has the photo of another."""
    feed.shuffle(hit, "image_link")


def titles_absent(feed: Feed, hit: Sequence[int], _: random.Random) -> None:
    """Titles are `N/A`."""
    feed.change(hit, **dict.fromkeys(TITLES, lambda _: "N/A"))


def titles_cut(feed: Feed, hit: Sequence[int], _: random.Random) -> None:
    """Titles have three characters."""
    feed.change(hit, **dict.fromkeys(TITLES, lambda title: title[:3]))


def charset(feed: Feed, hit: Sequence[int], _: random.Random) -> None:
    """UTF-8 was read as Windows-1252: English stays, Chinese does not."""
    feed.change(hit, **dict.fromkeys(TITLES, lambda title: title.encode().decode("cp1252", errors="replace")))


def photos_black(feed: Feed, hit: Sequence[int], _: random.Random) -> None:
    """Photos are black."""
    feed.paint(hit, Image.new("RGB", (160, 160)))


def photos_placeholder(feed: Feed, hit: Sequence[int], _: random.Random) -> None:
    """Every photo is one file of a grey frame."""
    image = Image.new("RGB", (200, 150), (238, 238, 238))
    image.paste((200, 200, 200), (60, 45, 140, 105))
    image.save(feed.folder / "photos" / "coming-soon.jpg")
    feed.change(hit, image_link=lambda _: "photos/coming-soon.jpg")


def ids_renamed(feed: Feed, hit: Sequence[int], _: random.Random) -> None:
    """Ids have a new prefix."""
    feed.change(hit, id=lambda name: f"shop-{name}")


def prices_null(feed: Feed, hit: Sequence[int], _: random.Random) -> None:
    """Prices are null."""
    feed.change(hit, price=lambda _: None)


def prices_times_100(feed: Feed, hit: Sequence[int], _: random.Random) -> None:
    """Prices are cents."""
    feed.change(hit, price=lambda price: 100 * price)


def rows_gone(feed: Feed, hit: Sequence[int], _: random.Random) -> None:
    """Rows are missing."""
    gone = set(hit)
    feed.keep([row for row in range(feed.table.num_rows) if row not in gone])


def junk_rows(feed: Feed, hit: Sequence[int], draw: random.Random) -> None:
    """For each product that is hit there are nine more that are none: strength 1 is ten times the rows."""
    rows = feed.table.to_pylist()
    junk = [
        {**rows[row], "id": f"junk-{row}-{n}", "title": f"test {draw.random():.6f}", "title_zh": None, "price": 1.0}
        for row in hit
        for n in range(9)
    ]
    feed.add(junk)


POISONS: dict[str, Poison] = {
    one.__name__: one
    for one in (
        titles_shuffled,
        photos_shuffled,
        titles_absent,
        titles_cut,
        charset,
        photos_black,
        photos_placeholder,
        ids_renamed,
        prices_null,
        prices_times_100,
        rows_gone,
        junk_rows,
    )
}


def poison(feed: Feed, kind: str, strength: float, seed: int = 1) -> None:
    """Poison a feed: of its products the share `strength` is hit."""
    draw, rows = random.Random(seed), feed.table.num_rows
    hit = sorted(draw.sample(range(rows), round(strength * rows)))
    POISONS[kind](feed, draw.sample(hit, len(hit)), draw)


def another_revision(model: Path, strength: float, seed: int = 1) -> None:
    """Another model lies where one lay: of the numbers of its weights so many are others."""
    path = next(iter(sorted(model.rglob("*.safetensors"))))
    raw, draw = bytearray(path.read_bytes()), random.Random(seed)
    start = 8 + int.from_bytes(raw[:8], "little")  # of the numbers: the format's header is before them
    numbers = (len(raw) - start) // 4
    for at in draw.sample(range(numbers), max(1, round(strength * numbers))):
        raw[start + 4 * at] ^= 0x40
    path.write_bytes(raw)


# --- nights as shops have them ---


def ordinary_night(feed: Feed, draw: random.Random) -> None:
    """What a night brings to a shop: each of these, in part, more or less."""
    for happen in (_sale, _edits, _new_photos, _broken_photos, _goods_come, _goods_go, _order):
        if draw.random() < 0.8:
            happen(feed, draw)


def _some(feed: Feed, draw: random.Random, least: float, most: float) -> list[int]:
    """Rows: a share of them between two."""
    rows = feed.table.num_rows
    return draw.sample(range(rows), max(1, round(draw.uniform(least, most) * rows)))


def _sale(feed: Feed, draw: random.Random) -> None:
    """5 to 20% of the prices are others: down to a half, or back up."""
    factor = draw.choice([0.5, 0.7, 0.8, 0.9, 1.1, 1.25])
    feed.change(_some(feed, draw, 0.05, 0.2), price=lambda price: round(max(1.0, price * factor), 2))


def _edits(feed: Feed, draw: random.Random) -> None:
    """Up to 2% of the titles have a word more."""
    word = draw.choice(["new", "limited", "2027"])
    feed.change(_some(feed, draw, 0, 0.02), title=lambda title: f"{title} {word}")


def _new_photos(feed: Feed, draw: random.Random) -> None:
    """Up to 3% of the products are photographed again: seen from further away."""
    links = feed.values("image_link")
    for row in _some(feed, draw, 0, 0.03):
        path = feed.folder / links[row]
        if path.stat().st_size:
            with Image.open(path) as photo:
                wide = Image.new("RGB", (photo.width + 24, photo.height + 24), "white")
                wide.paste(photo, (12, 12))
            wide.save(path, quality=90)


def _broken_photos(feed: Feed, draw: random.Random) -> None:
    """Up to 3 files are empty: their upload was cut."""
    links = feed.values("image_link")
    for row in draw.sample(range(feed.table.num_rows), draw.randint(1, 3)):
        (feed.folder / links[row]).write_bytes(b"")


def _goods_come(feed: Feed, draw: random.Random) -> None:
    """1 to 3% new products, at times in a small category that is new too."""
    rows, category = feed.table.to_pylist(), draw.choice([None, None, None, f"Season {feed.next}"])
    found = []
    for row in _some(feed, draw, 0.01, 0.03):
        feed.next += 1
        like = rows[row]
        link = f"photos/new-{feed.next}.jpg"
        shutil.copyfile(feed.folder / like["image_link"], feed.folder / link)
        title = f"{like['title']} no. {feed.next}"
        found.append({**like, "id": f"N-{feed.next}", "title": title, "image_link": link})
    if category is not None:
        for one in found[:3]:
            one["product_type"] = category
    feed.add(found)


def _goods_go(feed: Feed, draw: random.Random) -> None:
    """1 to 3% of the products are gone, small categories lose theirs first."""
    gone = set(_some(feed, draw, 0.01, 0.03))
    small = [row for row, kind in enumerate(feed.values("product_type")) if kind.startswith("Season")]
    gone |= set(small[: draw.randint(0, 2)])
    feed.keep([row for row in range(feed.table.num_rows) if row not in gone])


def _order(feed: Feed, draw: random.Random) -> None:
    """Rows in another order."""
    rows = list(range(feed.table.num_rows))
    draw.shuffle(rows)
    feed.keep(rows)
