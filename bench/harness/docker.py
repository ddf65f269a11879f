"""Containers, through the docker command; their CPU time and memory, through the engine's API."""

import http.client
import json
import os
import socket
import subprocess


class Failed(Exception):
    """Something that ends the run, in one sentence."""


def run(*command, stdin=None):
    """The command's output; `Failed` with what it said last where it fails."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise Failed(f"{' '.join(command[:3])}: {said[-1] if said else f'exit code {done.returncode}'}")
    return done.stdout.strip()


def build(tag, dockerfile, context):
    """Builds an image with the builder that every Docker has."""
    os.environ["DOCKER_BUILDKIT"] = "0"
    run("docker", "build", "-q", "-t", tag, "-f", dockerfile, context)


def remove_all(prefix):
    """The containers whose names begin so, and their volumes."""
    left = run("docker", "ps", "-aq", "--filter", f"name=^{prefix}-").split()
    if left:
        run("docker", "rm", "-fv", *left)


def image_size(image):
    """Bytes."""
    return int(run("docker", "image", "inspect", "-f", "{{.Size}}", image))


class _Engine(http.client.HTTPConnection):
    """The engine's API on its unix socket."""

    def __init__(self):
        super().__init__("localhost", timeout=30)

    def connect(self):
        address = os.environ.get("DOCKER_HOST", "unix:///var/run/docker.sock")
        if not address.startswith("unix://"):
            raise Failed(f"DOCKER_HOST is {address}: the benchmark needs an engine on this machine (unix://…)")
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(address.removeprefix("unix://"))


class Container:
    """One container, created but not started."""

    def __init__(self, name, image, *options, command=()):
        self.name = name
        run("docker", "create", "--name", name, *options, image, *command)

    def start(self):
        run("docker", "start", self.name)

    def stop(self):
        run("docker", "stop", self.name)

    def address(self):
        """Its IP address on Docker's own bridge."""
        return run("docker", "inspect", "-f", "{{.NetworkSettings.IPAddress}}", self.name)

    def is_running(self):
        return run("docker", "inspect", "-f", "{{.State.Running}}", self.name) == "true"

    def last_words(self):
        done = subprocess.run(["docker", "logs", "--tail", "5", self.name], capture_output=True, text=True, check=False)
        return (done.stdout + done.stderr).strip()

    def usage(self):
        """CPU time since its start in seconds, and memory now in bytes, without what the kernel may drop at once."""
        engine = _Engine()
        try:
            engine.request("GET", f"/containers/{self.name}/stats?stream=false&one-shot=true")
            stats = json.load(engine.getresponse())
        finally:
            engine.close()
        memory = stats["memory_stats"]
        droppable = memory["stats"].get("inactive_file", memory["stats"].get("total_inactive_file", 0))
        return stats["cpu_stats"]["cpu_usage"]["total_usage"] / 1e9, memory["usage"] - droppable

    def remove(self):
        subprocess.run(["docker", "rm", "-fv", self.name], capture_output=True, check=False)
