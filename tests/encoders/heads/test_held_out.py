"""What held-out groups are found by heads, counted a second time the plain way: every score, fully sorted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from encoders.heads.held_out import Sample, Trials, measure
from encoders.heads.lda import Spec
from encoders.heads.sums import Sums

GROUPS, DIM, WIDTHS = 260, 24, (4, 10, 24)
Floats = npt.NDArray[np.float32]


def made() -> Sample:
    """Rows of groups of one to eleven, in two parts, of no strip's multiple."""
    rng = np.random.default_rng(5)
    group = np.repeat(np.arange(GROUPS), rng.integers(1, 12, GROUPS))
    group = rng.permutation(group)[: len(group) // 16 * 16 - 3]
    rows = rng.standard_normal((GROUPS, DIM))[group] + rng.standard_normal((len(group), DIM)) * np.linspace(2, 0.2, DIM)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    return Sample(rows.astype(np.float32), group, group % 2)


def sums_of(sample: Sample, part: int) -> Sums:
    """Of the groups of a part."""
    found = Sums(DIM)
    for one in np.unique(sample.group[sample.part == part]):
        rows = sample.rows[sample.group == one]
        mean = rows.mean(axis=0, keepdims=True)
        found.groups, found.shared = found.groups + 1, found.shared + int(len(rows) > 1)
        found.add(mean, np.array([len(rows)]), rows - mean)
    return found


def plainly(sample: Sample, vectors: Floats, part: int) -> tuple[list[bool], list[float]]:
    """Of each query: whether the nearest is of its group, and the share of its group among as many that are nearest."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    right, recalls = list[bool](), list[float]()
    for at in np.flatnonzero(sample.part == part):
        mates = int((sample.group == sample.group[at]).sum()) - 1
        if mates:
            order = [one for one in np.argsort(-(unit @ unit[at]), kind="stable") if one != at]
            hits = sample.group[order[:mates]] == sample.group[at]
            right.append(bool(hits[0]))
            recalls.append(float(hits.mean()))
    return right, recalls


def test_figures_are_those_of_all_scores_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    """For each ridge and length, and for the vectors as they are; a near tie may fall the other way."""
    monkeypatch.setattr("encoders.heads.held_out._QUERIES", 10_000)
    sample, spec, dims = made(), Spec(None), {"image": DIM}
    assert len(sample.rows) > 1000
    parts = [sums_of(sample, 0), sums_of(sample, 1)]
    found = measure(Trials(spec, parts, dims, (0.1, 1.0), WIDTHS, sample))
    assert found.before is not None
    for figure in (found.before, *found.after):
        right, recalls = list[bool](), list[float]()
        for part in (0, 1):
            vectors = sample.rows
            if figure.ridge is not None:
                one = spec.fit(parts[1 - part], dims, figure.ridge)["image"]
                vectors = np.asarray(sample.rows @ one.matrix + one.offset, np.float32)[:, : figure.dim]
            more = plainly(sample, vectors, part)
            right += more[0]
            recalls += more[1]
        assert figure.precision_at_1 == pytest.approx(np.mean(right), abs=0.0015)
        assert figure.recall == pytest.approx(np.mean(recalls), abs=0.0015)
    assert [(one.ridge, one.dim) for one in found.after] == [(ridge, dim) for ridge in (0.1, 1.0) for dim in WIDTHS]
    assert max(one.recall for one in found.after) > found.before.recall
