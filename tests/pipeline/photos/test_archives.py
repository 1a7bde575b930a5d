"""Photos in tar and zip files: found by name, copied on the second night, and refused as those of a folder are."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from foundation.errors import InputError
from pipeline.photos import members
from pipeline.photos.archives import archives_of
from pipeline.photos.root import existing_root
from tests.support.archives import tarred, zipped
from tests.support.command import vitrine
from tests.support.photo_places import LIMITS, fetched
from tests.support.shop import Shop, paint


def photos(shop: Shop) -> dict[str, bytes]:
    """Name -> bytes of the shop's photos."""
    return {path.name: path.read_bytes() for path in sorted(shop.photos.iterdir())}


def planned(shop: Shop, *more: str) -> tuple[int, dict[str, Any], str]:
    """(exit code, what `plan --json` says, stderr)."""
    done = vitrine("plan", *shop.words(*more)[1:], "--json")
    return done.exit_code, json.loads(done.stdout) if done.exit_code == 0 else {}, done.stderr


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    """A shop of 12 products, each with a photo."""
    made = Shop(tmp_path, monkeypatch, rows=12)
    made.group_rows = 4
    return made


def test_shards_of_tars_night_after_night(shop: Shop) -> None:
    """A folder of webdataset shards, photos by key: the plan finds them, a run encodes each, the next none; by content,
    a shard with one changed member costs its product alone.
    """
    each, folder = photos(shop), shop.folder / "shards"
    folder.mkdir()
    pairs = [(name, raw) for name, raw in each.items() for name in (f"./{name}", f"./{name[:-4]}.txt")]
    tarred(folder / "000.tar", pairs[:12])
    tarred(folder / "001.tar", pairs[12:])
    for name in ("_SUCCESS", "sizes.json", "README"):
        (folder / name).write_text("notes")
    shop.change("image_link", [one.removesuffix(".png") for one in shop.values("image_link")])
    words = (f"catalog.image_root={folder}", "catalog.image_identity=bytes")
    assert planned(shop, *words)[0] == 0
    assert (shop.night(*words)["degraded"], shop.images) == ({}, 12)
    shop.night(*words)
    assert shop.images == 0
    paint(shop.photos / "0.png", 40)
    pairs[0] = (pairs[0][0], photos(shop)["0.png"])
    tarred(folder / "000.tar", pairs[:12])
    shop.night(*words)
    assert shop.images == 1


def test_by_stat_a_tar_that_was_written_again_is_read_again(shop: Shop) -> None:
    """A tar says nothing of what its members hold, so under `stat` all of one that is another file by now are encoded
    anew, and those of the other shard are copied.
    """
    each, words = [*photos(shop).items()], (f"catalog.image_root={shop.folder}/shard-*.tar",)
    tarred(shop.folder / "shard-0.tar", each[:5])
    tarred(shop.folder / "shard-1.tar", each[5:])
    for expected in (12, 0):
        shop.night(*words)
        assert shop.images == expected
    tarred(shop.folder / "shard-0.tar", [*each[:5], ("more.txt", b"")])
    shop.night(*words)
    assert shop.images == 5


def test_a_changed_member_of_a_zip_costs_its_product_alone(shop: Shop) -> None:
    """A zip says of each member its size and CRC-32: a new zip with one new photo encodes that one."""
    each, path = photos(shop), shop.folder / "photos.zip"
    zipped(path, [(f"a b\\{name}", raw) for name, raw in each.items()])
    shop.change("image_link", [f"a%20b/{one}" for one in shop.values("image_link")])
    assert (shop.night(f"catalog.image_root={path}")["degraded"], shop.images) == ({}, 12)
    shop.night(f"catalog.image_root={path}")
    assert shop.images == 0
    zipped(path, [(f"a b/{name}", each["3.png"] if name == "9.png" else raw) for name, raw in each.items()])
    shop.night(f"catalog.image_root={path}")
    assert shop.images == 1


def test_what_is_told_of_members_that_are_never_read(shop: Shop) -> None:
    """Of members of one name the last is read, as if unpacked; those and names that lead out are told by the plan."""
    each = photos(shop)
    lost = [("0.png", b"no photo"), ("../0.png", each["1.png"]), ("/etc/x.png", b"")]
    path = tarred(shop.folder / "photos.tar", [*lost, *each.items()])
    code, plan, said = planned(shop, f"catalog.image_root={path}")
    assert code == 0, said
    notices = {one["what"]: one for one in plan["notices"]}
    assert notices["photo_members_repeated"]["count"] == 1
    assert notices["photo_members_refused"]["count"] == 2
    assert notices["photo_members_refused"]["examples"] == ["'../0.png'"]
    assert shop.night(f"catalog.image_root={path}")["degraded"] == {}


