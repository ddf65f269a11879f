"""What was measured on, and with what."""

import datetime
import os
import platform
import re
import subprocess
from pathlib import Path

from . import docker


def _first(path, pattern):
    found = re.search(pattern, Path(path).read_text(), re.MULTILINE)
    return found.group(1) if found else "unknown"


def describe():
    """The machine, now."""
    return {
        "cpu": _first("/proc/cpuinfo", r"^model name\s*: (.*)$"),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(int(_first("/proc/meminfo", r"^MemTotal:\s*(\d+)")) / 1024**2, 1),
        "kernel": platform.release(),
        "load": [round(each, 2) for each in os.getloadavg()],
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
    }


def _says(image, *command):
    out = docker.run("docker", "run", "--rm", "--entrypoint", command[0], image, *command[1:])
    return out.splitlines()[0]


def versions(database):
    """Of everything that makes a difference."""
    packages = "dpkg-query -W -f '${Package} ${Version}\\n' \"$@\" 2>/dev/null | sort | paste -sd, | sed 's/,/, /g'"
    installed = lambda image, *names: _says(image, "sh", "-c", packages, "sh", *names)  # noqa: E731
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return {
        "tandem": commit.stdout.strip() or "unknown",
        "base": docker.run("docker", "image", "inspect", "-f", '{{index .Config.Labels "dev.tandem.base"}}', "tandem/base"),
        "mysql": database.sql("SELECT VERSION()")[0][0],
        "web": installed("tandem/web", "nginx"),
        "flask": installed(
            "tandem/bench-flask", "nginx", "gunicorn", "python3", "python3-flask", "python3-pymysql", "python3-dbutils"
        ),
        "fastapi": installed(
            "tandem/bench-fastapi", "uvicorn", "python3", "python3-fastapi", "python3-asyncmy", "python3-uvloop"
        ),
        "go": _says("tandem/bench-go", "cat", "/usr/share/peer-versions"),
        "docker": docker.run("docker", "version", "-f", "{{.Server.Version}}"),
    }
