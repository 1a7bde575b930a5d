"""Model folders: what is refused before it is loaded, what the lock pins, and what a pull leaves behind."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file

from encoders.base import encoder_spec, load_text
from encoders.models import folders as models
from encoders.models.folders import digest_of, open_model
from encoders.models.lock import LOCK, Lock, PulledModel
from encoders.models.pull import KNOWN, pull
from foundation.errors import InputError
from tests.support.command import told, vitrine
from tests.support.places import COMMIT
from tests.support.tiny_models import text_model, timm_model

LATER = "b" * 40


def edited(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**(json.loads(path.read_text()) if path.exists() else {}), **changes}))


def spec_of(model: str) -> Any:
    return encoder_spec({"type": "hf_text", "model": model, "max_tokens": 16})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny BERT."""
    return text_model(tmp_path / "bert", "bert")


def no_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any attempt to read weights fails the test."""

    def never(*args: Any, **more: Any) -> None:
        pytest.fail("weights were loaded")

    monkeypatch.setattr("transformers.AutoModel.from_pretrained", never)
    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", never)
    monkeypatch.setattr("torch.load", never)


REFUSED: dict[str, tuple[Callable[[Path], Any], str]] = {
    "pickle": (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), "pickles"),
    "checkpoint": (lambda f: (f / "model.safetensors").rename(f / "model.ckpt"), "pickles"),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), "no weights"),
    "auto_map": (lambda f: edited(f / "config.json", auto_map={"AutoModel": "m.M"}), "auto_map"),
    "auto_map within": (lambda f: edited(f / "config.json", text_config={"a": [{"auto_map": {}}]}), "auto_map"),
    "auto_map of tokenizer": (lambda f: edited(f / "tokenizer_config.json", auto_map={}), "tokenizer_config"),
    "auto_map of processor": (lambda f: edited(f / "preprocessor_config.json", auto_map={}), "preprocessor"),
    "kernel": (lambda f: edited(f / "config.json", _attn_implementation_internal="org/kernel"), "kernel"),
    "model type": (lambda f: edited(f / "config.json", model_type="gpt2"), "gpt2"),
    "adapter": (lambda f: edited(f / "adapter_config.json", base_model_name_or_path="org/x"), "adapter"),
    "no config": (lambda f: (f / "config.json").unlink(), "no such file"),
    "bad config": (lambda f: (f / "config.json").write_text("{"), "config.json"),
    "list": (lambda f: (f / "config.json").write_text("[]"), "list"),
}


@pytest.mark.parametrize("reason", REFUSED)
def test_bad_folders_are_refused_before_anything_is_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    """Each refusal names what it found, for `dim`, for `identity` and for `load`, and reads no weights."""
    damage, came = REFUSED[reason]
    spec = spec_of(str(folder))
    assert spec.dim == 32
    damage(folder)
    no_loading(monkeypatch)
    for call in (lambda: spec.dim, lambda: spec.identity, lambda: spec.load("cpu")):
        with pytest.raises(InputError, match=came):
            call()


def test_old_transformers_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 5.3 a config.json can run code."""
    no_loading(monkeypatch)
    monkeypatch.setattr(models, "installed_version", lambda name: "5.2.9")
    with pytest.raises(InputError, match=r"5\.2\.9"):
        spec_of(str(folder)).load("cpu")


def test_a_hub_id_without_a_commit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run never resolves names on a network; the message says how to pin one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("VITRINE_MODELS", raising=False)
    for model, fix in {
        "openai/clip-vit-base-patch32": "models pull openai/clip",
        "some-name": "models pull some-name",
        "/no/such/folder": "correct the path",
    }.items():
        with pytest.raises(InputError, match=fix):
            _ = spec_of(model).identity


def test_identity_follows_content_and_not_place(folder: Path) -> None:
    """A copy elsewhere is the same encoder; one changed byte of any deciding file is another, another file is not."""
    import shutil

    spec = spec_of(str(folder))
    copy = Path(shutil.copytree(folder, folder.parent / "copy"))
    assert spec_of(str(copy)).identity == spec.identity
    (copy / "README.md").write_text("words")
    assert spec_of(str(copy)).identity == spec.identity
    seen = {spec.identity}
    for name in ("model.safetensors", "tokenizer.json", "config.json", "tokenizer_config.json"):
        raw = bytearray((copy / name).read_bytes())
        raw[-1:] = b" " + bytes(raw[-1:]) if name.endswith("json") else bytes([raw[-1] ^ 1])
        (copy / name).write_bytes(raw)
        seen.add(spec_of(str(copy)).identity)
    assert len(seen) == 5


