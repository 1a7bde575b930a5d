"""Packages that only some hosts need, and so only an extra brings: which one, told where it is wanted and absent.

The base has what answers queries without a network: `lookup` and the commands that only read a store.
"""

from __future__ import annotations

from importlib.util import find_spec

from foundation.errors import InputError

DISTRIBUTION = "vitrine-index"  # not `vitrine`: that name on PyPI is another project
FAISS = {  # distribution -> the extra that brings it
    "faiss-cpu": "cpu",
    "faiss-gpu-cuvs": "gpu",
    "faiss-gpu": "gpu-cu12",
}
# Module -> the extra that brings it. `index` brings what `networks` does.
_EXTRAS = {
    "apache_beam": "index",
    "charset_normalizer": "feeds",
    "deltalake": "delta",
    "faiss": "cpu",
    "httpcore2": "fetch",
    "httpx2": "fetch",
    "lightgbm": "rank",
    "lxml": "feeds",
    "open_clip": "open-clip",
    "peft": "lora",
    "prometheus_client": "index",
    "pyiceberg": "iceberg",
    "rich": "index",
    "stamina": "fetch",
    "timm": "networks",
    "torch": "networks",
    "torchcodec": "networks",
    "transformers": "networks",
    "xxhash": "index",
}


def install(extra: str) -> str:
    """The command that adds `extra` to an installation."""
    return f"pip install '{DISTRIBUTION}[{extra}]'"


def absent(err: ModuleNotFoundError) -> InputError | None:
    """`err` in three parts where it is for a package of an extra that is not installed; None for any other module."""
    extra = _EXTRAS.get(err.name or "")
    if extra is None or find_spec(str(err.name)) is not None:
        return None
    more = " (or gpu, gpu-cu12)" if extra == "cpu" else ""
    return InputError(
        f"the extra `{extra}` of {DISTRIBUTION}, for {err.name}", "not installed", f"{install(extra)}{more}"
    )