def test_photos_that_are_in_no_archive_are_told_before_the_run(shop: Shop) -> None:
    """Where no member has the names of the catalog, the plan says so, and what would help."""
    path = tarred(shop.folder / "photos.tar", [(f"img/{name}", raw) for name, raw in photos(shop).items()])
    shop.change("image_link", [f"shop/img/{one}" for one in shop.values("image_link")])
    code, _, said = planned(shop, f"catalog.image_root={path}", "catalog.text=[]", "encoders.text=null")
    assert code == 2
    assert "write the paths without 'shop/'" in said


# --- what is refused, one by one ---

SECRET = b"secret"


def linked(path: Path) -> Path:
    """A tar with a photo, links, a folder, and names that lead out."""
    with tarfile.open(path, "w") as tar:
        for name, kind, target in [
            *(("good.png", tarfile.REGTYPE, ""), ("soft.png", tarfile.SYMTYPE, "/etc/passwd")),
            *(("hard.png", tarfile.LNKTYPE, "good.png"), ("folder", tarfile.DIRTYPE, "")),
            *(
                ("pipe.png", tarfile.FIFOTYPE, ""),
                ("../out.png", tarfile.REGTYPE, ""),
                ("/abs.png", tarfile.REGTYPE, ""),
            ),
        ]:
            one = tarfile.TarInfo(name)
            one.type, one.linkname = kind, target
            one.size = 5 if kind == tarfile.REGTYPE else 0
            tar.addfile(one, io.BytesIO(b"photo"))
    return path


def test_members_are_refused_as_files_of_a_folder_are(tmp_path: Path) -> None:
    """Links, folders, pipes, `..`, absolute names, URLs and other files are forbidden, whether or not they are."""
    path = linked(tmp_path / "p.tar")
    (tmp_path / "other.png").write_bytes(SECRET)
    good = ["good.png", "./good.png", "p.tar/good.png", f"{path}/good.png", f"file://{path}/good%2epng", ".//good.png"]
    good.append(f"{tmp_path.name}/p.tar/good.png")
    assert [fetched(one, path) for one in good] == [b"photo"] * len(good)
    bad = ["soft.png", "hard.png", "folder", "pipe.png", "../out.png", "/abs.png", "../other.png", "p.tar/../other.png"]
    bad += [
        f"{tmp_path}/other.png",
        f"file://{tmp_path}/other.png",
        "https://shop.example/good.png",
        "a\0b",
        "%2e%2e/x",
    ]
    came = {one: fetched(one, path) for one in bad}
    assert came.pop("%2e%2e/x") == "image_not_found"
    assert set(came.values()) == {"image_forbidden"}
    assert [fetched(one, path) for one in ("abs.png", "out.png", "good", "absent.png", "good.png/x")] == [
        *("image_not_found", "image_not_found", b"photo", "image_not_found", "image_not_found")
    ]


def test_archives_that_are_no_photos_yet_are_told_of(shop: Shop) -> None:
    """Where photos lie in archives of the folder in which files were looked for, a run is refused with their glob; of
    archives that cannot be read nothing is said.
    """
    folder = shop.folder / "both"
    folder.mkdir()
    zipped(folder / "a.zip", [*photos(shop).items()])
    (folder / "b.tar").write_bytes(b"no tar")
    done = vitrine(*shop.words(f"catalog.image_root={folder}"))
    assert done.exit_code == 2, done.stdout
    assert f"catalog.image_root={folder}/*.zip would find 12 of 12" in done.stderr


def test_two_archives_with_members_of_one_name(tmp_path: Path) -> None:
    """The last archive counts, unless the path names the other."""
    for number in range(2):
        tarred(tmp_path / f"{number}.tar", [("a.png", b"%d" % number), (f"{1 - number}.tar/b.png", b"inner")])
    root = tmp_path / "*.tar"
    assert [fetched(one, root) for one in ("a.png", "0.tar/a.png", f"{tmp_path}/0.tar/a.png")] == [b"1", b"0", b"0"]
    assert fetched("1.tar/b.png", root) == b"inner"


