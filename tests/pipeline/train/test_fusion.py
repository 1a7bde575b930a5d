"""`vitrine train fusion`, and what it makes of runs and searches: with the model that ships, on the demo catalog."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from foundation.errors import InputError
from pipeline.config.load import load_config
from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from pipeline.train.fusion import train_fusion_on_catalog
from tests.support.command import overrides, told, vitrine
from tests.support.examples import learned_types
from tests.support.stores import digests, manifest_of
from tests.support.tiny_models import clip
from tests.support.trainings import CONFIG, QUICK_FUSION, WEIGHTLESS

pytestmark = pytest.mark.usefixtures("one_thread")

BUILTIN = tuple(f"encoders.{side}={{type: dual, model: builtin}}" for side in ("text", "image"))
each_type = pytest.mark.parametrize("kind", learned_types())


@pytest.fixture(scope="module")
def fusions(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A folder of each learned fusion, trained by the command. Tests must not change them."""
    root, found = tmp_path_factory.mktemp("fusions"), {}
    for kind in learned_types():
        words = ("train", "fusion", "-c", CONFIG, "--out", root / kind, "--json")
        done = vitrine(*words, *overrides(demo, root / "store", f"fusion.type={kind}", *BUILTIN, *QUICK_FUSION))
        assert done.exit_code == 0, done.stderr
        made = json.loads(done.stdout)
        assert made["products"] + made["held_out"] == 120
        assert made["left_out"] == {}
        assert 0 <= made["recall"] <= 1
        assert max(made["scales"].values()) == 1
        again = vitrine(*words, *overrides(demo, root / "store", f"fusion.type={kind}", *BUILTIN, *QUICK_FUSION))
        assert json.loads(again.stdout) == made
        found[kind] = root / kind
    return found


def run(demo: Path, store: Path, kind: str, model: Path, *more: str) -> list[object]:
    """The words of a run whose fusion is `model`, with the encoders that ship unless `more` names others."""
    fusion = (f"fusion.type={kind}", f"fusion.model={model}")
    return ["run", "-c", CONFIG, "--json", *overrides(demo, store, *BUILTIN, *fusion, *more)]


@each_type
def test_a_trained_fusion_indexes_and_answers(demo: Path, fusions: dict[str, Path], kind: str, tmp_path: Path) -> None:
    """Text, photo and both find products, each product finds itself, and a second run encodes nothing."""
    store = tmp_path / "store"
    done = vitrine(*run(demo, store, kind, fusions[kind]))
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["rows_embedded"] == 120
    said = {gate["name"]: gate["advice"] for gate in json.loads(done.stdout)["gates"] if "missing" in gate["name"]}
    assert set(said) == {"missing_photo_shift", "missing_text_shift"}
    measured = {one.kind for one in manifest_of(store).missing or ()}
    assert measured == ({"text"} if kind == "cross_attention" else {"text", "photo"})  # shards hold no states of photos
    assert ("not measured" in said["missing_text_shift"]) == (kind == "cross_attention")
    assert "not measured" not in said["missing_photo_shift"]
    before = digests(store)
    again = json.loads(vitrine(*run(demo, store, kind, fusions[kind])).stdout)
    assert (again["status"], again["units_reused"]) == ("unchanged", again["units"])
    assert digests(store) == before
    moved = tmp_path / "moved"
    shutil.copytree(fusions[kind], moved)
    other = json.loads(vitrine(*run(demo, store, kind, moved)).stdout)
    assert other["units_reused"] == other["units"]  # the same fusion in another folder
    for entry in manifest_of(store).shards.entries:
        assert entry.file is not None
        vectors = np.stack(pq.read_table(store / entry.file.path).column("embedding").to_numpy())
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-2)
    title = "red dress"
    photo = next((demo / "query-photos").glob("*.jpg"))
    for asked in (["--text", title], ["--image", photo], ["--text", title, "--image", photo]):
        hits = json.loads(vitrine("search", store, "-k", 3, "--json", *asked).stdout)["hits"]
        assert len(hits) == 3
        assert all(-1 <= hit["score"] <= 1 for hit in hits)
    own = pq.read_table(demo / "catalog").slice(0, 1).to_pylist()[0]
    image = demo / own["image_link"]
    asked = ["--text", own["title"], "--image", image, "-k", 1, "--json"]
    assert json.loads(vitrine("search", store, *asked).stdout)["hits"][0]["id"] == own["id"]


