"""The list of employees: query parameters in, statements and links out. Shared by both Python peers.

What the benchmark asks for fits on one page, so there is no paging here; nor are there filters by date.
"""

from dataclasses import dataclass, replace
from urllib.parse import urlencode

LIMIT = 25
# The rows of the order that are walked before matches are collected and sorted.
WINDOW = 1000
MOST_COUNTED = 10_000
# An estimate above this is not worth a count.
SURELY_TOO_MANY = 20_000
# MySQL's error for a statement that took longer than its hint allows.
TOO_SLOW = 3024

COLUMNS = "e.emp_no, e.birth_date, e.first_name, e.last_name, e.gender, e.hire_date"
SORTS = {
    "emp_no": ("PRIMARY", ("emp_no",)),
    "name": ("tandem_name", ("first_name", "last_name", "emp_no")),
    "last_name": ("tandem_last_name", ("last_name", "first_name", "emp_no")),
    "gender": ("tandem_gender", ("gender", "emp_no")),
    "birth_date": ("tandem_birth_date", ("birth_date", "emp_no")),
    "hire_date": ("tandem_hire_date", ("hire_date", "emp_no")),
}
HEADINGS = (
    ("emp_no", "Number"),
    ("birth_date", "Birth date"),
    ("name", "Name"),
    ("last_name", "Surname"),
    ("gender", "Gender"),
    ("hire_date", "Hire date"),
)
CURRENT = "EXISTS (SELECT 1 FROM dept_emp c WHERE c.emp_no = e.emp_no AND c.to_date = DATE'9999-01-01')"


def prefix(word):
    """The pattern of texts that begin with the word."""
    return word.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"


