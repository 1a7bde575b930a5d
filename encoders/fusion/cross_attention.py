"""Cross-attention of text tokens and image patches: learned on the catalog by `vitrine train fusion`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from encoders.fusion.learned.folder import Sizes
from encoders.fusion.learned.inputs import Inputs, Padded
from encoders.fusion.learned.layers import bypass, head, result
from encoders.fusion.learned.network import LearnedSpec

if TYPE_CHECKING:
    import torch

_SIDES = ("text", "image")


class Spec(LearnedSpec):
    """Tokens of the text are queries over keys and values of the photo's patches, and the other way round: multi-head
    attention, then an MLP, each with a norm before and a residual around (Vaswani et al. 2017; the two streams are
    those of ViLBERT, Lu et al. 2019, arXiv 1908.02265). The means of both streams, projected, are added to a straight
    way around the network. Queries go through the same network.

    It reads the states of both towers, which encoders without weights do not have.

    **A missing modality** leaves of its stream one learned token, which stands before every stream, so that there is
    always something to attend to. Otherwise the rule is that of `transformer`: hidden at random in training, then items
    with a text only, and those with a photo only, are multiplied each by a factor under which they keep their share of
    top 10s under their own tower.
    """

    reads_states: ClassVar[bool] = True

    type: Literal["cross_attention"] = "cross_attention"

    @staticmethod
    def network(sizes: Sizes, dropout: float = 0.0) -> torch.nn.Module:
        """The layers of both streams, their inputs, the head and the bypass."""
        import torch

        widths = {"text": sizes.text_state_dim, "image": sizes.image_state_dim}
        layers = [
            torch.nn.ModuleDict({side: _stream(sizes.width, sizes.heads, dropout) for side in _SIDES})
            for _ in range(sizes.layers)
        ]
        return torch.nn.ModuleDict(
            {
                "firsts": torch.nn.Embedding(2, sizes.width),
                # States of towers differ in length by orders of magnitude, so they are normalised first.
                **{
                    side: torch.nn.Sequential(
                        torch.nn.LayerNorm(widths[side]), torch.nn.Linear(widths[side], sizes.width)
                    )
                    for side in _SIDES
                },
                "layers": torch.nn.ModuleList(layers),
                "head": head(2 * sizes.width, sizes.dim),
                **bypass(sizes),
            }
        )

    @staticmethod
    def fuse(network: Any, inputs: Inputs) -> torch.Tensor:
        """(n, dim) float, unit rows."""
        import torch

        if inputs.text_states is None or inputs.image_states is None:
            raise ValueError(f"expected states, got {inputs.text.shape[0]} rows without any")
        text, has_text = _begun(network, 0, inputs.text_states)
        image, has_image = _begun(network, 1, inputs.image_states)
        for layer in network["layers"]:
            text, image = (
                _attended(layer["text"], text, image, has_image),
                _attended(layer["image"], image, text, has_text),
            )
        return result(network, inputs, torch.cat([_mean(text, has_text), _mean(image, has_image)], dim=1))


def _stream(width: int, heads: int, dropout: float) -> torch.nn.Module:
    """One side of a layer: what attends to the other side, and the MLP after it."""
    import torch

    mlp = torch.nn.Sequential(
        torch.nn.LayerNorm(width), torch.nn.Linear(width, 4 * width), torch.nn.GELU(), torch.nn.Linear(4 * width, width)
    )
    return torch.nn.ModuleDict(
        {
            "asks": torch.nn.LayerNorm(width),
            "answers": torch.nn.LayerNorm(width),
            "attention": torch.nn.MultiheadAttention(width, heads, dropout, batch_first=True),
            "mlp": mlp,
            "dropout": torch.nn.Dropout(dropout),
        }
    )


def _begun(network: Any, side: int, padded: Padded) -> tuple[torch.Tensor, torch.Tensor]:
    """(n, 1 + longest, width) of the learned first token and the states, and which of them are there."""
    import torch

    n = len(padded.states)
    first = network["firsts"].weight[side].expand(n, 1, -1)
    if padded.states.shape[1]:
        first = torch.cat([first, network[_SIDES[side]](padded.states)], dim=1)
    return first, torch.cat([torch.ones(n, 1, dtype=torch.bool, device=first.device), padded.there], dim=1)


def _attended(stream: Any, asking: torch.Tensor, answering: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """`asking` after one layer: (n, length, width)."""
    keys = stream["answers"](answering)
    found, _ = stream["attention"](stream["asks"](asking), keys, keys, key_padding_mask=~there, need_weights=False)
    asking = asking + stream["dropout"](found)
    out: torch.Tensor = asking + stream["dropout"](stream["mlp"](asking))
    return out


def _mean(states: torch.Tensor, there: torch.Tensor) -> torch.Tensor:
    """(n, width): the mean of what is there."""
    weights = there.unsqueeze(2).to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)
