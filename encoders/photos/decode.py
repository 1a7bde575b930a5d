"""Decoding photos from anywhere: what comes out is 8-bit RGB the right way up, or a PhotoError with a reason code.

Pillow opens every file: it survived 7,500 damaged ones where other decoders crashed the process. It decodes them too,
unless the encoder brings a faster decoder for the pixels of JPEG. What by its make or size may take long is decoded in
another process, which is killed after `max_seconds` of CPU: the same pixels, by Pillow.
"""

from __future__ import annotations

from encoders.photos.decoder_process import decode_apart
from encoders.photos.golden import decoder_name
from encoders.photos.limits import PhotoError as PhotoError
from encoders.photos.limits import PhotoLimits as PhotoLimits
from encoders.photos.pixels import FORMATS as FORMATS
from encoders.photos.pixels import JpegDecoder, opened, pixels_of
from encoders.photos.work import claimed_size, is_much_work, is_unbounded
from foundation.arrays import Photo
from foundation.machine import machine_fault


def decode(raw: bytes, limits: PhotoLimits, jpeg: JpegDecoder | None = None) -> Photo:
    """(h, w, 3) uint8 RGB of an image file: upright, on white where transparent, the first frame of an animation.

    `jpeg` decodes JPEG of grey or RGB in place of Pillow. The rules above and below are the same for both. VitrineError
    or OSError where the machine is at fault and no photo: they must stop the run.
    """
    if len(raw) > limits.max_bytes:
        raise PhotoError("image_too_large", f"more than {limits.max_bytes:,} bytes: {len(raw):,}")
    if not is_unbounded(raw):
        try:
            with opened(raw, limits) as image:
                if not is_much_work(image, raw, limits):
                    return pixels_of(image, raw, jpeg)
        except (MemoryError, RuntimeError, SystemError) as err:
            if machine_fault(err) is None:
                raise
            # It seems that this process lacks memory: another one tells whether that is the photo's own doing.
    return decode_apart(raw, limits)


def claimed_pixels(raw: bytes, limits: PhotoLimits) -> int:
    """Width x height of an image file by its header, nothing decoded; 0 where no header can be read.

    A file that must not be opened here, and does not say, may have as many as are allowed.
    """
    if is_unbounded(raw):
        size = claimed_size(raw)
        return limits.max_pixels if size is None else size[0] * size[1]
    try:
        with opened(raw, limits) as image:
            return int(image.width * image.height)
    except PhotoError:
        return 0
    except MemoryError:
        return limits.max_pixels


def decoder_identity() -> str:
    """The decoder as its pixels have it: other pixels give other vectors, so it belongs into every fingerprint."""
    return decoder_name()
