"""`train.synonyms`: texts that vary by a file of words."""

from __future__ import annotations

from pathlib import Path

import pytest

from encoders.training.untrained import write_untrained
from pipeline.train.synonyms import read_rules
from tests.support.command import overrides, told, vitrine
from tests.support.trainings import QUICK, TINY


def test_the_content_of_the_file_is_part_of_the_training(demo: Path, tmp_path: Path) -> None:
    """Another file of the same rules is the same training; other rules are another one, and learn other weights."""
    fresh, file = tmp_path / "fresh", tmp_path / "words.txt"
    write_untrained(fresh, TINY, [], scale=10, bias=-10)
    words = ("train", "-c", "configs/weightless.yaml", "--from", fresh, *overrides(demo, tmp_path / "store", *QUICK))
    words = (*words, "train.epochs=1", "train.synonym_words=1")

    def train(out: str, *more: str) -> bytes:
        done = vitrine(*words, "--out", tmp_path / out, *more)
        assert done.exit_code == 0, done.stderr
        return (tmp_path / out / "model.safetensors").read_bytes()

    plain = train("plain")
    file.write_text("simple, classic, modern, new # a comment\n")  # what many titles begin with
    varied = train("varied", f"train.synonyms={file}")
    assert varied != plain
    other = file.rename(tmp_path / "other.txt")
    stamp = (tmp_path / "varied/model.safetensors").stat().st_mtime_ns
    train("varied", f"train.synonyms={other}")
    assert (tmp_path / "varied/model.safetensors").stat().st_mtime_ns == stamp
    other.write_text("simple, classic\n")
    done = vitrine(*words, "--out", tmp_path / "varied", f"train.synonyms={other}")
    assert (done.exit_code, "another training's result" in told(done.stderr)[1]) == (2, True)


@pytest.mark.parametrize(
    ("content", "came"),
    [(None, "No such file"), (b"alone\n", "line 1"), (b"a, \xff\n", "utf-8"), (b"a => b => c", "=>")],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path, content: bytes | None, came: str, demo: Path) -> None:
    """Exit code 2 and three parts, before anything is read."""
    if content is not None:
        (tmp_path / "words.txt").write_bytes(content)
    where = overrides(demo, tmp_path / "store", f"train.synonyms={tmp_path / 'words.txt'}")
    done = vitrine("train", "-c", "configs/weightless.yaml", "--from", "builtin", "--out", tmp_path / "out", *where)
    assert done.exit_code == 2
    expected, said, _ = told(done.stderr)
    assert "train.synonyms" in expected
    assert came in said


def test_rules_are_those_of_searches(tmp_path: Path) -> None:
    """Groups find each other, arrows lead one way, a byte order mark is none of a word."""
    (tmp_path / "words.txt").write_text("\ufeffsofa, couch\nlaptop => notebook\n", encoding="utf-8")
    assert read_rules(str(tmp_path / "words.txt")) == [
        ("sofa", ("couch",)), ("couch", ("sofa",)), ("laptop", ("notebook",))
    ]  # fmt: skip
    assert read_rules(None) == []
