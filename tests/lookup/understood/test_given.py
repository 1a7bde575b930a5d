"""What a query is that was given without options, asked by the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from foundation.errors import InputError
from lookup.understood.given import recognise
from tests.support.command import told, vitrine
from tests.support.understood import shop


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A photo file whose name does not say so."""
    path = tmp_path_factory.mktemp("given") / "a photo"
    Image.new("RGB", (8, 8), (200, 0, 0)).save(path, "PNG")
    return str(path)


def test_photos_and_words_are_told_apart(photo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By what the file is; a text file or folder that is called like a word is a word."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dress").write_text("no photo")
    (tmp_path / "red").mkdir()
    for words, text, image, kind in (
        (["red", "dress"], "red dress", None, "text"),
        (["red dress"], "red dress", None, "text"),
        ([photo], None, photo, "photo"),
        (["in", photo, "blue"], "in blue", photo, "text and photo"),
        (["4.5/5"], "4.5/5", None, "text"),
        (["a\0b"], "a\0b", None, "text"),
        (["x" * 5000], "x" * 5000, None, "text"),
    ):
        given = recognise(words)
        assert (given.text, given.image, given.taken_for) == (text, image, kind)


def test_a_photo_that_is_not_there_is_no_text(photo: str, tmp_path: Path) -> None:
    """A mistyped path is told, and so are two photos."""
    with pytest.raises(InputError, match="no such file"):
        recognise([str(tmp_path / "red-dres.JPG")])
    with pytest.raises(InputError, match="one photo"):
        recognise([photo, "or", photo])


def test_the_command_says_what_it_took_the_query_for(tmp_path: Path, photo: str) -> None:
    """Words without an option are searched as the text; beside an option they are refused."""
    store = shop(tmp_path)
    answer = json.loads(vitrine("search", store, "boots", "number", "4", "--json", "-k", "1").stdout)
    assert (answer["taken_for"], answer["query"]["text"], answer["query"]["image"]) == ("text", "boots number 4", None)
    assert "taken for a text\n" in vitrine("search", store, "boots").stdout
    plain = json.loads(vitrine("search", store, "--text", "boots number 4", "--json", "-k", "1").stdout)
    assert plain["hits"] == answer["hits"]
    assert "taken_for" not in plain
    refused = vitrine("search", store, "boots", "--text", "boots")
    assert refused.exit_code == 2
    assert told(refused.stderr)[1] == "boots and --text"


def test_a_text_that_is_cut_is_told(tmp_path: Path) -> None:
    """The end that no tower reads is said, without being asked for anything else."""
    store = shop(tmp_path, "catalog.max_text_chars=40")
    done = vitrine("search", store, "--text", "boots " * 10, "--json")
    assert json.loads(done.stdout)["understood"]["notes"] == ["the text tower reads the first 40 characters of 60"]
    assert "note: the text tower reads the first 40" in vitrine("search", store, "--text", "boots " * 10).stdout
    assert "understood" not in json.loads(vitrine("search", store, "--text", "boots " * 6, "--json").stdout)
