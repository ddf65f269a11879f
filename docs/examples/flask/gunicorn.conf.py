"""gunicorn's settings: where to listen comes from the web image, the rest suits a small container."""

import os

bind = os.environ["LISTEN"]  # unix:/run/tandem/app.sock or host:port, as gunicorn writes them too
worker_class = "gthread"
workers = 1
threads = 8
keepalive = 5
graceful_timeout = int(os.environ.get("SHUTDOWN_TIMEOUT", "8"))
worker_tmp_dir = "/dev/shm"  # the root filesystem is read-only
pidfile = "/tmp/gunicorn.pid"
no_control_socket = True  # nobody controls it but supervisor
