"""Every fusion, found by walking the folder, ranks as it says it does, with and without a missing modality."""

from __future__ import annotations

import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pytest
import yaml
from pydantic import ValidationError

from encoders.fusion.base import Fusion, FusionSpec, fusion_spec, fusion_types
from encoders.fusion.missing import Missing, Sample, measured_missing
from foundation.errors import InputError
from foundation.identity import identity_of
from tests.support.examples import fusion_examples
from tests.support.places import ROOT
from tests.support.tiny_fusions import lessons_of, loaded, random_fusion, trained
from tests.support.two_towers import DIM, Floats, towers, unit

EXAMPLES = fusion_examples(DIM)
CASES = [f"{spec.type}-{at}" for at, spec in enumerate(EXAMPLES)]
MISSING = Missing.example(DIM).model_dump()


def other_value(spec: FusionSpec, name: str, value: Any) -> Any:
    """Another value of a spec's field: the next of its choices, or a little more."""
    choices = get_args(type(spec).model_fields[name].annotation)
    if isinstance(value, dict):
        return {**value, "text_only": {**value["text_only"], "slope": 0.5}}
    if isinstance(value, bool):
        return not value
    return choices[choices.index(value) - 1] if value in choices else value + 0.125


@pytest.fixture(scope="module")
def examples(tmp_path_factory: pytest.TempPathFactory) -> list[FusionSpec]:
    """The specs of `EXAMPLES`, with drawn weights of those that are learned."""
    root = tmp_path_factory.mktemp("fusions")
    return fusion_examples(DIM, cache(lambda kind: str(random_fusion(root / kind, kind, DIM))))


@pytest.fixture(params=range(len(EXAMPLES)), ids=CASES)
def spec(request: pytest.FixtureRequest, examples: list[FusionSpec]) -> FusionSpec:
    """A spec of each case."""
    return examples[request.param]


def load(spec: FusionSpec) -> Fusion:
    """The live fusion."""
    return loaded(spec, DIM, DIM)


