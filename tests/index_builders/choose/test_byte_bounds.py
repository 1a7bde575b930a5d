"""Bounds on bytes: what is chosen within them, what is left out because of them, and what a refusal says to move."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from foundation.errors import GateError
from index_builders.choose import choice as choose
from lookup.store.entries.index_record import Considered
from tests.support.partitions import AUTO, built, clustered, within

pytestmark = pytest.mark.usefixtures("one_faiss_thread")


def refined_type(one: Considered) -> tuple[str, str]:
    """Type and refine stage of what was considered."""
    return one.type, one.parameters.get("refine", "none")


def few_directions(n: int) -> np.ndarray:
    """(n, 64) float32 rows that vary in 16 directions, far from the origin."""
    rng = np.random.default_rng(5)
    axes = np.linalg.qr(rng.standard_normal((64, 17)))[0]
    rows = 3 * axes[:, :1].T + rng.standard_normal((n, 16)) @ axes[:, 1:].T + 0.02 * rng.standard_normal((n, 64))
    return rows.astype(np.float16).astype(np.float32)


def test_a_bound_on_memory_moves_vectors_to_disk(tmp_path: Path) -> None:
    """With few bytes a vector, codes find candidates and refine vectors on disk find the answer, within the bound."""
    free, _ = built(tmp_path / "free", clustered(2000, dim=32), AUTO)
    assert free.proof.memory_bytes > 36
    bound, index = built(tmp_path / "bound", clustered(2000, dim=32), within(max_bytes_per_vector=36))
    assert bound.recall >= 0.95
    assert bound.proof.memory_bytes <= 36
    file = (tmp_path / "bound" / "out" / "index.faiss").stat().st_size
    assert bound.proof.memory_bytes == file / 2000
    assert bound.refine_factor >= 1
    assert index.refine is not None
    assert "refine" in bound.files


def test_what_a_bound_excludes_is_built_only_to_say_how_far_it_must_move(tmp_path: Path) -> None:
    """Candidates that are larger by their type are not built, unless all others fall short: then the error has all."""
    bound = {"max_bytes_per_vector": 24, "max_disk_bytes_per_vector": 45}
    result, _ = built(tmp_path / "met", clustered(3000), within(**bound))
    assert {refined_type(one) for one in result.considered} == {("ivf_pq", "sq8"), ("ivf_rabitq", "sq8")}
    with pytest.raises(GateError) as refused:
        built(tmp_path / "missed", clustered(3000), within(target_recall=1, **bound))
    assert refused.value.came.count(": recall") == 8
    assert re.search(r"raise index\.max_disk_bytes_per_vector to \d+ ", refused.value.fix)


def test_few_directions_are_coded_where_rows_have_few(tmp_path: Path) -> None:
    """Rows that vary in a quarter of their dimensions, far from the origin, are coded by principal components."""
    result, index = built(tmp_path, few_directions(3000), within(max_bytes_per_vector=48, target_recall=0.99))
    assert (result.type, result.parameters["pca"], result.parameters["m"]) == ("ivf_pq", 24, 24)
    assert (index.dim, index.ivf.d) == (64, 24)
    assert result.recall >= 0.99


@pytest.mark.parametrize("rows", [10_500, 40_000, 1_000_000])
@pytest.mark.parametrize("dim", [128, 256, 768])
@pytest.mark.parametrize("bound", [48, 64, 96])
def test_components_fit_the_bound_on_bytes(rows: int, dim: int, bound: int) -> None:
    """Whatever the rows and their length, codes of principal components come within the bound, and not far below."""
    specs = within(max_bytes_per_vector=bound, max_train_rows=10**6).candidates(rows, dim)
    found = [spec for spec in specs if spec.model_dump().get("pca") and spec.refined[0] == "sq8"]
    [one] = found
    each, pca = one.vector_bytes(dim) + one.shared_bytes(dim) / rows, one.model_dump()["pca"]
    assert each <= bound or pca == 16  # the fewest: what they take is what the bound must move to
    assert each >= 0.8 * bound or pca == 3 * dim // 8


def test_components_fit_the_bound_with_refine_vectors() -> None:
    """The bound on all bytes leaves room for fewer components, where it is the tighter one."""
    loose, tight = (
        within(max_disk_bytes_per_vector=most).candidates(1_000_000, 256)[3].model_dump()["pca"] for most in (400, 300)
    )
    assert (loose, tight) == (96, 56)


def test_a_sample_is_weighed_with_the_components_of_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer rows share the centroids among fewer: with their own bound they would be given fewer components."""
    monkeypatch.setattr(choose, "CHOOSE_ROWS", 1000)
    settings = within(max_bytes_per_vector=30)
    components = [
        {spec.model_dump().get("pca") for spec in settings.candidates(rows, 64, of)} - {None}
        for rows, of in ((4000, None), (1000, 4000), (1000, None))
    ]
    assert components[0] == components[1] != components[2]
    result, _ = built(tmp_path, few_directions(4000), settings)
    weighed = {(one.rows, one.parameters.get("pca")) for one in result.considered if one.type == "ivf_pq"}
    assert {(1000, *components[0]), (4000, *components[0])} <= weighed
    assert result.parameters["pca"] == next(iter(components[0]))