@each_type
def test_what_is_not_the_fusion_of_the_snapshot_is_refused(
    demo: Path, fusions: dict[str, Path], kind: str, tmp_path: Path
) -> None:
    """A changed byte, other weights under the old path and other towers end with exit code 2 in three parts."""
    model, store = tmp_path / "fusion", tmp_path / "store"
    shutil.copytree(fusions[kind], model)
    assert vitrine(*run(demo, store, kind, model)).exit_code == 0
    weights = model / "model.safetensors"
    good = weights.read_bytes()
    weights.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    for words in (run(demo, store, kind, model), ["search", store, "--text", "red dress"]):
        done = vitrine(*words)
        assert done.exit_code == 2
        expected, came, _ = told(done.stderr)
        assert str(model) in expected or "model.safetensors" in expected
        assert "changed after training" in came or "model.safetensors" in came
    weights.write_bytes(good)
    assert vitrine("search", store, "--text", "red dress").exit_code == 0
    precise = run(demo, tmp_path / "none", kind, model, "encoders.text.precision=bf16")
    for words in (precise, ["plan", *precise[1:]]):
        done = vitrine(*words)
        assert done.exit_code == 2
        expected, came, _ = told(done.stderr)
        assert expected.endswith("was trained on: precision fp32")
        assert came == "precision bf16"
    assert not list((tmp_path / "none").glob("runs/*/units"))  # told before any work
    towers = (f"encoders.{side}.model={clip(tmp_path / f'clip-{side}')}" for side in ("text", "image"))
    assert "was trained on" in told(vitrine(*run(demo, store, kind, model, *towers)).stderr)[0]


def test_a_fusion_without_its_folder_or_towers_is_told_before_any_work(demo: Path, tmp_path: Path) -> None:
    """No folder, no states, no tower: all problems at once, with the key and the fix; training needs no folder yet."""
    store = tmp_path / "store"
    done = vitrine("run", "-c", CONFIG, *overrides(demo, store, *WEIGHTLESS, "fusion={type: cross_attention}"))
    assert done.exit_code == 2
    assert all(key in done.stderr for key in ("encoders.text.type", "encoders.image.type", "fusion.model"))
    assert "vitrine train fusion" in done.stderr
    assert "dual, hf_text" in done.stderr
    train = ("train", "fusion", "-c", CONFIG, "--out", tmp_path / "out")
    refused = vitrine(*train, *overrides(demo, store, *WEIGHTLESS, "fusion={type: cross_attention}"))
    assert refused.exit_code == 2
    assert "fusion.model" not in refused.stderr
    plain = vitrine(*train, *overrides(demo, store, "fusion.type=concat"))
    assert "transformer or cross_attention" in told(plain.stderr)[0]
    single = ("fusion={type: single, modality: image}", "encoders.image=null", "catalog.image=null")
    assert "encoders.image" in told(vitrine("run", "-c", CONFIG, *overrides(demo, store, *single)).stderr)[1]
    assert not store.exists()
    assert not (tmp_path / "out").exists()


def test_weightless_towers_learn_too(demo: Path, tmp_path: Path) -> None:
    """`transformer` reads vectors only, so encoders without weights will do, of two lengths."""
    out, store = tmp_path / "fusion", tmp_path / "store"
    where = overrides(demo, store, "fusion.type=transformer", "train_fusion.dim=40", *WEIGHTLESS, *QUICK_FUSION)
    done = vitrine("train", "fusion", "-c", CONFIG, "--out", out, *where)
    assert done.exit_code == 0, done.stderr
    assert f"use it as fusion.model={out}" in done.stdout
    assert vitrine(*run(demo, store, "transformer", out, *WEIGHTLESS)).exit_code == 0
    assert manifest_of(store).dim == 48  # 40, one that completes the length, and zeros


