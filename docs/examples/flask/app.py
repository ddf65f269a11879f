"""A small twelve-factor application: the challenge's page, from the same database as the web application."""

import os
import socket
from urllib.parse import unquote, urlsplit

import pymysql
from flask import Flask, render_template_string

app = Flask(__name__)

QUERY = """
SELECT emp_no, birth_date, first_name, last_name, gender, hire_date
FROM employees
WHERE gender = 'M' AND birth_date = '1965-02-01' AND hire_date > '1990-01-01'
ORDER BY first_name, last_name
"""

PAGE = """<!doctype html>
<html lang="en">
<title>Employees</title>
<h1>{{ rows|length }} employees</h1>
<table>
<tr><th>Number</th><th>Birth date</th><th>First name</th><th>Last name</th><th>Gender</th><th>Hire date</th></tr>
{% for row in rows %}<tr>{% for value in row %}<td>{{ value }}</td>{% endfor %}</tr>
{% endfor %}</table>
<p><small>Served by {{ host }}</small></p>
</html>
"""


def secret(name):
    """The value of NAME, or the content of the file that NAME_FILE names, without its last newline."""
    path = os.environ.get(name + "_FILE")
    if path is None:
        return os.environ.get(name)
    with open(path, encoding="utf-8") as file:
        return file.read().removesuffix("\n")


def settings():
    """Where the database is: DATABASE_URL, or the single variables. PyMySQL takes text passwords for Latin-1: bytes."""
    url = secret("DATABASE_URL")
    if url is not None:
        parts = urlsplit(url)
        return {
            "host": parts.hostname,
            "port": parts.port or 3306,
            "user": unquote(parts.username or ""),
            "password": unquote(parts.password or "").encode(),
            "database": unquote(parts.path.lstrip("/")),
        }
    return {
        "host": os.environ["DATABASE_HOST"],
        "port": int(os.environ.get("DATABASE_PORT", "3306")),
        "user": os.environ["DATABASE_USER"],
        "password": (secret("DATABASE_PASSWORD") or "").encode(),
        "database": os.environ.get("DATABASE_NAME", "employees"),
    }


# Read once: a variable that is missing ends the application at once, and so the container.
SETTINGS = settings()


def rows(query):
    connection = pymysql.connect(**SETTINGS, connect_timeout=2, read_timeout=10, charset="utf8mb4")
    with connection, connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchall()


@app.get("/")
@app.get("/show")
def show():
    return render_template_string(PAGE, rows=rows(QUERY), host=socket.gethostname())


@app.get("/healthz")
def healthz():
    return "ok\n", {"Content-Type": "text/plain"}


@app.get("/readyz")
def readyz():
    rows("SELECT 1 FROM employees LIMIT 1")
    return "ready\n", {"Content-Type": "text/plain"}


@app.errorhandler(pymysql.MySQLError)
def database_away(error):
    app.logger.error("database: %s", error)
    return "The database does not answer now: try again in a few seconds.\n", 503, {
        "Content-Type": "text/plain",
        "Retry-After": "5",
    }


@app.after_request
def served_by(response):
    response.headers["X-Served-By"] = socket.gethostname()
    return response
