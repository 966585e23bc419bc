"""packaging/kubernetes against the schemas of Kubernetes, and against the program that they start."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from containers.engine import IMAGE, podman

FOLDER = Path(__file__).resolve().parent.parent.parent / "packaging" / "kubernetes"
FILES = sorted(FOLDER.glob("*.yaml"))
VERSIONS = ("1.31.0", "1.37.0")  # the oldest where podFailurePolicy is stable, and the newest that the validator knows


def complaints(file: Path, version: str) -> str:
    """What the validator has against it. Of a kind that it does not know it only warns; here that counts."""
    done = subprocess.run([os.environ["KUBERNETES_VALIDATE"], "--strict", "-k", version, str(file)], text=True,
                          capture_output=True)
    said = (done.stdout + done.stderr).splitlines()
    bad = [line for line in said if " passed for resource " not in line]
    if done.returncode == 0 and not bad:
        assert len(said) == len(list(yaml.safe_load_all(file.read_text()))), said
    return "\n".join(bad) or ("" if done.returncode == 0 else f"exit code {done.returncode}")


def documents() -> Iterator[dict[str, Any]]:
    for file in FILES:
        yield from yaml.safe_load_all(file.read_text())


def pod_specs() -> Iterator[tuple[str, dict[str, Any]]]:
    for document in documents():
        spec = document.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            yield f"{document['kind']} {document['metadata']['name']}", spec["template"]["spec"]


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    for owner, pod in pod_specs():
        for container in pod.get("initContainers", []) + pod["containers"]:
            yield f"{owner}, {container['name']}", container


def ours() -> Iterator[tuple[str, dict[str, Any]]]:
    return ((name, one) for name, one in containers() if one["image"].startswith("outboxd:"))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_it_is_what_kubernetes_takes(file: Path, version: str) -> None:
    assert complaints(file, version) == ""


@pytest.mark.parametrize("right, wrong", [("livenessProbe:", "livenesProbe:"), ("replicas: 2", "replicas: two"),
                                          ("kind: Deployment", "kind: Deplyment"), ("      containers:\n", "      container:\n"),
                                          ("minAvailable: 1", "minAvailable: [1]")])
def test_the_validator_sees_what_is_broken(tmp_path: Path, right: str, wrong: str) -> None:
    text = (FOLDER / "deployment.yaml").read_text()
    assert right in text
    broken = tmp_path / "broken.yaml"
    broken.write_text(text.replace(right, wrong, 1))

    assert complaints(broken, VERSIONS[-1]) != ""


@pytest.mark.parametrize("name, pod", list(pod_specs()), ids=[name for name, _ in pod_specs()])
def test_pods_keep_to_the_restricted_standard(name: str, pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    for container in pod.get("initContainers", []) + pod["containers"]:
        context = container["securityContext"]
        assert context["allowPrivilegeEscalation"] is False and context["readOnlyRootFilesystem"] is True
        assert context["capabilities"] == {"drop": ["ALL"]}
    assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod)
    assert all(set(volume) & {"configMap", "secret"} for volume in pod["volumes"])


def test_no_relay_is_restarted_because_a_server_is_away() -> None:
    probes = {name: one["livenessProbe"] for name, one in ours() if "livenessProbe" in one}

    assert len(probes) == 2  # the deployment's and the sidecar's
    for probe in probes.values():
        assert probe["exec"]["command"] == ["outboxd", "health"]
        assert probe["timeoutSeconds"] > 2  # outboxd's own, which has the better sentence


def test_each_stop_has_the_time_that_it_needs() -> None:
    (line,) = [line for line in podman("run", "--rm", IMAGE, "config").stdout.splitlines() if "shutdown_timeout" in line]
    assert "25s" in line

    assert all(pod["terminationGracePeriodSeconds"] > 25 for _, pod in pod_specs())


@pytest.fixture(scope="module")
def mounts(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The ConfigMap and the Secret, where the pods have them."""
    by_kind = {document["kind"]: document for document in documents()}
    made = []
    for path, files in (("/etc/outboxd", by_kind["ConfigMap"]["data"]), ("/run/secrets/outboxd", by_kind["Secret"]["stringData"])):
        folder = tmp_path_factory.mktemp("mount")
        for name, text in files.items():
            (folder / name).write_text(text)
        folder.chmod(0o755)
        made.append(f"--volume={folder}:{path}:ro")
    return made


def commands() -> list[list[str]]:
    found = [["config"]]
    for _, container in ours():
        found.append(container.get("args", []))
        found += [container[probe]["exec"]["command"][1:] for probe in ("livenessProbe", "readinessProbe") if probe in container]
    return found


def test_the_program_takes_configuration_arguments_and_probes(mounts: list[str]) -> None:
    assert ["health", "--ready"] in commands() and ["init", "--notify"] in commands()
    for _, container in ours():
        assert {mount["mountPath"] for mount in container["volumeMounts"]} == {"/etc/outboxd", "/run/secrets/outboxd"}

    for command in commands():
        # No server is there: those that wait for one are ended.
        done = podman("run", "--rm", "--network=none", "--timeout=3", *mounts,
                      "--env=PGSERVICEFILE=/run/secrets/outboxd/pg_service.conf", IMAGE, *command, check=False)
        assert done.returncode not in (64, 78, 125, 126, 127), f"{command}: {done.stderr}"
