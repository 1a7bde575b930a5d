"""The config: layers, origins, and every problem at once."""

from __future__ import annotations

import pickle
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from foundation.errors import InputError
from pipeline.config.layers import leaves
from pipeline.config.load import Config, Loaded, describe, load_config, meaning
from tests.support.command import vitrine
from tests.support.places import ROOT

FOLDER = ROOT / "configs"
CONFIGS = sorted(FOLDER.rglob("*.yaml"))
NEEDED = ("catalog.path=a.parquet", "store.path=store")


def load(*overrides: str, path: Path | None = None, env: dict[str, str] | None = None) -> Loaded:
    """The config of `overrides` over `path`, with the two keys that have no default."""
    return load_config(None if path is None else str(path), (*NEEDED, *overrides), env or {})


def refusal(*overrides: str, path: Path | None = None, env: dict[str, str] | None = None) -> InputError:
    """The error that the same call ends with."""
    with pytest.raises(InputError) as caught:
        load(*overrides, path=path, env=env)
    assert caught.value.exit_code == 2
    return caught.value


def written(folder: Path, text: str) -> Path:
    path = folder / "c.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_there_are_configs() -> None:
    """The configs that the README speaks of are there, and those of models."""
    assert {path.name for path in CONFIGS} >= {"demo.yaml", "ci.yaml", "nightly.yaml", "siglip2-b16-256.yaml"}


def as_written(found: Any, written: Any) -> Any:
    """A value without what a list of specs was completed with: the keys of each that the file has."""
    if not isinstance(written, list) or not any(isinstance(one, dict) for one in written):
        return found
    return [{key: spec[key] for key in one} for spec, one in zip(found, written, strict=True)]


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.name)
def test_every_config_of_the_repository_loads(path: Path) -> None:
    """Each config loads by itself, sets what it writes, and opens with its purpose, its command and one override."""
    loaded = load_config(str(path), env={})
    rows = {row.key: row for row in describe(loaded)}
    for key, value in leaves(yaml.safe_load(path.read_text(encoding="utf-8"))):
        assert rows[key].origin == str(path)
        assert as_written(rows[key].value, value) == value
    opening = path.read_text(encoding="utf-8").split("\n\n")[0]
    assert all(line.startswith("#") for line in opening.splitlines())
    assert f"vitrine run -c configs/{path.relative_to(FOLDER)}" in opening
    assert "One override:" in opening


def test_layers_and_their_origins(tmp_path: Path) -> None:
    """Defaults yield to the YAML, the YAML to the environment, the environment to the command line."""
    path = written(tmp_path, "run: {workers: 3, photo_threads: 3, log_level: DEBUG}\n")
    env = {"VITRINE_RUN__WORKERS": "4", "VITRINE_RUN__PHOTO_THREADS": "4", "PATH": "/bin", "HOME": "x"}
    loaded = load("run.workers=5", path=path, env=env)
    run = loaded.config.run
    assert (run.workers, run.photo_threads, run.log_level) == (5, 4, "DEBUG")
    origins = {
        key: loaded.origins[key] for key in ("run.workers", "run.photo_threads", "run.log_level", "shards.unit_rows")
    }
    assert origins == {
        "run.workers": "command line",
        "run.photo_threads": "environment VITRINE_RUN__PHOTO_THREADS",
        "run.log_level": str(path),
        "shards.unit_rows": "default",
    }


def test_describe_tells_every_key_once() -> None:
    """`config show` has a row for every key that the config holds, each with an origin, and nothing else."""
    loaded = load("catalog.columns.id=sku")
    rows = describe(loaded)
    assert [row.key for row in rows] == [key for key, _ in leaves(loaded.config.model_dump(mode="json"))]
    assert {row.key: row.value for row in rows}["catalog.columns.id"] == "sku"
    assert set(loaded.origins) == {row.key for row in rows}


def test_what_is_described_loads_again() -> None:
    """The effective config, given as overrides, is the same config."""
    loaded = load("catalog.partition=product_type", "encoders.text.dim=64")
    again = load_config(
        None, [f"{row.key}={yaml.safe_dump(row.value, default_flow_style=True)}" for row in describe(loaded)], {}
    )
    assert again.config == loaded.config


def test_every_key_says_what_it_means() -> None:
    """Each key of the config, but the fields of specs, has a description."""
    rows = [
        row.key for row in describe(load()) if not row.key.startswith(("encoders.text.", "encoders.image.", "fusion."))
    ]
    assert len(rows) > 30
    assert [key for key in rows if not meaning(key) and not key.startswith("index.large.")] == []


def test_a_config_is_frozen_and_travels() -> None:
    """A config refuses assignment, and comes out of a pickle equal to itself: workers get it so."""
    config = load().config
    with pytest.raises(ValidationError):
        config.run.workers = 9  # type: ignore[misc]
    assert pickle.loads(pickle.dumps(config)) == config  # noqa: S301 - our own bytes
    assert Config.model_validate(config.model_dump(mode="json")) == config


