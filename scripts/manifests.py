"""Checks k8s/ and docker-compose.yml: by Kubernetes' schemas, by rules of our own, and against the binary they start."""

import json
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from pathlib import Path

import yaml

BINARY, VALIDATE, RENDER = sys.argv[1:4]
# The oldest release with `lifecycle.preStop.sleep` switched on, and a recent one.
SCHEMAS = ("1.30", "1.34")
faults = []


def fault(where, text):
    faults.append(f"{where}: {text}")


def documents(folder):
    """Every object of a kustomization, with the text it came from."""
    if RENDER:
        done = subprocess.run([*RENDER.split(), folder], capture_output=True, text=True)
        if done.returncode:
            fault(folder, done.stderr.strip())
            return ""
        return done.stdout
    own = [p.read_text() for p in sorted(Path(folder).glob("*.yaml")) if p.name != "kustomization.yaml"]
    return "\n---\n".join(own)


def by_schema(folder, text):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(text)
        file.flush()
        for version in SCHEMAS:
            done = subprocess.run([VALIDATE, "--strict", "--quiet", "-k", version, file.name], capture_output=True, text=True)
            if done.returncode:
                fault(f"{folder} (Kubernetes {version})", (done.stdout + done.stderr).strip())


def pods(objects):
    for item in objects:
        template = item.get("spec", {}).get("template", {}) if item["kind"] in ("Deployment", "Job") else {}
        if template.get("spec", {}).get("containers"):
            yield f'{item["kind"]}/{item["metadata"]["name"]}', template


def restricted(name, template):
    """What the Pod Security Standard `restricted` asks for, and a little more."""
    spec = template["spec"]
    context = spec.get("securityContext", {})
    expected = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for key, value in expected.items():
        if context.get(key) != value:
            fault(name, f"securityContext.{key} must be {value}")
    if spec.get("automountServiceAccountToken") is not False:
        fault(name, "automountServiceAccountToken must be false")
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            fault(name, f"{key} is set")
    for container in spec["containers"]:
        own = container.get("securityContext", {})
        wanted = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
        for key, value in wanted.items():
            if own.get(key) != value:
                fault(name, f"container {container['name']}: securityContext.{key} must be {value}")
        resources = container.get("resources", {})
        if not resources.get("requests", {}).get("memory") or not resources.get("limits", {}).get("memory"):
            fault(name, f"container {container['name']}: memory is not requested or not limited")
        for env in container.get("env", []):
            if "secretKeyRef" in env.get("valueFrom", {}):
                fault(name, f"the secret {env['name']} is in the environment; mount it as a file")


def config(path, scratch):
    """The configuration as the binary reads it, with secrets of the check in the mounted places."""
    text = Path(path).read_text()
    for name, value in SECRETS.items():
        (scratch / name).write_text(value)
        text = text.replace(f"/run/secrets/redress/{name}", str(scratch / name))
    text = text.replace("/var/lib/redress", str(scratch / "data"))
    left = re.findall(r'"(/run/[^"]*|/var/[^"]*)"', text)
    if left:
        fault(path, f"names files that no pod mounts: {left}")
    out = scratch / "redress.toml"
    out.write_text(text)
    done = subprocess.run([BINARY, "--config", str(out), "config", "check"], capture_output=True, text=True)
    if done.returncode:
        fault(path, done.stderr.strip())
    return tomllib.loads(text)


SECRETS = {
    "database-url": "postgres://redress:secret@db.internal/redress",
    "redis-url": "redis://redis.internal:6379",
    "master-key": "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
}


def flags(name, args):
    """The binary knows the command, its flags and their values: it is asked for its help with exactly these."""
    known = subprocess.run([BINARY, args[0], "--help"], capture_output=True, text=True)
    if known.returncode:
        fault(name, f"the binary has no command {args[0]}")
        return
    for flag in (a for a in args if a.startswith("--")):
        if not re.search(rf"(^|\s){re.escape(flag)}\b", known.stdout):
            fault(name, f"redress {args[0]} has no flag {flag}")
    if "--role" in args:
        role = args[args.index("--role") + 1]
        values = re.search(r"--role.*?\[?possible values: ([^\]]*)\]", known.stdout, re.S)
        listed = values.group(1) if values else known.stdout
        if not re.search(rf"\b{role}\b", listed):
            fault(name, f"redress serve has no role {role}")


