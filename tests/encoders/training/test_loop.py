"""What a training step is made of: its losses against loops and libraries, the split, the batches, the pixels."""

from __future__ import annotations

import functools
import itertools
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st

from encoders.models.folders import open_model
from encoders.training.loop import learning_rate, working
from encoders.training.losses import answers, matches, sigmoid_loss, softmax_loss
from encoders.training.pairs import Augmentation, Pair, batch_of, is_held_out, negatives_of, seeded, split
from encoders.training.towers import Towers, photo_side
from foundation.errors import GateError, InputError
from tests.support.train_pairs import pairs_of, same, tiny_siglip


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny SigLIP of random weights."""
    return tiny_siglip(tmp_path_factory.mktemp("fresh"))


# --- losses ---

Texts = st.lists(st.sampled_from("abcd"), min_size=1, max_size=7)


def logits_of(n: int, seed: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, 5, (n, n)))


@settings(max_examples=50, deadline=None)
@given(texts=Texts, seed=st.integers(0, 10**6))
def test_sigmoid_loss_is_that_of_a_loop(texts: list[str], seed: int) -> None:
    """Each pair costs log(1 + exp(-z)) if its texts are equal, else log(1 + exp(z)); the sum is divided by n."""
    logits = logits_of(len(texts), seed)
    total = 0.0
    for i, j in itertools.product(range(len(texts)), repeat=2):
        sign = 1 if texts[i] == texts[j] else -1
        total += float(np.logaddexp(0, -sign * float(logits[i, j])))
    found = sigmoid_loss(logits, torch.from_numpy(matches(texts)))
    assert math.isclose(float(found), total / len(texts), rel_tol=1e-9, abs_tol=1e-12)


@settings(max_examples=50, deadline=None)
@given(texts=Texts, seed=st.integers(0, 10**6))
def test_softmax_loss_is_that_of_a_loop(texts: list[str], seed: int) -> None:
    """Each text, and each photo, costs the mean of -log p over all that match it; the two directions are averaged."""
    logits = logits_of(len(texts), seed).numpy()
    costs = []
    for grid in (logits, logits.T):
        for i, text in enumerate(texts):
            log_sum = math.log(sum(math.exp(value) for value in grid[i]))
            matching = [log_sum - grid[i][j] for j in range(len(texts)) if texts[j] == text]
            costs.append(sum(matching) / len(matching))
    found = softmax_loss(torch.from_numpy(logits), torch.from_numpy(matches(texts)))
    assert math.isclose(float(found), sum(costs) / len(costs), rel_tol=1e-9, abs_tol=1e-12)


@pytest.mark.parametrize("loss", [sigmoid_loss, softmax_loss])
def test_equal_texts_are_no_negatives(loss: Any) -> None:
    """A higher similarity of a text with the photo of an equal text costs less; with any other photo it costs more."""
    texts = ["red hat", "mug", "red hat", "blue hat"]
    logits = torch.zeros(4, 4, requires_grad=True)
    loss(logits, torch.from_numpy(matches(texts))).backward()
    gradient = logits.grad
    assert gradient is not None
    for i, j in itertools.product(range(4), repeat=2):
        assert (gradient[i, j] < 0) == (texts[i] == texts[j]), (i, j)


def test_losses_of_distinct_texts_are_the_papers(fresh: str) -> None:
    """Without equal texts the sigmoid loss is what transformers' SiglipModel computes, the softmax one CLIP's."""
    from transformers import AutoModel
    from transformers.models.clip.modeling_clip import CLIPModel

    model: Any = AutoModel.from_pretrained(fresh)
    ids, pixels = torch.randint(2, 258, (6, 16)), torch.rand(6, 3, 16, 16)
    out = model(input_ids=ids, pixel_values=pixels, return_loss=True)
    matched = torch.eye(6, dtype=torch.bool)
    assert math.isclose(sigmoid_loss(out.logits_per_text, matched).item(), out.loss.item(), rel_tol=1e-5)
    clip_loss = sys.modules[CLIPModel.__module__].image_text_contrastive_loss  # type: ignore[attr-defined]
    expected = clip_loss(out.logits_per_text).item()
    assert math.isclose(softmax_loss(out.logits_per_text, matched).item(), expected, rel_tol=1e-5)


@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
def test_micro_batches_give_the_gradient_of_the_whole(fresh: str, loss: str) -> None:
    """A batch in pieces of 3 has the loss and the gradient of the batch as a whole."""
    texts = ["red", "blue", "red", "white hat", "mug", "ball", "red hat", "x"]
    photos = torch.rand(8, 3, 16, 16)
    matched = torch.from_numpy(matches(texts))
    found = []
    for micro_batch in (0, 3):
        towers = Towers(open_model(fresh), torch.device("cpu"), "fp32")
        model = towers.model

        def cost(text: torch.Tensor, photo: torch.Tensor, model: Any = model) -> torch.Tensor:
            logits = model.logit_scale.exp() * text @ photo.T
            return (
                sigmoid_loss(logits + model.logit_bias, matched) if loss == "sigmoid" else softmax_loss(logits, matched)
            )

        value = towers.backward(photos, texts, cost, micro_batch, seed=1)
        found.append((value, {name: p.grad for name, p in model.named_parameters() if p.grad is not None}))
    (whole, gradients), (pieces, others) = found
    assert math.isclose(whole, pieces, rel_tol=1e-5)
    assert gradients.keys() == others.keys()
    assert len(gradients) > 30
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, others[name], rtol=1e-3, atol=1e-5)


# --- what a step sees ---


def test_the_split_is_that_of_the_hash() -> None:
    """Held out is whose group hashes below the share: in any order, beside any others, and about that many."""
    pairs = pairs_of(400)
    parts = split(pairs, 0.2, 1000)
    held = {pair.id for pair in parts.held_out}
    expected = {pair.id for pair in pairs if int(blake3(pair.id.encode()).hexdigest()[:16], 16) / 2**64 < 0.2}
    assert held == expected
    assert 50 < len(held) < 110
    assert held.isdisjoint(pair.id for pair in parts.training)
    fewer = split(pairs[::-2], 0.2, 1000)
    assert {pair.id for pair in fewer.held_out} == held & {pair.id for pair in pairs[::-2]}
    assert [pair.id for pair in split(pairs, 0.2, 10).held_out] == [pair.id for pair in parts.held_out[:10]]


def test_groups_are_held_out_whole() -> None:
    """Pairs of one group are all learned from or all measured."""
    pairs = [Pair(str(n), ("a",), functools.partial(same, None), group=f"g{n % 9}") for n in range(90)]
    parts = split(pairs, 0.5, 1000)
    assert {pair.group for pair in parts.held_out}.isdisjoint(pair.group for pair in parts.training)
    assert all(is_held_out(pair.group, 0.5) for pair in parts.held_out)


def test_an_epoch_sees_every_product_once() -> None:
    """The batches of an epoch are disjoint, another epoch has another order, and both texts of products occur."""
    pairs = pairs_of(64)
    epochs = [[batch_of(pairs, step, 8, seed=5) for step in range(start, start + 8)] for start in (0, 8)]
    seen = [[pair.id for chosen, _ in epoch for pair in chosen] for epoch in epochs]
    assert sorted(seen[0]) == sorted(seen[1]) == sorted(pair.id for pair in pairs)
    assert seen[0] != seen[1]
    texts = [
        (text, pair) for epoch in epochs for chosen, said in epoch for pair, text in zip(chosen, said, strict=True)
    ]
    assert {pair.texts.index(text) for text, pair in texts} == {0, 1}


def test_augmentation_depends_on_seed_and_step_alone(fresh: str) -> None:
    """The same seed and step give the same pixels whatever was drawn before; another step gives others."""
    towers = Towers(open_model(fresh), torch.device("cpu"), "fp32")
    vary = towers.augmenting(Augmentation(crop=0.5, flip=0.5, colour=0.3, erase=0.5, auto="rand-m9-mstd0.5"))
    photo = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)

    def pixels(step: int) -> torch.Tensor:
        np.random.rand(step + 3)
        torch.rand(step + 1)
        with seeded(7, step):
            return torch.stack([vary(photo) for _ in range(6)])

    first = pixels(0)
    assert first.shape == (6, 3, 16, 16)
    assert torch.equal(first, pixels(0))
    assert not torch.equal(first, pixels(1))


def test_photos_without_variation_are_the_processors(fresh: str) -> None:
    """A photo of the model's own size, neither cropped nor mirrored, is normalised as the image processor does it."""
    towers = Towers(open_model(fresh), torch.device("cpu"), "fp32")
    photo = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    with seeded(0, 0):
        found = towers.augmenting(Augmentation(1.0, 0.0, 0.0, 0.0, None))(photo)
    expected = torch.from_numpy(photo).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=0)
    assert photo_side(fresh) == 16


