"""What users have on disk does not change by accident: identities, names, and bytes of two small stores, as recorded.

The figures stand in `golden/`. A change that means to alter them says so in the changelog, since every store is encoded
or built anew by it; then `python -m tests.runs.test_golden` writes them again.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import pytest
from blake3 import blake3

from encoders.base import load_image, load_text
from encoders.photos.decode import PhotoLimits
from encoders.types.hashed_text import Spec as HashedText
from encoders.types.photo_descriptors import Spec as PhotoDescriptors
from index_builders.fill.threads import threads
from lookup.store.store import Store
from pipeline.config.encoding import encoding_identity
from pipeline.config.load import load_config
from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from tests.support.command import overrides, run_titles, vitrine, write_titles
from tests.support.places import ROOT

RECORDED = Path(__file__).parent / "golden" / "stores.json"
PHOTO = ROOT / "encoders" / "photos" / "golden_files" / "rgb.png"
# Bytes tell of photos: what a file system says of them is new with every writing of the catalog.
LOOSE = (
    "gates.max_reject_share=1", "gates.max_degraded_share=1", "gates.max_row_drop=1", "catalog.image_identity=bytes",
    "run.workers=1",
)  # fmt: skip
DRAWN = {
    "demo": DemoOptions(products=120, row_group_rows=30),
    "dirty": DemoOptions(products=60, row_group_rows=25, dirty=True),
}
WORDS = ("red dress", "blue shoe", "green lamp", "black kite", "white chair", "连衣裙")
QUANTIZED = ("index.exact_below=512", "index.large={type: ivf_pq, nlist: 8, m: 8, nbits: 4}", "run.workers=1")
STORES = (*DRAWN, "titles")
EACH_TIME = {"ms", "p50_ms", "p99_ms", "build_seconds", "seconds", "provenance"}
MODELS = {
    "weightless": ("configs/weightless.yaml", ()),
    "built in": ("configs/demo.yaml", ()),
    "built in, weighted": ("configs/demo.yaml", ("fusion={type: weighted_sum, alignment: 0.25}",)),
    "one tower": ("configs/weightless.yaml", ("catalog.image=null", "encoders.image=null", "fusion={type: single}")),
}


def rounding() -> str:
    """A digest of how this processor rounds: what the encoders without weights make of one text and one photo, what
    numpy makes of a product and FAISS of a clustering.
    """
    text = load_text(HashedText(type="hashed_text", dim=256), "cpu").encode(["a red dress, 红色连衣裙"])
    image = load_image(PhotoDescriptors(type="photo_descriptors"), "cpu")
    photo = image.encode([image.decode(PHOTO.read_bytes(), PhotoLimits())])
    rows = np.random.default_rng(0).normal(size=(700, 32)).astype(np.float32)
    with threads(1):
        clustered = faiss.Kmeans(32, 8, niter=5, seed=1)
        clustered.train(rows)
        near = clustered.index.search(rows, 3)[0]
    arrays = (text, photo, rows @ rows.T, np.asarray(clustered.centroids), near)
    return str(blake3(b"".join(array.tobytes() for array in arrays)).hexdigest())


def identities() -> dict[str, dict[str, str | None]]:
    """Of each of `MODELS`, what its encoders, its fusion and its shards are told by."""
    found = {}
    for name, (path, more) in MODELS.items():
        config = load_config(path, ["catalog.path=c", "catalog.image_root=p", "store.path=s", *more], {}).config
        text, image = config.encoders.text, config.encoders.image
        found[name] = {
            "text": text.identity if text else None,
            "image": image.identity if image else None,
            "fusion": config.fusion.identity,
            "shards": encoding_identity(config.settings.embedding),
        }
    return found


def stored(name: str, folder: Path) -> dict[str, Any]:
    """One of `STORES`, `titles` with quantized indexes: digests of its files and of the manifest's content."""
    catalog, store = folder / "catalog", folder / "store"
    if name in DRAWN:
        write_demo_catalog(catalog, DRAWN[name])
        done = vitrine("run", "-c", "configs/weightless.yaml", *overrides(catalog, store, *LOOSE))
    else:
        titles = [f"{WORDS[number % 6]} {number} {WORDS[number // 6 % 6]}" for number in range(700)]
        done = run_titles(write_titles(catalog / "titles.parquet", titles), store, *QUANTIZED)
    assert done.exit_code == 0, done.stderr
    manifest = Store.open(str(store)).published()[1]
    files = {file.path: blake3((store / file.path).read_bytes()).hexdigest()[:32] for file in manifest.files()}
    parts = [lasting(part.model_dump(mode="json")) for part in (*manifest.shards.entries, *manifest.partitions)]
    said = json.dumps(parts, sort_keys=True).replace(str(folder), "")  # where the catalog lies
    content = blake3(said.encode()).hexdigest()[:32]
    return {"content": content, "rows": manifest.rows, "files": dict(sorted(files.items()))}


def lasting(value: Any) -> Any:
    """A part of a manifest without what each run measures anew."""
    if isinstance(value, dict):
        return {name: lasting(part) for name, part in value.items() if name not in EACH_TIME}
    return [lasting(part) for part in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RECORDED.read_text())
    return found


def test_identities_stay(recorded: dict[str, Any]) -> None:
    """The identities of encoders, fusions and shards: with another one, every product is encoded again."""
    assert identities() == recorded["identities"]


@pytest.mark.parametrize("name", STORES)
def test_stores_stay(name: str, recorded: dict[str, Any], tmp_path: Path) -> None:
    """All bytes, on a processor that rounds as the one that they were recorded on; elsewhere the names of shards of
    texts, whose rows nobody drew.
    """
    before, now = recorded["stores"][name], stored(name, tmp_path)
    same = rounding() == recorded["rounding"]
    if same or name not in DRAWN:
        shards = [{path for path in one["files"] if path.startswith("shards/")} for one in (before, now)]
        assert shards[0]
        assert shards[1] == shards[0]
        assert now["rows"] == before["rows"]
    if not same:
        pytest.skip("photos and vectors differ in their last bits: this processor rounds otherwise")
    assert now == before


def _record() -> None:
    with tempfile.TemporaryDirectory() as folder:
        stores = {name: stored(name, Path(folder) / name) for name in STORES}
    RECORDED.parent.mkdir(exist_ok=True)
    found = {"rounding": rounding(), "identities": identities(), "stores": stores}
    RECORDED.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    _record()
