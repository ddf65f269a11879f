"""Containers, through the docker command; their CPU time and memory, as the kernel counts them."""

import os
import subprocess
from pathlib import Path


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


# Where the kernel says what containers use: in one tree for all, or in one for each controller.
CGROUPS = Path("/sys/fs/cgroup")


def _numbers(file):
    """The numbers of a cgroup's file that has a name and a number in each line."""
    return {name: int(value) for name, value in (line.split() for line in file.read_text().splitlines())}


class Container:
    """One container, created but not started."""

    def __init__(self, name, image, *options, command=()):
        self.name = name
        self.pid = 0
        run("docker", "create", "--name", name, *options, image, *command)

    def start(self):
        run("docker", "start", self.name)
        self.pid = int(run("docker", "inspect", "-f", "{{.State.Pid}}", self.name))

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

    def _cgroup(self, controller):
        """The folder of a controller's files about the container (cgroup v1), or of all of them (v2), and whether it is v2.
        The engine's API has the same figures, but only once a second."""
        unified = None
        for line in Path(f"/proc/{self.pid}/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controller in controllers.split(","):
                return CGROUPS / controller / path.lstrip("/"), False
            if not controllers:
                unified = path
        if unified is None:
            raise Failed(f"{self.name}: there is no cgroup of {controller}")
        return CGROUPS / unified.lstrip("/"), True

    def cpu(self):
        """CPU time since its start, in seconds."""
        folder, unified = self._cgroup("cpuacct")
        if unified:
            return _numbers(folder / "cpu.stat")["usage_usec"] / 1e6
        return int((folder / "cpuacct.usage").read_text()) / 1e9

    def memory(self):
        """Memory now, in bytes, without what the kernel may drop at once."""
        folder, unified = self._cgroup("memory")
        droppable = _numbers(folder / "memory.stat")["inactive_file" if unified else "total_inactive_file"]
        return int((folder / ("memory.current" if unified else "memory.usage_in_bytes")).read_text()) - droppable

    def remove(self):
        subprocess.run(["docker", "rm", "-fv", self.name], capture_output=True, check=False)
