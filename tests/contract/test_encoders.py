"""Every encoder, found by walking the folder, keeps what `encoders/base.py` promises."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any, get_args

import numpy as np
import pytest
import yaml
from pydantic import ValidationError

from encoders.base import (
    Encoder,
    EncoderSpec,
    ImageEncoder,
    Modality,
    Role,
    RowText,
    TextEncoder,
    TwoTowers,
    encoder_class,
    encoder_spec,
    encoder_types,
    load,
    load_image,
    load_text,
)
from encoders.fusion.base import fusion_types
from encoders.photos import pixels as photo_pixels
from foundation.errors import InputError
from tests.support.examples import encoder_examples
from tests.support.places import ROOT
from tests.support.tiny_models import tiny_model

EXAMPLES = encoder_examples()
CASES = [(at, modality) for at, spec in enumerate(EXAMPLES) for modality in sorted(spec.modalities)]
NAMES = [f"{EXAMPLES[at].type}-{at}-{modality}" for at, modality in CASES]
TITLES = [
    "Red striped dress",
    "红色条纹连衣裙",
    "x",
    "!?",
    "T恤 女装 2024",
    "Ünïcödé straße",
    "👗",
    "a b c d e",
    "Leather boots " * 30,
]
TOLERANCE = 1e-6  # of one coordinate, between batch sizes


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], EncoderSpec]:
    """One of `EXAMPLES` by its place, with its model."""
    root = tmp_path_factory.mktemp("tiny")
    tiny = cache(lambda family: str(tiny_model(root / family, family)))

    def made(at: int) -> EncoderSpec:
        others = [one.type for one in EXAMPLES[:at]].count(EXAMPLES[at].type)
        return type(EXAMPLES[at]).examples(tiny)[others]

    return cache(made)


@pytest.fixture(params=CASES, ids=NAMES)
def case(request: pytest.FixtureRequest, example: Callable[[int], EncoderSpec]) -> tuple[EncoderSpec, Modality]:
    """A spec of each type, and what is encoded with it."""
    at, modality = request.param
    return example(at), modality


@pytest.fixture
def spec(case: tuple[EncoderSpec, Modality]) -> EncoderSpec:
    """A spec of each type."""
    return case[0]


@pytest.fixture
def modality(case: tuple[EncoderSpec, Modality]) -> Modality:
    """What is encoded with it."""
    return case[1]


def inputs(modality: Modality, n: int = 24) -> list[Any]:
    """n titles or photos of many kinds: equal ones, flat ones, one pixel, long and wide ones."""
    if modality == "text":
        return [TITLES[i % len(TITLES)] + " again" * (i // len(TITLES)) for i in range(n)]
    rng = np.random.default_rng(7)
    shapes = [(1, 1), (40, 60), (64, 64), (1, 500), (300, 3), (90, 120)]
    photos = [rng.integers(0, 256, (*shapes[i % len(shapes)], 3), dtype=np.uint8) for i in range(n - 3)]
    return [*photos, *(np.full((20, 30, 3), shade, np.uint8) for shade in (0, 128, 255))]


def tower(encoder: Encoder, modality: Modality) -> TextEncoder | ImageEncoder:
    """The part of a live encoder that encodes `modality`."""
    if isinstance(encoder, TwoTowers):
        encoder = encoder.text if modality == "text" else encoder.image
    assert isinstance(encoder, TextEncoder if modality == "text" else ImageEncoder)
    return encoder


def tolerance(spec: EncoderSpec) -> float:
    """How far a coordinate may be off elsewhere: networks add up in another order."""
    return TOLERANCE if spec.network else 0


def encode(
    spec: EncoderSpec, modality: Modality, rows: list[Any], micro_batch: int | None = None, role: Role = "item"
) -> np.ndarray[Any, Any]:
    """A fresh encoder's vectors."""
    encoder = tower(spec.load("cpu"), modality)
    encoder.micro_batch = micro_batch or encoder.micro_batch
    return encoder.encode(rows, role) if isinstance(encoder, TextEncoder) else encoder.encode(rows)


def write_vectors(asked: list[tuple[dict[str, Any], Modality]], folder: str) -> str:
    """What another process computes from the same fields, in <place>.npy; the identities, a word each."""
    specs = [(encoder_spec(fields), modality) for fields, modality in asked]
    for place, (spec, modality) in enumerate(specs):
        np.save(f"{folder}/{place}.npy", encode(spec, modality, inputs(modality)))
    return " ".join(spec.identity for spec, _ in specs)