def test_the_rate_rises_and_falls() -> None:
    """It rises in a line to `lr` within the warm-up, then falls as half a cosine towards 0."""
    rates = [learning_rate(step, 100, 1.0, 0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert rates[10:] == pytest.approx([(1 + math.cos(math.pi * step / 90)) / 2 for step in range(90)])


# --- clicks ---


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abc"), st.sampled_from("uvwx"), st.frozensets(st.sampled_from("uvwx"))),
        min_size=1,
        max_size=7,
    ),
    more=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("uvwx")), max_size=4),
)
def test_right_answers_are_those_of_a_loop(rows: list[Any], more: list[Any]) -> None:
    """A product is a right answer of its own group, to an equal text, and where it was ever chosen for the text; the
    losses over mined negatives too are those of a loop.
    """
    photo = functools.partial(same, None)
    pairs = [Pair(f"p{i}", (text,), photo, group, right=right) for i, (text, group, right) in enumerate(rows)]
    shown = [*pairs, *(Pair(f"n{i}", (text, "z"), photo, group) for i, (text, group) in enumerate(more))]
    found = answers(pairs, [pair.texts[0] for pair in pairs], shown)
    n, m = len(pairs), len(shown)
    for i, j in itertools.product(range(n), range(m)):
        one, other = pairs[i], shown[j]
        expected = one.group == other.group or one.texts[0] == other.texts[0] or other.group in one.right
        assert found[i, j] == expected
    generator = torch.Generator().manual_seed(n * m)
    logits = torch.randn(n, m, generator=generator, dtype=torch.float64)
    values = logits.numpy()
    total = sum(np.logaddexp(0, -values[i, j] if found[i, j] else values[i, j]) for i in range(n) for j in range(m))
    assert float(sigmoid_loss(logits, torch.from_numpy(found))) == pytest.approx(total / n)
    sides = []
    for grid, right in ((values, found), (values.T, found.T)):
        costs = [
            np.log(np.exp(line).sum()) - line[hit].mean() for line, hit in zip(grid, right, strict=True) if hit.any()
        ]
        sides.append(np.mean(costs))
    assert float(softmax_loss(logits, torch.from_numpy(found))) == pytest.approx(np.mean(sides))


