"""Whole trainings of a two-tower model: seeded, killed and resumed, stopped early, with a tower frozen."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from encoders.models.folders import open_model
from encoders.training import loop
from encoders.training.pairs import Pair, split
from encoders.training.towers import Towers, recall_at
from encoders.training.trainer import Lessons, train
from encoders.types import dual
from foundation.errors import InputError, LockedError
from pipeline.plan.units import make_plan
from pipeline.train.towers import catalog_lessons
from tests.support.command import config_for
from tests.support.tiny_models import chinese_clip, clip
from tests.support.train_pairs import pairs_of, quick, tiny_siglip

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny SigLIP of random weights."""
    return tiny_siglip(tmp_path_factory.mktemp("fresh"))


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_it_learns_and_dual_loads_the_result(fresh: str, tmp_path: Path) -> None:
    """Held-out photos are found by their colour, and the encoder `dual` of the result finds the same as the trainer."""
    pairs = [
        Pair(pair.id, (text,), pair.photo, group=pair.id)
        for pair in pairs_of(160)
        for text in [pair.texts[0].split()[0]]
    ]
    how = quick(epochs=12, batch=16, evaluate_every=1000, recall_k=1, flip=0.0)
    trained = train(Lessons(pairs), fresh, tmp_path / "out", how)
    assert trained.recall is not None
    assert trained.recall > 0.9
    held = split(pairs, how.held_out, how.held_out_most).held_out
    assert trained.held_out == len(held)
    encoder = dual.Spec(model=str(tmp_path / "out")).load("cpu")
    similar = encoder.text.encode([pair.texts[0] for pair in held]) @ encoder.image.encode([p.photo() for p in held]).T
    found = [held[int(place)].texts == pair.texts for place, pair in zip(similar.argmax(1), held, strict=True)]
    assert np.mean(found) == pytest.approx(trained.recall)
    untrained = recall_at(1, Towers(open_model(fresh), torch.device("cpu"), "fp32"), held)
    assert untrained < 0.6


def test_equal_seeds_give_equal_weights(fresh: str, tmp_path: Path) -> None:
    """The same settings give the same files, byte for byte, and another seed gives others."""
    pairs = pairs_of(40)
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        train(Lessons(pairs), fresh, tmp_path / name, quick(seed=seed))
    files = {name: (tmp_path / name / "model.safetensors").read_bytes() for name in "abc"}
    assert files["a"] == files["b"] != files["c"]
    assert (tmp_path / "a/training.jsonl").read_bytes() == (tmp_path / "b/training.jsonl").read_bytes()


