"""Large photos wait for each other, small ones do not, and nobody waits for ever."""

from __future__ import annotations

import io
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from encoders.photos.decode import PhotoLimits, claimed_pixels
from pipeline.embed.pixel_room import PixelRoom


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 150), min_size=1, max_size=40))
def test_never_more_than_the_room_but_for_one(sizes: list[int]) -> None:
    """Whoever is inside fits together, or is alone; all get their turn."""
    room, inside, lock = PixelRoom(), list[int](), threading.Lock()
    wrong = list[list[int]]()

    def work(size: int) -> None:
        with room.hold(size, 100):
            with lock:
                inside.append(size)
                if sum(inside) > 100 and len([one for one in inside if one]) > 1:
                    wrong.append(list(inside))
            with lock:
                inside.remove(size)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, sizes))
    assert not wrong
    assert not inside


def test_room_is_given_back_after_an_error() -> None:
    """A photo that fails does not keep others waiting."""
    room = PixelRoom()
    with pytest.raises(ValueError, match="broken"), room.hold(90, 100):
        raise ValueError("broken")
    with room.hold(90, 100):
        pass


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"])
def test_headers_claim_their_pixels(kind: str) -> None:
    """Every format says its size before it is decoded; what is no photo claims none."""
    out = io.BytesIO()
    Image.new("RGB", (31, 17), "red").save(out, kind)
    assert claimed_pixels(out.getvalue(), PhotoLimits()) == 31 * 17
    # A TIFF is not opened to ask, it may never end: one that does not say takes all the room.
    assert claimed_pixels(out.getvalue()[:5], PhotoLimits()) == (PhotoLimits.max_pixels if kind == "TIFF" else 0)
    assert claimed_pixels(b"", PhotoLimits()) == 0
