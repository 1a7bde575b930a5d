"""Training of a fusion on towers' outputs: it learns, and one seed gives one result, also when killed on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from encoders.fusion.base import fusion_spec
from encoders.fusion.load import load_fusion
from encoders.towers import Tower
from encoders.training.fusion_lessons import Classroom, asked_of
from foundation.errors import InputError, LockedError
from tests.support.examples import learned_types
from tests.support.places import ROOT
from tests.support.tiny_fusions import IMAGE, TEXT, lessons_of, loaded, quick, random_fusion, trained
from tests.support.tiny_models import clip
from tests.support.two_towers import towers

pytestmark = pytest.mark.usefixtures("one_thread")

each_type = pytest.mark.parametrize("kind", learned_types())


@each_type
def test_it_learns_what_the_towers_do_not_know(kind: str, tmp_path: Path) -> None:
    """Towers of two models share no space; after training, texts find photos of products that were never seen."""
    drawn = towers(1500, gap=None, seed=5)
    lessons = lessons_of(*(vectors[:1200] for vectors in drawn))
    trained(kind, lessons, tmp_path / "fusion", shared=False, epochs=12)
    fusion = loaded(fusion_spec({"type": kind, "model": str(tmp_path / "fusion")}), 32, 32)
    text, photo, query = (vectors[1200:] for vectors in drawn)
    there, absent = np.ones(300, bool), np.zeros(300, bool)
    items = fusion.items(np.zeros_like(text), photo, absent, there)
    nearest = np.argsort(-(fusion.queries(text=query) @ items.T), axis=1)[:, :10]
    found = (nearest == np.arange(300)[:, None]).any(axis=1).mean()
    assert found > 0.2  # chance is 10 / 300
    alone = np.argsort(-(query @ photo.T), axis=1)[:, :10]
    assert (alone == np.arange(300)[:, None]).any(axis=1).mean() < 0.1


@each_type
def test_it_begins_as_the_sum_of_towers_of_one_model(kind: str, tmp_path: Path) -> None:
    """With no rate to learn at, items and queries are the unit sums of the towers' vectors."""
    text, photo, query = towers(200, 0.5)
    trained(kind, lessons_of(text, photo, query), tmp_path / "fusion", epochs=1, lr=1e-12)
    fusion = loaded(fusion_spec({"type": kind, "model": str(tmp_path / "fusion")}), 32, 32)
    there = np.ones(200, bool)
    items = fusion.items(text, photo, there, there)[:, :32]
    whole = (text + photo) / np.linalg.norm(text + photo, axis=1, keepdims=True)
    cosines = (items * whole).sum(axis=1) / np.linalg.norm(items, axis=1)
    np.testing.assert_allclose(cosines, 1, atol=1e-5)
    np.testing.assert_allclose(fusion.queries(text=query)[:, :32], query, atol=1e-5)


