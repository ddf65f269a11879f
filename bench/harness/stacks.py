"""The database and the stacks under test: their containers, all with the same limits."""

import http.client
import os
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import docker
from .docker import Container, Failed

PEERS = Path(__file__).resolve().parent.parent / "peers"

MYSQL_IMAGE = os.environ.get("MYSQL_IMAGE", "tandem/mysql")
WEB_IMAGE = os.environ.get("WEB_IMAGE", "tandem/web")

PASSWORD = "bench"
POOL_SIZE = 10
WEB_MEMORY = "512m"
DATABASE_MEMORY = "2g"
# How long anything may take to start, in seconds.
PATIENCE = 120


@dataclass
class Stack:
    """One way to serve the pages."""

    name: str
    title: str
    image: str
    # Environment and command beyond what all have.
    environment: dict = field(default_factory=dict)
    entrypoint: tuple = ()
    # Answers with 200 when nothing is left to be done in the background, where the stack has such a page.
    ready_path: str = ""
    container: Container = None
    port: int = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"


def all_stacks():
    """In the report's order. The first one is what the others are compared with."""
    return [
        Stack("tandem", "Tandem: nginx + webapp", WEB_IMAGE, ready_path="/readyz"),
        Stack("tandem-direct", "webapp alone", WEB_IMAGE, entrypoint=("webapp", "serve"), ready_path="/readyz"),
        Stack("go", "Go: net/http", "tandem/bench-go"),
        Stack("fastapi", "FastAPI: uvicorn", "tandem/bench-fastapi"),
        Stack("flask", "Flask: nginx + gunicorn", "tandem/bench-flask"),
    ]


def build_peers():
    """The peers' images, and the one of the bare client."""
    for name in ("go", "fastapi", "flask", "bare"):
        docker.build(f"tandem/bench-{name}", str(PEERS / name / "Dockerfile"), str(PEERS))


@dataclass
class Cores:
    """Which processors serve, and which the database and the load generator have: the stack that is measured shares its
    own with nobody."""

    server: str
    rest: str

    @classmethod
    def split(cls):
        cores = sorted(os.sched_getaffinity(0))
        if len(cores) < 2:
            raise Failed("one processor is too few: the server and the database need one each")
        half = len(cores) // 2
        return cls(",".join(map(str, cores[:half])), ",".join(map(str, cores[half:])))


def free_port():
    """A TCP port of 127.0.0.1 that nobody has now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Database:
    """MySQL with the full data set."""

    def __init__(self, prefix, cores):
        self.container = Container(
            f"{prefix}-mysql", MYSQL_IMAGE,
            "--cpuset-cpus", cores.rest, "--memory", DATABASE_MEMORY,
            "-e", f"MYSQL_ROOT_PASSWORD={PASSWORD}", "-e", "MYSQL_DATABASE=employees",
            "-e", "MYSQL_USER=app", "-e", f"MYSQL_PASSWORD={PASSWORD}",
        )  # fmt: skip
        self.host = ""

    def start(self):
        self.container.start()
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                docker.run("docker", "exec", self.container.name, "tandem-mysql", "health")
                break
            except Failed as why:
                if time.monotonic() > deadline or not self.container.is_running():
                    raise Failed(f"the database does not start: {self.container.last_words()}") from why
        self.host = self.container.address()

    def sql(self, statement):
        """The rows that root gets, as lists of text."""
        out = docker.run(
            "docker", "exec", "-i", "-e", f"MYSQL_PWD={PASSWORD}", self.container.name,
            "mysql", "-uroot", "--batch", "--raw", "--skip-column-names", "employees",
            stdin=statement,
        )  # fmt: skip
        return [line.split("\t") for line in out.splitlines()]


def create(stack, prefix, database, cores):
    """Creates the stack's container. It shares the machine's network, so that no packet goes through a proxy of Docker's;
    the database is reached on Docker's bridge, by all in the same way."""
    stack.port = free_port()
    environment = {
        "DATABASE_HOST": database.host,
        "DATABASE_NAME": "employees",
        "DATABASE_USER": "app",
        "DATABASE_PASSWORD": PASSWORD,
        "DATABASE_POOL_SIZE": str(POOL_SIZE),
        "PORT": str(stack.port),
        **stack.environment,
    }
    if stack.image == WEB_IMAGE:
        # As in compose.yaml; and without encryption to the database, which the peers' drivers do not ask for.
        environment |= {"MIGRATE_ON_START": "true", "DATABASE_TLS": "disabled"}
    if stack.entrypoint:
        environment |= {"LISTEN": f"127.0.0.1:{stack.port}"}
    options = ["--network", "host", "--cpuset-cpus", cores.server, "--memory", WEB_MEMORY]
    options += [option for name, value in environment.items() for option in ("-e", f"{name}={value}")]
    if stack.entrypoint:
        options += ["--entrypoint", stack.entrypoint[0]]
    stack.container = Container(f"{prefix}-{stack.name}", stack.image, *options, command=stack.entrypoint[1:])


def get(stack, path):
    """Status and body of one request."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=PATIENCE)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def start(stack, path):
    """Starts the stack and waits until it is ready; seconds from the start to the first good answer."""
    began = time.monotonic()
    stack.container.start()
    answered = _until_good(stack, path, began)
    if stack.ready_path:
        _until_good(stack, stack.ready_path, began)
    return answered


def _until_good(stack, path, began):
    while True:
        try:
            if get(stack, path)[0] == 200:
                return time.monotonic() - began
        except OSError:
            # Nobody listens yet.
            pass
        if time.monotonic() - began > PATIENCE or not stack.container.is_running():
            raise Failed(f"{stack.title} does not start: {stack.container.last_words()}")
        time.sleep(0.005)
