"""The Dockerfiles install what is pinned, all of it that is ours, and run as nobody."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from tests.support.places import ROOT

IMAGES = sorted((ROOT / "deploy" / "docker").glob("*.Dockerfile"))
LOCKS = {"batch.Dockerfile": "cpu", "serve.Dockerfile": "serve"}


def test_there_are_two_images() -> None:
    """One for a night, one for hosts that search."""
    assert [path.name for path in IMAGES] == list(LOCKS)


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_an_image_has_all_that_is_ours_and_what_the_locks_pin(path: Path) -> None:
    """What it copies exists, is not ignored, and has each package; each install is from a lock, or of what is ours."""
    text = path.read_text().replace("\\\n", "")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE) for word in line.split()]
    assert set(copied) >= {*project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"], "pyproject.toml"}
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for one in copied:
        assert (ROOT / one).exists(), one
        assert f"!{one}" in ignored, one
    installs = re.findall(r"pip install (.*?)(?: && |$)", text, re.MULTILINE)
    assert len(installs) == 3
    for install in installs:
        assert "--require-hashes" in install or install.endswith("--no-deps dist/*.whl"), install
        for lock in re.findall(r"-r (\S+)", install):
            assert (ROOT / lock).is_file(), lock
    assert f"-r requirements/{LOCKS[path.name]}.lock" in text
    assert re.search(r"uv build .*--build-constraints requirements/cpu-dev\.lock --require-hashes", text)


@pytest.mark.parametrize("path", IMAGES, ids=lambda path: path.name)
def test_an_image_ends_small_and_as_nobody(path: Path) -> None:
    """Its last stage copies the environment and installs nothing; its user is a number, as `runAsNonRoot` needs."""
    stages = path.read_text().split("\nFROM ")[1:]
    assert len(stages) == 2
    assert len({stage.split()[0] for stage in stages}) == 1  # the environment links to the interpreter of its stage
    last = stages[-1]
    assert "RUN" not in last
    assert "COPY --from=build /opt/vitrine /opt/vitrine" in last
    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", last, re.MULTILINE)
    assert 'ENTRYPOINT ["vitrine"]' in last