def answers():
    """Starts the binary as one machine would and returns its statuses by path, and its metrics."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as data:
        env = {"PATH": "/usr/bin:/bin", "REDRESS_DATA_DIR": data, "REDRESS_LISTEN": f"127.0.0.1:{port}", "REDRESS_LOG": "error"}
        server = subprocess.Popen([BINARY, "serve"], env=env)
        try:
            seen = {}
            for path in ("/healthz", "/readyz", "/metrics"):
                for _ in range(150):
                    try:
                        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                            seen[path] = answer.read().decode()
                            break
                    except (OSError, urllib.error.URLError):
                        time.sleep(0.1)
            return seen
        finally:
            server.terminate()
            server.wait(60)


def workload(name, template, settings, seen):
    spec = template["spec"]
    grace = spec.get("terminationGracePeriodSeconds", 30)
    for container in spec["containers"]:
        flags(name, container["args"])
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            if container["args"][0] != "serve":
                continue
            path = container.get(probe, {}).get("httpGet", {}).get("path")
            if path not in seen:
                fault(name, f"{probe} asks for {path}, which the binary does not answer")
        mounts = {m["mountPath"] for m in container["volumeMounts"]}
        volumes = {v["name"] for v in spec["volumes"]}
        for mount in container["volumeMounts"]:
            if mount["name"] not in volumes:
                fault(name, f"mounts {mount['name']}, which is no volume")
        file = container["args"][container["args"].index("--config") + 1]
        if str(Path(file).parent) not in mounts:
            fault(name, f"reads {file}, which is not mounted")
        ports = [p["containerPort"] for p in container.get("ports", [])]
        listen = int(settings["http"]["listen"].rsplit(":", 1)[1])
        if ports and ports != [listen]:
            fault(name, f"declares the ports {ports}, but the binary listens on {listen}")
        for key in ("prometheus.io/port", "prometheus.io/path"):
            value = template["metadata"].get("annotations", {}).get(key)
            if ports and value not in (str(listen), "/metrics"):
                fault(name, f"{key} is {value}")
    if "worker" in name:
        worker = settings["worker"]
        if not worker["call_limit_seconds"] < worker["shutdown_grace_seconds"] < grace:
            fault(name, "call_limit_seconds < shutdown_grace_seconds < terminationGracePeriodSeconds does not hold")


def covered(objects):
    """Every workload has a disruption budget and is under the policy that denies; the autoscaler's metric exists."""
    def matches(selector, labels):
        exact = selector.get("matchLabels", {}).items()
        sets = selector.get("matchExpressions", [])
        return all(labels.get(k) == v for k, v in exact) and all(labels.get(e["key"]) in e["values"] for e in sets)

    budgets = [o for o in objects if o["kind"] == "PodDisruptionBudget"]
    denying = [
        o for o in objects
        if o["kind"] == "NetworkPolicy" and set(o["spec"]["policyTypes"]) == {"Ingress", "Egress"} and not o["spec"].get("egress") and not o["spec"].get("ingress")
    ]
    for name, template in pods(objects):
        labels = template["metadata"]["labels"]
        if not any(matches(p["spec"]["podSelector"], labels) for p in denying):
            fault(name, "no network policy denies by default")
        if name.startswith("Deployment") and not any(matches(b["spec"]["selector"], labels) for b in budgets):
            fault(name, "has no disruption budget")


def compose(seen):
    file = yaml.safe_load(Path("docker-compose.yml").read_text())
    for name, service in file["services"].items():
        if service.get("image") != "redress":
            continue
        flags(f"docker-compose.yml: {name}", service["command"])
        env = {k: v for k, v in service["environment"].items()}
        with tempfile.TemporaryDirectory() as folder:
            for key in [k for k in env if k.endswith("_FILE")]:
                path = Path(folder) / key
                path.write_text(SECRETS["master-key" if "KEY" in key else "database-url"])
                env[key] = str(path)
            env["REDRESS_DATA_DIR"] = folder
            done = subprocess.run([BINARY, "config", "check"], env={"PATH": "/usr/bin:/bin", **env}, capture_output=True, text=True)
            if done.returncode:
                fault(f"docker-compose.yml: {name}", done.stderr.strip())


def main():
    seen = answers()
    for path in ("/healthz", "/readyz", "/metrics"):
        if path not in seen:
            fault("the binary", f"{path} does not answer 200")
    count = 0
    for folder in ("k8s/base", "k8s/overlays/production"):
        text = documents(folder)
        by_schema(folder, text)
        objects = [o for o in yaml.safe_load_all(text) if o]
        count += len(objects)
        with tempfile.TemporaryDirectory() as scratch:
            settings = config(f"{folder}/redress.toml", Path(scratch))
        workloads = [o for o in pods(objects)] or [("", None)]
        for name, template in workloads:
            if template is None:
                if RENDER:
                    fault(folder, "holds no workload")
                continue
            restricted(name, template)
            if template["spec"]["containers"][0].get("args"):
                workload(name, template, settings, seen)
        if RENDER:
            covered(objects)
        for item in objects:
            if item["kind"] == "HorizontalPodAutoscaler":
                for metric in item["spec"].get("metrics", []):
                    name = metric["external"]["metric"]["name"]
                    if not re.search(rf"^{name}[ {{]", seen.get("/metrics", ""), re.M):
                        fault(f"HorizontalPodAutoscaler/{item['metadata']['name']}", f"the binary has no metric {name}")
    compose(seen)
    for line in faults:
        print(line, file=sys.stderr)
    how = RENDER or "without kustomize, file by file"
    print(f"{count} objects ({shlex.quote(how)}) and docker-compose.yml: {len(faults)} faults")
    sys.exit(1 if faults else 0)


main()
