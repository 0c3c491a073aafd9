"""The pages about Kubernetes say what stands in the files, and what the programs print."""

from __future__ import annotations

import ast
import json
import math
import os
import re
import shlex
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.docs.page import ROOT, Page
from tests.k8s.manifests import (
    Manifests,
    container,
    deployed,
    kubectl,
    kubectl_that_builds,
    quantity,
)
from tests.k8s.test_aks import resource, template
from tests.services.broker.controlled import Controlled

PATHS = ("docs/how-to/kubernetes.md", "docs/how-to/aks.md")
KUBERNETES, AKS = PAGES = [Page.of(path) for path in PATHS]

# Pods that a kubelet takes, and how many of them are the cluster's own, about.
PODS, AZURE_PODS, SYSTEM_PODS = 110, 250, 8

VARIABLES = {
    "BROKER": "127.0.0.1",
    "CN": "cluster",
    "RG": "group",
    "ACR": "registry",
    "IMAGE": "registry.example/broker-engine:1.2.3",
}


def lines(page: Page, *kinds: str) -> list[str]:
    """List a page's command lines, the continued ones as one."""
    found = []
    for block in page.blocks:
        text = block.text.replace("\\\n", "")
        if block.info == "sh" and "sh" in kinds:
            found += text.splitlines()
        if block.info == "console" and "console" in kinds:
            found += [line[2:] for line in text.splitlines() if line.startswith("$ ")]
    return [line for line in found if line]


def commands(program: str) -> list[list[str]]:
    """List the calls of a program on both pages, as the shell would split them."""
    calls = []
    for page in PAGES:
        for line in lines(page, "sh", "console"):
            for name, value in VARIABLES.items():
                line = line.replace(f"${name}", value)
            line = re.sub(r"^[A-Z]+=\$\((.*)\)$", r"\1", line)
            words = shlex.split(line.split(" | ")[0], comments=True)
            if words[:1] == [program]:
                calls.append(words)
    return calls


def outputs(page: Page) -> list[tuple[str, str]]:
    """List the commands of a page that are shown with what they print."""
    parts = [
        part
        for block in page.blocks
        if block.info == "console"
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]
    ]
    return [(line, text) for line, _, text in (part.partition("\n") for part in parts) if text]


def after(words: list[str], *options: str) -> list[str]:
    """Return what stands behind these options."""
    return [word for before, word in pairwise(words) if before in options]


def read(curl: list[str]) -> Any:
    """Ask a broker in memory what a curl line asks."""
    broker = Controlled()
    broker.register("engine-5d8f9c7b6d-x2x4q", ":v=1;instance=a1;label-node=aks-1")
    (url,) = [re.sub(r"<\w+>", "x", word) for word in curl[1:] if not word.startswith("-")]
    asked = broker.ask(re.sub(r"^127\.0\.0\.1:8080", "", url))
    broker.clock.advance(600)
    return asked.answer


@pytest.mark.parametrize("words", commands("kubectl"), ids=" ".join)
def test_kubectl_is_told_of_what_there_is(words: list[str]) -> None:
    for path in after(words, "-f"):
        assert (ROOT / path).is_file() or words[1] == "logs"
    for path in after(words, "-k"):
        assert (ROOT / path / "kustomization.yaml").is_file()
    names = {name.lower().replace("/", " ") for name in deployed().names}
    text = " ".join(words).replace("/", " ")
    for kind in ("pod", "service", "deployment"):
        for name in re.findall(rf"\b{kind} ([a-z][a-z-]*)\b", text):
            assert f"{kind} {name}" in names, name
    labels = [document["metadata"]["labels"] for document in deployed().documents]
    for label in after(words, "-l"):
        name, _, value = label.partition("=")
        assert {name: value} in labels or name.startswith("kubernetes.azure.com/")


