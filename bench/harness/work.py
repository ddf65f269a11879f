"""What is asked for: kinds of work, each a list of paths that is gone through again and again."""

from dataclasses import dataclass


@dataclass
class Work:
    """One kind of work."""

    name: str
    title: str
    paths: list


def all_work(database):
    """Every kind, made from what the database holds."""
    numbers = [row[0] for row in database.sql("SELECT emp_no FROM employees ORDER BY RAND(4) LIMIT 2000")]
    employee = [f"/api/v1/employees/{number}" for number in numbers]
    return [
        Work("employee", "One employee by number (JSON)", employee),
        Work("show", "The challenge's page (HTML)", ["/show"]),
    ]
