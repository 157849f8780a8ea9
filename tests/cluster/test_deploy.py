"""What can be tested of the deployment files without the systems that they are for."""

import os
import shlex
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import yaml

from orchestrator.commands.command_line import run
from studies.cifar_norm_ablation import STUDY
from studies.image_trainer import ImageTrainer
from tests.cluster.hosts import alone
from tests.faults import harness

DEPLOY = Path(__file__).parents[2] / "deploy"
RAY = Path(sys.executable).parent

SRUN = """#!/bin/bash
while [[ $1 == --* ]]; do shift; done
case "$1 $2" in
    "hostname --ip-address") echo 127.0.0.1 ;;
    *) echo "srun: $*" >> "$SRUN_LOG"; exec "$@" ;;
esac
"""


def test_the_slurm_script_runs_a_study_on_the_nodes_it_is_given(calm: Path, tmp_path: Path) -> None:
    inside = alone()
    if inside is None:
        pytest.skip("a network of its own takes Linux, iproute2 and util-linux")
    script = DEPLOY / "slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    for name, text in {"srun": SRUN, "scontrol": "#!/bin/sh\necho only\n"}.items():
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{tmp_path}:{RAY}:{os.environ['PATH']}",
        "SLURM_JOB_NODELIST": "only",
        "SLURM_CPUS_PER_TASK": "2",
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # all on loopback
        "STORAGE": str(tmp_path / "s"),
        "SRUN_LOG": str(tmp_path / "log"),
    }
    command = [*inside, "bash", str(script), str(harness.SCRIPT)]
    call = partial(subprocess.run, capture_output=True, text=True, timeout=harness.TIMEOUT, check=False)
    done = call(command, env=env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "log").read_text().startswith("srun: ray start --head --node-ip-address=127.0.0.1")
    harness.same(tmp_path / "s", calm)
    done = call([*command, "--seeds", "x"], env=env)
    assert done.returncode == 2  # the study's
    unset = {name: value for name, value in env.items() if name != "STORAGE"}
    done = call(command, env=unset)
    assert done.returncode != 0
    assert "a folder that every node sees" in done.stderr


def test_the_rayjob_has_what_kuberay_asks_for_and_its_command_line_is_ours(tmp_path: Path) -> None:
    job, claim = yaml.safe_load_all((DEPLOY / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    groups = [spec["rayClusterSpec"]["headGroupSpec"], *spec["rayClusterSpec"]["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert container["image"]
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}
        assert all(
            volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"] for volume in pod["volumes"]
        )
        for limit, amount in container["resources"]["limits"].items():
            assert container["resources"]["requests"][limit] == amount
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    python, script, command, *options = shlex.split(spec["entrypoint"])
    assert (python, Path(script).name, command) == ("python", "cifar_norm_ablation.py", "run")
    mount = groups[0]["template"]["spec"]["containers"][0]["volumeMounts"][0]["mountPath"]
    where = options.index("--storage") + 1
    assert options[where].startswith(f"{mount}/")
    options[where] = str(tmp_path / "s")
    address = options.index("--address")
    assert options[address + 1] == "auto"
    del options[address : address + 2]  # which what trains has alone
    assert run(STUDY, ImageTrainer(), ["status", *options]) == 0


def test_the_compose_file_has_no_password_and_listens_on_loopback() -> None:
    services = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    for service in services.values():
        assert service["environment"]["POSTGRES_PASSWORD"].startswith("${POSTGRES_PASSWORD:?")
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ()))
    inside = services["mlflow"]["command"][2].partition("exec ")[2]
    documented = (DEPLOY / "README.md").read_text().partition("mlflow server ")[2].partition("```")[0]
    options = [word for word in shlex.split(inside) if word.startswith("--")]
    assert options == ["--host", "--port", "--artifacts-destination", "--backend-store-uri"]  # as mlflow_server's
    assert all(option in documented for option in options)
