"""Tiny models of the real families, with random weights, saved by the libraries' own code in the real on-disk format.

Their weights are drawn wider than the libraries draw them: untrained towers give nearly the same vector for everything,
and a test that compares such vectors proves nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from encoders.models.folders import OPEN_CLIP_WEIGHTS

CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'红色连衣裙蓝白条纹衬衫女装恤 "


def _drawn(model: Any, seed: int) -> Any:
    """`model` with every matrix drawn anew, so that inputs matter to its outputs, and every vector that its library has
    drawn, as CLIP's class embedding: by a seed of ours, or the model is another one each time.
    """
    generator, vectors = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                fan_in = parameter[0].numel()
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 1.5 / fan_in**0.5)
            elif len(parameter.unique()) > 1:  # neither a bias of 0 nor a scale of 1
                parameter.copy_(torch.randn(parameter.shape, generator=vectors) / len(parameter) ** 0.5)
    return model.eval()


def _byte_pieces() -> list[str]:
    from tokenizers.pre_tokenizers import ByteLevel

    return sorted(ByteLevel.alphabet())


def _clip_tokenizer(end_last: bool) -> Any:
    from transformers import CLIPTokenizer

    pieces = [piece + end for end in ("", "</w>") for piece in _byte_pieces()]
    special = ["<|startoftext|>", "<|endoftext|>"]
    order = [*pieces, *special] if end_last else [*special, *pieces]
    vocab = {piece: i for i, piece in enumerate(order)}
    return CLIPTokenizer(vocab=vocab, merges=[], model_max_length=77)


def _sentence_tokenizer() -> Any:
    from transformers import Siglip2Tokenizer

    pieces = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", *(f"<0x{byte:02X}>" for byte in range(256))]
    pieces += ["▁", *CHARACTERS.replace(" ", "")]
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    # As the checkpoints on the hub: the mask is not passed to the model.
    return Siglip2Tokenizer(
        vocab=vocab, merges=[], model_max_length=64, padding_side="right", model_input_names=["input_ids"]
    )


def _bert_tokenizer(name: str = "BertTokenizer", special: tuple[str, ...] = ()) -> Any:
    import transformers

    pieces = [*(special or ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")), *CHARACTERS.replace(" ", "")]
    pieces += [f"##{character}" for character in CHARACTERS.replace(" ", "")]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    return getattr(transformers, name)(vocab=vocab, model_max_length=60)


def _unigram_tokenizer() -> Any:
    from transformers import XLMRobertaTokenizer

    pieces = ["<s>", "<pad>", "</s>", "<unk>", "▁", *CHARACTERS.replace(" ", ""), "<mask>"]
    return XLMRobertaTokenizer(vocab=[(piece, -1.0) for piece in pieces], model_max_length=60)


def _mpnet_tokenizer() -> Any:
    return _bert_tokenizer("MPNetTokenizer", ("<s>", "<pad>", "</s>", "<unk>", "[UNK]", "<mask>"))


def _roberta_tokenizer() -> Any:
    from transformers import RobertaTokenizer

    vocab = {piece: i for i, piece in enumerate(["<s>", "<pad>", "</s>", "<unk>", *_byte_pieces(), "<mask>"])}
    return RobertaTokenizer(vocab=vocab, merges=[], model_max_length=60)


def _qwen_tokenizer() -> Any:
    from tokenizers.processors import TemplateProcessing
    from transformers import Qwen2Tokenizer

    vocab = {piece: i for i, piece in enumerate([*_byte_pieces(), "<|endoftext|>"])}
    tokenizer = Qwen2Tokenizer(vocab=vocab, merges=[], model_max_length=60)
    # As Qwen3-Embedding: the vector is read at an end token that the tokenizer adds.
    end = ("<|endoftext|>", vocab["<|endoftext|>"])
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(single="$A <|endoftext|>", special_tokens=[end])
    return tokenizer


_TEXT = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
_VISION = {**_TEXT, "image_size": 32, "patch_size": 8}


def clip(folder: Path, legacy: bool = True) -> Path:
    """A CLIP whose config has the old, wrong end token (2, as most on the hub), or the right one."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel

    tokenizer = _clip_tokenizer(end_last=legacy)
    text = {**_TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 77}
    text |= {"eos_token_id": 2 if legacy else tokenizer.eos_token_id, "bos_token_id": tokenizer.bos_token_id}
    config = CLIPConfig(text_config=text, vision_config=_VISION, projection_dim=24)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return _saved(folder, CLIPModel(config), tokenizer, processor)