def test_weights_are_digested_once_per_process(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading a config twice reads unlocked weights once, and again after they changed."""
    read: list[str] = []
    monkeypatch.setattr(models, "digest_of", lambda path: read.append(path.name) or digest_of(path))
    spec = spec_of(str(folder))
    assert spec.identity == spec.identity
    assert read.count("model.safetensors") == 1
    os.utime(folder / "model.safetensors", ns=(1, 1))
    _ = spec.identity
    assert read.count("model.safetensors") == 2


def test_a_pulled_model_is_pinned_and_loads_by_name(hub: Path, tmp_path: Path) -> None:
    """A pull writes the folder and its lock; a run finds it by name, reads no weights for its identity, and loads."""
    source = text_model(hub / "org" / "tiny" / COMMIT, "bert")
    (source / "onnx").mkdir()
    (source / "onnx" / "config.json").write_text("{}")
    (source / "README.md").write_text("words")
    name, entry = pull("org/tiny")
    assert (name, entry.repo, entry.revision) == ("tiny", "org/tiny", COMMIT)
    found = {path.name for path in (tmp_path / "models" / "tiny").iterdir()}
    assert found == set(entry.files) == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    assert {path.name for path in (tmp_path / "models").iterdir()} <= {"tiny", LOCK, f".{LOCK}.pulling"}
    assert all(digest_of(source / file) == entry.files[file].blake3 for file in found)
    pulled = spec_of("tiny")
    assert pulled.identity == spec_of(str(source)).identity
    vectors = load_text(pulled, "cpu").encode(["red dress"])
    np.testing.assert_allclose(np.linalg.norm(vectors), 1, atol=1e-6)


def test_the_lock_gives_the_digests_without_reading(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The identity of a locked model costs no pass over its weights."""
    text_model(hub / "org" / "tiny" / COMMIT, "bert")
    pull("org/tiny")
    monkeypatch.setattr(models, "digest_of", lambda path: pytest.fail(f"{path} was read"))
    assert len(spec_of("tiny").identity) == 64


def test_a_byte_changed_after_the_pull_is_refused(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same size: at load, before the weights reach a library. Another size, a lost or a new file: at once."""
    text_model(hub / "org" / "tiny" / COMMIT, "bert")
    pull("org/tiny")
    folder = tmp_path / "models" / "tiny"
    no_loading(monkeypatch)
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        kept = (folder / name).read_bytes()
        flipped = bytearray(kept)
        flipped[kept.index(b"e")] ^= 32  # a letter's case, so that JSON stays JSON
        (folder / name).write_bytes(flipped)
        with pytest.raises(InputError, match="changed after it was pulled"):
            encoder_spec({"type": "hf_text", "model": "tiny"}).load("cpu") if name != "config.json" else open_model(
                "tiny"
            ).verify()
        (folder / name).write_bytes(kept + b" ")
        with pytest.raises(InputError, match=rf"{name}: \d+ bytes"):
            _ = spec_of("tiny").identity
        (folder / name).write_bytes(kept)
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(InputError, match=r"index\.json: 2 bytes, not there"):
        _ = spec_of(str(folder)).identity  # by path as by name


def test_pickled_weights_are_converted_once(hub: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Sharded pickles with tied weights become one safetensors file with the same numbers, and a warning says so."""
    source = text_model(hub / "org" / "old" / COMMIT, "bert")
    weights = load_file(source / "model.safetensors")
    (source / "model.safetensors").unlink()
    names = sorted(weights)
    torch.save({name: weights[name] for name in names[:5]}, source / "pytorch_model-00001-of-00002.bin")
    tied = {name: weights[name] for name in names[5:]}
    torch.save(tied | {"tied.weight": tied[names[5]]}, source / "pytorch_model-00002-of-00002.bin")
    (source / "pytorch_model.bin.index.json").write_text("{}")
    with caplog.at_level(logging.WARNING):
        pull("org/old", COMMIT)
    assert "pickled weights" in caplog.text
    folder = tmp_path / "models" / "old"
    assert not list(folder.glob("*.bin*"))
    converted = load_file(folder / "model.safetensors")
    assert set(converted) == {*weights, "tied.weight"}
    assert all(torch.equal(converted[name], value) for name, value in weights.items())
    load_text(spec_of("old"), "cpu")


class Malice:
    """A pickle of this would call a function."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("owned",)


def test_a_pickle_that_runs_code_does_not(hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The unpickler makes tensors only; nothing stays in the models folder."""
    monkeypatch.chdir(tmp_path)
    source = text_model(hub / "org" / "bad" / COMMIT, "bert")
    (source / "model.safetensors").unlink()
    torch.save({"a": Malice()}, source / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"pytorch_model\.bin"):
        pull("org/bad")
    assert not Path("owned").exists()
    assert not (tmp_path / "models" / "bad").exists()
    assert Lock.read(tmp_path / "models") == Lock()


def test_what_a_run_would_refuse_is_not_put_in_place(hub: Path, tmp_path: Path) -> None:
    """A model with remote code leaves no folder and no entry; the one that was there before stays."""
    text_model(hub / "org" / "tiny" / COMMIT, "bert")
    pull("org/tiny")
    before = spec_of("tiny").identity
    edited(text_model(hub / "org" / "tiny" / LATER, "bert") / "config.json", auto_map={})
    with pytest.raises(InputError, match="auto_map"):
        pull("org/tiny", LATER)
    assert spec_of("tiny").identity == before


def test_a_name_keeps_its_commit_until_another_is_given(hub: Path, tmp_path: Path) -> None:
    """Pulling again by name restores what the lock pins, though the hub moved on; a commit moves it."""
    text_model(hub / "org" / "tiny" / COMMIT, "bert")
    pull("org/tiny")
    edited(text_model(hub / "org" / "tiny" / LATER, "bert") / "config.json", layer_norm_eps=0.1)
    first = spec_of("tiny").identity
    (tmp_path / "models" / "tiny" / "model.safetensors").write_bytes(b"cut")
    assert pull("tiny")[1].revision == COMMIT
    assert spec_of("tiny").identity == first
    assert pull("org/tiny", LATER)[1].revision == LATER
    assert spec_of("tiny").identity != first


def test_several_models_share_one_lock(hub: Path, tmp_path: Path) -> None:
    """A timm model beside a text model; a known short name stands for its hub id."""
    text_model(hub / "org" / "tiny" / COMMIT, "bert")
    timm_model(hub / KNOWN["resnet50"] / COMMIT, "mobilenetv3_small_050")
    pull("org/tiny")
    pull("resnet50")
    assert set(Lock.read(tmp_path / "models").models) == {"tiny", "resnet50"}
    assert encoder_spec({"type": "timm_image", "model": "resnet50"}).dim == 1024


def test_open_clip_models_are_pulled_in_their_own_layout(hub: Path, tmp_path: Path) -> None:
    """A repository whose transformers layout brings code is pulled as open_clip's, without the code and second copies;
    one that has both layouts without code is pulled as that of transformers.
    """
    for repo, code in ((KNOWN["marqo-ecommerce-b"], {"auto_map": {"AutoModel": "x.X"}}), ("org/both", {})):
        source = text_model(hub / repo / COMMIT, "bert")
        edited(source / "config.json", **code)
        edited(source / "open_clip_config.json", model_cfg={"embed_dim": 24})
        (source / "open_clip_model.safetensors").write_bytes(b"\x02" + bytes(7) + b"{}")  # of no tensors
        (source / "open_clip_pytorch_model.bin").write_bytes(b"pickle")
        (source / "code.py").write_text("")
    pull("marqo-ecommerce-b")
    pull("org/both")
    found = {name: set(model.files) for name, model in Lock.read(tmp_path / "models").models.items()}
    tokenizer = {"tokenizer.json", "tokenizer_config.json"}
    assert found == {
        "marqo-ecommerce-b": {"open_clip_config.json", "open_clip_model.safetensors", *tokenizer},
        "both": {"config.json", "model.safetensors", *tokenizer},
    }
    for name, files in found.items():
        assert {path.name for path in (tmp_path / "models" / name).iterdir()} == files


def test_open_clip_weights_that_are_pickles_only_are_refused_by_the_pull(hub: Path, tmp_path: Path) -> None:
    """The refusal names the file that is lacking, does not advise the pull that failed, and leaves nothing."""
    source = text_model(hub / "org" / "old" / COMMIT, "bert")
    edited(source / "config.json", auto_map={"AutoModel": "x.X"})
    edited(source / "open_clip_config.json", model_cfg={"embed_dim": 24})
    (source / "open_clip_pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(InputError, match=r"open_clip_model\.safetensors in org/old") as caught:
        pull("org/old")
    assert caught.value.came == f"none at {COMMIT}"
    assert "models pull" not in caught.value.fix
    assert not (tmp_path / "models" / "old").exists()


@pytest.mark.parametrize("revision", ["main", "v1.0", "a" * 39, "A" * 40, "a" * 41])
def test_only_a_whole_commit_is_a_revision(hub: Path, revision: str) -> None:
    """Branches, tags and short commits move."""
    text_model(hub / "org" / "tiny" / COMMIT, "bert")
    with pytest.raises(InputError, match="40 hex digits"):
        pull("org/tiny", revision)
    with pytest.raises(ValidationError):
        PulledModel.model_validate({"repo": "org/tiny", "revision": revision, "files": {}})


def test_a_damaged_lock_is_an_error(hub: Path, tmp_path: Path) -> None:
    """A lock that cannot be read is never taken for an empty one."""
    text_model(hub / "org" / "tiny" / COMMIT, "bert")
    pull("org/tiny")
    (tmp_path / "models" / LOCK).write_text("{")
    with pytest.raises(InputError, match=LOCK):
        _ = spec_of("tiny").identity
    for name in ("../x", "a b/c", "siglip9"):
        with pytest.raises(InputError):
            pull(name)


def test_refusals_through_the_command(hub: Path, tmp_path: Path) -> None:
    """Each mistake ends with exit code 2 and a message of three parts, and leaves nothing behind."""
    edited(text_model(hub / "org" / "code" / COMMIT, "bert") / "config.json", auto_map={})
    for words, said in (
        (("siglip9",), "siglip9"),
        (("org/code", "--revision", "main"), "'main'"),
        (("org/code",), "auto_map"),
    ):
        done = vitrine("models", "pull", *words)
        assert done.exit_code == 2
        assert said in told(done.stderr)[1]
    assert not Lock.read(tmp_path / "models").models
    assert {path.name for path in (tmp_path / "models").iterdir()} <= {f".{LOCK}.pulling"}


def test_another_folder_through_the_command(hub: Path, tmp_path: Path) -> None:
    """`--folder` is where the model and its lock come to lie, and the line on stdout says how to name the model."""
    text_model(hub / "org" / "tiny" / COMMIT, "bert")
    done = vitrine("models", "pull", "org/tiny", "--folder", tmp_path / "elsewhere")
    assert done.exit_code == 0, done.stderr
    assert "`model: tiny`" in done.stdout
    assert Lock.read(tmp_path / "elsewhere").models["tiny"].revision == COMMIT
    assert (tmp_path / "elsewhere" / "tiny" / "model.safetensors").is_file()
    assert not (tmp_path / "models").exists()


@pytest.mark.parametrize("revision", [None, COMMIT])
def test_a_hub_that_does_not_answer(tmp_path: Path, revision: str | None) -> None:
    """Without a network the real client's failure is told as such, not as a fault of the disk or of ours."""
    code = f"from encoders.models.pull import pull; pull('siglip2-b16-256', {revision!r})"
    nowhere = {"HF_ENDPOINT": "http://127.0.0.1:9", "VITRINE_MODELS": str(tmp_path), "HF_HOME": str(tmp_path / "home")}
    quick = {"HF_HUB_OFFLINE": "1"} if revision else {}  # the client waits half a minute for a whole commit otherwise
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **nowhere, **quick}, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "foundation.errors.VitrineError: expected: the hub to answer for google/siglip2" in done.stderr
    assert "to do: mend the network" in done.stderr
