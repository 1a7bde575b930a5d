"""The configs of real models: what they say, what they ask for, and that they run on tiny models of the same kind."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

from encoders.models.pull import KNOWN
from pipeline.demo.catalog import DemoOptions, write_demo_catalog
from tests.support.command import told, vitrine
from tests.support.places import COMMIT, ROOT
from tests.support.stores import manifest_of, publications
from tests.support.tiny_models import chinese_clip, open_clip_model, siglip, text_model, timm_model

FOLDER = ROOT / "configs"
CONFIGS = {path.stem: path for path in [*sorted((FOLDER / "models").glob("*.yaml")), FOLDER / "nightly.yaml"]}
TINY: dict[str, Callable[[Path], Path]] = {  # a small stand-in of the same family for each model that configs name
    "siglip2-b16-256": siglip,
    "siglip2-so400m-384": siglip,
    "chinese-clip-b16": chinese_clip,
    "marqo-ecommerce-b": open_clip_model,
    "marqo-ecommerce-l": open_clip_model,
    "bert-base-chinese": lambda folder: text_model(folder, "bert"),
    "bge-m3": lambda folder: text_model(folder, "xlm-roberta"),
    "resnet50": lambda folder: timm_model(folder, "resnet10t", input_size=[3, 64, 64]),
    "dinov2-b14": lambda folder: timm_model(folder, "test_vit"),
}


def models_of(path: Path) -> list[str]:
    """The names of the models of a config."""
    encoders = yaml.safe_load(path.read_text(encoding="utf-8"))["encoders"]
    return list(dict.fromkeys(encoders[tower]["model"] for tower in ("text", "image")))


def overrides(path: Path, folder: Path) -> list[str]:
    """What makes a config fit the demo catalog and the tiny models, which read fewer tokens."""
    encoders = yaml.safe_load(path.read_text(encoding="utf-8"))["encoders"]
    fewer = ["encoders.text.max_tokens=24"] if "max_tokens" in encoders["text"] else []
    catalog = ["catalog.text=[title]", "catalog.attributes=[title,price]", "catalog.more_images=null"]
    where = [f"catalog.path={folder}/demo/catalog", f"catalog.image_root={folder}/demo", f"store.path={folder}/store"]
    return [*where, *catalog, *fewer]


@pytest.fixture(scope="module")
def dozen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a demo catalog of twelve products."""
    folder = tmp_path_factory.mktemp("dozen")
    write_demo_catalog(folder / "demo", DemoOptions(products=12))
    return folder


def test_the_promised_configs_are_there() -> None:
    """Each model that is promised has a config, and each short name of a model is used by one."""
    assert set(CONFIGS) == {
        *("siglip2-b16-256", "siglip2-so400m-384", "marqo-ecommerce-b", "marqo-ecommerce-l", "chinese-clip-b16"),
        *("bert-resnet50", "bge-m3-dinov2", "nightly"),
    }
    assert {model for path in CONFIGS.values() for model in models_of(path)} == set(KNOWN) == set(TINY)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "nightly"])
def test_the_opening_says_what_is_needed_to_choose(name: str) -> None:
    """Licence, hub id, dimensions, size, languages, and how the revision gets pinned."""
    opening = CONFIGS[name].read_text(encoding="utf-8").split("\n\n")[0]
    words = opening.replace("\n# ", " ")
    assert all(f"vitrine models pull {model}\n" in opening for model in models_of(CONFIGS[name]))
    assert all(KNOWN[model] in words for model in models_of(CONFIGS[name]))
    assert any(licence in words for licence in ("Apache-2.0", "MIT"))
    assert any(language in words for language in ("English", "Chinese", "languages"))
    assert all(fact in words for fact in (" dimensions", " GB", "40 hex digits", "Never run on these weights"))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_that_was_not_pulled_is_asked_for(
    name: str, dozen: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`config show` takes every config as it is; plan and run say which model to pull, and do nothing."""
    monkeypatch.setenv("VITRINE_MODELS", str(tmp_path / "models"))
    assert vitrine("config", "show", "-c", CONFIGS[name]).exit_code == 0
    for command in ("plan", "run"):
        done = vitrine(command, "-c", CONFIGS[name], *overrides(CONFIGS[name], dozen), f"store.path={tmp_path}/store")
        assert done.exit_code == 2
        assert f"run `vitrine models pull {models_of(CONFIGS[name])[0]}`" in "\n".join(told(done.stderr))
    assert not publications(tmp_path / "store")


@pytest.mark.parametrize("name", [name for name in CONFIGS if "open_clip" not in CONFIGS[name].read_text("utf-8")])
def test_pulled_and_run(name: str, hub: Path, dozen: Path, tmp_path: Path) -> None:
    """Its models pulled by the command from a stand-in of the hub, each config publishes the catalog and answers."""
    for model in models_of(CONFIGS[name]):
        TINY[model](hub / KNOWN[model] / COMMIT)
        pulled = vitrine("models", "pull", model, "--json")
        assert json.loads(pulled.stdout)["revision"] == COMMIT
    store = tmp_path / "store"
    done = vitrine("run", "-c", CONFIGS[name], *overrides(CONFIGS[name], dozen), f"store.path={store}", "--json")
    assert done.exit_code == 0, done.stderr
    assert json.loads(done.stdout)["rows_embedded"] == 12
    described = manifest_of(store).model_dump_json()
    assert all(model in described for model in models_of(CONFIGS[name]))
    found = vitrine("search", store, "--text", "红色连衣裙", "-k", 3, "--json")
    assert len(json.loads(found.stdout)["hits"]) == 3


@pytest.mark.skipif(find_spec("open_clip") is None, reason="needs the extra open-clip")
@pytest.mark.parametrize("name", ["marqo-ecommerce-b", "marqo-ecommerce-l"])
def test_pulled_and_run_by_open_clip(name: str, hub: Path, dozen: Path, tmp_path: Path) -> None:
    """The same for the configs that need the extra."""
    test_pulled_and_run(name, hub, dozen, tmp_path)