def siglip(folder: Path) -> Path:
    """A SigLIP of one resolution; SigLIP2 checkpoints of one resolution have this layout too."""
    from transformers import SiglipConfig, SiglipImageProcessor, SiglipModel

    tokenizer = _sentence_tokenizer()
    text = {**_TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 16, "projection_size": 32}
    tokenizer.model_max_length = 16
    processor = SiglipImageProcessor(size={"height": 32, "width": 32}, resample=2)
    return _saved(folder, SiglipModel(SiglipConfig(text_config=text, vision_config=_VISION)), tokenizer, processor)


def siglip2(folder: Path) -> Path:
    """A SigLIP2 NaFlex."""
    from transformers import Siglip2Config, Siglip2ImageProcessor, Siglip2Model

    tokenizer = _sentence_tokenizer()
    tokenizer.model_max_length = 16
    text = {**_TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 16, "projection_size": 32}
    vision = {**_TEXT, "patch_size": 8, "num_patches": 16}
    processor = Siglip2ImageProcessor(patch_size=8, max_num_patches=20)
    return _saved(folder, Siglip2Model(Siglip2Config(text_config=text, vision_config=vision)), tokenizer, processor)


def chinese_clip(folder: Path) -> Path:
    """A Chinese-CLIP: BERT reads the text."""
    from transformers import ChineseCLIPConfig, ChineseCLIPImageProcessor, ChineseCLIPModel

    tokenizer = _bert_tokenizer()
    text = {**_TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 60}
    config = ChineseCLIPConfig(text_config=text, vision_config=_VISION, projection_dim=24)
    processor = ChineseCLIPImageProcessor(size={"height": 32, "width": 32}, do_center_crop=False)
    return _saved(folder, ChineseCLIPModel(config), tokenizer, processor)


def altclip(folder: Path) -> Path:
    """An AltCLIP: XLM-R reads the text."""
    from transformers import AltCLIPConfig, AltCLIPModel, CLIPImageProcessor

    tokenizer = _unigram_tokenizer()
    text = {**_TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 62, "pad_token_id": 1, "project_dim": 24}
    config = AltCLIPConfig(text_config=text, vision_config=_VISION, projection_dim=24)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return _saved(folder, AltCLIPModel(config), tokenizer, processor)


def metaclip_2(folder: Path) -> Path:
    """A MetaCLIP 2: causal, with the tokenizer of XLM-R, whose end token is 2."""
    from transformers import CLIPImageProcessor, MetaClip2Config, MetaClip2Model

    tokenizer = _unigram_tokenizer()
    text = {**_TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 60, "eos_token_id": 2, "pad_token_id": 1}
    config = MetaClip2Config(text_config=text, vision_config=_VISION, projection_dim=24)
    processor = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return _saved(folder, MetaClip2Model(config), tokenizer, processor)


DUALS: dict[str, Callable[[Path], Path]] = {
    "clip": clip,
    "clip_end": lambda folder: clip(folder, legacy=False),
    "siglip": siglip,
    "siglip2": siglip2,
    "chinese_clip": chinese_clip,
    "altclip": altclip,
    "metaclip_2": metaclip_2,
}


def text_model(folder: Path, kind: str) -> Path:
    """A text model of one of `TEXTS`."""
    import transformers

    config_class, tokenizer_of, fields = TEXTS[kind]
    tokenizer = tokenizer_of()
    shape: dict[str, Any] = {**_TEXT, "vocab_size": len(tokenizer), "max_position_embeddings": 64, **fields}
    config = getattr(transformers, config_class)(**shape)
    return _saved(folder, transformers.AutoModel.from_config(config), tokenizer)


