"""Names of the devices that something can be computed on: a config is read without loading what computes."""

from __future__ import annotations

CPU_DEVICE = "cpu"
DEVICE = r"^(cpu|cuda(:[0-9]+)?)$"  # a pattern
