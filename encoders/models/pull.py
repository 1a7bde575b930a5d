"""`vitrine models pull`: the one place of this package that uses a network."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from encoders.models.folders import OPEN_CLIP_CONFIG, OPEN_CLIP_WEIGHTS, PICKLES, WEIGHTS, models_folder
from encoders.models.lock import Lock, PackagedModel, PulledModel
from encoders.models.packages import PACKAGED, command_for
from encoders.models.put import held, layout_of, put
from encoders.models.weights import tensors_of, write_weights
from foundation.errors import InputError, VitrineError

if TYPE_CHECKING:
    import torch

_log = logging.getLogger(__name__)

# Short names of the models that the shipped configs use. The commit is pinned when they are pulled.
KNOWN = {
    "bert-base-chinese": "google-bert/bert-base-chinese",
    "bge-m3": "BAAI/bge-m3",
    "chinese-clip-b16": "OFA-Sys/chinese-clip-vit-base-patch16",
    "dinov2-b14": "timm/vit_base_patch14_dinov2.lvd142m",
    "marqo-ecommerce-b": "Marqo/marqo-ecommerce-embeddings-B",
    "marqo-ecommerce-l": "Marqo/marqo-ecommerce-embeddings-L",
    "resnet50": "timm/resnet50.a1_in1k",
    "siglip2-b16-256": "google/siglip2-base-patch16-256",
    "siglip2-so400m-384": "google/siglip2-so400m-patch14-384",
}
_COMMIT = re.compile(r"[0-9a-f]{40}")
_SETTINGS = ["*.json", "*.txt", "*.model"]
_PICKLED = ["pytorch_model*.bin"]
# What a repository has for transformers beside open_clip's layout: not read there, and often code comes with it.
_NOT_OPEN_CLIP = ("config.json", "preprocessor_config.json", "processor_config.json")
_DEEPER = ["*/*"]  # onnx/, openvino/ and the like are never loaded


def pull(name_or_repo: str, revision: str | None = None, folder: Path | None = None) -> tuple[str, PulledModel]:
    """Fetch a model into `folder` (else the models folder) and pin it in its lock: (name to use in configs, entry).

    `name_or_repo` is a key of `KNOWN`, a name that the lock has, or a hub id (`org/name`). Without `revision` an entry
    of the lock keeps its commit, and any other model gets the newest one, which is then pinned.
    """
    folder = folder or models_folder()
    with held(folder) as lock:
        name, repo = _named(name_or_repo, lock)
        before = lock.models.get(name)
        if isinstance(before, PackagedModel):
            came = f"{name!r}, which is of {before.origin}"
            raise InputError(
                "a name that no packaged model has", came, "pull into another --folder, or remove that one"
            )
        commit = _commit(repo, revision, before)
        entry = put(
            folder,
            lock,
            name,
            lambda target: _fetch(repo, commit, target),
            lambda files: PulledModel(repo=repo, revision=commit, files=files),
        )
    return name, entry


def _named(name_or_repo: str, lock: Lock) -> tuple[str, str]:
    """(name, hub id)."""
    locked = lock.models.get(name_or_repo)
    if isinstance(locked, PulledModel):
        return name_or_repo, locked.repo
    if name_or_repo in KNOWN:
        return name_or_repo, KNOWN[name_or_repo]
    if name_or_repo in PACKAGED:
        raise InputError(
            "a model of the hub", repr(name_or_repo), f"`{command_for(name_or_repo)}`: a package carries it"
        )
    if not re.fullmatch(r"[\w.-]+/[\w][\w.-]*", name_or_repo):
        raise InputError(f"a hub id (org/name), or one of {', '.join(KNOWN)}", repr(name_or_repo), "correct the name")
    return name_or_repo.split("/")[1], name_or_repo


def _commit(repo: str, revision: str | None, before: PulledModel | None) -> str:
    if revision is None and before is not None and before.repo == repo:
        return before.revision
    if revision is None:
        from huggingface_hub import HfApi

        with _hub(repo):
            revision = str(HfApi().model_info(repo).sha)
        _log.info("%s: pinned to its newest commit, %s", repo, revision)
    if not _COMMIT.fullmatch(revision):
        raise InputError(
            "a commit of 40 hex digits", f"{repo}: {revision!r}", "branches and tags move: give the commit"
        )
    return revision


def _fetch(repo: str, commit: str, target: Path) -> None:
    """`target` holds the files of `commit` in one layout, with safetensors in place of pickles."""
    from huggingface_hub import snapshot_download

    def fetch(patterns: list[str], ignored: list[str]) -> None:
        with _hub(repo):
            snapshot_download(repo, revision=commit, local_dir=target, allow_patterns=patterns, ignore_patterns=ignored)

    fetch(_SETTINGS, _DEEPER)
    if layout_of(target) == OPEN_CLIP_CONFIG:
        for name in _NOT_OPEN_CLIP:
            (target / name).unlink(missing_ok=True)
        fetch([OPEN_CLIP_WEIGHTS], _DEEPER)
        if not (target / OPEN_CLIP_WEIGHTS).exists():
            raise InputError(
                f"{OPEN_CLIP_WEIGHTS} in {repo}, because this layout is taken from safetensors only",
                f"none at {commit}",
                "choose a model that has one, or a commit that does (--revision)",
            )
    else:
        (target / OPEN_CLIP_CONFIG).unlink(missing_ok=True)
        fetch(["*.safetensors"], [*_DEEPER, "open_clip*"])
        if not list(target.glob("*.safetensors")):
            fetch(_PICKLED, _DEEPER)
            _log.warning("%s has pickled weights only: converting them into %s", repo, WEIGHTS)
            _convert(target)
    # The hub client keeps its notes there.
    shutil.rmtree(target / ".cache", ignore_errors=True)


@contextmanager
def _hub(repo: str) -> Iterator[None]:
    """The hub's refusals and a network that is not there, in three parts."""
    from huggingface_hub import errors

    absent = (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.GatedRepoError)
    client: Any = errors  # it does not say that it exports HTTPError, the base of its HTTP library's errors
    network = (client.HTTPError, errors.LocalEntryNotFoundError, ConnectionError, TimeoutError)
    try:
        yield
    except absent as err:
        fix = (
            "correct the name or the commit; where the model's card asks for it, accept its licence and `hf auth login`"
        )
        raise InputError(f"{repo} on the hub, open to you", _first_line(err), fix) from err
    except network as err:
        fix = "mend the network or HF_ENDPOINT, or copy the models folder with its lock from a machine that has it"
        raise VitrineError(f"the hub to answer for {repo}", _first_line(err), fix) from err


def _first_line(err: Exception) -> str:
    return f"{type(err).__name__}: {str(err).strip().partition(chr(10))[0]}"


def _convert(target: Path) -> None:
    """Pickled weights become `model.safetensors`, with the unpickler that makes tensors and nothing else."""
    pickles = sorted(path for path in target.iterdir() if path.suffix in PICKLES)
    if not pickles:
        raise InputError("weights, as safetensors or as pytorch_model.bin", f"none in {target.name}", "choose another")
    weights: dict[str, torch.Tensor] = {}
    for path in pickles:
        weights |= tensors_of(path)
    write_weights(weights, target / WEIGHTS)
    for path in [*pickles, *target.glob("*.bin.index.json")]:
        path.unlink()
