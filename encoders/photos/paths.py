"""How catalogs write the path of a photo: as it is, as a file URI, percent-encoded, or with Windows' backslashes."""

from __future__ import annotations

from urllib.parse import unquote, urlsplit

from encoders.photos.limits import PhotoError

# What the names of photos end in, by the format that is read; others are photos too, and not read.
ENDINGS = {
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "PNG": ("png",),
    "WEBP": ("webp",),
    "GIF": ("gif",),
    "AVIF": ("avif",),
    "BMP": ("bmp",),
    "TIFF": ("tif", "tiff"),
    "": ("heic", "heif", "svg"),
}
# A path that ends as a photo's, in lower or upper case; an address may have a query behind it.
PHOTO_NAME = rf".*\.(?:{'|'.join(one for endings in ENDINGS.values() for one in endings)})(?:\?.*)?"


def is_web(path: str) -> bool:
    """Whether a photo is named by a URL of http or https."""
    return path[:8].lower().startswith(("http://", "https://"))


def spellings(path: str) -> list[str]:
    """The paths that `path` may mean, the likeliest first: the first that is there counts.

    A file URI is decoded, and nothing else. Any other path is taken as written, then percent-decoded, then with slashes
    for backslashes, then both. PhotoError `image_forbidden` for other URLs and for what no path can be.
    """
    if "\0" in path:
        raise PhotoError("image_forbidden", f"no path, it has a NUL: {path[:200]!r}")
    if path[:6].lower() == "file:/":
        return [_of_file_uri(path)]
    _, mark, _ = path.partition("://")
    if mark:
        what = "a URL of another place (save the photo below catalog.image_root)"
        if is_web(path):
            what = "a URL, and catalog.photo_hosts allows no host"
        raise PhotoError("image_forbidden", f"{what}: {path[:200]}")
    decoded = unquote(path, errors="strict") if _decodes(path) else path
    return [one for one in dict.fromkeys([path, decoded, *(p.replace("\\", "/") for p in (path, decoded))]) if one]


def _of_file_uri(path: str) -> str:
    """The local path of `file:///a/b` (RFC 8089), of this machine."""
    host, _, rest = path[5:].removeprefix("//").partition("/") if path[5:7] == "//" else ("", "", path[6:])
    if host.lower() not in ("", "localhost"):
        raise PhotoError("image_forbidden", f"a file of another machine: {path[:200]}")
    rest = urlsplit("/" + rest.lstrip("/")).path
    decoded = unquote(rest, errors="strict") if _decodes(rest) else rest
    if "\0" in decoded:
        raise PhotoError("image_forbidden", f"no path, it has a NUL: {path[:200]!r}")
    return decoded


def _decodes(path: str) -> bool:
    """Whether percent-decoding gives another path, one that has no NUL."""
    if "%" not in path:
        return False
    try:
        return "\0" not in unquote(path, errors="strict")
    except UnicodeDecodeError:
        return False
