"""A small transformer over the two towers' vectors: learned on the catalog by `vitrine train fusion`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from encoders.fusion.learned.folder import Sizes
from encoders.fusion.learned.inputs import Inputs
from encoders.fusion.learned.layers import bypass, head, result
from encoders.fusion.learned.network import LearnedSpec

if TYPE_CHECKING:
    import torch


class Spec(LearnedSpec):
    """Three tokens, [fuse], text and photo, each with an embedding of its kind, through an encoder of 1 to 3 layers
    (Vaswani et al. 2017, norms first); the embedding is read at [fuse], beside a straight way around the network.
    Queries go through the same network.

    **A missing modality** is masked: nothing attends to it. The network meets such items in training, where each
    modality is hidden at random. What is left of their advantage is measured after it: items with a text only, and
    those with a photo only, are multiplied each by a factor under which 30% of the products, their photos hidden, keep
    their share of text queries' top 10 under the text tower's own ranking (and for photos likewise). As with
    `weighted_sum`, one factor holds for catalogs about as large as the one that it was measured on, at most 4,096
    products.
    """

    type: Literal["transformer"] = "transformer"

    @staticmethod
    def network(sizes: Sizes, dropout: float = 0.0) -> torch.nn.Module:
        """The encoder, its token embeddings, its head and the bypass."""
        import torch

        width = sizes.width
        layer = torch.nn.TransformerEncoderLayer(
            width, sizes.heads, 4 * width, dropout, activation="gelu", batch_first=True, norm_first=True
        )
        return torch.nn.ModuleDict(
            {
                "kinds": torch.nn.Embedding(3, width),
                "text": torch.nn.Linear(sizes.text_dim, width),
                "image": torch.nn.Linear(sizes.image_dim, width),
                "encoder": torch.nn.TransformerEncoder(layer, sizes.layers, enable_nested_tensor=False),
                "head": head(width, sizes.dim),
                **bypass(sizes),
            }
        )

    @staticmethod
    def fuse(network: Any, inputs: Inputs) -> torch.Tensor:
        """(n, dim) float, unit rows."""
        import torch

        fuse, text, image = network["kinds"].weight
        tokens = torch.stack(
            [
                fuse.expand(len(inputs.text), -1),
                text + network["text"](inputs.text),
                image + network["image"](inputs.image),
            ],
            dim=1,
        )
        absent = torch.stack([torch.zeros_like(inputs.has_text), ~inputs.has_text, ~inputs.has_image], dim=1)
        read = network["encoder"](tokens, src_key_padding_mask=absent)[:, 0]
        return result(network, inputs, read)
