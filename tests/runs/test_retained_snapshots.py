"""Whatever runs do, are kept from, or find damaged: what a snapshot was published with stays as it was."""

from __future__ import annotations

import errno
import os
import random
import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest
from click.testing import Result

from lookup.store.backends.folder import FolderBackend
from tests.support.chance import LOOSE, Chance
from tests.support.command import vitrine
from tests.support.kept_files import KeptFiles
from tests.support.killed_runs import killed_after, runs_to_kill
from tests.support.shop import ROWS, Shop, content
from tests.support.stores import manifest_of

ALL = (*LOOSE, "gates.max_moved_share=1")
MODELS = (
    (),
    ("encoders.text.dim=64",),
    ("fusion.text_weight=0.3",),
    ("shards.towers=false",),
    ("encoders.text.dim=256", "encoders.image.dim=256", "fusion={type: weighted_sum, alignment: 0.25}"),
    ("catalog.image=null", "encoders.image=null", "fusion={type: single}"),
)
TRAINED = (
    "shards.unit_rows=300",
    "index.exact_below=512",
    "index.held_out_queries=50",
    "index.large={type: ivf_pq, nlist: 8, nbits: 4}",
)
STAGES = ("shards/", "indexes/", "snapshots/", "publications/")


class Nights:
    """Runs of all kinds on a shop that changes, drawn at random."""

    def __init__(self, shop: Shop, seed: int, fixed: tuple[str, ...] = ()) -> None:
        self.shop, self.draw, self.fixed = shop, random.Random(seed), fixed
        self.chance, self.store = Chance(shop, seed), shop.folder / "store"
        self.kept, self.models = KeptFiles(self.store), MODELS[0]

    def words(self, *more: str, store: str = "store") -> list[str]:
        """The command of a run."""
        return self.shop.words(*ALL, *self.fixed, *self.models, *more, store=store)

    def full(self) -> Result:
        """A run of the whole catalog, which publishes what is whole, whatever is damaged or was left half-way."""
        done = vitrine(*self.words())
        assert done.exit_code == 0, done.stderr
        whole = vitrine("verify", self.store)
        assert whole.exit_code == 0, whole.stderr
        return done

    def category(self) -> Result:
        """A run of one category, which may be refused."""
        name = self.draw.choice([entry.name for entry in manifest_of(self.store).partitions])
        done = vitrine(*self.words("--category", name))
        assert done.exit_code in (0, 2, 3, 4), done.stderr
        return done

    def ended(self, stage: str, patch: pytest.MonkeyPatch) -> Result:
        """A run that ends at a file of a stage that it may not write; its note is not written, as of one killed."""
        left = [self.draw.randint(1, 3)]

        def failing(real: Callable[..., None]) -> Callable[..., None]:
            def do(backend: FolderBackend, what: Path | bytes, name: str) -> None:
                left[0] -= name.startswith(stage)
                if left[0] <= 0:
                    raise OSError(errno.EIO, os.strerror(errno.EIO), name)
                real(backend, what, name)

            return do

        for name in ("put", "create"):
            patch.setattr(FolderBackend, name, failing(getattr(FolderBackend, name)))
        done = vitrine(*self.words())
        if done.exit_code and self.draw.random() < 0.7:
            for note in sorted((self.store / "runs").iterdir())[-1:]:
                (note / "run.json").unlink(missing_ok=True)
        return done

    def between(self) -> None:
        """What happens to the shop, to the config, and to the files of the store before the next run."""
        if self.draw.random() < 0.7:
            self.chance.happen()
        if self.draw.random() < 0.3:
            self.models = self.draw.choice(MODELS)
        for _ in range(self.draw.choice([0, 0, 1, 2]) if self.kept.digests else 0):
            self.kept.damage(self.draw)

    def check(self) -> None:
        """Every manifest of the store verifies, and every file that one ever named is as it was."""
        self.kept.check()
        done = vitrine("verify", self.store, "--all")
        assert done.exit_code == 0, done.stderr

    def check_fresh(self) -> None:
        """What was published last is what a store publishes that is new, but for trainings that are used again."""
        fresh = self.shop.folder / "fresh"
        done = vitrine(*self.words(store="fresh"))
        assert done.exit_code == 0, done.stderr
        ours, new = manifest_of(self.store), manifest_of(fresh)
        again = {entry.name for entry in ours.partitions if entry.index.training and entry.index.training.reused}
        assert ours.rejects() == new.rejects()
        assert [(p.name, p.rows) for p in ours.partitions] == [(p.name, p.rows) for p in new.partitions]
        if not again:
            assert content(self.store) == content(fresh)
        named = [{f.path: f.blake3 for f in one.files() if f.path.startswith("shards/")} for one in (ours, new)]
        assert named[0] == named[1]


def at_random(nights: Nights, kind: str, runs: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of `kind`: full, category, killed by the system, or ended at a stage."""
    if kind in ("full", "category"):
        getattr(nights, kind)()
    elif kind == "killed":
        killed_after(runs, nights.words(), nights.draw.uniform(0, 3))
    else:
        with monkeypatch.context() as patch:
            nights.ended(kind, patch)


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path, monkeypatch)


def test_snapshots_stay_as_they_were_published(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a run of each kind, with damage and other models between them, all verify."""
    nights = Nights(shop, seed=5)
    nights.full()
    nights.check()
    for stage in (STAGES[0], STAGES[1], STAGES[3]):
        nights.between()
        with monkeypatch.context() as patch:
            nights.ended(stage, patch)
        nights.check()
    nights.between()
    nights.category()
    nights.check()
    nights.between()
    nights.full()
    nights.check()
    nights.check_fresh()


@pytest.mark.nightly
@pytest.mark.parametrize(("trained", "seed"), [(False, 0), (False, 1), (True, 2)])
def test_snapshots_stay_over_many_nights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trained: bool, seed: int
) -> None:
    """Forty runs at random, also killed by the system at a random moment."""
    kinds = ("Clothing", "Clothing", "Clothing", "Home")
    shop = Shop(tmp_path, monkeypatch, 900, kinds) if trained else Shop(tmp_path, monkeypatch, ROWS)
    nights = Nights(shop, seed, TRAINED if trained else ())
    nights.full()
    with ExitStack() as stack:
        runs = stack.enter_context(runs_to_kill())
        for _ in range(40):
            nights.between()
            kind = nights.draw.choice(["full", "full", "full", "category", "killed", *STAGES])
            at_random(nights, kind, runs, monkeypatch)
            nights.check()
            if kind == "full":
                nights.check_fresh()
                shutil.rmtree(tmp_path / "fresh")