@pytest.mark.parametrize("words", commands("kubectl"), ids=" ".join)
def test_kubectl_takes_the_line(words: list[str], tmp_path: Path) -> None:
    program = kubectl_that_builds() if "-k" in words else kubectl()
    # Nobody listens there, which it finds out after it has read the line.
    done = subprocess.run(
        [program, *words[1:], "--server=http://127.0.0.1:9", "--request-timeout=1s"],
        cwd=ROOT,
        env={"HOME": str(tmp_path), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "127.0.0.1:9" in done.stderr, done.stderr


@pytest.mark.parametrize("words", commands("curl"), ids=" ".join)
def test_curl_asks_what_the_broker_answers(words: list[str]) -> None:
    # A command's id is known only where it was given.
    assert read(words).status == (404 if "/commands/" in words[1] else 200)


@pytest.mark.parametrize(("line", "output"), outputs(KUBERNETES), ids=lambda text: text[:50])
def test_output_is_of_the_shape_that_is_printed(line: str, output: str) -> None:
    words = shlex.split(line.replace("$BROKER", VARIABLES["BROKER"]))
    if words[0] == "curl":
        # Of a long answer the page shows the beginning.
        whole = re.sub(r",\n  \.\.\.$", "\n}", output.rstrip("\n"))
        shown, real = shape(json.loads(whole)), shape(read(words).json)
        assert [*shown.items()] == [*real.items()][: len(shown)]
        assert len(shown) == len(real) or whole != output.rstrip("\n")
    else:
        assert words[:2] == ["kubectl", "logs"]
        program = "broker" if "broker" in words else "engine"
        for text in output.splitlines():
            if text == "...":
                continue
            stamp = rf"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ \[{program}(#warn)?\] "
            assert re.match(stamp, text), text
            message = re.sub(f"^{stamp}", "", text)
            assert any(form.fullmatch(message) for form in forms(program)), message


def shape(value: Any) -> Any:
    """Keep of an answer the names in it; a missing quantile is as good as one."""
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items() if name not in LATENCIES}
    return type(value).__name__ if isinstance(value, list) else None


LATENCIES = ("latencies", "causes")


def forms(program: str) -> list[re.Pattern[str]]:
    """List the lines that a program may log, as patterns."""
    texts = [
        node.value
        for path in (ROOT / "services" / program).glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value
    ]
    return [re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(text)), re.DOTALL) for text in texts]


def test_sed_changes_what_it_is_shown_to_change(tmp_path: Path) -> None:
    if shutil.which("sed") is None:
        pytest.skip("sed is not installed")
    (tmp_path / "k8s").mkdir()
    copied = Path(shutil.copy(ROOT / "k8s/deployment.yaml", tmp_path / "k8s"))
    script = [line for line in lines(KUBERNETES, "sh") if line.startswith(("sed", "IMAGE="))]
    assert len(script) == 3
    subprocess.run(["sh", "-ec", "\n".join(script)], cwd=tmp_path, check=True, timeout=300)
    changed = Manifests(copied.read_text(encoding="utf-8"))
    assert {container(pod)["image"] for pod in changed.pods.values()} == {
        "<registry>/broker-engine:<version>"
    }
    service = changed.one("Service", "brokers-instruct")["spec"]
    assert service["loadBalancerSourceRanges"] == ["203.0.113.7/32"]
    assert changed.names == deployed().names


def test_image_in_the_header_is_named_as_on_the_page() -> None:
    header = (ROOT / "k8s/deployment.yaml").read_text(encoding="utf-8").partition("---")[0]
    assert "<registry>/broker-engine:<version>" in header
    assert f"docker build -t {container(deployed().broker)['image']} ." in KUBERNETES.text


