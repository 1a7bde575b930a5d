"""What vectors were made with is kept part by part, and only what changes them counts: pixels, no decoder's version."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import PIL
import pytest

from encoders.base import encoder_spec
from encoders.networks import jpeg
from encoders.photos import pixels as photo_pixels
from encoders.photos.decode import FORMATS, PhotoLimits, decode
from encoders.photos.golden import FOLDER, pixel_digests
from foundation.errors import InputError
from lookup.identities import refuse_other_encoder
from lookup.store.manifest import EncoderEntry
from tests.support.command import overrides, told, vitrine
from tests.support.places import BUILTIN
from tests.support.stores import manifest_of


@pytest.fixture
def photo(demo: Path) -> str:
    """A photo of the demo."""
    return str(next((demo / "photos").rglob("*.jpg")))


@pytest.fixture
def other_jpegs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Pillow 99 of which JPEG alone comes out a little lighter."""
    whole = photo_pixels.pixels_of

    def lighter(image: Any, raw: bytes, faster: Any) -> Any:
        pixels = whole(image, raw, faster)
        return np.where(pixels < 255, pixels + 1, pixels).astype(np.uint8) if image.format == "JPEG" else pixels

    monkeypatch.setattr(photo_pixels, "pixels_of", lighter)
    monkeypatch.setattr(PIL, "__version__", "99.0")


def test_another_pillow_of_equal_pixels_is_the_same_decoder(
    published: Path, photo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photo queries find what they found, and the identity is that of the store."""
    before = json.loads(vitrine("search", published, "--image", photo, "--json").stdout)["hits"]
    monkeypatch.setattr(PIL, "__version__", "99.0")
    again = vitrine("search", published, "--image", photo, "--json")
    assert again.exit_code == 0
    assert json.loads(again.stdout)["hits"] == before
    entry = manifest_of(published).image
    assert entry is not None
    assert encoder_spec(dict(entry.fields)).identity == entry.identity


@pytest.mark.usefixtures("other_jpegs")
def test_a_decoder_of_other_pixels_is_named_with_both_versions(published: Path, photo: str) -> None:
    """Exit code 2 for photos: the message names the kind of file, Pillow's two versions, and what to install; texts go
    on.
    """
    done = vitrine("search", published, "--image", photo)
    assert done.exit_code == 2
    expected, came, fix = told(done.stderr)
    entry = manifest_of(published).image
    assert entry is not None
    there = entry.about["Pillow"]
    assert f"pixels of JPEG {entry.parts['pixels of JPEG']}, by Pillow {there}" in expected
    assert "PNG" not in expected + came
    assert "pixels of JPEG " in came
    assert came.endswith("by Pillow 99.0")
    assert f"pillow=={there}" in fix
    assert vitrine("search", published, "--text", "red dress").exit_code == 0


def test_versions_alone_publish_nothing_new(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A night after an upgrade of Pillow that changes no pixel encodes nothing and says so."""
    asked = ("run", "-c", "configs/weightless.yaml", *overrides(demo, tmp_path / "store"), "--json")
    assert json.loads(vitrine(*asked).stdout)["status"] == "published"
    monkeypatch.setattr(PIL, "__version__", "99.0")
    assert json.loads(vitrine(*asked).stdout)["status"] == "unchanged"


def test_other_files_of_a_model_are_named(demo: Path, tmp_path: Path) -> None:
    """A tokenizer that was replaced after the run: the message names the file, both digests and the folder."""
    model = tmp_path / "model"
    shutil.copytree(BUILTIN, model)
    towers = [f"encoders.text={{type: dual, model: {model}}}", "encoders.image=null", "catalog.image=null"]
    store = tmp_path / "store"
    done = vitrine("run", "-c", "configs/weightless.yaml", *overrides(demo, store, *towers))
    assert done.exit_code == 0, done.stderr
    entry = manifest_of(store).text
    assert entry is not None
    path = model / "tokenizer_config.json"
    path.write_text(path.read_text().replace("</s>", "<s>"))
    expected, came, fix = told(vitrine("search", store, "--text", "red dress").stderr)
    assert f"tokenizer_config.json {entry.parts['tokenizer_config.json'][:16]}" in expected
    assert "tokenizer_config.json" in came
    assert came.split()[-1] != expected.split()[-1]
    assert f"restore tokenizer_config.json in {model}" in fix
    done = vitrine("run", "-c", "configs/weightless.yaml", *overrides(demo, store, *towers), "--category", "Kitchen")
    assert done.exit_code == 2
    assert "text: tokenizer_config.json" in told(done.stderr)[1]


def test_a_manifest_that_does_not_tell_parts_is_held_to_its_identity() -> None:
    """Of before parts were kept: an equal identity is the same encoder, another is told with what is known here."""
    spec = encoder_spec({"type": "photo_descriptors"})
    older = EncoderEntry(fields=spec.model_dump(mode="json"), identity=spec.identity, dim=spec.dim)
    refuse_other_encoder(older, spec, "image")
    with pytest.raises(InputError) as raised:
        refuse_other_encoder(older.model_copy(update={"identity": "ab" * 32}), spec, "image")
    assert "identity abababababababab" in raised.value.expected
    assert "does not say" in raised.value.came
    assert f"Pillow {PIL.__version__}" in raised.value.came


def test_inspect_shows_every_part_of_every_identity(published: Path, tmp_path: Path) -> None:
    """On the terminal, in the page and in the document: each part of both encoders and the fusion, and versions."""
    shown = vitrine("inspect", published, "--html", tmp_path / "page.html").stdout
    document = json.loads(vitrine("inspect", published, "--json").stdout)["manifest"]
    page = (tmp_path / "page.html").read_text()
    lines = [" ".join(line.split()) for line in shown.splitlines()]
    entries = {name: document[name] for name in ("text", "image")}
    assert "pixels of WebP" in entries["image"]["parts"]
    assert entries["image"]["about"]["Pillow"] == PIL.__version__
    seen = {name: entry["parts"] for name, entry in entries.items()} | {"fusion": document["fusion_parts"]}
    for name, parts in seen.items():
        assert len(parts) >= 3
        for part, value in parts.items():
            assert f"{name} {part} {value}" in lines
            assert value in page
    assert f"image beside it: Pillow {PIL.__version__}" in lines
    assert f"indexes built by faiss {faiss.__version__}: {len(document['partitions'])}" in lines


def test_every_format_has_a_golden_photo() -> None:
    """Each format that is decoded is looked at, all of them in less than 50 kB."""
    assert {name.removeprefix("pixels of ").upper() for name in pixel_digests()} == set(FORMATS)
    assert all(len(digest) == 16 for digest in pixel_digests().values())
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) < 50_000


def test_a_fast_decoder_of_other_pixels_is_not_used(
    photo: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A torchcodec whose JPEGs are not Pillow's to the last bit is told once, and Pillow decodes."""
    plain = jpeg._decode_jpeg
    monkeypatch.setattr(jpeg, "_decode_jpeg", lambda raw: 255 - plain(raw))
    jpeg._faster.cache_clear()
    try:
        raw = Path(photo).read_bytes()
        for _ in range(2):
            assert np.array_equal(jpeg.decode_photo(raw, PhotoLimits()), decode(raw, PhotoLimits()))
        versions = f"{jpeg.jpeg_identity()} gives other pixels than Pillow {PIL.__version__}"
        assert [record.message.partition(":")[0] for record in caplog.records] == [versions]
    finally:
        jpeg._faster.cache_clear()