def test_a_spec_of_another_type_replaces_the_old_one(tmp_path: Path) -> None:
    """Fields of one spec are merged into it; another type starts anew, so that fields of the old one do not stay."""
    fields = load().config.model_dump()["encoders"]["text"]
    assert load("encoders.text.dim=64").config.model_dump()["encoders"]["text"] == fields | {"dim": 64}
    path = written(tmp_path, "index: {large: {type: ivf_pq, nlist: 8}}\n")
    assert load(path=path).config.index.large == {"type": "ivf_pq", "nlist": 8}
    assert load("index.large={type: flat}", path=path).config.index.large == {"type": "flat"}
    assert load("index.large.m=4", path=path).config.index.large == {"type": "ivf_pq", "nlist": 8, "m": 4}


def test_specs_are_ready_to_load() -> None:
    """The specs that a config describes have the type and the fields that it names; null is no spec."""
    encoders = load("encoders.text.dim=64").config.encoders
    assert encoders.text is not None
    assert (encoders.text.type, encoders.text.dim) == ("hashed_text", 64)
    assert load("encoders.image=null", "catalog.image=null").config.encoders.image is None
    assert load("fusion.type=weighted_sum").config.fusion.type == "weighted_sum"


@pytest.mark.parametrize("pca", ["abc", "96.5", "-8", "0", "[8]"])
def test_components_that_are_no_number_are_refused(pca: str) -> None:
    """The rule that takes other fields from it does not stumble over what it cannot be."""
    assert "index.large.pca" in refusal(f"index.large={{type: ivf_pq, pca: {pca}}}").came


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    """Problems of every layer, of specs and of combinations come in one error, each under its key."""
    path = written(
        tmp_path,
        """
catalog: {pth: x, image: null, image_identity: version, partition_levels: 0}
encoders: {text: {type: hashed_text, dims: 3}}
index: {large: {type: ivf_pq, nlst: 4}}
gates: {min_recall: 5}
""",
    )
    said = refusal("run.workers=none", "nonsense", path=path, env={"VITRINE_RUN__WORKER": "3"}).came
    assert said.startswith("10 problems")
    keys = ["catalog.pth", "catalog.image", "catalog.version_column", "catalog.partition_levels", "encoders.text.dims"]
    keys += ["index.large.nlst", "gates.min_recall", "run.workers", "run.worker"]
    for key in [*keys, "nonsense"]:
        assert f"\n  {key}\n" in said, key
    for guess in ("catalog.path?", "encoders.text.dim?", "index.large.nlist?", "VITRINE_RUN__WORKERS?"):
        assert f"did you mean {guess}" in said
    assert f"5 ({path})" in said
    assert said.count("expected: ") == said.count("came: ") == said.count("to do: ") == 10


@pytest.mark.parametrize(
    ("overrides", "key", "words"),
    [
        (["encoders.text=null", "encoders.image=null", "catalog.image=null"], "encoders.text", "at least one encoder"),
        (["catalog.image=null"], "catalog.image", "encoders.image=null"),
        (["encoders.image=null"], "encoders.image", "catalog.image=null"),
        (["catalog.text=[]"], "catalog.text", "encoders.text=null"),
        (["catalog.image_identity=version"], "catalog.version_column", "image_identity=stat"),
        (["encoders.image={type: hashed_text}"], "encoders.image", "photo_descriptors"),
        (["encoders.text.type=hashed_txt"], "encoders.text", "did you mean hashed_text?"),
        (["fusion=concat"], "fusion", "a mapping with `type`: concat"),
        (["index.metric=cosine"], "index.metric", "cosine would put them first"),
        (["index.metric=l2", "fusion.text_weight=0.3"], "index.metric", "set index.metric=inner_product"),
        (["index.large={type: ivfpq}"], "index.large", "ivf_pq"),
        (["encoders.device=gpu"], "encoders.device", "cpu, cuda or cuda:N"),
        (["workers=3"], "workers", "did you mean run.workers?"),
        (["gates.workers=3"], "gates.workers", "did you mean run.workers?"),
        (["store.path=12"], "store.path", "store.path='\"12\"'"),
        (["run.workers=true"], "run.workers", "true (command line)"),
        (["run.workers=2.5"], "run.workers", "valid integer"),
        (["gates.max_row_drop='0.5'"], "gates.max_row_drop", "valid number"),
        (["catalog.path="], "catalog.path", "null (command line)"),
        (["run.workers.more=1"], "run.workers", "valid integer"),
    ],
)
def test_one_problem(overrides: list[str], key: str, words: str) -> None:
    """Each kind of mistake is one problem, named by its key, with words that lead out of it."""
    said = refusal(*overrides).came
    assert said.startswith(f"1 problem:\n  {key}\n"), said
    assert words in said


