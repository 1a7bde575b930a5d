"""Photos in a bucket: what lies below its root is read, everything else is refused for its reason."""

from pathlib import Path

import fsspec

from pipeline.photos.photos import photo_facts
from tests.support.photo_places import fetched


def test_photos_in_a_bucket(tmp_path: Path) -> None:
    """Objects below a remote root are read, by name or URI; others, folders and large ones are refused."""
    root = tmp_path / "photos"
    bucket = fsspec.filesystem("memory")
    url = f"memory:/{root}"
    bucket.pipe({f"{root}/a.jpg": b"photo", f"{root}/deep/over.jpg": bytes(1001), f"{root.parent}/secret": b"secret"})
    assert fetched("a.jpg", url) == fetched(f"{url}/a.jpg", url) == b"photo"
    came = {
        path: fetched(path, url)
        for path in ("deep/over.jpg", "b.jpg", "deep", "../secret", "/etc/passwd", "s3://b/a.jpg")
    }
    assert list(came.values()) == ["image_too_large", "image_not_found", *["image_forbidden"] * 4]
    before = photo_facts("a.jpg", url)
    bucket.pipe(f"{root}/a.jpg", b"other")
    assert before is not None
    assert photo_facts("a.jpg", url) not in (None, before)
    assert photo_facts("b.jpg", url) is None


def test_names_are_spelled_as_catalogs_do(tmp_path: Path) -> None:
    """Percent-encoded and with backslashes, as in a folder; what leads out once decoded, or into what is only named
    like the root, is forbidden.
    """
    bucket = fsspec.filesystem("memory")
    url = f"memory:/{tmp_path}/photos"
    bucket.pipe({f"{tmp_path}/photos/a b/c.jpg": b"photo", f"{tmp_path}/photos-beside/x.jpg": b"secret"})
    good = ("a b/c.jpg", "a%20b/c.jpg", "a b\\c.jpg", "a%20b\\c.jpg", f"{url}/a%20b/c.jpg")
    assert [fetched(one, url) for one in good] == [b"photo"] * len(good)
    bad = ("%2e%2e/photos-beside/x.jpg", "..\\photos-beside\\x.jpg", f"{url}-beside/x.jpg", f"{url}/../x.jpg", "/x.jpg")
    assert {fetched(one, url) for one in bad} == {"image_forbidden"}
