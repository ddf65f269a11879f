"""The peer in Flask: the same pages and answers as the web application, as its users write them."""

import functools
import os

import pymysql
from dbutils.pooled_db import PooledDB
from flask import Flask, abort, jsonify, render_template, request
from flask.json.provider import DefaultJSONProvider

import charts
import queries
import search as lists


class IsoDates(DefaultJSONProvider):
    """Dates as ISO 8601 instead of HTTP's form."""

    @staticmethod
    def default(value):
        return value.isoformat() if hasattr(value, "isoformat") else DefaultJSONProvider.default(value)


app = Flask(__name__)
app.json = IsoDates(app)
app.jinja_options = {"trim_blocks": True, "lstrip_blocks": True}
app.jinja_env.filters["coordinate"] = charts.coordinate

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


@functools.cache
def form():
    """What the form offers, and how many employees there are."""
    return {
        "departments": query(queries.EVERY_DEPARTMENT),
        "titles": [row["title"] for row in query(queries.EVERY_TITLE)],
    }, query(queries.EVERYBODY)[0]["counted"]


def rows_of(search):
    """The page's rows, and one more where there is another page."""
    for statement, values in search.plans():
        rows = query(statement, *values)
        if len(rows) > search.limit:
            break
    return rows


def total(search, shown, everybody):
    """How many the whole list has, and whether that is exact: it is when everybody is on the page."""
    if shown <= search.limit:
        return shown, True
    statement, values = search.sample()
    sample = query(statement, *values)[0]
    estimate = lists.scale_up(sample["matching"], sample["seen"], everybody)
    if estimate > lists.SURELY_TOO_MANY:
        return estimate, False
    statement, values = search.count()
    try:
        counted = query(statement, *values)[0]["counted"]
    except pymysql.OperationalError as error:
        if error.args[0] != lists.TOO_SLOW:
            raise
        return max(estimate, shown), False
    return (counted, True) if counted <= lists.MOST_COUNTED else (max(estimate, lists.MOST_COUNTED), False)


@app.get("/employees")
def employees():
    try:
        search = lists.Search.parse(request.args)
    except ValueError:
        abort(400)
    offered, everybody = form()
    rows = rows_of(search)
    found = lists.found(*total(search, len(rows), everybody))
    return render_template("employees.html", search=search, found=found, employees=rows[: search.limit], **offered)


@app.get("/departments/<number>")
def department(number):
    found = query(queries.DEPARTMENT, number)
    if not found:
        abort(404)
    department = found[0]
    newest = lists.Search(department=number, status="current", sort="hire_date", order="desc", limit=10)
    drawn, note = charts.of_department(
        department,
        query(queries.YEARS, number, number),
        query(queries.PERCENTILES, number),
        query(queries.BANDS, number),
    )
    return render_template(
        "department.html",
        department=department,
        headcount=next(each["headcount"] for each in form()[0]["departments"] if each["dept_no"] == number),
        charts=drawn,
        note=note,
        managers=query(queries.DEPARTMENT_MANAGERS, number),
        employees=rows_of(newest)[: newest.limit],
    )
