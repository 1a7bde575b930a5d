"""A limit of addresses (ulimit -v) below what a run's libraries take: told before they load."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.preflight import address_space
from tests.support.command import TITLES_ONLY, overrides, told, vitrine


def test_a_run_under_a_low_limit_says_so(tmp_path: Path) -> None:
    """With the limit in force: exit 2 in three parts that name it, and nothing is made."""
    where = f"catalog.path={tmp_path / 'none'} store.path={tmp_path / 'store'} {' '.join(TITLES_ONLY)}"
    command = f"ulimit -v 1000000; exec {sys.executable} -m pipeline run -c configs/weightless.yaml {where}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    expected, came, fix = told(done.stderr)
    assert "2.2 GB at least" in expected
    assert came == "a limit of 1.0 GB (ulimit -v)"
    assert "ulimit -v unlimited" in fix
    assert not (tmp_path / "store").exists()


def test_plan_finds_it_too(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a run would be refused for, `plan` says."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1_000_000_000, resource.RLIM_INFINITY))
    done = vitrine("plan", "-c", "configs/weightless.yaml", *overrides(demo, tmp_path / "store"))
    assert done.exit_code == 2
    assert "a limit of 1.0 GB (ulimit -v)" in done.stderr


def test_torch_takes_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit that leaves room for Beam and none for torch refuses configs with networks alone."""
    least = address_space._LEAST
    monkeypatch.setattr(resource, "getrlimit", lambda _: (least, resource.RLIM_INFINITY))
    where = (f"catalog.path={tmp_path / 'none'}", f"store.path={tmp_path / 'store'}")
    for config, said in (("demo", "(ulimit -v)"), ("weightless", "none")):
        done = vitrine("run", "-c", f"configs/{config}.yaml", *where)
        assert done.exit_code == 2
        assert said in told(done.stderr)[1]
