"""Load, by wrk, on one stack; and on the database alone, by mysqlslap."""

import json
import random
import re
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path

from . import docker, stacks

SCRIPT = Path(__file__).with_name("load.lua")
CONNECTIONS = 32
# How often the memory is looked at, in seconds.
SAMPLING = 0.5


@dataclass
class Measured:
    """One stack under one kind of work, once. Times in milliseconds, CPU in seconds per 1,000 requests."""

    rate: float
    p50: float
    p99: float
    errors: int
    server_cpu: float
    database_cpu: float
    memory: int


def wrk(stack, kind, cores, seconds, connections):
    """What wrk says about that load."""
    with tempfile.NamedTemporaryFile("w", suffix=".paths") as file:
        file.write("\n".join(kind.paths) + "\n")
        file.flush()
        # Otherwise each round would begin with the same paths.
        start = random.randrange(len(kind.paths))
        said = docker.run(
            "taskset", "-c", cores.rest, "wrk", "-t", "1", "-c", str(connections), "-d", f"{seconds}s",
            "--timeout", "10s", "-s", str(SCRIPT), stack.url, "--", file.name, str(start),
        )  # fmt: skip
    return json.loads(said.splitlines()[-1])


class _Memory:
    """The most memory that a container has had, looked at now and then."""

    def __init__(self, container):
        self.container = container
        self.most = 0
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch)

    def _watch(self):
        while not self.over.wait(SAMPLING):
            self._look()

    def _look(self):
        self.most = max(self.most, self.container.memory())

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()
        self._look()


def measure(stack, database, kind, cores, warm_up, seconds):
    """Warms up, then measures."""
    wrk(stack, kind, cores, warm_up, CONNECTIONS)
    with _Memory(stack.container) as memory:
        server, queries = stack.container.cpu(), database.container.cpu()
        said = wrk(stack, kind, cores, seconds, CONNECTIONS)
        server_after, queries_after = stack.container.cpu(), database.container.cpu()
    thousands = max(said["requests"], 1) / 1000
    return Measured(
        rate=said["requests"] / said["seconds"],
        p50=said["p50"],
        p99=said["p99"],
        errors=said["errors"],
        server_cpu=(server_after - server) / thousands,
        database_cpu=(queries_after - queries) / thousands,
        memory=memory.most,
    )


def statements(stack, database, kind, most):
    """The statements that a stack sends for up to `most` paths of a kind, as the server's general log has them, and for
    how many paths. The stack must send values within its statements."""
    paths = kind.paths[:most]
    stacks.get(stack, paths[0])
    database.sql("SET GLOBAL log_output = 'TABLE'; TRUNCATE mysql.general_log; SET GLOBAL general_log = ON")
    for path in paths:
        stacks.get(stack, path)
    rows = database.sql(
        "SET GLOBAL general_log = OFF;"
        "SELECT REGEXP_REPLACE(CONVERT(argument USING utf8mb4), '[[:space:]]+', ' ') FROM mysql.general_log"
        " WHERE command_type = 'Query' AND user_host LIKE 'app%' ORDER BY event_time"
    )
    # A bare client takes its time: what is asked for with a limit is asked for without.
    sent = [re.sub(r" /\*\+ MAX_EXECUTION_TIME\(\d+\) \*/", "", row[0].strip()) for row in rows]
    return [statement for statement in sent if statement.startswith("SELECT")], len(paths)


def bare(database, cores, found, paths, seconds, guess):
    """Requests a second that the database has answers for, when nothing but a bare client asks: as many connections as
    the stacks' pools have send the same statements, one after the other."""
    per_request = len(found) / paths
    # mysqlslap opens the file for writing, so it cannot be mounted read only.
    queries = max(int(guess * seconds * per_request), stacks.POOL_SIZE)
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(";\n".join(found))
        file.flush()
        said = docker.run(
            "docker", "run", "--rm", "--network", "host", "--cpuset-cpus", cores.rest,
            "-v", f"{file.name}:/statements.sql", "-e", f"MYSQL_PWD={stacks.PASSWORD}", "tandem/bench-bare",
            "--host", database.host, "--user", "app", "--create-schema", "employees", "--no-drop",
            "--query", "/statements.sql", "--delimiter", ";\n", "--concurrency", str(stacks.POOL_SIZE),
            "--number-of-queries", str(queries), "--csv",
        )  # fmt: skip
    # ",mixed,AVERAGE,MINIMUM,MAXIMUM,CLIENTS,QUERIES OF EACH"
    fields = said.splitlines()[-1].split(",")
    return int(fields[5]) * int(fields[6]) / per_request / float(fields[2])