KILLED = """
import os, signal, sys, time
from pathlib import Path
import torch
from encoders.models.folders import open_model
from encoders.training.trainer import Lessons, train
from encoders.training.pairs import Augmentation
from encoders.training.towers import Towers
from tests.support.tiny_models import chinese_clip, clip
from tests.support.train_pairs import pairs_of, quick
torch.set_num_threads(1)
# Imports what each of the trainings would, seconds in all.
Towers(open_model(sys.argv[1]), torch.device("cpu"), "fp32").augmenting(Augmentation(1, 0, 0, 0, None))

def progress(step, done, total):
    if done == kill:
        os.kill(os.getpid(), signal.SIGKILL)

for word in sys.argv[3:]:  # a step to be killed after, or seconds to be killed by the clock in
    kill = None if "." in word else int(word)
    child = os.fork()
    if child == 0:
        train(Lessons(pairs_of(40)), sys.argv[1], Path(sys.argv[2]), quick(), progress=progress)
        os._exit(0)
    if kill is None:
        time.sleep(float(word))
        os.kill(child, signal.SIGKILL)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def killed(fresh: str, out: Path, *moments: object) -> list[int]:
    """The exit codes of trainings into `out` that were killed one after the other, without any cleaning up."""
    words = [sys.executable, "-c", KILLED, fresh, str(out), *map(str, moments)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return [int(code) for code in done.stdout.split()]


def test_killed_and_resumed_is_as_if_nothing_had_happened(fresh: str, tmp_path: Path) -> None:
    """Killed before the first checkpoint, between two, and right after one: the same bytes as a training left alone."""
    train(Lessons(pairs_of(40)), fresh, tmp_path / "whole", quick())
    torn = tmp_path / "torn"
    assert killed(fresh, torn, 2, 7, 8) == [-signal.SIGKILL] * 3
    assert not torn.exists()
    (tmp_path / "torn.training/checkpoint-000000009.partial").mkdir()  # what a kill while writing leaves
    steps: list[int] = []
    train(Lessons(pairs_of(40)), fresh, torn, quick(), progress=lambda step, done, total: steps.append(done))
    assert steps[0] == 9
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == sorted(path.name for path in torn.iterdir())
    for name in set(names) - {"training.json"}:  # which tells the seconds
        assert (tmp_path / "whole" / name).read_bytes() == (torn / name).read_bytes(), name
    assert not (tmp_path / "torn.training").exists()


@pytest.mark.nightly
def test_killed_at_any_moment(fresh: str, tmp_path: Path) -> None:
    """Killed by the clock, in the middle of whatever it did, over and over: it ends in the same weights."""
    train(Lessons(pairs_of(40)), fresh, tmp_path / "whole", quick())
    torn = tmp_path / "torn"
    killed(fresh, torn, *(0.1 * moment for moment in range(1, 9)))
    train(Lessons(pairs_of(40)), fresh, torn, quick())
    assert equal(weights(tmp_path / "whole"), weights(torn))


def test_done_is_done_and_others_are_refused(fresh: str, tmp_path: Path) -> None:
    """The same training again does nothing; another one into its folder, or into its checkpoints, is refused."""
    out = tmp_path / "out"
    first = train(Lessons(pairs_of(40)), fresh, out, quick())
    stamp = (out / "model.safetensors").stat().st_mtime_ns
    left = tmp_path / "out.training"
    left.mkdir()  # as after a kill between the result's appearing and the end
    again = train(Lessons(pairs_of(40)), fresh, out, quick())
    assert (again, (out / "model.safetensors").stat().st_mtime_ns) == (first, stamp)
    assert not left.exists()
    with pytest.raises(InputError, match="another training's result"):
        train(Lessons(pairs_of(40)), fresh, out, quick(seed=1))
    other = tmp_path / "other"

    def progress(step: str, done: int, total: int) -> None:
        if done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Lessons(pairs_of(40)), fresh, other, quick(), progress=progress)
    with pytest.raises(InputError, match="4 steps done"):
        train(Lessons(pairs_of(40)), fresh, other, quick(lr=1e-4))


def test_a_second_trainer_of_the_same_folder_is_refused(fresh: str, tmp_path: Path) -> None:
    """While one process trains a folder, another one that wants to is told so."""

    def progress(step: str, done: int, total: int) -> None:
        if done == 1:
            with pytest.raises(LockedError):
                train(Lessons(pairs_of(40)), fresh, tmp_path / "out", quick())

    train(Lessons(pairs_of(40)), fresh, tmp_path / "out", quick(), progress=progress)


@pytest.mark.parametrize(
    ("recalls", "steps", "best_step"), [([0.1, 0.5, 0.4, 0.3, 0.9], 16, 8), ([0.5, 0.5, 0.5, 0.9], 12, 12)]
)
def test_it_stops_when_recall_no_longer_grows(
    fresh: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recalls: list[float], steps: int, best_step: int
) -> None:
    """With a patience of 2 the second evaluation in a row that is no better ends it; the best weights are kept, of
    equals the last.
    """
    measured, kept = iter(recalls), {}

    def recall(k: int, towers: Towers, pairs: list[Pair]) -> float:
        value = next(measured)
        kept[value] = {name: tensor.clone() for name, tensor in towers.model.state_dict().items()}
        return value

    monkeypatch.setattr("encoders.training.trainer.recall_at", recall)
    trained = train(Lessons(pairs_of(40)), fresh, tmp_path / "out", quick(patience=2, epochs=50))
    assert (trained.steps, trained.best_step, trained.recall) == (steps, best_step, 0.5)
    assert equal(weights(tmp_path / "out"), kept[0.5])
    lines = [json.loads(line) for line in (tmp_path / "out/training.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, steps + 1))
    assert [line["recall_at_10"] for line in lines if "recall_at_10" in line] == recalls[: steps // 4]


def test_a_short_training_is_evaluated_too(fresh: str, tmp_path: Path) -> None:
    """Unless it is said how often, a tenth of the steps lies between evaluations, so that the best can be kept."""
    trained = train(Lessons(pairs_of(40)), fresh, tmp_path / "out", quick(evaluate_every=0, epochs=8, patience=0))
    lines = [json.loads(line) for line in (tmp_path / "out/training.jsonl").read_text().splitlines()]
    every = -(-trained.steps // 10)
    measured = [line["step"] for line in lines if "recall_at_10" in line]
    assert measured == sorted({*range(every, trained.steps + 1, every), trained.steps})
    assert 5 < len(measured) <= 10


@pytest.mark.parametrize(("tower", "prefix"), [("text", "text_model."), ("image", "vision_model.")])
def test_a_frozen_tower_stays_as_it_is(fresh: str, tmp_path: Path, tower: str, prefix: str) -> None:
    """Not a bit of the frozen tower changes, in one piece or in micro-batches, and the other tower learns."""
    before = weights(Path(fresh))
    for micro_batch in (0, 3):
        out = tmp_path / f"out{micro_batch}"
        train(Lessons(pairs_of(40)), fresh, out, quick(freeze=tower, micro_batch=micro_batch))
        after = weights(out)
        frozen = {name for name in before if name.startswith(prefix)}
        assert frozen
        assert all(torch.equal(before[name], after[name]) for name in frozen)
        moved = {name for name in before.keys() - frozen if not torch.equal(before[name], after[name])}
        assert len(moved) > 10


def test_norms_and_biases_do_not_decay(fresh: str) -> None:
    """Weight decay is on matrices alone."""
    from encoders.training.loop import parameter_groups

    model = Towers(open_model(fresh), torch.device("cpu"), "fp32").model
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decayed, kept = ({names[id(p)] for p in group["params"]} for group in parameter_groups(model, 0.1))
    assert decayed | kept == set(names.values())
    assert {"logit_scale", "logit_bias"} <= kept
    assert all("bias" in name or "norm" in name or name.startswith("logit") for name in kept)
    assert not any("norm" in name or name.endswith(".bias") for name in decayed)


def test_bf16_and_half_weights(fresh: str, tmp_path: Path) -> None:
    """bf16 arithmetic learns fp32 weights; the result is stored in the type asked for, and loads in fp32."""
    train(Lessons(pairs_of(40)), fresh, tmp_path / "out", quick(precision="bf16", weights="float16", loss="softmax"))
    assert {tensor.dtype for tensor in weights(tmp_path / "out").values()} == {torch.float16}
    encoder = dual.Spec(model=str(tmp_path / "out")).load("cpu")
    assert np.allclose(np.linalg.norm(encoder.text.encode(["red", "红色"]), axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("family", [clip, chinese_clip])
def test_other_families_learn_too(family: Callable[[Path], Path], tmp_path: Path) -> None:
    """CLIP and Chinese-CLIP learn by the softmax loss, and `dual` reads the result as the trainer does; they have no
    bias for the sigmoid loss.
    """
    model = str(family(tmp_path / "model"))
    trained = train(Lessons(pairs_of(40)), model, tmp_path / "out", quick(loss="softmax", micro_batch=3))
    assert trained.steps == 9
    before, after = weights(Path(model)), weights(tmp_path / "out")
    assert before.keys() == after.keys()
    assert sum(not torch.equal(before[name], after[name]) for name in before) > len(before) // 2
    encoder = dual.Spec(model=str(tmp_path / "out")).load("cpu")
    texts = ["red 1", "7 in blue", "x"]
    towers = Towers(open_model(str(tmp_path / "out")), torch.device("cpu"), "fp32")
    assert (encoder.text.encode(texts) * towers.text_vectors(texts)).sum(axis=1).min() > 0.9999
    photos = [pair.photo() for pair in pairs_of(3)]
    assert (encoder.image.encode(photos) * towers.photo_vectors(photos)).sum(axis=1).min() > 0.9999
    with pytest.raises(InputError, match="loss=softmax"):
        train(Lessons(pairs_of(40)), model, tmp_path / "other", quick())


def test_what_cannot_be_trained_is_said_before_any_step(fresh: str, tmp_path: Path) -> None:
    """A single pair, a pair without a text, and a split that holds nothing out end in messages of three parts."""
    one = pairs_of(1)
    with pytest.raises(InputError, match="at least 2 pairs"):
        train(Lessons(one), fresh, tmp_path / "out", quick(held_out=0))
    with pytest.raises(InputError, match="a text, not empty"):
        train(Lessons([Pair("a", ("",), one[0].photo), *one]), fresh, tmp_path / "out", quick())
    with pytest.raises(InputError, match="raise train"):
        train(Lessons(pairs_of(3)), fresh, tmp_path / "out", quick(held_out=1e-9))
    with pytest.raises(InputError, match="lower train"):
        train(Lessons(pairs_of(40)), fresh, tmp_path / "out", quick(lr=1e30, weight_decay=0, warmup=0))


def test_bytes_are_tokens(fresh: str) -> None:
    """Each byte of UTF-8 is a token, letter case is folded, an end is added, and a long text is cut to fit."""
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(fresh)
    assert len(tokenizer) == 258
    for text in ("red hat", "红色连衣裙", "ß é 🎩"):
        ids = tokenizer(text)["input_ids"]
        assert len(ids) == len(text.encode()) + 1
        assert tokenizer.decode(ids[:-1]) == text
    assert tokenizer("RED")["input_ids"] == tokenizer("red")["input_ids"]
    assert len(tokenizer("x" * 99, truncation=True)["input_ids"]) == 16
    assert sorted({tokenizer(chr(code))["input_ids"][0] for code in range(32, 127)})[0] > 1


def test_a_catalog_is_pairs_of_texts_and_photos(demo: Path, dirty: Path, tmp_path: Path) -> None:
    """Each good product gives its photo with each of its text columns; the others are counted by their reasons."""
    config = config_for(demo, tmp_path / "store", "catalog.text=[title, title_zh]")
    lessons = catalog_lessons(config.settings.embedding, make_plan(config.settings.embedding, config.gates), 16, 2)
    assert len(lessons.pairs) == 120
    assert not lessons.left_out
    assert {len(pair.texts) for pair in lessons.pairs} == {2}
    assert {pair.photo().shape for pair in lessons.pairs} == {(20, 20, 3)}
    assert len({pair.group for pair in lessons.pairs}) == 120
    assert all(pair.kin == pair.texts[0].casefold() for pair in lessons.pairs)
    config = config_for(dirty, tmp_path / "store", "catalog.text=[title, title_zh]")
    found = catalog_lessons(config.settings.embedding, make_plan(config.settings.embedding, config.gates), 16, 2)
    assert 60 <= len(found.pairs) < 120
    assert {"duplicate_id", "image_undecodable", "image_not_found"} <= found.left_out.keys()


def test_a_checkpoint_by_the_clock_is_gone_on_from(
    fresh: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed long before the first evaluation, it goes on where the last minutes' checkpoint stands, to the same bytes
    as one that wrote none; the log has loss, rows, rate and time left by the clock too, recall where it is measured.
    """
    monkeypatch.setattr(loop, "_TOLD_EVERY", 0)
    pairs, torn = pairs_of(40), tmp_path / "torn"
    rarely = quick(evaluate_every=1000)
    often = rarely.model_copy(update={"checkpoint_minutes": 1e-9})
    train(Lessons(pairs), fresh, tmp_path / "whole", rarely)

    def interrupted(step: str, done: int, total: int) -> None:
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(Lessons(pairs), fresh, torn, often, progress=interrupted)
    steps: list[int] = []
    caplog.set_level("INFO")
    caplog.clear()
    train(Lessons(pairs), fresh, torn, often, progress=lambda step, done, total: steps.append(done))
    assert steps[0] == 4
    for path in (tmp_path / "whole").iterdir():
        if path.name != "training.json":  # which tells the seconds
            assert path.read_bytes() == (torn / path.name).read_bytes(), path.name
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("train: ")]
    assert len(lines) == len(steps) > 1
    assert all(word in line for line in lines for word in ("loss ", "rows seen", "rows a second", "minutes left"))
    assert ["held-out recall@" in line for line in lines] == [False] * (len(steps) - 1) + [True]
