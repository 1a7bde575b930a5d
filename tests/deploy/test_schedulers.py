"""What lies in deploy/ calls the command as it is, and tries again what the exit codes say can be."""

from __future__ import annotations

import ast
import configparser
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from pipeline.commands.cli import cli
from pipeline.config.load import load_config
from tests.support.places import ROOT

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
SYSTEMD = DEPLOY / "systemd"
AIRFLOW = DEPLOY / "airflow" / "vitrine_nightly.py"


def _unit(path: Path) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # systemd tells Restart from restart
    unit.read(path)
    return unit


def _resources() -> list[dict[str, Any]]:
    return [one for path in sorted(KUBERNETES.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())]


def _jobs() -> list[dict[str, Any]]:
    """The spec of each Job, that of the CronJob among them."""
    jobs = [one["spec"]["jobTemplate"]["spec"] for one in _resources() if one["kind"] == "CronJob"]
    return [*jobs, *(one["spec"] for one in _resources() if one["kind"] == "Job")]


def _dag_constants() -> dict[str, Any]:
    tree = ast.parse(AIRFLOW.read_text())
    constants: dict[str, Any] = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) != "TRIES":
            constants[ast.unparse(node.targets[0])] = eval(ast.unparse(node.value), {}, constants)
    return constants


def _lines() -> Iterator[tuple[str, list[str]]]:
    """(where, words after `vitrine`) of each command line."""
    for path in sorted(SYSTEMD.glob("*.service")):
        yield path.name, shlex.split(_unit(path)["Service"]["ExecStart"])[1:]
    for job in _jobs():
        yield "kubernetes", job["template"]["spec"]["containers"][0]["args"]
    constants = _dag_constants()
    for node in ast.walk(ast.parse(AIRFLOW.read_text())):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "VitrineOperator":
            command = next(one.value for one in node.keywords if one.arg == "command")
            yield AIRFLOW.name, eval(ast.unparse(command), {}, constants)[1:]
    for path in sorted((DEPLOY / "docker").glob("*.Dockerfile")):
        text = path.read_text()
        shown = re.search(r"^#  +vitrine-\w+:[0-9.]+ (.*)$", text, re.MULTILINE)
        assert shown is not None
        yield path.name, shlex.split(shown[1])
        yield path.name, ast.literal_eval(re.findall(r"^CMD (.*)$", text, re.MULTILINE)[-1])
    for page in (DEPLOY / "README.md", ROOT / "docs" / "how-to" / "operations.md"):
        for line in re.findall(r"^30 2 \* \* \* .*$", page.read_text(), re.MULTILINE):
            yield page.name, shlex.split(re.split(r" \d?>", line.partition("bin/vitrine ")[2])[0])


LINES = list(_lines())


def test_there_are_command_lines_to_look_at() -> None:
    """Two of each scheduler and each image, and the line of cron."""
    assert [where for where, _ in LINES if where != "operations.md"] == [
        "vitrine-nightly.service",
        "vitrine-reindex@.service",
        "kubernetes",
        "kubernetes",
        *["vitrine_nightly.py"] * 2,
        *["batch.Dockerfile"] * 2,
        *["serve.Dockerfile"] * 2,
    ]
    assert "operations.md" in dict(LINES)


@pytest.mark.parametrize(("where", "words"), LINES, ids=[f"{where}-{n}" for n, (where, _) in enumerate(LINES)])
def test_each_command_line_is_one_that_the_command_takes(where: str, words: list[str]) -> None:
    """Its options and arguments are read by the command itself; an option that is renamed breaks this."""
    if words == ["--help"]:
        return
    with cli.make_context("vitrine", list(words)) as context:
        name, command, rest = cli.resolve_command(context, list(words))
        assert command is not None, where
        assert name in ("run", "search", "doctor")
        with command.make_context(name, rest, parent=context) as parsed:
            if name == "run":
                assert parsed.params["config"] == "/etc/vitrine/nightly.yaml"
                assert not parsed.params["overrides"]


def test_a_command_line_with_an_unknown_option_is_refused() -> None:
    """What the test above relies on."""
    with pytest.raises(click.NoSuchOption), cli.make_context("vitrine", ["run"]) as context:
        cli.commands["run"].make_context("run", ["-c", "nightly.yaml", "--categorie", "x"], parent=context)


