"""What is asked for: kinds of work, each a list of paths that is gone through again and again."""

import random
from dataclasses import dataclass
from urllib.parse import urlencode


@dataclass
class Work:
    """One kind of work."""

    name: str
    title: str
    paths: list


# The same choice in each run.
SEED = 4

# First names with the beginning of a last name, and a department in which a few of those people work today: no more than
# one page shows.
SEARCHES = f"""
SELECT e.first_name, LEFT(e.last_name, 2), d.dept_no
FROM employees e JOIN dept_emp d USING (emp_no) WHERE d.to_date = '9999-01-01'
GROUP BY 1, 2, 3 HAVING COUNT(*) BETWEEN 3 AND 15 ORDER BY RAND({SEED}) LIMIT 200
"""


def all_work(database):
    """Every kind, made from what the database holds."""
    numbers = [row[0] for row in database.sql(f"SELECT emp_no FROM employees ORDER BY RAND({SEED}) LIMIT 2000")]
    employee = [f"/api/v1/employees/{number}" for number in numbers]
    searches = [
        {"q": f"{first} {last}", "department": department, "status": "current", "sort": "name"}
        for first, last, department in database.sql(SEARCHES)
    ]
    lists = [f"/employees?{urlencode(search)}" for search in searches]
    show = ["/show"]
    numbers = [row[0] for row in database.sql("SELECT dept_no FROM departments ORDER BY dept_no")]
    departments = [f"/departments/{number}" for number in numbers]
    # Of a hundred requests: 60, 15, 15 and 10.
    mixed = [*employee[:1200], *random.Random(SEED).choices(lists, k=300), *show * 300]
    mixed += [departments[n % len(departments)] for n in range(200)]
    random.Random(SEED).shuffle(mixed)
    return [
        Work("employee", "One employee by number (JSON)", employee),
        Work("list", "The list, filtered and sorted (HTML)", lists),
        Work("show", "The challenge's page (HTML)", show),
        Work("department", "A department's page with its charts (HTML)", departments),
        Work("mixed", "Mixed: 60 % employees, 15 % lists, 15 % the challenge, 10 % departments", mixed),
    ]