@pytest.mark.parametrize(
    "overrides",
    [["fusion.type=weighted_sum"], ["fusion.type=single"], ["encoders.image=null", "catalog.image=null"]],
)
def test_any_metric_fits_items_of_unit_length(overrides: list[str]) -> None:
    """cosine and l2 are taken with every fusion whose items are of unit length, and with one tower alone."""
    for metric in ("cosine", "l2"):
        assert load(f"index.metric={metric}", *overrides).config.index.metric == metric


def test_missing_keys() -> None:
    """The two keys without a default are asked for by name, with how to give them."""
    with pytest.raises(InputError) as caught:
        load_config(None, [], {})
    assert caught.value.came.startswith("2 problems:")
    assert "catalog.path=..." in caught.value.came
    assert "store.path=..." in caught.value.came


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("run: {workers: 1\nstore: [", "line 2"),
        ("run:\n\tworkers: 1\n", "line 2"),
        ("run: {workers: 1}\ngates: {}\nrun: {workers: 2}\n", "line 3\n    expected: run once"),
        ("run:\n  workers: 1\n  workers: 2\n", "line 3\n    expected: workers once"),
        ("- 1\n- 2\n", "a mapping of sections"),
        ("a: 1\n---\nb: 2\n", "line 2"),
        ("run: !!python/object/apply:os.getcwd []\n", "line 1"),
        ("\x00", "UTF-8"),
    ],
)
def test_bad_yaml(tmp_path: Path, text: str, words: str) -> None:
    """Wrong writing is named with its line, and does not drag complaints about missing keys along."""
    with pytest.raises(InputError) as caught:
        load_config(str(written(tmp_path, text)), [] if "once" not in words else NEEDED, {})
    assert caught.value.came.startswith("1 problem:")
    assert words in caught.value.came


def test_a_config_that_is_not_there(tmp_path: Path) -> None:
    """A path without a file is an error that names the file probably meant; a folder is no file."""
    written(tmp_path, "")
    assert f"did you mean {tmp_path / 'c.yaml'}?" in refusal(path=tmp_path / "cc.yaml").came
    assert "a folder, not a regular file" in refusal(path=tmp_path).came


def test_a_section_whose_keys_are_commented_out_says_nothing(tmp_path: Path) -> None:
    """`run:` with nothing under it, and a file that is empty, leave the defaults."""
    assert load(path=written(tmp_path, "run:\n  # workers: 9\n")).config == load().config
    assert load(path=written(tmp_path, "")).config == load().config


@pytest.mark.parametrize(
    ("written_as", "value"),
    [
        ("2026-11-21", "2026-11-21"),
        ("no", "no"),
        ("12:30", "12:30"),
        ("007", "007"),
        ("gs://b/x", "gs://b/x"),
        ("a=b", "a=b"),
    ],
)
def test_words_stay_words(written_as: str, value: str) -> None:
    """What YAML 1.1 would turn into dates, booleans or octal numbers is text, as YAML 1.2 has it."""
    assert load(f"store.path={written_as}").config.store.path == value
    assert load(env={"VITRINE_CATALOG__PARTITION": written_as}).config.catalog.partition == value


@pytest.mark.parametrize(
    ("written_as", "value"), [("1e-1", 0.1), (".5", 0.5), ("1", 1.0), ("0", 0.0), ("2.5E-1", 0.25)]
)
def test_numbers_as_people_write_them(written_as: str, value: float) -> None:
    """Numbers in any usual writing are numbers."""
    assert load(f"gates.min_recall={written_as}").config.gates.min_recall == value


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_override_loads_or_is_refused_in_words(key: str, value: str) -> None:
    """No override, however strange, ends in anything but a config or an InputError."""
    for text in (f"{key}={value}", f"run.{key}={value}", f"catalog.image_root={value}", f"encoders.text={value}"):
        with suppress(InputError):
            assert load(text).config.store.path


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(lambda text: text.strip() == text))
def test_any_path_survives_in_quotes(path: str) -> None:
    """A path in YAML quotes arrives as it was, in any script."""
    quoted = yaml.safe_dump(path, default_style=chr(34), width=10**6)
    assert load(f"store.path={quoted}", "catalog.path=s3://shop/feed").config.store.path == path


def test_names_without_two_underscores_are_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """VITRINE_CACHE and the like stop no command that reads a config; a misspelt section is still refused."""
    monkeypatch.setenv("VITRINE_CACHE", "anywhere")
    shown = ("config", "show", "-c", "configs/weightless.yaml", "--json")
    assert vitrine(*shown).exit_code == 0
    monkeypatch.setenv("VITRINE_RUNN__WORKERS", "3")
    done = vitrine(*shown)
    assert done.exit_code == 2
    assert "VITRINE_RUNN__WORKERS" in done.stderr
    assert "did you mean VITRINE_RUN" in done.stderr