@each_type
def test_equal_seeds_give_equal_bytes(kind: str, tmp_path: Path) -> None:
    """The same settings give the same files, byte for byte, and another seed gives another identity."""
    specs = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        trained(kind, lessons_of(*towers(150, 0.5)), tmp_path / name, epochs=2, seed=seed)
        specs[name] = fusion_spec({"type": kind, "model": str(tmp_path / name)})
    for file in ("model.safetensors", "config.json", "training.jsonl"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert specs["a"].identity == specs["b"].identity != specs["c"].identity


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
from tests.support.two_towers import towers
from tests.support.tiny_fusions import lessons_of, trained
torch.set_num_threads(1)

def progress(step, done, total):
    if done == kill:
        os.kill(os.getpid(), signal.SIGKILL)

for kill in map(int, sys.argv[3:]):
    child = os.fork()
    if child == 0:
        drawn = towers(150, 0.5)
        trained(sys.argv[1], lessons_of(*drawn), Path(sys.argv[2]), progress=progress, batch=32, evaluate_every=6)
        os._exit(0)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[] if at == 0 else pytest.mark.nightly) for at, kind in enumerate(learned_types())],
)
def test_killed_and_resumed_is_as_if_nothing_had_happened(kind: str, tmp_path: Path) -> None:
    """Killed before the first checkpoint, between two, and right after one: the same bytes as one left alone."""
    how = {"batch": 32, "evaluate_every": 6}
    trained(kind, lessons_of(*towers(150, 0.5)), tmp_path / "whole", **how)
    torn = tmp_path / "torn"
    words = [sys.executable, "-c", KILLED, kind, str(torn), "4", "9", "12"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert [int(code) for code in done.stdout.split()] == [-signal.SIGKILL] * 3
    assert not torn.exists()
    steps: list[int] = []
    trained(kind, lessons_of(*towers(150, 0.5)), torn, progress=lambda step, done, total: steps.append(done), **how)
    assert steps[0] == 13
    names = {path.name for path in torn.iterdir()}
    assert names == {"config.json", "model.safetensors", "training.json", "training.jsonl"}
    for name in names - {"training.json"}:  # which tells the seconds
        assert (tmp_path / "whole" / name).read_bytes() == (torn / name).read_bytes(), name
    assert not (tmp_path / "torn.training").exists()


def test_done_is_done_and_others_are_refused(tmp_path: Path) -> None:
    """The same training again does nothing, another one into its folder is refused; so is a second one at once."""
    out, drawn = tmp_path / "out", towers(150, 0.5)
    first = trained("transformer", lessons_of(*drawn), out, epochs=2)
    stamp = (out / "model.safetensors").stat().st_mtime_ns
    left = tmp_path / "out.training"
    (left / "checkpoint-000000002").mkdir(parents=True)  # as after a kill between the result's appearing and the end
    assert trained("transformer", lessons_of(*drawn), out, epochs=2) == first
    assert (out / "model.safetensors").stat().st_mtime_ns == stamp
    assert not left.exists()
    with pytest.raises(InputError, match="another training's result"):
        trained("transformer", lessons_of(*drawn), out, epochs=2, seed=9)

    def progress(step: str, done: int, total: int) -> None:
        if done == 1:
            with pytest.raises(LockedError):
                trained("transformer", lessons_of(*drawn), tmp_path / "other", epochs=2)

    trained("transformer", lessons_of(*drawn), tmp_path / "other", epochs=2, progress=progress)


def test_it_stops_when_recall_no_longer_grows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a patience of 2 the second evaluation that is no better ends it; the best, of equals the later, is kept."""
    recalls = iter([0.1, 0.5, 0.4, 0.3, 0.9])
    monkeypatch.setattr("encoders.training.fusion_trainer.recall_at", lambda *_: next(recalls))
    how = {"batch": 32, "evaluate_every": 4, "patience": 2, "epochs": 50}
    made = trained("transformer", lessons_of(*towers(150, 0.5)), tmp_path / "out", **how)
    assert (made.steps, made.best_step, made.recall) == (16, 8, 0.5)
    lines = [json.loads(line) for line in (tmp_path / "out/training.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 17))
    assert json.loads((tmp_path / "out/training.json").read_text())["result"]["best_step"] == 8


def test_what_cannot_be_trained_is_said(tmp_path: Path) -> None:
    """Too few products, heads that do not divide the width, and a rate that explodes end in three parts."""
    with pytest.raises(InputError, match="100 products or more"):
        trained("transformer", lessons_of(*towers(99, 0.5)), tmp_path / "out")
    with pytest.raises(InputError, match=r"multiple of train_fusion\.heads"):
        trained("transformer", lessons_of(*towers(150, 0.5)), tmp_path / "out", heads=3)
    with pytest.raises(InputError, match=r"train_fusion\.held_out=1e-09 of 150 products is none"):
        trained("transformer", lessons_of(*towers(150, 0.5)), tmp_path / "out", held_out=1e-9)
    with pytest.raises(InputError, match=r"lower train_fusion\.lr"):
        trained("transformer", lessons_of(*towers(150, None)), tmp_path / "out", lr=1e30, warmup=0)
    with pytest.raises(ValidationError):
        quick(layers=4)


def test_equal_texts_and_equal_queries_are_answers() -> None:
    """A product of the same text answers, and, where a text is asked, one whose query has the same words."""
    lessons = lessons_of(*towers(120, 0.5))
    lessons.texts = [f"text {i // 2}" for i in range(120)]
    lessons.query_texts = ["red" if i in (0, 5) else f"asked {i}" for i in range(120)]
    room = Classroom(lessons, 0.1, 1000)
    assert set(room.training.tolist()) | set(room.held_out.tolist()) == set(range(120))
    assert len(room.held_out)
    rows = np.array([0, 1, 5, 9])
    found = room.matched(rows, np.zeros(4, np.int64), np.array([True, True, False, True]))
    expected = np.eye(4, dtype=bool)
    expected[0, 1] = expected[1, 0] = expected[0, 2] = True  # row 2 asks without a text
    np.testing.assert_array_equal(found, expected)


def test_queries_are_the_products_texts_with_words_dropped() -> None:
    """Words of one text in their order, never none; the same for the same id, and whole without drops."""
    texts = ("red striped dress", "红色 连衣裙")
    made = asked_of("P1", texts, 200, 0.4, seed=0)
    assert made == asked_of("P1", texts, 200, 0.4, seed=0) != asked_of("P2", texts, 200, 0.4, seed=0)
    assert all(made)
    for query in made:
        words = query.split()
        whole = next(text for text in texts if set(words) <= set(text.split())).split()
        assert words == [word for word in whole if word in words]
    assert set(asked_of("P1", texts, 50, 0, seed=0)) == set(texts)
    dropped = 1 - sum(len(q.split()) for q in made if q.isascii()) / (3 * sum(q.isascii() for q in made))
    assert 0.3 < dropped < 0.45


@each_type
def test_a_folder_that_is_not_the_trained_one_is_refused(kind: str, tmp_path: Path) -> None:
    """A changed byte, pickles, other towers, other lengths, another type and an encoder's folder are refused."""
    folder = random_fusion(tmp_path / "good", kind, 32)
    spec = fusion_spec({"type": kind, "model": str(folder)})
    text, image = Tower(32, TEXT), Tower(32, IMAGE)
    assert load_fusion(spec, text, image, "cpu") is load_fusion(fusion_spec(spec.model_dump()), text, image, "cpu")
    for towers_given in ((text, Tower(32, "2" * 64)), (image, text), (text, None)):
        with pytest.raises(InputError, match="was trained on"):
            load_fusion(spec, *towers_given, "cpu")
    with pytest.raises(InputError, match="text 16"):
        spec.load(16, 32)
    moved = tmp_path / "moved"
    folder.rename(moved)
    again = fusion_spec({"type": kind, "model": str(moved)})
    identity = again.identity
    (moved / "training.json").write_text("{}")  # tells seconds, decides nothing
    assert fusion_spec(again.model_dump()).identity == identity
    other = next(one for one in learned_types() if one != kind)
    with pytest.raises(InputError, match=f"of type {other}"):
        fusion_spec({"type": other, "model": str(moved)}).load(32, 32)
    weights = moved / "model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    with pytest.raises(InputError, match="changed after training"):
        again.load(32, 32)
    assert fusion_spec(again.model_dump()).identity != identity
    weights.rename(moved / "pytorch_model.bin")
    with pytest.raises(InputError, match="pickles"):
        again.load(32, 32)
    with pytest.raises(InputError, match="the folder of another model"):
        fusion_spec({"type": kind, "model": str(clip(tmp_path / "clip"))}).load(32, 32)
    with pytest.raises(InputError, match="null"):
        fusion_spec({"type": kind}).load(32, 32)


def test_a_folder_is_found_by_path_or_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of the current directory needs no `./`, one of the models folder its name; without one: train it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VITRINE_MODELS", str(tmp_path / "pulled"))
    random_fusion(tmp_path / "here", "transformer", 32)
    random_fusion(tmp_path / "pulled" / "there", "transformer", 32)
    for name in ("here", "there", "pulled/there"):
        assert fusion_spec({"type": "transformer", "model": name}).load(32, 32).dim == 32
    for name in ("gone", "models/gone", "builtin"):
        with pytest.raises(InputError, match="no such folder") as caught:
            fusion_spec({"type": "transformer", "model": name}).load(32, 32)
        assert caught.value.fix.startswith("train it: vitrine train fusion")