TEXTS: dict[str, tuple[str, Callable[[], Any], dict[str, Any]]] = {
    "bert": ("BertConfig", _bert_tokenizer, {}),
    "distilbert": ("DistilBertConfig", _bert_tokenizer, {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 4}),
    "electra": ("ElectraConfig", _bert_tokenizer, {"embedding_size": 32}),
    "modernbert": ("ModernBertConfig", _bert_tokenizer, {"pad_token_id": 0, "global_attn_every_n_layers": 1}),
    "xlm-roberta": ("XLMRobertaConfig", _unigram_tokenizer, {"pad_token_id": 1}),
    "mpnet": ("MPNetConfig", _mpnet_tokenizer, {"pad_token_id": 1}),
    "roberta": ("RobertaConfig", _roberta_tokenizer, {"pad_token_id": 1}),
    "qwen2": ("Qwen2Config", _qwen_tokenizer, {"num_key_value_heads": 2}),
    "qwen3": ("Qwen3Config", _qwen_tokenizer, {"num_key_value_heads": 2, "head_dim": 8}),
}


def open_clip_model(folder: Path, kind: str = "siglip", **preprocess: Any) -> Path:
    """A model as open_clip's are on the hub: `siglip`, with a tokenizer of its own as Marqo-Ecommerce, or `pe`, with
    that inside open_clip as PE-Core.
    """
    import open_clip
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    text: dict[str, Any] = {"context_length": 16, "width": 32, "heads": 4, "layers": 2}
    vision: dict[str, Any] = {"image_size": 32, "layers": 2, "width": 32, "head_width": 8, "patch_size": 8}
    if kind == "siglip":
        tokenizer = _sentence_tokenizer()
        tokenizer.save_pretrained(folder)
        text |= {"vocab_size": len(tokenizer), "hf_tokenizer_name": "timm/ViT-B-16-SigLIP", "pool_type": "last"}
        text |= {"no_causal_mask": True, "tokenizer_kwargs": {"clean": "canonicalize"}}
    else:
        text |= {"vocab_size": 49408}
        vision = {"image_size": 32, "timm_model_name": "test_vit", "timm_pool": "avg", "timm_proj": "linear"}
    settings = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash", **preprocess}
    config = {"embed_dim": 24, "custom_text": True, "text_cfg": text, "vision_cfg": vision}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": settings}))
    torch.manual_seed(4)
    model = _drawn(open_clip.create_model(f"local-dir:{folder}"), 4)
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / OPEN_CLIP_WEIGHTS)
    return folder


def timm_model(folder: Path, architecture: str = "resnet10t", num_classes: int = 7, **settings: Any) -> Path:
    """A timm backbone with a classifier, as it lies on the hub."""
    import timm
    from timm.models._hub import save_for_hf

    torch.manual_seed(5)
    model = timm.create_model(architecture, pretrained=False, num_classes=num_classes, **settings.pop("model_args", {}))
    save_for_hf(_drawn(model, 5), folder, safe_serialization=True)
    if settings:
        config = json.loads((folder / "config.json").read_text())
        config["pretrained_cfg"].update(settings)
        (folder / "config.json").write_text(json.dumps(config))
    return folder


def tiny_model(folder: Path, family: str) -> Path:
    """A small model of a family that examples of encoders name: one of `DUALS` or `TEXTS`, `open_clip`, or else an
    architecture of timm.
    """
    if family in DUALS:
        return DUALS[family](folder)
    if family in TEXTS:
        return text_model(folder, family)
    return open_clip_model(folder) if family == "open_clip" else timm_model(folder, family, input_size=[3, 64, 64])


def _saved(folder: Path, model: Any, tokenizer: Any, processor: Any = None) -> Path:
    _drawn(model, 3).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if processor is not None:
        processor.save_pretrained(folder)
    return folder
