"""Model folders: where they are, what they may hold, and the digests that tell one model from another.

`model:` in a config is `builtin`, the small model that ships in this package; or the path of a folder (it has a `/`,
or begins with `.` or `~`); or the name of an entry that `vitrine models pull` or `vitrine models add` put into the
models folder (`VITRINE_MODELS`, else `models` under the current directory). Where the entry came from and the digest of
each of its files are in `models.lock` there. Nothing is ever downloaded here.

What is refused, before any of it reaches a library: pickled weights (loading them runs code), `auto_map` and attention
kernels named by a hub id (both fetch and run code), adapters (they name a second model), model types that nobody
checked, and files that differ from the lock.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from blake3 import blake3
from packaging.version import Version

import encoders
from encoders.models.lock import LOCK, Lock, LockedModel
from encoders.models.packages import command_for
from foundation.errors import InputError, VitrineError
from foundation.regular_files import SMALL_FILE, IrregularFileError, OversizedFileError, open_regular, read_regular

BUILTIN = "builtin"  # the model that ships in encoders/
WEIGHTS = "model.safetensors"
OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
PICKLES = frozenset({".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle"})
DECIDING = frozenset({".safetensors", ".json", ".txt", ".model"})  # weights, settings, vocabularies, sentencepiece
TRANSFORMERS_FLOOR = "5.3"  # CVE-2026-4372: before it, a config.json runs code even with remote code off
_KERNELS = frozenset({None, "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"})
_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_MOST_HEADER = 10**8  # bytes, as safetensors itself has it


@dataclass(frozen=True)
class ModelFolder:
    """A folder that was looked at and not refused; none of its weights were read yet."""

    path: Path
    config: dict[str, Any]  # its config.json, or open_clip_config.json
    locked: LockedModel | None

    def digests(self) -> dict[str, str]:
        """File name -> blake3 of every file that decides the vectors: the lock's, else measured once per process."""
        if self.locked:
            return {name: file.blake3 for name, file in self.locked.files.items()}
        return {path.name: _digest_once(path) for path in deciding_files(self.path)}

    def verify(self) -> None:
        """Read every byte; InputError when one differs from the lock. A folder without a lock has nothing to differ."""
        if self.locked is None:
            return
        for name, file in self.locked.files.items():
            found = digest_of(self.path / name)
            if found != file.blake3:
                raise InputError(
                    f"{self.path / name} as {LOCK} has it, blake3 {file.blake3[:16]}",
                    f"blake3 {found[:16]}: the file was changed after it was {self.locked.came_by}",
                    f"remove {self.path} and run `{self.locked.command} {self.path.name}`",
                )


def models_folder() -> Path:
    """Where pulled models are: `VITRINE_MODELS`, else `models` under the current directory."""
    return Path(os.environ.get("VITRINE_MODELS", "models"))


def open_model(model: str, settings: str = "config.json") -> ModelFolder:
    """The folder that `model` names, checked by its names, sizes and settings; InputError when it cannot be used.

    `settings` says whose layout it must have: `config.json` is that of transformers and timm, OPEN_CLIP_CONFIG
    open_clip's.
    """
    path = located(model)
    _refuse_other_layouts(path, settings)
    _refuse_pickles(path, (OPEN_CLIP_WEIGHTS,) if settings == OPEN_CLIP_CONFIG else (WEIGHTS, f"{WEIGHTS}.index.json"))
    for file in sorted(path.rglob("*config*.json")):
        _refuse_remote_code(file, _json(file))
    if (path / "adapter_config.json").exists():
        raise InputError("a whole model", f"{path}: an adapter of another one", "merge the two and save the result")
    locked = Lock.read(path.parent).models.get(path.name)
    if locked:
        _refuse_other_files(path, locked)
    for file in () if locked else sorted(path.glob("*.safetensors")):  # of a locked one every byte is compared
        refuse_cut(file)
    config = _json(path / settings)
    if not isinstance(config, dict):
        raise InputError(f"a JSON object in {settings}", f"{path}: {type(config).__name__}", "restore the file")
    return ModelFolder(path, config, locked)


