"""gunicorn's settings: sync workers, as many as its documentation advises."""

import os

bind = "unix:/run/peer/app.sock"
worker_class = "sync"
workers = 2 * len(os.sched_getaffinity(0)) + 1
worker_tmp_dir = "/dev/shm"
no_control_socket = True
