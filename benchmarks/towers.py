"""What the system takes of an encoder's CPU time: a CNN, a ViT and a text tower, with memory kept or not.

    python benchmarks/towers.py [--photos 192] [--texts 2000] [--threads 2]

Real architectures with random weights, through the encoders that runs use, in a thread as Beam's workers are: each line
is a process of its own, which is told to keep memory (`foundation.allocator.keep_memory`) before torch is imported, or
not. User and system seconds are those of the encoding alone; the peak is the process's. `benchmarks/encode.py` has this
table too.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measure import apart, here

COLUMNS = ["tower", "memory", "layout", "photos or tokens at once", "threads"] + [
    f"{what}" for what in ("wall s", "user s", "system s", "system share", "peak MB")
]
Way = tuple[bool, bool, int]  # memory kept, channels last, photos at once (0: the encoder's own)
CNN: list[Way] = [(False, False, 32), (False, True, 32), (False, True, 8), (True, False, 32), (True, True, 32)]
CNN += [(True, True, 4), (True, True, 8)]
VIT: list[Way] = [(False, False, 32), (True, False, 32), (True, False, 8)]
TEXT: list[Way] = [(False, False, 0), (True, False, 0)]
CASES = [
    ("EfficientNet-Lite0", "efficientnet_lite0", CNN),
    ("ResNet-50", "resnet50", CNN),
    ("ViT-B/32", "vit_base_patch32_224", VIT),
    ("CLIP's text tower", "clip", TEXT),
]


def rows(photos: int, texts: int, threads: int) -> list[list[str]]:
    """A row for each tower and way, printed as it comes."""
    found = []
    with tempfile.TemporaryDirectory() as scratch:
        for name, architecture, ways in CASES:
            folder = made(Path(scratch), architecture)
            n = texts if architecture == "clip" else photos
            sets = [1, threads] if ways is not TEXT and threads > 1 else [threads]
            for each in sets:
                for way in ways if each == threads else ways[-1:]:
                    given = json.dumps([str(folder), architecture, n, each, *way])
                    found.append(row(name, each, way, apart(__file__, "--child", given)))
                    print(*found[-1], sep=" | ", flush=True)
    return found


def row(name: str, threads: int, way: Way, took: dict[str, float]) -> list[str]:
    kept, last, _ = way
    share = took["system_s"] / (took["user_s"] + took["system_s"])
    layout = "-" if name.startswith("CLIP") else "channels last" if last else "as loaded"
    said = [name, "kept" if kept else "given back", layout, f"{took['at_once']:.0f}", str(threads)]
    seconds = [f"{took[what]:.1f}" for what in ("wall_s", "user_s", "system_s")]
    return [*said, *seconds, f"{share:.1%}", f"{took['peak_mb']:.0f}"]


def made(scratch: Path, architecture: str) -> Path:
    """A model folder of random weights."""
    if architecture == "clip":
        from encode import clip_folder

        return clip_folder(scratch)
    import timm
    import torch
    from timm.models._hub import save_for_hf

    torch.manual_seed(0)
    save_for_hf(timm.create_model(architecture, pretrained=False), scratch / architecture, safe_serialization=True)
    return scratch / architecture


def child(folder: str, architecture: str, n: int, threads: int, kept: bool, last: bool, at_once: int) -> None:
    """One measurement, printed as JSON."""
    from foundation.allocator import keep_memory, share_heaps

    (keep_memory if kept else share_heaps)()
    import torch

    torch.set_num_threads(threads)
    work, size = texts_of(folder, n) if architecture == "clip" else photos_of(folder, n, last, at_once)
    work(1)
    before = os.times()
    took: list[dict[str, float]] = []
    worker = threading.Thread(target=lambda: took.append(here(lambda: work(None))))
    worker.start()
    worker.join()
    after = os.times()
    seconds = {"user_s": after.user - before.user, "system_s": after.system - before.system}
    print(json.dumps({**took[0], **seconds, "at_once": size}))


def photos_of(folder: str, n: int, last: bool, at_once: int) -> tuple[Any, int]:
    import torch

    from encoders.base import encoder_spec, load_image

    encoder: Any = load_image(encoder_spec({"type": "timm_image", "model": folder}), "cpu")
    encoder._model.to(memory_format=torch.channels_last if last else torch.contiguous_format)
    encoder.micro_batch = encoder._room.size = at_once
    photos = list(np.random.default_rng(0).integers(0, 256, (n, 224, 224, 3), dtype=np.uint8))
    return lambda first: encoder.encode_prepared(photos[: first and at_once]), at_once


def texts_of(folder: str, n: int) -> tuple[Any, int]:
    from encode import long_texts

    from encoders.base import encoder_spec, load_text

    encoder: Any = load_text(encoder_spec({"type": "dual", "model": folder}), "cpu")
    texts: Sequence[str] = long_texts(n)
    return lambda first: encoder.encode(texts[: first and 64]), encoder._room.size


def table(found: list[list[str]]) -> str:
    """The rows in Markdown."""
    lines = ["| " + " | ".join(COLUMNS) + " |", "|" + " --- |" * len(COLUMNS)]
    return "\n".join(lines + ["| " + " | ".join(one) + " |" for one in found])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photos", type=int, default=192)
    parser.add_argument("--texts", type=int, default=2000)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--child", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child:
        child(*json.loads(given.child))
    else:
        print(table(rows(given.photos, given.texts, given.threads)))


if __name__ == "__main__":
    main()