def refuse_model_type(folder: ModelFolder, allowed: Collection[str]) -> str:
    """The model type of a transformers folder; InputError when it is not one of `allowed`."""
    found = folder.config.get("model_type")
    if found not in allowed:
        raise InputError(
            f"a model of type {', '.join(sorted(allowed))}",
            f"{folder.path / 'config.json'}: model_type {found!r}",
            "choose one of these, or another `type:` of encoder; types are listed once their vectors are proved",
        )
    return str(found)


def refuse_old_transformers() -> None:
    """InputError when the installed transformers is older than its security floor."""
    found = installed_version("transformers")
    if Version(found) < Version(TRANSFORMERS_FLOOR):
        raise InputError(f"transformers {TRANSFORMERS_FLOOR} or newer", found, "upgrade it: older ones run config.json")


def refuse_cut(file: Path) -> None:
    """InputError for a file of weights whose header cannot be read or is of a longer file: nothing else is read.

    Layout: the header's length in 8 bytes, little-endian; the header, JSON whose `data_offsets` end where the file
    does (https://huggingface.co/docs/safetensors, "Format").
    """
    facts = file.stat()
    problem = _cut(file, facts.st_size, facts.st_mtime_ns)
    if problem is not None:
        fix = "restore the file, or pull the model again"
        raise InputError("whole weights in the format of safetensors", f"{file}: {problem}", fix)


def refuse_damaged_settings(path: Path) -> None:
    """InputError for a JSON file at the top of a model folder that is none: a tokenizer, say, that was cut."""
    for file in deciding_files(path):
        if file.suffix == ".json":
            _json(file)


def deciding_files(path: Path) -> list[Path]:
    """The files at the top of a model folder that decide its vectors, by name; what lies deeper is never loaded."""
    return sorted(file for file in path.iterdir() if file.is_file() and file.suffix in DECIDING)


def pins_of(model: str) -> dict[str, str]:
    """File name -> what changes when it is replaced, written to or touched, of what decides the vectors of the model
    that a config names, and of its lock.
    """
    path = located(model)
    return {file.name: _pin(file) for file in (*deciding_files(path), path.parent / LOCK) if file.exists()}


def digest_of(path: Path) -> str:
    """64 hex digits: the blake3 of a file, read by all cores."""
    return blake3(max_threads=blake3.AUTO).update_mmap(path).hexdigest()


def located(model: str) -> Path:
    """The folder of a model that a config names; nothing in it is read. InputError where there is none."""
    if model == BUILTIN:
        return Path(encoders.__file__).parent / BUILTIN
    if "/" in model or model.startswith((".", "~")):
        path = Path(model).expanduser()
        if not path.is_dir():
            hub = _HUB_ID.fullmatch(model)
            raise InputError(
                "the path of a model folder, or the name of a pulled model",
                f"{model!r}: no such folder" + ("; a hub id may mean other weights tomorrow" if hub else ""),
                f"`vitrine models pull {model}` pins its commit" if hub else "correct the path",
            )
        return path
    path = models_folder() / model
    if model not in Lock.read(path.parent).models or not path.is_dir():
        raise InputError(
            f"a model in {path.parent / LOCK}",
            f"{model!r}, which is not in it or whose folder is gone",
            f"run `{command_for(model)}`, or set VITRINE_MODELS to the folder that has it",
        )
    return path


def _refuse_other_layouts(path: Path, settings: str) -> None:
    """A folder that only the other kind of encoder can read is told apart from a damaged one."""
    other = "config.json" if settings == OPEN_CLIP_CONFIG else OPEN_CLIP_CONFIG
    if not (path / settings).exists() and (path / other).exists():
        wanted, fix = (
            ("open_clip", "dual") if settings == OPEN_CLIP_CONFIG else ("transformers or timm", "open_clip_dual")
        )
        raise InputError(
            f"a folder of {wanted}, with {settings}", f"{path}: {other}", f"use `type: {fix}` for this model"
        )


