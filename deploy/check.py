"""Hands what lies in deploy/ to the tools of others: `make check-deploy` names their versions and downloads them.

hadolint reads the Dockerfiles, the schemas that Kubernetes publishes the manifests, and Airflow itself the DAGs. Ends
with the tool's own words at the first that objects.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

HERE = Path(__file__).resolve().parent
KUBERNETES = ("1.31.0", "1.37.0")  # the first in which podFailurePolicy is stable, and the newest schema there is


def dockerfiles() -> None:
    """Each Dockerfile, by hadolint's rules."""
    files = sorted(str(path) for path in (HERE / "docker").glob("*.Dockerfile"))
    subprocess.run(["hadolint", *files], check=True)


def manifests() -> None:
    """Each resource, by the schema of its kind, unknown fields refused."""
    import kubernetes_validate

    for path in sorted((HERE / "kubernetes").glob("*.yaml")):
        for resource in yaml.safe_load_all(path.read_text()):
            for version in KUBERNETES:
                if resource["kind"] != "Kustomization":  # a file of kubectl's, which no cluster sees
                    kubernetes_validate.validate(resource, version, strict=True)


def dags(scratch: Path) -> None:
    """Airflow imports the file, and each exit code of a command ends a try as it should."""
    os.environ["AIRFLOW_HOME"] = str(scratch)
    os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "false"
    sys.path.insert(0, str(HERE / "airflow"))
    import vitrine_nightly
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    vitrine_nightly.APP = str(scratch)
    bag = DagBag(HERE / "airflow")
    assert not bag.import_errors, bag.import_errors
    assert set(bag.dags) == {"vitrine_nightly", "vitrine_reindex"}, set(bag.dags)
    assert all(task.retries == 3 for dag in bag.dags.values() for task in dag.tasks)
    for code in (0, 1, 2, 3, 4, 5, 130):
        task = vitrine_nightly.VitrineOperator(task_id=f"exit_{code}", command=["sh", "-c", f"exit {code}"])
        ended: type[Exception] | None = None
        try:
            task.execute({})
        except AirflowException as err:
            ended = type(err)
        expected = None if code == 0 else AirflowFailException if code in (2, 3, 4) else AirflowException
        assert ended is expected, f"exit code {code}: expected {expected}, came {ended}"


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        dockerfiles()
        manifests()
        dags(Path(folder))