def test_limits_follow_from_the_requests() -> None:
    requests = container(deployed().engine)["resources"]["requests"]
    rows = KUBERNETES.table(
        *("engines", "CPU requested", "memory requested"),
        *(f"nodes of {PODS} pods", f"nodes of {AZURE_PODS} pods"),
    )
    assert [row[0] for row in rows] == ["400", "2,000"]
    for row in rows:
        engines = int(row[0].replace(",", ""))
        memory = engines * quantity(requests["memory"]) / 2**20
        assert row[1:] == [
            f"{engines * quantity(requests['cpu']):g}",
            f"{memory:,.0f} MiB",
            *(str(math.ceil(engines / (pods - SYSTEM_PODS))) for pods in (PODS, AZURE_PODS)),
        ]


def test_busy_engines_make_as_many_as_is_said() -> None:
    resources = container(deployed().engine)["resources"]
    percent = round(
        100 * quantity(resources["limits"]["cpu"]) / quantity(resources["requests"]["cpu"])
    )
    assert f"{percent} %" in KUBERNETES.text
    assert f"it makes about {4 * percent // 50} of them" in KUBERNETES.text
    assert deployed().one("Deployment", "engine")["spec"]["replicas"] == 4


def test_parameters_are_those_of_the_template() -> None:
    rows = {row[0]: row[1].strip("`") for row in AKS.table("parameter", "default", "")}
    told = {
        name: str(parameter["defaultValue"]) for name, parameter in template()["parameters"].items()
    }
    told["location"] = "the resource group's"
    assert rows == told


def test_azure_is_told_of_what_there_is() -> None:
    calls = commands("az")
    (deployment,) = [words for words in calls if words[1] == "deployment"]
    assert [(ROOT / path).is_file() for path in after(deployment, "--template-file")] == [True]
    for assigned in after(deployment, "--parameters"):
        assert assigned.partition("=")[0] in template()["parameters"]
    pools = {template()["variables"][name] for name in ("systemPool", "lowPriorityPool")}
    for words in calls:
        named = after(words, "--nodepool-name")
        named += after(words, "--name") if words[1:3] == ["aks", "nodepool"] else []
        assert {*named} <= pools, words


def test_pool_by_hand_is_that_of_the_template() -> None:
    (words,) = [call for call in commands("az") if call[1:4] == ["aks", "nodepool", "add"]]
    pool = resource("agentPools")
    own = [taint for taint in pool["nodeTaints"] if not taint.startswith("kubernetes.azure.com/")]
    assert {
        "--node-vm-size": pool["vmSize"],
        "--max-pods": str(pool["maxPods"]),
        "--priority": pool["scaleSetPriority"],
        "--eviction-policy": pool["scaleSetEvictionPolicy"],
        "--spot-max-price": str(pool["spotMaxPrice"]),
        "--node-taints": ",".join(own),
        "--node-count": str(pool["count"]),
        "--min-count": str(pool["minCount"]),
        "--max-count": str(pool["maxCount"]),
    } == {
        option: value
        for option, value in pairwise(words)
        if option.startswith("--")
        and option not in ("--resource-group", "--cluster-name", "--name")
        and not value.startswith("--")
    }
    assert "--enable-cluster-autoscaler" in words


def test_engines_that_nodes_hold_are_counted_right() -> None:
    pool = resource("agentPools")
    room = pool["maxPods"] - SYSTEM_PODS
    assert f"From about {pool['minCount'] * room // 10 * 10 + 10} on" in AKS.text
    assert f"hold about {pool['maxCount'] * room // 10 * 10:,} engines" in AKS.text
    assert f"{pool['minCount']} to {pool['maxCount']}" in AKS.text


def test_taints_are_named() -> None:
    for taint in resource("agentPools")["nodeTaints"]:
        assert f"`{taint}`" in AKS.text


def test_files_are_where_they_are_linked() -> None:
    for page, path in zip(PAGES, PATHS, strict=True):
        targets = re.findall(r"\]\((\.\./\.\./[^)#]+)", page.text)
        assert targets
        for target in targets:
            assert ((ROOT / path).parent / target).is_file(), target
