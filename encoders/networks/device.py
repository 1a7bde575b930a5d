"""What every network needs of its device: that it is there, weights of the right precision, and room for a batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from foundation.arrays import Vectors
from foundation.errors import InputError

if TYPE_CHECKING:
    import torch

Precision = Literal["fp32", "bf16"]
Row = TypeVar("Row")

_log = logging.getLogger(__name__)


def device_of(name: str) -> torch.device:
    """The device called `name` (`cpu`, `cuda`, `cuda:1`); InputError when this machine has it not."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError as err:
        raise InputError("a device: cpu, cuda or cuda:N", repr(name), "correct encoders.device") from err
    there = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.type not in ("cpu", "cuda") or (device.index or 0) >= there:
        found = f"{there} CUDA devices that torch {torch.__version__} can use"
        raise InputError(f"a device {name!r}", found, "set encoders.device to cpu, or mend the driver (`nvidia-smi`)")
    return device


def dtype_of(precision: Precision, device: torch.device) -> torch.dtype:
    """The type of the weights. Autocast is not used: it casts them again in each call, and is slower on CPUs."""
    import torch

    if precision == "fp32":
        return torch.float32
    if device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        _log.warning("this CPU has no bf16 instructions: bf16 gives the same vectors as elsewhere, but slowly")
    return torch.bfloat16


def unit_rows(outputs: torch.Tensor) -> Vectors:
    """(n, d) float32 on the host, unit rows, of (n, d) outputs of any precision on any device."""
    import torch

    unit: Vectors = torch.nn.functional.normalize(outputs.float(), dim=1).cpu().numpy()
    return unit


def to_device(array: npt.NDArray[Any], device: torch.device) -> torch.Tensor:
    """A copy of the same shape and dtype on `device`; towards a GPU through pinned memory, so that the copy overlaps
    with its work.
    """
    import torch

    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def convolutional(network: torch.nn.Module) -> bool:
    """Whether convolutions do the work, and not only cut patches: one or more for two linear layers.

    So ResNet, EfficientNet, ConvNeXt and MaxViT count, ViT, Swin and what else has one for its patches do not.
    """
    import torch

    parts = list(network.modules())
    convolutions = sum(isinstance(part, torch.nn.Conv2d) for part in parts)
    return 2 * convolutions >= max(2, sum(isinstance(part, torch.nn.Linear) for part in parts))


def distinct(keys: Sequence[Hashable]) -> tuple[list[int], npt.NDArray[np.intp]]:
    """(position of the first of each distinct key, for each row the number of its key): equal rows cost one forward."""
    numbers: dict[Hashable, int] = {}
    firsts: list[int] = []
    inverse = np.empty(len(keys), dtype=np.intp)
    for row, key in enumerate(keys):
        if key not in numbers:
            numbers[key] = len(firsts)
            firsts.append(row)
        inverse[row] = numbers[key]
    return firsts, inverse


class Room:
    """How much one forward may hold; halved when the device runs out of memory, and remembered.

    Shared by threads. Two that halve at once may halve twice, which costs speed only.
    """

    def __init__(self, size: int) -> None:
        self.size = size  # padded tokens, or photos
        self.halvings = 0

    def encode(
        self, forward: Callable[[Sequence[Row]], Vectors], rows: Sequence[Row], lengths: Sequence[int]
    ) -> Vectors:
        """(n, d) float32: `forward` of consecutive pieces of one row or more, each at most `size` when padded.

        `lengths` ascend: what row i takes, and all rows with it that stand before it in the same piece.
        """
        done: list[Vectors] = []
        start = 0
        while start < len(rows):
            size = self.size
            end = _end(lengths, start, size)
            failure: RuntimeError | None = None
            try:
                done.append(forward(rows[start:end]))
            except RuntimeError as err:
                if not _lacks_memory(err):
                    raise
                failure = err.with_traceback(None)  # its frames would keep the tensors alive that did not fit
            if failure is None:
                start = end
                continue
            if end - start == 1:
                raise RuntimeError(f"a row of length {lengths[start]} does not fit into device memory: {failure}")
            self._halve((end - start) * lengths[end - 1])
        return np.concatenate(done)

    def _halve(self, held: int) -> None:
        import torch

        self.size = max(1, min(self.size, held) // 2)
        self.halvings += 1
        _log.warning("the device ran out of memory with a batch of %d: halved to %d from now on", held, self.size)
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def encode_distinct(
    rows: Sequence[Row],
    keys: Sequence[Hashable],
    lengths: Sequence[int],
    forward: Callable[[Sequence[Row]], Vectors],
    room: Room,
) -> tuple[Vectors, npt.NDArray[np.intp]]:
    """(vectors (distinct keys, d) float32, for each row the place of its own there): equal keys once, the shortest
    first, in pieces that fit `room`.

    `lengths` are what rows take of the room.
    """
    firsts, inverse = distinct(keys)
    order = sorted(range(len(firsts)), key=lambda i: lengths[firsts[i]])
    vectors = room.encode(forward, [rows[firsts[i]] for i in order], [lengths[firsts[i]] for i in order])
    back = np.empty(len(order), dtype=np.intp)
    back[order] = np.arange(len(order))
    return vectors, back[inverse]


def _lacks_memory(err: RuntimeError) -> bool:
    """Whether a forward failed for want of memory. cuBLAS and cuDNN take theirs past torch; the CPU's has no class."""
    import torch

    signs = ("ALLOC_FAILED", "can't allocate memory")
    return isinstance(err, torch.OutOfMemoryError) or any(sign in str(err) for sign in signs)


def _end(lengths: Sequence[int], start: int, size: int) -> int:
    end = start + 1
    while end < len(lengths) and (end + 1 - start) * lengths[end] <= size:
        end += 1
    return end
