"""Queries by text that need no torch: the same vectors as the network's, and other towers go through it as before."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from encoders.base import encoder_spec, load_query_text, load_text
from foundation.errors import InputError
from tests.support.command import overrides, vitrine
from tests.support.places import BUILTIN
from tests.support.tiny_models import clip, siglip

WORDS = [
    "red",
    "blue",
    "striped",
    "dress",
    "teapot",
    "红色",
    "连衣裙",
    "茶壶",
    "白色波点",
    "umbrella",
    "for",
    "kids,",
    "Größe",
    "42",
    "😀",
    "İstanbul",
    "x",
]


def texts() -> list[str]:
    """Three hundred in English and Chinese: one word, many, longer than the tower reads, signs, and none of its own."""
    rng = np.random.default_rng(8)
    drawn = [" ".join(rng.choice(WORDS, length)) for length in rng.integers(1, 12, 294)]
    return [*drawn, "a", "茶", "?!", "word " * 400, "ﬁne café", "  two   spaces "]


def test_the_text_tower_without_torch_equals_the_network() -> None:
    """Of 300 texts, alone and together, the cosine to the vectors of the network is above 0.99999, none is off by 1e-5;
    what is searched with is of the light kind.
    """
    spec = encoder_spec({"type": "dual", "model": "builtin"})
    light, network = load_query_text(spec, "cpu"), load_text(spec, "cpu")
    assert type(light).__name__ == "LightText"
    assert type(network).__name__ == "DualText"
    expected = network.encode(texts(), "query")
    assert (expected @ expected.T).min() < 0.9
    for found in (light.encode(texts(), "query"), np.concatenate([light.encode([one], "query") for one in texts()])):
        assert found.dtype == np.float32
        assert np.sum(found * expected, axis=1).min() > 0.99999
        assert np.abs(found - expected).max() < 1e-5


SEARCHES = """
import sys
import lookup

reader = lookup.open(sys.argv[1])
hits = reader.search(text="red dress", k=3)
print(len(hits), sorted({name.partition(".")[0] for name in sys.modules} & {"torch", "transformers", "apache_beam"}))
"""


def test_a_text_query_imports_no_network_library(demo: Path, tmp_path: Path) -> None:
    """A reader of a store of the built-in model answers a text with neither torch nor transformers in the process."""
    towers = [f"encoders.{side}={{type: dual, model: builtin}}" for side in ("text", "image")]
    done = vitrine("run", "-c", "configs/weightless.yaml", *overrides(demo, tmp_path / "store", *towers))
    assert done.exit_code == 0, done.stderr
    asked = [sys.executable, "-c", SEARCHES, str(tmp_path / "store")]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert said.split("\n")[0] == "3 []"


@pytest.mark.parametrize("kind", ["clip", "sentencepiece", "bf16", "activation", "tokenizer"])
def test_towers_that_are_not_known_go_through_the_network(tmp_path: Path, kind: str) -> None:
    """Another family, a tokenizer with code of its own, other weights, another activation: torch answers, not numpy."""
    folder, precision = tmp_path / "model", "bf16" if kind == "bf16" else "fp32"
    if kind == "clip":
        clip(folder)
    elif kind == "sentencepiece":
        siglip(folder)
    else:
        shutil.copytree(BUILTIN, folder)
    if kind == "activation":
        _change(folder / "config.json", lambda found: found["text_config"].update(hidden_act="gelu"))
    if kind == "tokenizer":
        _change(folder / "tokenizer_config.json", lambda found: found.update(do_lower_case=True))
    spec = encoder_spec({"type": "dual", "model": str(folder), "precision": precision})
    tower = load_query_text(spec, "cpu")
    assert tower is load_text(spec, "cpu")
    assert tower.encode(["red dress"], "query").shape == (1, spec.dim)


def test_weights_that_lack_a_layer_are_refused(tmp_path: Path) -> None:
    """A layer that config.json names and the weights have not is an error, and so is a file that is cut."""
    shutil.copytree(BUILTIN, tmp_path / "model")
    _change(tmp_path / "model" / "config.json", lambda found: found["text_config"].update(num_hidden_layers=3))
    spec = encoder_spec({"type": "dual", "model": str(tmp_path / "model")})
    with pytest.raises(InputError, match=r"none for .*layers\.2\."):
        load_query_text(spec, "cpu")
    shutil.copy(BUILTIN / "config.json", tmp_path / "model")
    weights = tmp_path / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="weights"):
        load_query_text(spec, "cpu")


def _change(path: Path, change: object) -> None:
    found = json.loads(path.read_text())
    change(found)  # type: ignore[operator]
    path.write_text(json.dumps(found))


def test_loading_and_searching_are_timed_apart(
    published: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tower that takes 7 s to load counts as loading, once, and for no query: on the terminal, on the page, and
    in the document of one question or of many.
    """
    real, slept = time.perf_counter, [0.0]

    def slowly(*given: Any) -> Any:
        slept[0] += 7
        return load_text(*given)

    monkeypatch.setattr(time, "perf_counter", lambda: real() + slept[0])
    monkeypatch.setattr("lookup.query.load_query_text", slowly)
    page = tmp_path / "page.html"
    shown = vitrine("search", published, "--text", "red dress", "--html", page).stdout.splitlines()
    assert float(re.fullmatch(r"loaded in ([0-9]+) ms", shown[0])[1]) >= 7000  # type: ignore[index]
    assert float(re.fullmatch(r"red dress  \(([0-9.]+) ms\)", shown[1])[1]) < 7000  # type: ignore[index]
    assert re.search(r"loaded in [0-9.]+ s", page.read_text())
    pq.write_table(pa.table({"text": ["red dress", "mug"]}), tmp_path / "queries.parquet")
    many = json.loads(vitrine("search", published, "--queries", tmp_path / "queries.parquet", "--json").stdout)
    assert len(many) == 2
    for one in [json.loads(vitrine("search", published, "--text", "red dress", "--json").stdout), *many]:
        assert one["load_ms"] >= 7000 > one["ms"]
