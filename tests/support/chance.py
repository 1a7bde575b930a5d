"""What may happen to a shop between two nights, drawn at random."""

from __future__ import annotations

import random
from pathlib import Path

import pyarrow as pa

from tests.support.command import ANY_NIGHT
from tests.support.shop import Shop, paint

LOOSE = (
    *ANY_NIGHT, "gates.max_reject_share=1", "gates.max_degraded_share=1", "gates.max_photos_lost_share=1",
)  # fmt: skip


class Chance:
    """What happens to a shop between two nights, drawn at random."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self.shop, self.draw, self.next = shop, random.Random(seed), 1000
        self.late = list[Path]()

    def happen(self) -> None:
        """Up to three things."""
        things = (
            self.edit,
            self.swap,
            self.reprice,
            self.add,
            self.delete,
            self.move,
            self.repeat,
            self.lose,
            self.come,
        )
        for thing in self.draw.sample(things, self.draw.randint(0, 3)):
            thing()
        self.shop.group_rows = self.draw.choice([20, 20, 20, 17, 33])

    def some(self, most: int = 5) -> list[int]:
        """Rows."""
        return self.draw.sample(range(len(self.shop.table)), self.draw.randint(1, most))

    def edit(self) -> None:
        titles = self.shop.values("title")
        for row in self.some():
            titles[row] = self.draw.choice(["N/A", None, f"green lamp {self.draw.random()}", titles[row - 1]])
        self.shop.change("title", titles)

    def swap(self) -> None:
        for row in self.some():
            link = self.shop.photos / self.shop.values("image_link")[row]
            if link.exists():
                paint(link, self.draw.randrange(60))

    def reprice(self) -> None:
        self.shop.change("price", [self.draw.choice([None, 1.5, price]) for price in self.shop.values("price")])

    def add(self) -> None:
        for _ in range(self.draw.randint(1, 4)):
            self.next += 1
            paint(self.shop.photos / f"{self.next}.png", self.next % 60)
            fields = (
                f"P{self.next}",
                f"new hat {self.next}",
                f"{self.next}.png",
                2.5,
                self.draw.choice(["Home", "Hats"]),
            )
            row = pa.table([[field] for field in fields], schema=self.shop.table.schema)
            at = self.draw.randint(0, len(self.shop.table))
            self.shop.table = pa.concat_tables([self.shop.table.slice(0, at), row, self.shop.table.slice(at)])

    def delete(self) -> None:
        gone = set(self.some(3))
        self.shop.table = self.shop.table.take([row for row in range(len(self.shop.table)) if row not in gone])

    def move(self) -> None:
        kinds = self.shop.values("product_type")
        for row in self.some():
            kinds[row] = self.draw.choice(["Home", "Shoes", "Hats"])
        self.shop.change("product_type", kinds)

    def repeat(self) -> None:
        ids = self.shop.values("id")
        for row in self.some(2):
            ids[row] = ids[row - 1]
        self.shop.change("id", ids)

    def lose(self) -> None:
        for row in self.some(3):
            link = self.shop.photos / self.shop.values("image_link")[row]
            if link.exists():
                self.late.append(link)
                link.unlink()

    def come(self) -> None:
        for link in self.late:
            paint(link, 30)
        self.late = []