def _refuse_pickles(path: Path, weights: tuple[str, ...]) -> None:
    """`weights` are the names that they may have."""
    if any((path / name).is_file() for name in weights):
        return
    pickles = sorted(file.name for file in path.iterdir() if file.suffix in PICKLES)
    came = f"pickles, which run code when they are loaded: {', '.join(pickles)}" if pickles else "no weights"
    raise InputError(f"{weights[0]} in {path}", came, "`vitrine models pull` converts pickled weights once")


def _refuse_remote_code(file: Path, settings: Any) -> None:
    for key, value in _pairs(settings):
        if key == "auto_map":
            came = f"{file}: auto_map, code that comes with the model"
            raise InputError("a model that the installed libraries know", came, "choose a model without remote code")
        if "attn_implementation" in key and value not in _KERNELS:
            came = f"{file}: {key}: {value!r}, a kernel from elsewhere"
            raise InputError("attention of the installed libraries", came, "remove the key, or choose another model")


def _pairs(settings: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value at any depth of a JSON document."""
    if isinstance(settings, dict):
        yield from settings.items()
    if isinstance(settings, dict | list):
        for value in settings.values() if isinstance(settings, dict) else settings:
            yield from _pairs(value)


def _refuse_other_files(path: Path, locked: LockedModel) -> None:
    """Names and sizes against the lock: what can be told without reading."""
    found = {file.name: file.stat().st_size for file in deciding_files(path)}
    expected = {name: file.size for name, file in locked.files.items()}
    wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    if wrong:
        raise InputError(
            f"the files of {path} as {LOCK} has them",
            ", ".join(f"{name}: {found.get(name, 'no')} bytes, not {expected.get(name, 'there')}" for name in wrong),
            f"remove {path} and run `{locked.command} {path.name}`",
        )


def _json(path: Path) -> Any:
    try:
        return json.loads(read_regular(path, SMALL_FILE))
    except FileNotFoundError as err:
        raise InputError(f"{path.name} in the model folder", f"{path}: no such file", "pull the model again") from err
    except (ValueError, RecursionError, IrregularFileError, OversizedFileError) as err:
        raise InputError("JSON in UTF-8", f"{path}: {err}", "restore the file, or pull the model again") from err


@lru_cache(maxsize=4096)
def _cut(file: Path, size: int, mtime_ns: int) -> str | None:
    """What is wrong with a file of weights; None where its header is whole and of its size."""
    with open_regular(file) as opened:
        length = int.from_bytes(opened.read(8), "little")
        if size < 8 or not 2 <= length <= min(size - 8, _MOST_HEADER):
            return f"a header of {length:,} bytes in a file of {size:,}"
        try:
            header = json.loads(opened.read(length))
            ends = [tensor["data_offsets"][1] for name, tensor in header.items() if name != "__metadata__"]
            end = 8 + length + max(ends, default=0)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            return "a header that is no JSON of tensors"
    return None if end == size else f"{size:,} bytes, and by its header {end:,}"


def _digest_once(path: Path) -> str:
    return _cached_digest(path, _pin(path))


@lru_cache(maxsize=4096)
def _cached_digest(path: Path, pin: str) -> str:
    digest = digest_of(path)
    if _pin(path) != pin:
        raise changed_model(str(path))
    return digest


def _pin(path: Path) -> str:
    facts = path.stat()
    return f"{facts.st_size} {facts.st_mtime_ns} {facts.st_ino} {facts.st_ctime_ns}"


def changed_model(where: str) -> VitrineError:
    """The error for a model whose files changed between what told which one it is, and its use."""
    return VitrineError(
        "models that stay as they are while they are in use",
        f"{where} changed meanwhile",
        "start again when the model is in place; put another version into a folder of its own",
    )
