"""Low-rank training (LoRA, Hu et al. 2021, arXiv 2106.09685): each linear layer W learns B A beside it, W itself stays.

B begins at zero, so that a training begins with the very model. In the end B A is added to W: the result is a plain
model, as fast as the one that it came from, which `dual` loads without the package that made the adapters.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from foundation.errors import InputError
from foundation.extras import install

if TYPE_CHECKING:
    import torch


def add_adapters(model: torch.nn.Module, rank: int, seed: int) -> None:
    """Put an adapter of `rank` beside each linear layer of `model` that learns; all else but scale and bias of the
    logits stays as it is. The same seed draws the same adapters.

    InputError where the extra is not installed, or no linear layer learns.
    """
    import torch

    if find_spec("peft") is None:
        fix = f"{install('lora')}, or set train.low_rank=0"
        raise InputError("the package peft for train.low_rank", "not installed", fix)
    from peft import LoraConfig, inject_adapter_in_model

    targets = [name for name, module in model.named_modules() if _learns(module)]
    if not targets:
        raise InputError("a linear layer that learns", f"none in {type(model).__name__}", "set train.low_rank=0")
    # A scale of 1: lora_alpha is the rank, and the learning rate says how fast it goes.
    config = LoraConfig(r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=targets)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)
    for name, parameter in model.named_parameters():
        if name.startswith("logit_"):
            parameter.requires_grad_(True)


def merge_adapters(model: torch.nn.Module) -> None:
    """Add every adapter to its layer and take it away; nothing where there is none."""
    if not hasattr(model, "peft_config"):
        return
    from peft.tuners.lora import LoraLayer

    for name, layer in list(model.named_modules()):
        if isinstance(layer, LoraLayer):
            adapted: Any = layer
            adapted.merge(safe_merge=True)
            model.set_submodule(name, adapted.get_base_layer())
    del model.peft_config


def _learns(module: torch.nn.Module) -> bool:
    """A linear layer with gradients. Subclasses are parts of others, whose forward reads their weights past them."""
    import torch

    return type(module) is torch.nn.Linear and module.weight.requires_grad