@dataclass(frozen=True)
class Search:
    """A list of employees; empty texts filter nothing."""

    q: str = ""
    department: str = ""
    title: str = ""
    gender: str = ""
    status: str = ""
    sort: str = "emp_no"
    order: str = "asc"
    limit: int = LIMIT

    @classmethod
    def parse(cls, parameters):
        """From a query string's parameters; `ValueError` where one is not known or makes no sense."""
        unknown = set(parameters) - (set(cls.__dataclass_fields__) - {"limit"})
        if unknown:
            raise ValueError(f"there is no parameter {min(unknown)}")
        search = cls(**{name: value.strip() for name, value in parameters.items() if value.strip()})
        if search.sort not in SORTS or search.order not in ("asc", "desc") or len(search.q.split()) > 2:
            raise ValueError("sort, order or q makes no sense")
        if search.gender not in ("", "M", "F") or search.status not in ("", "current", "former"):
            raise ValueError("gender or status makes no sense")
        return search

    def plans(self):
        """Statements with their values: the first one whose rows more than fill the page has them, else the last one."""
        if not (self.q or self.department or self.title or self.gender or self.status):
            return [self.any_plan()]
        # Two names are rare: no need to walk.
        return [self.named()] if len(self.q.split()) == 2 else [self.window(), self.collect()]

    def where(self):
        """The conditions, and the values for their place holders."""
        conditions, values = [], []

        def add(condition, *more):
            conditions.append(condition)
            values.extend(more)

        words = [prefix(word) for word in self.q.split()]
        if len(words) == 1:
            add(" AND (e.first_name LIKE %s OR e.last_name LIKE %s)", *words, *words)
        elif words:
            one, other = words
            add(
                " AND (e.first_name LIKE %s AND e.last_name LIKE %s OR e.first_name LIKE %s AND e.last_name LIKE %s)",
                one, other, other, one,
            )  # fmt: skip
        if self.gender:
            add(" AND e.gender = %s", self.gender)
        current = self.status == "current"
        if self.department:
            today = " AND d.to_date = DATE'9999-01-01'" if current else ""
            add(
                f" AND EXISTS (SELECT 1 FROM dept_emp d WHERE d.emp_no = e.emp_no AND d.dept_no = %s{today})",
                self.department,
            )
        if self.title:
            today = " AND (t.to_date = DATE'9999-01-01' OR t.to_date IS NULL)" if current else ""
            add(
                f" AND EXISTS (SELECT 1 FROM titles t WHERE t.emp_no = e.emp_no AND t.title = %s{today})", self.title
            )
        if self.status == "former":
            add(f" AND NOT {CURRENT}")
        elif current and not self.department:
            add(f" AND {CURRENT}")
        return "".join(conditions), values

    def _order(self, table="e"):
        direction = " DESC" if self.order == "desc" else ""
        return " ORDER BY " + ", ".join(f"{table}.{column}{direction}" for column in SORTS[self.sort][1])

    def any_plan(self):
        where, values = self.where()
        return f"SELECT {COLUMNS} FROM employees e WHERE TRUE{where}{self._order()} LIMIT %s", [*values, self.limit + 1]

    def window(self):
        """The first rows of the order, read from its index alone, and which of them match."""
        where, values = self.where()
        index, columns = SORTS[self.sort]
        walked = (
            f"SELECT /*+ INDEX(e {index}) */ {', '.join(f'e.{column}' for column in columns)}"
            f" FROM employees e WHERE TRUE{self._order()} LIMIT {WINDOW}"
        )
        return (
            f"SELECT /*+ JOIN_PREFIX(w) */ {COLUMNS} FROM ({walked}) w JOIN employees e ON e.emp_no = w.emp_no"
            f" WHERE TRUE{where}{self._order('w')} LIMIT %s",
            [*values, self.limit + 1],
        )

    def named(self):
        """Those of two names, each order of which is found through the index that begins with the longer one."""
        where, values = self.where()
        long, short = (prefix(word) for word in sorted(self.q.split(), key=len, reverse=True))
        return (
            f"SELECT /*+ JOIN_PREFIX(n) */ {COLUMNS} FROM (SELECT /*+ INDEX(a tandem_name) */ a.emp_no FROM employees a"
            " WHERE a.first_name LIKE %s AND a.last_name LIKE %s UNION SELECT /*+ INDEX(a tandem_last_name) */ a.emp_no"
            " FROM employees a WHERE a.last_name LIKE %s AND a.first_name LIKE %s) n"
            f" JOIN employees e ON e.emp_no = n.emp_no WHERE TRUE{where}{self._order()} LIMIT %s",
            [long, short, long, short, *values, self.limit + 1],
        )

    def collect(self):
        """Those who match, sorted afterwards."""
        where, values = self.where()
        return (
            f"SELECT /*+ NO_ORDER_INDEX(e) NO_INDEX(e tandem_gender) */ {COLUMNS} FROM employees e WHERE TRUE{where}{self._order()} LIMIT %s",
            [*values, self.limit + 1],
        )

    def count(self):
        where, values = self.where()
        return (
            "SELECT /*+ MAX_EXECUTION_TIME(10) */ COUNT(*) AS counted FROM"
            f" (SELECT 1 FROM employees e WHERE TRUE{where} LIMIT {MOST_COUNTED + 1}) counted",
            values,
        )

    def sample(self):
        """64 runs of 32 numbers, spread over all that are in use."""
        where, values = self.where()
        return (
            "WITH RECURSIVE bounds AS (SELECT MIN(emp_no) AS low, MAX(emp_no) AS high FROM employees), "
            "runs (number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM runs WHERE number < 63) "
            f"SELECT COUNT(*) AS seen, CAST(COALESCE(SUM(TRUE{where}), 0) AS SIGNED) AS matching "
            "FROM bounds JOIN runs JOIN employees e "
            "ON e.emp_no BETWEEN low + number * ((high - low) DIV 64) AND low + number * ((high - low) DIV 64) + 31",
            values,
        )

    def link(self, path="/employees"):
        """The address of this list, with what differs from the defaults."""
        shown = {name: getattr(self, name) for name in ("q", "department", "title", "gender", "status")}
        if self.sort != "emp_no":
            shown["sort"] = self.sort
        if self.order != "asc":
            shown["order"] = self.order
        return path + "?" + urlencode({name: value for name, value in shown.items() if value})

    def files(self):
        """The whole list as files: names and addresses."""
        return [(name, self.link(f"/api/v1/employees.{name.lower()}")) for name in ("CSV", "JSON", "NDJSON")]

    def columns(self):
        """The headings, each with the list that a click on it asks for."""
        for sort, label in HEADINGS:
            sorted_by = sort == self.sort
            order = "desc" if sorted_by and self.order == "asc" else "asc"
            direction = {"asc": "ascending", "desc": "descending"}[self.order] if sorted_by else None
            yield {
                "label": label,
                "link": replace(self, sort=sort, order=order).link(),
                "sorted": direction,
                "numeric": sort == "emp_no",
            }


def scale_up(matching, seen, everybody):
    """An estimate from a sample, rounded to the digits that so many matches deserve."""
    digits = 1 if matching < 100 else 2
    estimate = everybody * max(matching, 1) // max(seen, 1)
    unit = 10 ** max(len(str(max(estimate, 1))) - digits, 0)
    return (estimate + unit // 2) // unit * unit


def found(total, exact):
    """How many, in words."""
    if total == 0:
        return "Nobody found"
    if exact:
        return "1 employee found" if total == 1 else f"{total:,} employees found"
    return f"About {total:,} employees found"