@pytest.fixture(scope="module")
def elsewhere(
    example: Callable[[int], EncoderSpec], tmp_path_factory: pytest.TempPathFactory
) -> dict[tuple[str, Modality], np.ndarray]:
    """By identity and modality, the vectors of all cases in one process of two threads and another hash seed: it takes
    longer to load the networks' libraries than to encode.
    """
    folder = tmp_path_factory.mktemp("elsewhere")
    asked = [(example(at).model_dump(mode="json"), modality) for at, modality in CASES]
    call = f"write_vectors({asked!r}, {str(folder)!r})"
    ran = subprocess.run(
        [sys.executable, "-c", f"from tests.contract.test_encoders import write_vectors; print({call})"],
        env={"PYTHONHASHSEED": "123", "OMP_NUM_THREADS": "2"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    identities = ran.stdout.splitlines()[-1].split()
    return {
        (identity, modality): np.load(folder / f"{place}.npy")
        for place, (identity, (_, modality)) in enumerate(zip(identities, CASES, strict=True))
    }


def test_the_walk_finds_the_encoders() -> None:
    """Some of either modality are found, of every type but that of an extra which is not installed."""
    without = {name for name in encoder_types() if encoder_class(name).package is not None}
    assert {"dual", "hashed_text", "hf_text", "photo_descriptors", "timm_image"} <= {one.type for one in EXAMPLES}
    assert set(encoder_types()) - {one.type for one in EXAMPLES} <= without


def test_every_type_in_the_folder_defines_a_spec() -> None:
    """Each module that the walk finds has a Spec whose `type` is the module's name."""
    for name in encoder_types():
        assert encoder_class(name).model_fields["type"].default == name


def test_vectors_are_float32_unit_rows_of_the_stated_length(spec: EncoderSpec, modality: Modality) -> None:
    """Shape, dtype and length are as promised, also for no rows and for the oddest ones."""
    rows = inputs(modality)
    vectors = encode(spec, modality, rows)
    assert vectors.shape == (len(rows), spec.dim)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert encode(spec, modality, []).shape == (0, spec.dim)
    assert len({row.tobytes() for row in vectors}) > len(rows) // 2


@pytest.mark.parametrize("micro_batch", [1, 2, 7, 24])
def test_a_row_does_not_depend_on_its_batch(spec: EncoderSpec, modality: Modality, micro_batch: int) -> None:
    """Any micro-batch size, and any order of the rows, gives the same vectors."""
    rows = inputs(modality)
    whole = encode(spec, modality, rows)
    np.testing.assert_allclose(encode(spec, modality, rows, micro_batch), whole, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(encode(spec, modality, rows[::-1], micro_batch)[::-1], whole, atol=TOLERANCE, rtol=0)


def test_another_process_computes_the_same(
    spec: EncoderSpec, modality: Modality, elsewhere: dict[tuple[str, Modality], np.ndarray]
) -> None:
    """A spawned process with another hash seed and two threads gives an equal identity; weightless, equal bytes."""
    vectors = elsewhere[spec.identity, modality]
    np.testing.assert_allclose(vectors, encode(spec, modality, inputs(modality)), atol=tolerance(spec), rtol=0)


def test_threads_share_one_encoder(spec: EncoderSpec, modality: Modality) -> None:
    """`load` gives one object to all threads of a process, and they get what one thread gets."""
    rows = inputs(modality)
    encoder: Any = load(spec, "cpu")
    assert load(encoder_spec(spec.model_dump()), "cpu") is encoder
    assert tower(encoder, modality) is (load_text if modality == "text" else load_image)(spec, "cpu")
    whole = tower(encoder, modality).encode(rows)
    with ThreadPoolExecutor(4) as pool:
        for vectors in pool.map(tower(encoder, modality).encode, [rows] * 12):
            np.testing.assert_allclose(vectors, whole, atol=tolerance(spec), rtol=0)


def test_a_tower_that_is_not_there_is_an_error(spec: EncoderSpec) -> None:
    """Asking a text encoder for photos, or the reverse, names the type; an encoder of both has both."""
    for wanted, loading in (("text", load_text), ("image", load_image)):
        if wanted in spec.modalities:
            assert loading(spec, "cpu").dim == spec.dim
        else:
            with pytest.raises(InputError, match=spec.type):
                loading(spec, "cpu")


@pytest.mark.parametrize("device", ["cuda", "cuda:7"])
@pytest.mark.parametrize("name", [name for name in encoder_types() if not encoder_class(name).network])
def test_only_the_cpu_is_a_device_of_encoders_without_weights(name: str, device: str) -> None:
    """A device that they cannot compute on is refused, not passed over."""
    with pytest.raises(InputError, match=rf"runs on the CPU\ncame: {device}\nto do: set encoders.device=cpu"):
        load(encoder_class(name).examples(str)[0], device)


def test_a_spec_survives_pickling_and_yaml(spec: EncoderSpec) -> None:
    """Workers and configs get the spec that was sent."""
    assert pickle.loads(pickle.dumps(spec)) == spec  # noqa: S301 - our own bytes, as the runner sends them to workers
    back = encoder_spec(yaml.safe_load(yaml.safe_dump(spec.model_dump(mode="json"))))
    assert back == spec
    assert back.identity == spec.identity


def another(spec: EncoderSpec, name: str, value: Any) -> Any:
    """Another value of a field: the next of its choices, or a little more."""
    choices = get_args(type(spec).model_fields[name].annotation)
    if name == "fields":  # of towers that are joined: columns, or none
        return [*reversed(value)] or ["title"] * len(spec.joined)
    if isinstance(value, tuple):
        return [*value[:-1], {**value[-1], "seed": 5}] if spec.text_fields else [*value, value[0]]
    if choices:
        return choices[choices.index(value) - 1]
    return f"{value}query: " if isinstance(value, str) else value + (0.125 if isinstance(value, float) else 8)


def test_every_field_is_part_of_the_identity(spec: EncoderSpec, modality: Modality) -> None:
    """Changing any field but a place changes identity and, as the fields are there for that, the vectors."""
    rows = inputs(modality)
    roles: tuple[Role, ...] = ("item", "query") if modality == "text" else ("item",)

    def vectors(spec: EncoderSpec) -> list[Any]:
        found = [encode(spec, modality, rows, role=role) for role in roles]
        encoder = tower(spec.load("cpu"), modality)
        if isinstance(encoder, TextEncoder):  # products, whose title is not all that they say
            found.append(encoder.encode_rows([RowText(f"{row} it", {"title": row}) for row in rows]))
        return found

    before = vectors(spec)
    for name, value in spec.model_dump().items():
        if name != "type" and name not in spec.places:
            other = encoder_spec({**spec.model_dump(), name: another(spec, name, value)})
            assert other.identity != spec.identity, name
            after = vectors(other)
            assert not all(np.array_equal(*pair) for pair in zip(before, after, strict=True)), name


def test_the_decoder_is_part_of_a_photo_encoder_s_identity(spec: EncoderSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Pillow of other pixels is another identity, one of the same pixels is not; texts have no pixels."""
    before, whole = spec.identity, photo_pixels.pixels_of
    monkeypatch.setattr("PIL.__version__", "99.0")
    assert spec.identity == before
    monkeypatch.setattr(photo_pixels, "pixels_of", lambda *given: 255 - whole(*given))
    assert (spec.identity != before) == ("image" in spec.modalities)


def test_unknown_fields_and_types_are_refused(spec: EncoderSpec) -> None:
    """A misspelt key, a frozen field, and a type that is no module are errors."""
    with pytest.raises(ValidationError, match="dims"):
        encoder_spec({**spec.model_dump(), "dims": 3})
    with pytest.raises(ValidationError):
        spec.type = "other"
    with pytest.raises(InputError, match="hashed_txt"):
        encoder_spec({"type": "hashed_txt"})


def test_loading_imports_no_torch() -> None:
    """Specs of all types, text cleaning and photo decoding need no network library."""
    names = ", ".join(
        f"encoders.{name}"
        for name in (
            *(f"types.{kind}" for kind in encoder_types()),
            "text",
            "photos.decode",
            *(f"fusion.{kind}" for kind in fusion_types()),
        )
    )
    code = f"import sys, {names}; sys.exit('torch' in sys.modules or 'ftfy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_an_empty_text_is_refused() -> None:
    """An absent text is the caller's to mask."""
    with pytest.raises(ValueError, match="empty"):
        encode(encoder_spec({"type": "hashed_text"}), "text", ["a", ""])


RANKED = [
    ("red dress", "Red striped dress", "Blue dress"),
    ("blue shirt", "Blue cotton shirt for men", "Red shirt"),
    ("leather boots", "Brown leather ankle boots", "Leather belt"),
    ("green bag", "Green canvas tote bag", "Black bag"),
    ("white sneakers", "White running sneakers", "White socks"),
    ("red drees", "Red striped dress", "Blue trousers"),
    ("红色连衣裙", "红色条纹连衣裙", "蓝色连衣裙"),
    ("蓝色衬衫", "蓝色纯棉衬衫", "红色衬衫"),
    ("真皮靴子", "棕色真皮短靴子", "真皮腰带"),
    ("白色运动鞋", "白色跑步运动鞋", "白色袜子"),
    ("羊毛围巾", "灰色羊毛围巾", "丝绸围巾"),
    ("黄色帽子", "黄色草编帽子", "黄色杯子"),
]


@pytest.mark.parametrize("script", [RANKED[:6], RANKED[6:]], ids=["english", "chinese"])
def test_more_shared_words_rank_higher(script: list[tuple[str, str, str]]) -> None:
    """Over ten seeds, more than five of six queries rank what has all their words above what has some."""
    right = []
    for seed in range(10):
        for triple in script:
            query, better, worse = encode(encoder_spec({"type": "hashed_text", "seed": seed}), "text", list(triple))
            right.append(query @ better > query @ worse)
    assert np.mean(right) > 5 / 6


def test_hashed_similarity_is_that_of_the_counted_grams() -> None:
    """With many buckets, cosines equal those of n-gram counts made by plain Python (hashing keeps inner products)."""

    def counts(text: str) -> dict[Any, float]:
        grams: dict[Any, float] = {}
        for word in text.lower().split():
            marked = f" {word} "
            features = [(marked[i : i + n], 1.0) for n in (3, 4, 5) for i in range(len(marked) - n + 1)]
            if "\u4e00" <= word[0] <= "\u9fff":
                features = [(c, 1.0) for c in word] + [(a + b, 0.4) for a, b in pairwise(word)]
            else:
                features.append(((word,), 2.0))
            for gram, weight in features:
                grams[gram] = grams.get(gram, 0) + weight
        return grams

    texts = ["Red striped dress", "red dresses", "Blue dress a", "红色条纹连衣裙", "red 蓝色连衣裙"]
    plain = [counts(text) for text in texts]
    norms = [sum(v * v for v in p.values()) ** 0.5 for p in plain]
    expected = [
        [sum(v * b.get(g, 0) for g, v in a.items()) / m / n for b, n in zip(plain, norms, strict=True)]
        for a, m in zip(plain, norms, strict=True)
    ]
    vectors = encode(encoder_spec({"type": "hashed_text", "dim": 8192}), "text", texts)
    np.testing.assert_allclose(vectors @ vectors.T, expected, atol=0.04)


def test_features_that_cancel_leave_a_unit_vector() -> None:
    """A text whose two features fall into one bucket with opposite signs gets the bucket of its own hash."""
    spec = encoder_spec({"type": "hashed_text", "dim": 8, "pair_weight": 0})
    pairs = [chr(0x4E00 + i) + chr(0x4E80 + i) for i in range(120)]
    singles = encode(spec, "text", [c for pair in pairs for c in pair]).reshape(120, 2, 8)
    cancelling = [pair for pair, (a, b) in zip(pairs, singles, strict=True) if not np.any(a + b)]
    assert cancelling
    vectors = encode(spec, "text", cancelling)
    np.testing.assert_array_equal(np.sort(vectors, axis=1)[:, -2:], np.tile([0, 1], (len(cancelling), 1)))


def _solid(rgb: tuple[int, int, int], patch: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    photo = np.full((80, 100, 3), rgb, np.uint8)
    photo[20:60, 30:70] = patch
    return photo


def test_photos_are_near_by_colour_and_shape() -> None:
    """A resized, brightened copy is nearer than another colour; a shifted pattern is nearer than another pattern."""
    spec = encoder_spec({"type": "photo_descriptors"})
    red, dark_red, blue = (
        _solid((240, 240, 240), (200, 30, 30)),
        _solid((230, 230, 230), (185, 35, 35)),
        _solid((240, 240, 240), (30, 30, 200)),
    )
    vectors = encode(spec, "image", [red, np.repeat(np.repeat(dark_red, 2, 0), 2, 1), blue])
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.1
    stripes = np.tile(np.where(np.arange(96) // 8 % 2, 255, 0).astype(np.uint8)[:, None, None], (1, 96, 3))
    edges = encoder_spec({"type": "photo_descriptors", "colour_weight": 0, "region_weight": 0, "layout_weight": 0})
    level, shifted, upright = encode(edges, "image", [stripes, np.roll(stripes, 3, 0), stripes.swapaxes(0, 1)])
    assert level @ shifted > level @ upright + 0.3


def test_lab_of_known_colours() -> None:
    """CIELAB of sRGB white, black, red, green and blue, as published (Lindbloom, D65, two decimals)."""
    from encoders.types.photo_descriptors import lab_of

    rgb = np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    published = [[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86]]
    np.testing.assert_allclose(lab_of(rgb), published, atol=0.02)


def test_projection_keeps_inner_products() -> None:
    """Two projections of the same photos agree on their similarities: the random directions do not decide."""
    rows = inputs("image")
    wide, other = (
        encode(encoder_spec({"type": "photo_descriptors", "dim": 4096, "seed": seed}), "image", rows) for seed in (1, 2)
    )
    assert np.abs(wide @ wide.T - other @ other.T).max() < 0.12
