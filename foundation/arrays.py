"""The arrays that travel between files, by what their rows are. Shapes stand in the docstrings of what takes them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]  # (n, d): a row for each product, text, photo or query
Positions = npt.NDArray[np.int64]  # of rows in an index or a table; -1 where there is none
Mask = npt.NDArray[np.bool_]  # (n,): of which rows something holds
Photo = npt.NDArray[np.uint8]  # (h, w, 3): RGB, the right way up