def test_too_many_states_say_how_many_fit(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Outputs that exceed the memory set aside end in a message with the number of products that would fit."""
    monkeypatch.setattr("pipeline.train.fusion.MOST_BYTES", 500_000)
    config = load_config(
        CONFIG, overrides(demo, tmp_path / "s", "fusion.type=cross_attention", *BUILTIN), {}, untrained=True
    )
    with pytest.raises(InputError, match=r"of about [0-9]+ products") as caught:
        train_fusion_on_catalog(config.config.settings, config.config.train_fusion, tmp_path / "out")
    fit = int(caught.value.expected.split("about ")[1].split()[0])
    assert 10 < fit < 120


def test_a_dirty_catalog_teaches_what_it_can(dirty: Path, tmp_path: Path) -> None:
    """Rows without a text or a readable photo, and rows that a run rejects, are left out and counted by reason; too few
    that are left are an error.
    """
    words = ("train", "fusion", "-c", CONFIG, "--out", tmp_path / "out", "--json")
    few = vitrine(*words, *overrides(dirty, tmp_path / "s", "fusion.type=transformer", *WEIGHTLESS, *QUICK_FUSION))
    assert few.exit_code == 2
    assert "100 products or more" in told(few.stderr)[0]
    larger = tmp_path / "dirty"
    write_demo_catalog(larger, DemoOptions(products=130, row_group_rows=60, dirty=True))
    done = vitrine(*words, *overrides(larger, tmp_path / "s", "fusion.type=transformer", *WEIGHTLESS, *QUICK_FUSION))
    assert done.exit_code == 0, done.stderr
    made = json.loads(done.stdout)
    rows = pq.read_table(larger / "catalog").num_rows
    assert made["products"] + made["held_out"] + sum(made["left_out"].values()) == rows
    assert {"duplicate_id", "image_undecodable", "no_photo"} <= made["left_out"].keys()


def test_single_and_sum_run_and_answer(demo: Path, tmp_path: Path) -> None:
    """`sum` and a shared `single` answer texts by photos; an unshared one refuses the other modality. Each is fused of
    the vectors that the one before it left.
    """
    store, few, photo = tmp_path / "store", tmp_path / "few.parquet", next((demo / "query-photos").glob("*.jpg"))
    pq.write_table(pq.read_table(demo / "catalog").slice(0, 24), few)
    words = (
        "run",
        "-c",
        CONFIG,
        *overrides(demo, store, f"catalog.path={few}", f"catalog.image_root={demo}", *BUILTIN),
    )
    for fusion in ("{type: sum}", "{type: single, modality: image, shared: true}"):
        assert vitrine(*words, f"fusion={fusion}").exit_code == 0
        for asked in (["--text", "red dress"], ["--image", photo], ["--text", "red dress", "--image", photo]):
            assert vitrine("search", store, *asked).exit_code == 0
    assert vitrine(*words, "fusion={type: single}").exit_code == 0
    assert vitrine("search", store, "--text", "red dress").exit_code == 0
    refused = vitrine("search", store, "--image", photo)
    assert refused.exit_code == 2
    assert "fusion.type=single" in told(refused.stderr)[0]


def test_rows_and_photos_say_which_training_it_is(demo: Path, tmp_path: Path) -> None:
    """The same bytes written again are the same training; a photo replaced under its path, or a text, is another."""
    copy, out = tmp_path / "demo", tmp_path / "out"
    shutil.copytree(demo, copy)
    short = ("fusion.type=transformer", *WEIGHTLESS, *QUICK_FUSION, "train_fusion.epochs=1")
    words = ("train", "fusion", "-c", CONFIG, "--out", out, "--json", *overrides(copy, tmp_path / "s", *short))
    made = vitrine(*words)
    assert made.exit_code == 0, made.stderr
    file = next((copy / "catalog").rglob("*.parquet"))
    raw = file.read_bytes()
    file.unlink()
    file.write_bytes(raw)
    assert json.loads(vitrine(*words).stdout)["seconds"] == json.loads(made.stdout)["seconds"]
    rows = pq.read_table(file)
    photo = copy / rows.column("image_link")[0].as_py()
    before, other = photo.stat(), copy / rows.column("image_link")[1].as_py()
    kept = photo.read_bytes()
    shutil.copyfile(other, photo)
    assert "another training" in told(vitrine(*words).stderr)[1]
    photo.write_bytes(kept)
    os.utime(photo, ns=(before.st_atime_ns, before.st_mtime_ns))
    pq.write_table(rows, file, row_group_size=50)
    assert vitrine(*words).exit_code == 0
    titles = rows.column("title").to_pylist()
    place = rows.schema.get_field_index("title")
    pq.write_table(rows.set_column(place, rows.schema.field(place), [[*titles[:-1], "another"]]), file)
    assert "another training" in told(vitrine(*words).stderr)[1]