def asked(fusion: Fusion, text: npt.NDArray[Any], photo: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
    """The vectors of every kind of query that the fusion takes."""
    kinds: list[dict[str, npt.NDArray[Any]]] = [{"text": text}, {"image": photo}, {"text": text, "image": photo}]
    return [fusion.queries(**kind) for kind in kinds if set(kind) <= fusion.uses]


def tolerance(spec: FusionSpec) -> float:
    """How far a row may differ from batch to batch: networks add up in another order."""
    return 1e-6 if spec.learned else 0


def catalog(
    n: int = 500, gap: float | None = 0.0, seed: int = 0
) -> tuple[Floats, Floats, npt.NDArray[np.bool_], npt.NDArray[np.bool_], Floats]:
    """Towers, masks (30% without photo, 5% without text, none without both, absent rows zero) and text queries."""
    text, photo, query = towers(n, gap, seed)
    lot = np.random.default_rng(seed + 1).random(n)
    has_photo, has_text = lot >= 0.3, lot < 0.95
    return text * has_text[:, None], photo * has_photo[:, None], has_text, has_photo, query


def computed(fields: dict[str, Any]) -> tuple[str, list[npt.NDArray[Any]]]:
    """What another process computes: the identity, and items and queries."""
    text, photo, has_text, has_photo, query = catalog(60)
    spec = fusion_spec(fields)
    fusion = load(spec)
    return spec.identity, [fusion.items(text, photo, has_text, has_photo), *asked(fusion, query, query)]


def write_computed(asked: list[dict[str, Any]], folder: str) -> str:
    """Called in another process: <place>.npy of each of `asked`; their identities, a word each."""
    found = [computed(fields) for fields in asked]
    for place, (_, vectors) in enumerate(found):
        np.save(f"{folder}/{place}.npy", np.vstack(vectors))
    return " ".join(identity for identity, _ in found)


@pytest.fixture(scope="module")
def elsewhere(examples: list[FusionSpec], tmp_path_factory: pytest.TempPathFactory) -> dict[str, npt.NDArray[Any]]:
    """The vectors of all cases in a fresh process, by the identity that it told."""
    folder = tmp_path_factory.mktemp("elsewhere")
    call = f"write_computed({[spec.model_dump(mode='json') for spec in examples]!r}, {str(folder)!r})"
    code = f"from tests.contract.test_fusions import write_computed; print({call})"
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return {identity: np.load(folder / f"{place}.npy") for place, identity in enumerate(ran.stdout.split())}


def test_the_walk_finds_the_fusions() -> None:
    """Each module is tested under its own name, some of them learned, some of both towers and some of one."""
    assert {spec.type for spec in EXAMPLES} == set(fusion_types()) >= {"concat", "single", "sum", "weighted_sum"}
    assert sum(spec.learned for spec in EXAMPLES) >= 2
    assert {len(spec.needs) for spec in EXAMPLES} == {0, 1, 2}


def test_items_are_of_unit_length_where_the_fusion_says_so(spec: FusionSpec) -> None:
    """`unit_items` says whether all items that a run makes are of length 1, whatever they lack."""
    text, photo, has_text, has_photo, _ = catalog()
    fusion = load(spec)
    there = {"text": has_text, "image": has_photo}
    made = np.any([there[modality] for modality in fusion.uses], axis=0)  # a product without any is a reject
    lengths = np.linalg.norm(fusion.items(text, photo, has_text, has_photo)[made].astype(np.float64), axis=1)
    assert spec.unit_items == bool((np.abs(lengths - 1) < 1e-5).all())


def test_both_sides_have_one_shape_and_dtype(spec: FusionSpec) -> None:
    """Items and all three kinds of query are (n, dim) float32, finite, and no longer than scores in -1..1 allow."""
    text, photo, has_text, has_photo, query = catalog()
    fusion = load(spec)
    items = fusion.items(text, photo, has_text, has_photo)
    both = has_text & has_photo
    for vectors in (items, *asked(fusion, query[both], photo[both])):
        assert vectors.shape[1] == fusion.dim
        assert vectors.dtype == np.float32
        assert np.isfinite(vectors).all()
        assert np.abs(vectors @ items.T).max() <= 1 + 1e-5
    np.testing.assert_allclose(np.linalg.norm(items[both], axis=1), 1, atol=1e-5)
    assert fusion.items(text[:0], photo[:0], has_text[:0], has_photo[:0]).shape == (0, fusion.dim)


@pytest.mark.parametrize("gap", [None, 0.0, 1.0])
def test_every_item_finds_itself(spec: FusionSpec, gap: float | None) -> None:
    """By inner product no item is nearer to an item than itself, whatever either lacks."""
    items = load(spec).items(*catalog(gap=gap)[:4]).astype(np.float64)
    scores = items @ items.T
    assert (scores <= np.diag(scores)[:, None] + 1e-6).all()


def test_equal_products_but_for_the_photo_find_themselves(spec: FusionSpec) -> None:
    """The hardest case: the same text with and without photo, and with a photo just like the text."""
    text = unit(np.random.default_rng(0).standard_normal((1, DIM))).repeat(3, axis=0)
    photo = np.vstack([np.zeros((1, DIM)), text[:1], -text[:1]]).astype(np.float32)
    items = load(spec).items(text, photo, np.ones(3, bool), np.array([False, True, True])).astype(np.float64)
    scores = items @ items.T
    assert (scores <= np.diag(scores)[:, None] + 1e-6).all()


def test_a_row_does_not_depend_on_its_batch(spec: FusionSpec) -> None:
    """Rows fused one by one, in threads, are those fused together; the inputs stay as they were."""
    text, photo, has_text, has_photo, query = catalog(60)
    fusion = load(spec)
    before = text.copy()
    whole, queries = fusion.items(text, photo, has_text, has_photo), asked(fusion, query, query)
    with ThreadPoolExecutor(4) as pool:
        rows = [slice(i, i + 1) for i in range(60)]
        single = list(pool.map(lambda r: fusion.items(text[r], photo[r], has_text[r], has_photo[r]), rows))
    np.testing.assert_allclose(np.vstack(single), whole, atol=tolerance(spec), rtol=0)
    one_by_one = [np.vstack(kind) for kind in zip(*(asked(fusion, query[r], query[r]) for r in rows), strict=True)]
    np.testing.assert_allclose(np.vstack(one_by_one), np.vstack(queries), atol=tolerance(spec), rtol=0)
    np.testing.assert_array_equal(text, before)


def test_what_stands_under_a_false_mask_does_not_count(spec: FusionSpec) -> None:
    """Garbage in an absent row, even NaN, leaves no trace."""
    text, photo, has_text, has_photo, _ = catalog(60)
    fusion = load(spec)
    clean = fusion.items(text, photo, has_text, has_photo)
    text[~has_text], photo[~has_photo] = np.nan, 7
    np.testing.assert_array_equal(fusion.items(text, photo, has_text, has_photo), clean)


def test_another_process_computes_the_same(spec: FusionSpec, elsewhere: dict[str, npt.NDArray[Any]]) -> None:
    """A fresh process gives equal vectors and an equal identity."""
    identity, vectors = computed(spec.model_dump(mode="json"))
    np.testing.assert_allclose(elsewhere[identity], np.vstack(vectors), atol=tolerance(spec), rtol=0)


def test_a_spec_survives_pickling_and_yaml_and_shows_every_change(spec: FusionSpec) -> None:
    """What was sent arrives; another value is another identity and other vectors; unknown keys are refused."""
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301 - our own bytes, as the runner sends them to workers
    back = fusion_spec(yaml.safe_load(yaml.safe_dump(spec.model_dump(mode="json"))))
    assert back == spec
    assert back.identity == spec.identity
    rows = catalog(60)[:4]
    for name, value in spec.model_dump().items():
        if name != "type" and name not in spec.places and value is not None:
            other = fusion_spec({**spec.model_dump(), name: other_value(spec, name, value)})
            assert other.identity != spec.identity
            if not (name == "shared" and not value):  # sharing needs what is measured, see below
                assert not np.array_equal(load(other).items(*rows), load(spec).items(*rows))
    with pytest.raises(ValidationError, match="weigth"):
        fusion_spec({"type": spec.type, "weigth": 1})
    with pytest.raises(InputError, match="consat"):
        fusion_spec({"type": "consat"})


def test_a_query_of_nothing_is_refused(spec: FusionSpec) -> None:
    """Neither text nor photo is no query; neither tower is no fusion."""
    with pytest.raises(ValueError, match="None"):
        load(spec).queries()
    with pytest.raises(InputError):
        spec.load(None, None)


def test_an_item_asks_by_its_embedding_as_by_its_text_and_photo(spec: FusionSpec) -> None:
    """Where a fusion says what query an embedding is, it is that of what the item has; else it says None."""
    text, photo, has_text, has_photo, _ = catalog()
    fusion = load(spec)
    items = fusion.items(text, photo, has_text, has_photo)
    asked_by = fusion.queries_of_items(items)
    assert (asked_by is None) == (spec.type in ("sum", "weighted_sum") or getattr(spec, "shared", False))
    if asked_by is not None:
        for there, sides in (
            (has_text & has_photo, (text, photo)),
            (~has_photo, (text, None)),
            (~has_text, (None, photo)),
        ):
            given = {name: side[there] for name, side in zip(("text", "image"), sides, strict=True) if side is not None}
            given = {name: side for name, side in given.items() if name in fusion.uses}
            if given:
                np.testing.assert_allclose(asked_by[there], fusion.queries(**given), atol=1e-5)


def share_without_photo(scores: Floats, has_photo: npt.NDArray[np.bool_]) -> float:
    """The share of products without photo among the top 10 of each query."""
    top = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    return float((~has_photo)[top].mean())


def weight_to_measure(spec: FusionSpec) -> float | None:
    """What the text weighs, where what stands in for a modality is measured; None where nothing is."""
    fields = {**spec.model_dump(), "missing": None}
    return fusion_spec(fields).measure_weight if "missing" in type(spec).model_fields else None


def measured(spec: FusionSpec, known: tuple[Floats, Floats, Floats], shared: bool, folder: Path) -> FusionSpec:
    """`spec` as it is when measured, or trained, on `known` products."""
    weight = weight_to_measure(spec)
    if weight is not None:
        sample = Sample(*known, np.arange(len(known[0])))
        return spec.model_copy(update={"missing": measured_missing(sample, weight, (0.3, 0.3))})
    if spec.learned:
        trained(spec.type, lessons_of(*known), folder, shared=shared)
        return spec.model_copy(update={"model": str(folder)})
    return spec


# Not by photos alone: then a product without one is a reject (test_states.py). Nor by one factor that is set by hand.
HELD = [spec for spec in EXAMPLES if spec.needs != {"image"} and getattr(spec, "alignment", None) is None]
# (spec, gap, dim, products that are ranked). What stands in is measured on as many products as a run draws, 2,048.
EACH = [(spec, gap, 32 if spec.learned else 256, 1000) for spec in HELD for gap in (None, 0.0, 1.0)]
CONCAT, SUM = fusion_spec({"type": "concat"}), fusion_spec({"type": "weighted_sum"})
MORE = [(CONCAT, gap, dim, n) for gap in (None, 0.0, 1.5) for dim in (32, 256) for n in (1000, 10_000)]
MORE += [(SUM, gap, 256, 1000) for gap in (0.5, 1.5)] + [(SUM, gap, 32, 10_000) for gap in (None, 1.5)]


@pytest.mark.parametrize(
    ("spec", "gap", "dim", "n"),
    [
        pytest.param(spec, *others, id="-".join(map(str, (spec.type, place, *others))))
        for place, (spec, *others) in enumerate([*EACH, *MORE])
    ],
)
def test_a_product_without_photo_is_neither_favoured_nor_buried(
    spec: FusionSpec, gap: float | None, dim: int, n: int, tmp_path: Path
) -> None:
    """With 30% of photos missing, their share of text queries' top 10 is within 5 points of the text tower's own; and
    where the rule is measured, so is the share of products without text among photo queries' under the photo tower's.
    """
    # Learned and measured on other products and queries of the same shop than the ones that are ranked.
    stands_in = weight_to_measure(spec) is not None
    first = 2048 if stands_in else 1000
    drawn = towers(first + n, gap, seed=3, dim=dim)
    text, photo, query = (vectors[first:] for vectors in drawn)
    known = drawn[0][:first], drawn[1][:first], drawn[2][:first]
    fusion = loaded(measured(spec, known, gap is not None, tmp_path / "fusion"), dim, dim)
    has, every = np.random.default_rng(4).random(n) >= 0.3, np.ones(n, bool)
    items = fusion.items(text, photo * has[:, None], every, has)
    alone = share_without_photo(query[:200] @ text.T, has)
    fused = share_without_photo(fusion.queries(text=query[:200]) @ items.T, has)
    assert 0.25 < alone < 0.35
    assert abs(fused - alone) < 0.05
    if stands_in:
        asked = known[1][:200]  # photos of products that are not ranked
        items = fusion.items(text * has[:, None], photo, has, every)
        alone = share_without_photo(asked @ photo.T, has)
        fused = share_without_photo(fusion.queries(image=asked) @ items.T, has)
        assert abs(fused - alone) < 0.05


def test_a_sum_that_was_not_measured_refuses_only_what_lacks_something() -> None:
    """Without what stands in for a modality, whole products are items and others an error: nothing is guessed."""
    text, photo, has_text, has_photo, query = catalog()
    fusion = fusion_spec({"type": "weighted_sum"}).load(DIM, DIM)
    whole = has_text & has_photo
    assert fusion.items(text[whole], photo[whole], has_text[whole], has_photo[whole]).shape == (whole.sum(), 40)
    assert fusion.queries(text=query).shape == (500, 40)
    with pytest.raises(ValueError, match="measured"):
        fusion.items(text, photo, has_text, has_photo)
    with pytest.raises(ValidationError, match="either missing or alignment"):
        fusion_spec({"type": "sum", "missing": MISSING, "alignment": 0.5})


def test_what_was_set_by_hand_before_is_what_it_was() -> None:
    """A spec of one factor has the identity that stores name, as computed before there were others."""
    spec = fusion_spec({"type": "weighted_sum", "text_weight": 0.5, "alignment": 0.25})
    expected = identity_of({"fields": {"type": "weighted_sum", "text_weight": 0.5, "alignment": 0.25}, "version": 1})
    assert spec.identity == expected


def test_concat_queries_of_one_modality_rank_as_its_tower() -> None:
    """A text query's score is the text cosine exactly, with or without photo, and 0 without text; photos alike."""
    text, photo, has_text, has_photo, query = catalog()
    for weight in (0.1, 0.5, 0.9):
        fusion = fusion_spec({"type": "concat", "text_weight": weight}).load(DIM, DIM)
        items = fusion.items(text, photo, has_text, has_photo)
        np.testing.assert_allclose(fusion.queries(text=query) @ items.T, query @ text.T, atol=1e-5)
        np.testing.assert_allclose(fusion.queries(image=query) @ items.T, query @ photo.T, atol=1e-5)
        both = weight * query @ text.T + (1 - weight) * query @ photo.T
        np.testing.assert_allclose(fusion.queries(query, query) @ items.T, both, atol=1e-5)


def test_weighted_sum_scores_are_the_weighted_cosines() -> None:
    """Whole products score wt cos(q, t) + wi cos(q, i), others slope times the known cosine and the line of what is
    asked by; a query of both scores as wt times one plus wi times the other, whatever products lack.
    """
    text, photo, has_text, has_photo, query = catalog()
    missing = Missing.model_validate(MISSING)
    fusion = fusion_spec({"type": "weighted_sum", "text_weight": 0.7, "missing": MISSING}).load(DIM, DIM)
    items = fusion.items(text, photo, has_text, has_photo)
    by_text, by_photo = fusion.queries(text=query) @ items.T, fusion.queries(image=photo[:50]) @ items.T
    whole, photo_only = has_text & has_photo, ~has_text
    for scores, asked, side in ((by_text, query, "by_text"), (by_photo, photo[:50], "by_photo")):
        expected = 0.7 * asked @ text.T + 0.3 * asked @ photo.T
        np.testing.assert_allclose(scores[:, whole], expected[:, whole], atol=1e-5)
        for one, lacking, known in ((missing.text_only, ~has_photo, text), (missing.photo_only, photo_only, photo)):
            expected = one.slope * asked @ known.T + getattr(one, side).at(asked)[:, None]
            np.testing.assert_allclose(scores[:, lacking], expected[:, lacking], atol=1e-5)
    both = fusion.queries(query[:50], photo[:50]) @ items.T
    np.testing.assert_allclose(both, 0.7 * by_text[:50] + 0.3 * by_photo, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(items, axis=1), 1, atol=1e-5)
    assert fusion.dim == 40


def test_one_factor_by_hand_is_as_it_was() -> None:
    """With `alignment`, what is known counts for what is not, times the factor, in both directions."""
    text, photo, has_text, has_photo, query = catalog()
    fusion = fusion_spec({"type": "weighted_sum", "text_weight": 0.7, "alignment": 0.4}).load(DIM, DIM)
    scores = fusion.queries(text=query) @ fusion.items(text, photo, has_text, has_photo).T
    np.testing.assert_allclose(scores[:, ~has_photo], ((0.7 + 0.3 * 0.4) * query @ text.T)[:, ~has_photo], atol=1e-5)
    np.testing.assert_allclose(scores[:, ~has_text], ((0.3 + 0.7 * 0.4) * query @ photo.T)[:, ~has_text], atol=1e-5)


def test_concat_of_one_tower_is_that_tower() -> None:
    """With one encoder configured, items and queries are its vectors, and the other kind of query is refused."""
    text, _, query = towers(20, None)
    present, absent, nothing = np.ones(20, bool), np.zeros(20, bool), np.zeros((20, 0), np.float32)
    spec = fusion_spec({"type": "concat", "text_weight": 0.2})
    of_text, of_photo = spec.load(DIM, None), spec.load(None, DIM)
    np.testing.assert_array_equal(of_text.items(text, nothing, present, absent), text)
    np.testing.assert_array_equal(of_photo.items(nothing, text, absent, present), text)
    np.testing.assert_array_equal(of_text.queries(text=query), query)
    np.testing.assert_array_equal(of_photo.queries(image=query), query)
    for fusion, asked in ((of_text, {"image": query}), (of_photo, {"text": query})):
        with pytest.raises(InputError, match="encoder"):
            fusion.queries(**asked)


@pytest.mark.parametrize("dims", [(32, 64), (None, 32), (32, None)])
def test_a_sum_needs_towers_of_one_length(dims: tuple[int | None, int | None]) -> None:
    """Unequal or absent towers are an error that names the fusion that fits them."""
    with pytest.raises(InputError, match="concat"):
        fusion_spec({"type": "weighted_sum"}).load(*dims)
