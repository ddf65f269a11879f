"""A stand-in for an application, for the tests of the image: answers on LISTEN, and misbehaves when it is asked to."""

import json
import os
import signal
import socket
import socketserver
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler

# The handlers that are slow at the moment.
slow = []


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = False

    def address_string(self):
        return "nginx"

    def log_message(self, *_):
        pass

    def answer(self, status, text, kind="text/plain", **headers):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if os.environ.get("SERVED_BY") != "nobody":
            self.send_header("X-Served-By", "standin-" + socket.gethostname())
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self):
        path, _, argument = self.path.lstrip("/").partition("?")
        if path == "exit":
            os._exit(int(argument))
        elif path == "signal":
            os.kill(os.getpid(), int(argument))
        elif path == "slow":
            slow.append(self)
            time.sleep(float(argument))
            slow.remove(self)
            self.answer(200, "slow\n")
        elif path == "held":
            slow.append(self)
            while not os.path.exists("/tmp/go"):
                time.sleep(0.02)
            slow.remove(self)
            self.answer(200, "held\n")
        elif path == "busy":
            self.answer(200, str(len(slow)))
        elif path == "headers":
            self.answer(200, json.dumps({k.lower(): v for k, v in self.headers.items()}))
        elif path == "environment":
            self.answer(200, json.dumps(dict(os.environ)))
        elif path == "big":
            # Slow where its reader is, and over when nginx lets go of it.
            slow.append(self)
            try:
                self.answer(200, "x" * int(argument))
            finally:
                slow.remove(self)
        elif path == "encoded":
            self.answer(200, "x" * int(argument), Content_Encoding="br", Vary="Accept-Encoding")
        elif path == "vary":
            self.answer(200, "x" * 10000, Vary=argument)
        elif path == "stderr":
            print(argument, file=sys.stderr, flush=True)
            self.answer(200, "said\n")
        elif path == "unavailable":
            self.answer(503, "the database is away\n", Retry_After="7")
        elif path == "traced":
            self.answer(200, "traced\n", traceresponse=argument)
        elif path == "readyz" and os.path.exists("/tmp/not-ready"):
            self.answer(503, "not ready\n")
        else:
            self.answer(200, "ok\n")

    do_HEAD = do_GET

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.answer(200, "posted\n")


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    request_queue_size = 1024
    allow_reuse_address = True

    def __init__(self, listen):
        if listen.startswith("unix:"):
            self.address_family, address = socket.AF_UNIX, listen.removeprefix("unix:")
        else:
            host, _, port = listen.rpartition(":")
            self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
            address = (host.strip("[]"), int(port))
        super().__init__(address, Handler)

    def get_request(self):
        connection, _ = self.socket.accept()
        return connection, ("nginx", 0)


time.sleep(float(os.environ.get("START_DELAY", "0")))
server = Server(os.environ["LISTEN"])
if os.environ.get("IGNORE_TERM"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
else:
    # As webapp does: stop accepting, answer what is in flight, end with 0. nginx has drained before.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever(0.05)