def test_micro_batches_take_other_numbers_of_texts_and_photos(fresh: str) -> None:
    """More texts than photos, or more photos than texts: pieces give the gradient of the whole."""
    for texts, shown in ((["red", "blue", "white hat", "mug", "x"], 2), (["red", "blue"], 5)):
        photos = torch.rand(shown, 3, 16, 16)
        found = []
        for micro_batch in (0, 2):
            towers = Towers(open_model(fresh), torch.device("cpu"), "fp32")
            value = towers.backward(photos, texts, lambda text, photo: (text @ photo.T).square().sum(), micro_batch, 1)
            grads = {name: p.grad for name, p in towers.model.named_parameters() if p.grad is not None}
            found.append((value, grads))
        assert math.isclose(found[0][0], found[1][0], rel_tol=1e-5)
        assert found[0][1].keys() == found[1][1].keys()
        for name, gradient in found[0][1].items():
            torch.testing.assert_close(gradient, found[1][1][name], rtol=1e-3, atol=1e-5)


def test_negatives_of_a_step_are_of_its_pairs() -> None:
    """At most so many of each pair's own, no product twice, others in another step, the same for the same seed."""
    photo = functools.partial(same, None)
    mined = [Pair(f"n{i}", ("a",), photo) for i in range(6)]
    pairs = [Pair(f"p{i}", ("a",), photo, negatives=tuple(mined[i : i + 4])) for i in range(3)]
    seen = [negatives_of(pairs, step, 2, seed=3) for step in range(20)]
    for found in seen:
        assert 2 <= len({one.id for one in found}) == len(found) <= 6
    assert len({tuple(one.id for one in found) for found in seen}) > 5
    assert seen == [negatives_of(pairs, step, 2, seed=3) for step in range(20)]
    assert negatives_of(pairs, 0, 0, seed=3) == []


def test_products_of_one_title_are_held_out_together() -> None:
    """Pairs of one kin are all learned from or all measured, whatever their groups are."""
    photo = functools.partial(same, None)
    pairs = [Pair(str(n), ("a",), photo, group=f"g{n}", kin=f"title {n % 9}") for n in range(90)]
    parts = split(pairs, 0.5, 1000)
    assert {pair.kin for pair in parts.held_out}.isdisjoint(pair.kin for pair in parts.training)
    assert 0 < len(parts.held_out) < 90


# --- its folder ---


@pytest.mark.parametrize("error", [InputError("a", "b", "c"), GateError("a", "b", "c"), KeyboardInterrupt()])
def test_a_refused_training_leaves_only_what_can_go_on(
    error: BaseException, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Without a checkpoint a refusal leaves no folder; one with a checkpoint stays, and that is told; an interrupt
    leaves all.
    """
    refused = not isinstance(error, KeyboardInterrupt)

    def begin(out: Path, done: bool) -> None:
        with working(out) as work:
            (work / ("checkpoint-000000001" if done else "rows")).mkdir()
            raise error

    for name, done in (("fresh", False), ("begun", True)):
        with pytest.raises(type(error)):
            begin(tmp_path / name, done)
        work = tmp_path / f"{name}.training"
        assert work.exists() == (done or not refused)
        assert (f"{work} stays" in caplog.text) == (done and refused)
