"""Layers that the networks of learned fusions share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from encoders.fusion.learned.folder import Sizes
from encoders.fusion.learned.inputs import Inputs

if TYPE_CHECKING:
    import torch


def bypass(sizes: Sizes) -> dict[str, torch.nn.Module]:
    """A straight way from each tower's vectors to the result, around the network.

    A few thousand products are too few to learn again what the towers know, so the network begins as something that
    works, and learns what to add: of towers that share a space their sum; of others a random projection of each, which
    keeps the cosines within a tower (Johnson and Lindenstrauss 1984) to about 1 / sqrt(dim).
    """
    import torch

    ways = torch.nn.ModuleDict(
        {
            "text": torch.nn.Linear(sizes.text_dim, sizes.dim, bias=False),
            "image": torch.nn.Linear(sizes.image_dim, sizes.dim, bias=False),
        }
    )
    for name, length in (("text", sizes.text_dim), ("image", sizes.image_dim)):
        matrix = _matrix(ways[name])
        if sizes.shared:
            torch.nn.init.eye_(matrix)
        else:  # with a gain that leaves either tower's vectors about as long as they are
            torch.nn.init.orthogonal_(matrix, gain=max(1, length / sizes.dim) ** 0.5)
    return {"bypass": ways}


def head(width: int, dim: int) -> torch.nn.Module:
    """(n, width) -> (n, dim): normalised, then a linear layer that begins at zero, as the bypass does the work then."""
    import torch

    linear = torch.nn.Linear(width, dim)
    torch.nn.init.zeros_(linear.weight)
    torch.nn.init.zeros_(linear.bias)
    return torch.nn.Sequential(torch.nn.LayerNorm(width), linear)


def result(network: Any, inputs: Inputs, read: torch.Tensor) -> torch.Tensor:
    """(n, dim) float, unit rows: what was `read` by the network, (n, width), through its head, and the bypass."""
    import torch

    straight = network["bypass"]["text"](inputs.text) + network["bypass"]["image"](inputs.image)
    return torch.nn.functional.normalize(straight + network["head"](read), dim=1)


def _matrix(layer: Any) -> torch.Tensor:
    weight: torch.Tensor = layer.weight
    return weight
