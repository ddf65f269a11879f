"""The peer in Flask: the same pages and answers as the web application, as its users write them."""

import os

import pymysql
from dbutils.pooled_db import PooledDB
from flask import Flask, abort, jsonify, render_template
from flask.json.provider import DefaultJSONProvider

import queries


class IsoDates(DefaultJSONProvider):
    """Dates as ISO 8601 instead of HTTP's form."""

    @staticmethod
    def default(value):
        return value.isoformat() if hasattr(value, "isoformat") else DefaultJSONProvider.default(value)


app = Flask(__name__)
app.json = IsoDates(app)
app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}

# A sync worker answers one request at a time, so it needs one connection.
pool = PooledDB(
    creator=pymysql,
    maxconnections=1,
    blocking=True,
    # Nothing is written, so nothing is rolled back; a connection that died is replaced when its query fails.
    reset=False,
    ping=0,
    host=os.environ["DATABASE_HOST"],
    port=int(os.environ.get("DATABASE_PORT", "3306")),
    user=os.environ["DATABASE_USER"],
    password=os.environ["DATABASE_PASSWORD"],
    database=os.environ["DATABASE_NAME"],
    charset="utf8mb4",
    autocommit=True,
    cursorclass=pymysql.cursors.DictCursor,
)


def query(statement, *values):
    """All rows, as dictionaries."""
    with pool.connection() as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        return cursor.fetchall()


@app.get("/api/v1/employees/<int:number>")
def employee(number):
    found = query(queries.EMPLOYEE, number)
    if not found:
        abort(404)
    departments = [dict(row, manager=bool(row["manager"])) for row in query(queries.DEPARTMENTS, number, number)]
    career = {
        "departments": departments,
        "managers": query(queries.MANAGERS, number),
        "titles": query(queries.TITLES, number),
        "salaries": query(queries.SALARIES, number),
    }
    return jsonify(employee=found[0], career=career)


@app.get("/show")
def show():
    return render_template("show.html", employees=query(queries.SHOW))