def test_what_needs_a_person_is_not_tried_again() -> None:
    """systemd, Kubernetes and Airflow stop at the exit codes of which the documents say so, and at no other."""
    page = (ROOT / "docs" / "reference" / "outcomes.md").read_text()
    said = re.search(r"Retry ([\d, and]+) by machine; ([\d, and]+) need a person", page)
    assert said is not None
    again, person = ([int(code) for code in re.findall(r"\d", part)] for part in said.groups())
    table = {int(code) for code in re.findall(r"^\| ([0-9]+) \|", (ROOT / "README.md").read_text(), re.MULTILINE)}
    assert {*again, *person} == table - {0, 130}
    night = _unit(SYSTEMD / "vitrine-nightly.service")["Service"]
    assert [int(code) for code in night["RestartPreventExitStatus"].split()] == person
    assert night["Restart"] == "on-failure"
    for job in _jobs():
        rules = [rule for rule in job["podFailurePolicy"]["rules"] if rule["action"] == "FailJob"]
        assert [(rule["onExitCodes"]["operator"], rule["onExitCodes"]["values"]) for rule in rules] == [("In", person)]
        assert job["template"]["spec"]["restartPolicy"] == "Never"
        assert job["backoffLimit"] > 0
    assert list(_dag_constants()["NEEDS_A_PERSON"]) == person


# --- systemd ---


def test_systemd_takes_the_units(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say of them, and knows each key."""
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze here")
    units = tmp_path / "units"
    shutil.copytree(SYSTEMD, units)
    for path in units.glob("*.service"):  # it looks for the program, which is not installed there
        path.write_text(path.read_text().replace("/srv/vitrine/app/.venv/bin/vitrine", shutil.which("true") or ""))
    names = ["vitrine-nightly.timer", "vitrine-nightly.service", "vitrine-reindex@Kitchen.service"]
    command = ["systemd-analyze", "verify", "--man=no", *(str(units / name) for name in names)]
    env = {**os.environ, "SYSTEMD_UNIT_PATH": f"{units}:"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_services_share_reaches_each_of_them() -> None:
    """The drop-in is for names that begin as all of them do; the store that it lets them write is the config's."""
    shared = _unit(SYSTEMD / "vitrine-.service.d" / "common.conf")["Service"]
    assert all(path.name.startswith("vitrine-") for path in SYSTEMD.glob("*.*er*") if path.is_file())
    store = load_config(str(ROOT / "configs" / "nightly.yaml"), env={}).config.store.path
    assert shared["ReadWritePaths"].split() == [store]
    assert (shared["Type"], shared["ProtectSystem"], shared["NoNewPrivileges"]) == ("oneshot", "strict", "yes")


# --- Kubernetes ---


def test_pods_have_what_the_config_names() -> None:
    """Each path of the config lies on a volume of the pod, the store's alone can be written, and each claim exists."""
    config = load_config(str(ROOT / "configs" / "nightly.yaml"), env={}).config
    claims = {one["metadata"]["name"] for one in _resources() if one["kind"] == "PersistentVolumeClaim"}
    kustomization = next(one for one in _resources() if one["kind"] == "Kustomization")
    assert {"volumes.yaml", "nightly.yaml"} == set(kustomization["resources"])
    (made,) = kustomization["configMapGenerator"]
    file, _, source = made["files"][0].partition("=")
    assert (KUBERNETES / source).resolve() == ROOT / "configs" / "nightly.yaml"
    for job in _jobs():
        pod = job["template"]["spec"]
        container = pod["containers"][0]
        volumes = {one["name"]: one for one in pod["volumes"]}
        mounts = {one["mountPath"]: one for one in container["volumeMounts"]}
        assert {one["name"] for one in mounts.values()} == set(volumes)
        named = {one["persistentVolumeClaim"]["claimName"] for one in pod["volumes"] if "persistentVolumeClaim" in one}
        assert named == claims
        assert volumes["config"]["configMap"]["name"] == made["name"]
        assert file in container["args"][2]
        assert config.catalog.image_root is not None
        for path in (config.catalog.path, config.catalog.image_root, config.store.path):
            assert any(Path(path).is_relative_to(mount) for mount in mounts), path
        assert {path for path, one in mounts.items() if not one.get("readOnly")} == {config.store.path, "/tmp"}


def test_pods_run_as_nobody_on_a_root_that_is_read_only() -> None:
    """The job of a category is that of a night but for its arguments, and neither may do more than it needs."""
    night, category = (job["template"]["spec"] for job in _jobs())
    own = [night["containers"][0].pop("args"), category["containers"][0].pop("args")]
    assert own[1] == [*own[0], "--category=Home & Garden"]
    assert night == category
    assert night["securityContext"]["runAsNonRoot"]
    container = night["containers"][0]["securityContext"]
    assert container["readOnlyRootFilesystem"]
    assert not container["allowPrivilegeEscalation"]
    user = re.search(r"^USER (\d+):(\d+)$", (DEPLOY / "docker" / "batch.Dockerfile").read_text(), re.MULTILINE)
    assert user is not None
    assert (night["securityContext"]["runAsUser"], night["securityContext"]["runAsGroup"]) == (
        int(user[1]),
        int(user[2]),
    )
    assert night["containers"][0]["image"] == "vitrine-batch:0.1.0"
