"""The peer in FastAPI: the same pages and answers as the web application, as its users write them."""

import os
from contextlib import asynccontextmanager
from datetime import date

import asyncmy
from asyncmy.cursors import DictCursor
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse
from fastapi.templating import Jinja2Templates
from jinja2 import Environment, FileSystemLoader
from pydantic import BaseModel

import queries

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
    """One pool for the life of the process."""
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
        yield


app = FastAPI(lifespan=lifespan)
templates = Jinja2Templates(
    env=Environment(loader=FileSystemLoader("templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True)
)


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
