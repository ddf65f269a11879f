"""The peer in FastAPI: the same pages and answers as the web application, as its users write them."""

import os
from contextlib import asynccontextmanager
from datetime import date

import asyncmy
from asyncmy.cursors import DictCursor
from asyncmy.errors import OperationalError
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader
from pydantic import BaseModel

import charts
import queries
import search as lists

POOL_SIZE = int(os.environ.get("DATABASE_POOL_SIZE", "10"))


class Employee(BaseModel):
    emp_no: int
    birth_date: date
    first_name: str
    last_name: str
    gender: str
    hire_date: date


class Assignment(BaseModel):
    dept_no: str
    dept_name: str
    from_date: date
    to_date: date | None
    manager: bool


class Superior(BaseModel):
    dept_no: str
    dept_name: str
    emp_no: int
    first_name: str
    last_name: str
    from_date: date
    to_date: date | None


class Title(BaseModel):
    title: str
    from_date: date
    to_date: date | None


class Salary(BaseModel):
    salary: int
    from_date: date
    to_date: date | None


class Career(BaseModel):
    departments: list[Assignment]
    managers: list[Superior]
    titles: list[Title]
    salaries: list[Salary]


class OneEmployee(BaseModel):
    employee: Employee
    career: Career


@asynccontextmanager
async def lifespan(application):
    """One pool for the life of the process, and what hardly ever changes."""
    async with asyncmy.create_pool(
        host=os.environ["DATABASE_HOST"],
        port=int(os.environ.get("DATABASE_PORT", "3306")),
        user=os.environ["DATABASE_USER"],
        password=os.environ["DATABASE_PASSWORD"],
        db=os.environ["DATABASE_NAME"],
        charset="utf8mb4",
        autocommit=True,
        minsize=1,
        maxsize=POOL_SIZE,
    ) as pool:
        application.state.pool = pool
        application.state.form = {
            "departments": await query(queries.EVERY_DEPARTMENT),
            "titles": [row["title"] for row in await query(queries.EVERY_TITLE)],
        }
        application.state.everybody = (await query(queries.EVERYBODY))[0]["counted"]
        yield


app = FastAPI(lifespan=lifespan)
templates = Jinja2Templates(
    env=Environment(loader=FileSystemLoader("templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
)
templates.env.filters["coordinate"] = charts.coordinate


async def query(statement, *values):
    """All rows, as dictionaries."""
    async with app.state.pool.acquire() as connection, connection.cursor(DictCursor) as cursor:
        await cursor.execute(statement, values)
        return await cursor.fetchall()


@app.get("/api/v1/employees/{number}")
async def employee(number: int) -> OneEmployee:
    found = await query(queries.EMPLOYEE, number)
    if not found:
        raise HTTPException(404)
    career = {
        "departments": await query(queries.DEPARTMENTS, number, number),
        "managers": await query(queries.MANAGERS, number),
        "titles": await query(queries.TITLES, number),
        "salaries": await query(queries.SALARIES, number),
    }
    return {"employee": found[0], "career": career}


@app.get("/show", response_class=HTMLResponse)
async def show(request: Request):
    return templates.TemplateResponse(request, "show.html", {"employees": await query(queries.SHOW)})


async def rows_of(search):
    """The page's rows, and one more where there is another page."""
    for statement, values in search.plans():
        rows = await query(statement, *values)
        if len(rows) > search.limit:
            break
    return rows


async def total(search, shown):
    """How many the whole list has, and whether that is exact: it is when everybody is on the page."""
    if shown <= search.limit:
        return shown, True
    statement, values = search.sample()
    sample = (await query(statement, *values))[0]
    estimate = lists.scale_up(sample["matching"], sample["seen"], app.state.everybody)
    if estimate > lists.SURELY_TOO_MANY:
        return estimate, False
    statement, values = search.count()
    try:
        counted = (await query(statement, *values))[0]["counted"]
    except OperationalError as error:
        if error.args[0] != lists.TOO_SLOW:
            raise
        return max(estimate, shown), False
    return (counted, True) if counted <= lists.MOST_COUNTED else (max(estimate, lists.MOST_COUNTED), False)


@app.get("/employees", response_class=HTMLResponse)
async def employees(request: Request):
    try:
        search = lists.Search.parse(request.query_params)
    except ValueError as why:
        raise HTTPException(400) from why
    rows = await rows_of(search)
    found = lists.found(*await total(search, len(rows)))
    shown = {"search": search, "found": found, "employees": rows[: search.limit], **app.state.form}
    return templates.TemplateResponse(request, "employees.html", shown)


@app.get("/departments/{number}", response_class=HTMLResponse)
async def department(request: Request, number: str):
    found = await query(queries.DEPARTMENT, number)
    if not found:
        raise HTTPException(404)
    department = found[0]
    newest = lists.Search(department=number, status="current", sort="hire_date", order="desc", limit=10)
    drawn, note = charts.of_department(
        department,
        await query(queries.YEARS, number, number),
        await query(queries.PERCENTILES, number),
        await query(queries.BANDS, number),
    )
    known = app.state.form["departments"]
    shown = {
        "department": department,
        "headcount": next(each["headcount"] for each in known if each["dept_no"] == number),
        "charts": drawn,
        "note": note,
        "managers": await query(queries.DEPARTMENT_MANAGERS, number),
        "employees": (await rows_of(newest))[: newest.limit],
    }
    return templates.TemplateResponse(request, "department.html", shown)
