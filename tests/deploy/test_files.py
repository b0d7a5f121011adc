"""What is in deploy/: that its parts fit each other and the server."""

import re
from pathlib import Path

import pytest
import yaml

from orpheus.common.options import ROOT
from orpheus.server.cli import parse

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
KUBERNETES = [
    document
    for name in ("kubernetes.yaml", "kubernetes-vllm.yaml")
    for document in yaml.safe_load_all((DEPLOY / name).read_text())
]
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
PODS = {one["metadata"]["name"]: one["spec"]["template"]["spec"] for one in KUBERNETES if one["kind"] == "Deployment"}
SERVERS = {name: pod for name, pod in PODS.items() if pod["containers"][0]["image"].startswith("orpheus:")}


def stages():
    """{target: its lines} of the Dockerfile."""
    parts = re.split(r"^FROM \S+ AS (\w+)$", DOCKERFILE, flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def entry():
    """The arguments of the image's server."""
    (words,) = set(re.findall(r"^ENTRYPOINT (.*)$", DOCKERFILE, flags=re.M))
    words = yaml.safe_load(words)
    assert words[:3] == ["python", "-m", "orpheus.server"]
    return words[3:]


@pytest.mark.parametrize("target", ["cpu", "cuda"])
def test_everything_that_an_image_copies_is_there_and_let_through(target):
    copied = [path for line in re.findall(r"^COPY (.*) \S+$", stages()[target], flags=re.M) for path in line.split()]
    assert {"orpheus", "assets/demo_voice", "requirements-serve.txt"} <= set(copied)
    let_through = re.findall(r"^!(.*)$", (DEPLOY / "Dockerfile.dockerignore").read_text(), flags=re.M)
    for path in copied:
        assert (ROOT / path).exists(), path
        assert any(Path(path).match(pattern) for pattern in let_through), path
    installed = set(re.findall(r"-r (\S+)", re.search(r"^RUN pip .*$", stages()[target], flags=re.M)[0]))
    assert installed <= set(copied)


def test_an_image_runs_as_nobody_special_and_asks_for_its_health():
    for target, lines in stages().items():
        assert "\nUSER 1000\n" in lines and "/healthz" in lines and "\nEXPOSE 8080\n" in lines, target


def test_an_image_serves_the_network_on_its_port():
    serving = parse(entry()).serving
    assert (serving.host, serving.port) == ("0.0.0.0", 8080)


@pytest.mark.parametrize("name", SERVERS)
def test_a_pod_runs_the_server_with_flags_that_it_knows(name):
    container = SERVERS[name]["containers"][0]
    serving = parse([*entry(), *container["args"]]).serving
    assert SERVERS[name]["terminationGracePeriodSeconds"] > serving.drain_seconds + 5
    assert container["ports"] == [{"name": "http", "containerPort": serving.port}]
    assert container["env"][0]["name"] == "ORPHEUS_SERVER_KEYS" and "valueFrom" in container["env"][0]


@pytest.mark.parametrize("name", SERVERS)
def test_probes_ask_what_the_server_answers_without_a_key(name):
    from orpheus.server.auth import OPEN_PATHS

    container = SERVERS[name]["containers"][0]
    asked = {probe: container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "readiness", "liveness")}
    assert asked == {"startup": "/readyz", "readiness": "/readyz", "liveness": "/healthz"}
    assert set(asked.values()) <= OPEN_PATHS


@pytest.mark.parametrize("name", PODS)
def test_every_pod_has_limits_and_names_its_volumes(name):
    pod, container = PODS[name], PODS[name]["containers"][0]
    assert {"cpu", "memory"} <= set(container["resources"]["limits"]) & set(container["resources"]["requests"])
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod["volumes"]}


def test_services_choose_pods_that_are_there():
    labels = [one["spec"]["template"]["metadata"]["labels"] for one in KUBERNETES if one["kind"] == "Deployment"]
    chosen = [one["spec"]["selector"] for one in KUBERNETES if one["kind"] == "Service"]
    assert len(chosen) == 3 and all(selector in labels for selector in chosen)


@pytest.mark.parametrize("name, engine", [("server-llama", "llama-server"), ("server-vllm", "vllm")])
def test_compose_puts_the_server_before_an_engine(name, engine):
    server, behind = COMPOSE["services"][name], COMPOSE["services"][engine]
    plain = [re.sub(r"\$\{\w+:-(.*?)\}", r"\1", word) for word in server["command"]]
    asked = parse([*entry(), *plain])
    assert re.fullmatch(rf"http://{engine}:\d+", asked.server.url)
    port = asked.server.url.rpartition(":")[2]
    assert f":{port}/health" in str(behind["healthcheck"]["test"])
    assert server["depends_on"] == {engine: {"condition": "service_healthy"}}
    assert server["profiles"] == behind["profiles"] and "ports" not in behind
    assert server["ports"] == ["127.0.0.1:${PORT:-8080}:8080"]
    assert ":?" in server["environment"]["ORPHEUS_SERVER_KEYS"]  # refused where it is not set
    if engine == "vllm":
        assert f"--served-model-name={asked.server.served_model}" in behind["command"]


def test_ray_is_given_options_that_the_server_knows():
    (application,) = yaml.safe_load((DEPLOY / "ray_serve.yaml").read_text())["applications"]
    assert application["import_path"] == "deploy.ray_serve:application"
    assert "\ndef application(args):" in (DEPLOY / "ray_serve.py").read_text()
    assert parse([f"--{name}={value}" for name, value in application["args"].items()]).serving.max_streams == 200
