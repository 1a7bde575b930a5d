"""Runs on poisoned and on ordinary feeds, each on top of a night that was good, and what stopped them."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.support.command import vitrine
from tests.support.poisoned import POISONS, Feed, another_revision, ordinary_night, poison

MODEL = Path("encoders/builtin")
REVISION = "another_revision"  # of the model, under its name
KINDS = (*POISONS, REVISION)


class Night(NamedTuple):
    """How a run ended, and the gates that stopped it, by rank."""

    exit_code: int
    stopped_by: tuple[str, ...]
    error: str


class Shop:
    """A demo catalog and the store of its first night, which each poisoned one starts from: of networks, or, which is
    quicker, weightless.
    """

    def __init__(self, folder: Path, products: int, networks: bool = True) -> None:
        self.folder = folder
        self.feed = Feed.drawn(folder / "feed", products)
        self.model = Path(shutil.copytree(MODEL, folder / "model"))
        models = [f"encoders.{tower}.model={self.model.absolute()}" for tower in ("text", "image")]
        quick = ("encoders.text.dim=64", "index.text_queries=false", "index.photo_queries=false")
        self._words = ["-c", "configs/demo.yaml", *models] if networks else ["-c", "configs/weightless.yaml", *quick]
        found = self._run(self.feed, folder / "store")
        assert found.exit_code == 0, found.error

    def poisoned(self, kind: str, strength: float, seed: int = 1) -> Night:
        """A night on which a share `strength` of the products is poisoned, or of the model's weights."""
        folder = self.folder / "poisoned"
        shutil.rmtree(folder, ignore_errors=True)
        feed = self.feed.copied(folder)
        shutil.copytree(self.folder / "store", folder / "store")
        if kind != REVISION:
            poison(feed, kind, strength, seed)
            return self._run(feed, folder / "store")
        whole = self.folder / "model.whole"
        shutil.copytree(self.model, whole)
        another_revision(self.model, strength, seed)
        try:
            return self._run(feed, folder / "store")
        finally:
            shutil.rmtree(self.model)
            whole.rename(self.model)

    def ordinary(self, nights: int, seed: int) -> Iterator[Night]:
        """Ordinary nights, one on top of the other."""
        folder, draw = self.folder / f"ordinary-{seed}", random.Random(seed)
        feed = self.feed.copied(folder)
        shutil.copytree(self.folder / "store", folder / "store")
        for _ in range(nights):
            ordinary_night(feed, draw)
            yield self._run(feed, folder / "store")
        shutil.rmtree(folder)

    def _run(self, feed: Feed, store: Path) -> Night:
        done = vitrine(*feed.words(store, *self._words))
        runs = sorted((store / "runs").iterdir())
        report = json.loads((runs[-1] / "run.json").read_text())
        gates = [one for one in report["gates"] if not one["passed"] and not one["accepted"]]
        return Night(done.exit_code, tuple(dict.fromkeys(one["name"] for one in gates)), report["error"] or "")
