"""How far texts and photos agree, against figures that another formula gives."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.publish.figures.agreement import agreement


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), np.float32)


def towers(n: int, noise: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """(n, 12) and (n, 7) unit rows that look at the same five hidden numbers of each product."""
    rng = np.random.default_rng(seed)
    hidden = rng.standard_normal((n, 5))
    made = (hidden @ rng.standard_normal((5, d)) + noise * rng.standard_normal((n, d)) for d in (12, 7))
    text, photo = map(unit, made)
    return text, photo


def test_the_figure_is_the_correlation_of_centred_similarities() -> None:
    """Pair by pair, with plain loops for the means; two of the same rows agree fully."""
    text, photo = towers(40, 0.3)
    off = ~np.eye(40, dtype=bool)
    flat = []
    for rows in (text, photo):
        alike = rows.astype(np.float64) @ rows.T.astype(np.float64)
        means = np.array([np.delete(alike[i], i).mean() for i in range(40)])
        flat.append((alike - means[:, None] - means[None, :] + means.mean())[off])
    expected = (flat[0] @ flat[1]) / np.sqrt((flat[0] @ flat[0]) * (flat[1] @ flat[1]))
    assert agreement(text, photo).value == pytest.approx(expected, abs=1e-6)
    assert agreement(text, text).value == pytest.approx(1.0)


def test_the_error_is_what_other_products_would_differ_by() -> None:
    """Over 200 draws of 60 products the figures spread by what each of them says, within a third."""
    drawn = [agreement(*towers(2000, 1.0)) for _ in range(1)]
    text, photo = towers(2000, 1.0)
    rng = np.random.default_rng(1)
    some = [rng.choice(2000, 60, replace=False) for _ in range(200)]
    found = [agreement(text[at], photo[at]) for at in some]
    spread = np.std([one.value for one in found])
    assert np.mean([one.error for one in found]) == pytest.approx(spread, rel=0.35)
    assert drawn[0].error < spread / 3


def test_texts_of_other_products_agree_with_nothing() -> None:
    """Shuffled, the figure is none; nor is it one where all texts are equal, or all photos."""
    text, photo = towers(300, 0.3)
    assert agreement(text, photo).value > 0.3
    shuffled = agreement(np.random.default_rng(2).permutation(text), photo)
    assert abs(shuffled.value) < 4 * shuffled.error + 0.01
    for equal in (agreement(np.repeat(text[:1], 300, axis=0), photo), agreement(text, np.repeat(photo[:1], 300, 0))):
        assert equal.value == 0