def test_bounds_on_bytes_are_not_held_against_a_sample(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bound that the index of all rows meets and that of the sample exceeds refuses nothing."""
    monkeypatch.setattr(choose, "CHOOSE_ROWS", 1000)
    made, sizes = choose.trial, dict[int, float]()

    def watched(*given: object) -> choose.Trial:
        one = made(*given)  # type: ignore[arg-type]  # handed on as they came
        if one.spec.type == "ivf_pq":
            sizes[one.promised.rows] = one.memory_bytes
        return one

    monkeypatch.setattr(choose, "trial", watched)
    result, _ = built(tmp_path, clustered(4000, dim=32), within(max_bytes_per_vector=19))
    assert result.type == "ivf_pq"
    assert sizes[4000] == result.proof.memory_bytes <= 19 < sizes[1000]


def test_bounds_that_nothing_meets_are_named_with_what_would_do(tmp_path: Path) -> None:
    """Exit code 3; moving the named bound to the named value is enough, and a little less is not."""
    xb = clustered(2000, dim=32)
    bounds = {"target_recall": 0.9995, "max_bytes_per_vector": 60, "max_disk_bytes_per_vector": 60}
    with pytest.raises(GateError, match=r"in at most 60 bytes a vector") as refused:
        built(tmp_path / "a", xb, within(**bounds))
    assert refused.value.exit_code == 3
    moved = {name: float(to) for name, to in re.findall(r"index\.(\w+) to ([\d.]+)", refused.value.fix)}
    recall = moved.pop("target_recall")
    assert 0.9 < recall < 0.9995
    assert built(tmp_path / "b", xb, within(**{**bounds, "target_recall": recall}))[0].recall >= recall
    assert moved
    assert built(tmp_path / "c", xb, within(**{**bounds, **moved}))[0].recall >= 0.9995
    with pytest.raises(GateError):
        built(tmp_path / "d", xb, within(**{**bounds, **{name: to - 1 for name, to in moved.items()}}))


def test_advice_of_a_sample_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refusal that no index of all rows stands behind names the sample's size."""
    monkeypatch.setattr(choose, "CHOOSE_ROWS", 1000)
    with pytest.raises(GateError, match=r"a sample of 1,000 rows; all rows will give less"):
        built(tmp_path, clustered(2000), within(max_bytes_per_vector=2))


def test_a_bound_that_is_too_low_moves_to_the_fewest_components(tmp_path: Path) -> None:
    """The smallest that reaches the target is named, though no number of components fits; moved so far, it is built."""
    with pytest.raises(GateError) as refused:
        built(tmp_path / "low", few_directions(3000), within(max_bytes_per_vector=12))
    moved = re.search(r"raise index\.max_bytes_per_vector to (\d+) \(ivf_pq, fast scan, pca 16", refused.value.fix)
    assert moved is not None
    assert (
        built(tmp_path / "moved", few_directions(3000), within(max_bytes_per_vector=float(moved[1])))[0].type
        == "ivf_pq"
    )


def test_no_candidate_is_weighed_twice() -> None:
    """Also where half of the dimensions is what the rule gives in any case."""
    specs = within().candidates(20_000, 136)
    assert len(set(specs)) == len(specs) == 9