def test_a_key_may_be_of_a_name_in_capitals(tmp_path: Path) -> None:
    """As cameras write them: of the key `DSC1` the photo is `DSC1.JPG`."""
    path = tarred(tmp_path / "a.tar", [("img/DSC1.JPG", b"photo"), ("img/DSC1.XMP", b"notes")])
    assert [fetched(one, path) for one in ("img/DSC1", "a.tar/img/DSC1")] == [b"photo"] * 2


def test_zips_that_lie(tmp_path: Path) -> None:
    """Bombs, sizes and checksums that lie, encrypted members and unknown methods are refused, nothing is unpacked over
    the limit.
    """
    size = LIMITS.max_bytes
    good = zipped(tmp_path / "good.zip", [("a.png", b"photo"), ("big.png", bytes(size + 1)), ("full.png", bytes(size))])
    came = {name: fetched(name, good) for name in ("a.png", "big.png", "full.png")}
    assert came == {"a.png": b"photo", "big.png": "image_too_large", "full.png": bytes(size)}
    packed = zipped(tmp_path / "lzma.zip", [("a.png", b"photo" * 50)], zipfile.ZIP_LZMA)
    assert fetched("a.png", packed) == "image_undecodable"
    for name, field, value in [
        *(("bomb", 24, (10).to_bytes(4, "little")), ("longer", 24, (200).to_bytes(4, "little"))),
        *(("crc", 16, bytes(4)), ("locked", 8, b"\x01\x00"), ("offset", 42, (7).to_bytes(4, "little"))),
    ]:
        raw = bytearray(zipped(tmp_path / f"{name}.zip", [("a.png", b"photo" * 20)]).read_bytes())
        at = raw.index(b"PK\x01\x02") + field
        raw[at : at + len(value)] = value
        (tmp_path / f"{name}.zip").write_bytes(raw)
        expected = "image_forbidden" if name == "locked" else "image_undecodable"
        assert fetched("a.png", tmp_path / f"{name}.zip") == expected, name


def test_an_archive_that_is_written_to_meanwhile_has_changed_photos(tmp_path: Path) -> None:
    """Whatever stands now where a member was is not taken for it."""
    path = tarred(tmp_path / "p.tar", [("a.png", b"photo")])
    assert fetched("a.png", path) == b"photo"
    tarred(path, [("b.png", SECRET), ("a.png", b"photo")])
    assert fetched("a.png", path) == "image_changed"
    path.unlink()
    assert fetched("a.png", path) == "image_changed"


# name -> (what lies there, what is said of it)
USELESS: dict[str, tuple[bytes, str]] = {
    "p.tar.gz": (b"", "photos are read one by one"),
    "named.tar": (gzip.compress(b"x"), "photos are read one by one"),
    "text.tar": (b"not a tar at all" * 100, "a whole tar file"),
    "empty.zip": (b"", "a whole zip file"),
    "cut.tar": (b"cut", "a whole tar file"),
    "damaged.tar": (b"damaged", "no header of a member at byte 1,024"),
}


@pytest.mark.parametrize("name", USELESS)
def test_archives_that_cannot_be_read_stop_the_run(shop: Shop, name: str) -> None:
    """Compressed, cut and damaged ones are told with what to do, before anything is encoded."""
    raw, told = USELESS[name]
    path = shop.folder / name
    if raw in (b"cut", b"damaged"):
        whole = bytearray(tarred(path, [("a.png", b"photo"), ("b.png", bytes(100_000))]).read_bytes())
        raw = bytes(whole[:50_000])
        if name == "damaged.tar":
            whole[1024:1100] = b"\xff" * 76
            raw = bytes(whole)
    path.write_bytes(raw)
    code, _, said = planned(shop, f"catalog.image_root={path}")
    assert code == 2
    assert told in said
    assert str(path) in said


def test_archives_elsewhere_and_nowhere(tmp_path: Path) -> None:
    """What is not there is told, and that archives are not read from a bucket."""
    for root in ("absent.tar", "no-*.zip"):
        with pytest.raises(InputError, match="which is not there"):
            existing_root(str(tmp_path / root), "ignored")
    with pytest.raises(InputError, match="on this machine"):
        existing_root("memory://bucket/p.tar", "ignored")


def test_the_index_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An archive of more members than are kept in memory is refused."""
    monkeypatch.setattr(members, "MOST", 3)
    path = tarred(tmp_path / "p.tar", [(f"{n}.png", b"") for n in range(4)])
    with pytest.raises(InputError, match="archives of at most 3 members"):
        archives_of(str(path))
