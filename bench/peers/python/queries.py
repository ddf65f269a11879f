"""The statements of both Python peers: the web application's own (webapp/src/db), with PyMySQL's place holders."""

EMPLOYEE = """
SELECT emp_no, birth_date, first_name, last_name, gender, hire_date FROM employees WHERE emp_no = %s
"""

DEPARTMENTS = """
SELECT w.dept_no, d.dept_name, w.from_date, NULLIF(w.to_date, DATE'9999-01-01') AS to_date, w.manager = 1 AS manager
FROM (SELECT dept_no, from_date, to_date, 0 AS manager FROM dept_emp WHERE emp_no = %s
      UNION ALL
      SELECT dept_no, from_date, to_date, 1 FROM dept_manager WHERE emp_no = %s) w
JOIN departments d USING (dept_no)
ORDER BY w.from_date DESC, w.manager DESC, w.dept_no
"""

MANAGERS = """
SELECT d.dept_no, d.dept_name, e.emp_no, e.first_name, e.last_name, GREATEST(w.from_date, m.from_date) AS from_date,
       NULLIF(LEAST(w.to_date, m.to_date), DATE'9999-01-01') AS to_date
FROM dept_emp w
JOIN dept_manager m
  ON m.dept_no = w.dept_no AND m.from_date < w.to_date AND m.to_date > w.from_date AND m.emp_no <> w.emp_no
JOIN departments d ON d.dept_no = w.dept_no
JOIN employees e ON e.emp_no = m.emp_no
WHERE w.emp_no = %s ORDER BY from_date DESC, d.dept_no, e.emp_no
"""

TITLES = """
SELECT title, from_date, NULLIF(to_date, DATE'9999-01-01') AS to_date FROM titles
WHERE emp_no = %s ORDER BY from_date DESC, title
"""

SALARIES = """
SELECT salary, from_date, NULLIF(to_date, DATE'9999-01-01') AS to_date FROM salaries
WHERE emp_no = %s ORDER BY from_date DESC
"""

SHOW = """
SELECT emp_no, birth_date, first_name, last_name, gender, hire_date FROM employees
WHERE gender = 'M' AND birth_date = DATE'1965-02-01' AND hire_date > DATE'1990-01-01'
ORDER BY first_name, last_name, emp_no
"""

# Read once, since they hardly ever change: what the form of the list offers, and how many people there are.
EVERY_DEPARTMENT = """
SELECT d.dept_no, d.dept_name, COALESCE(c.headcount, 0) AS headcount
FROM departments d
LEFT JOIN (SELECT dept_no, COUNT(*) AS headcount FROM dept_emp WHERE to_date = '9999-01-01' GROUP BY dept_no) c
USING (dept_no)
ORDER BY d.dept_no
"""
EVERY_TITLE = "SELECT DISTINCT title FROM titles ORDER BY title LIMIT 100"
EVERYBODY = "SELECT COUNT(*) AS counted FROM employees"

DEPARTMENT = "SELECT dept_no, dept_name FROM departments WHERE dept_no = %s"

DEPARTMENT_MANAGERS = """
SELECT m.emp_no, e.first_name, e.last_name, m.from_date, NULLIF(m.to_date, DATE'9999-01-01') AS to_date
FROM dept_manager m JOIN employees e USING (emp_no)
WHERE m.dept_no = %s ORDER BY m.from_date DESC, m.emp_no
"""

YEARS = """
SELECT '' AS dept_no, CAST(year AS SIGNED) AS year, headcount, hires, leavers, computed_at FROM tandem_company_years
UNION ALL
SELECT d.dept_no, CAST(y.year AS SIGNED), COALESCE(y.headcount, 0), COALESCE(y.hires, 0), COALESCE(y.leavers, 0),
       y.computed_at
FROM departments d LEFT JOIN tandem_department_years y USING (dept_no)
WHERE %s IS NULL OR d.dept_no = %s
ORDER BY dept_no, year
"""

PERCENTILES = """
SELECT p.*, COALESCE(d.dept_name, '') AS dept_name, p.dept_no = g.dept_no AS same_department,
       p.title = g.title AS same_title, p.gender = g.gender AS same_gender
FROM (SELECT %s AS dept_no, '' AS title, '' AS gender) g
JOIN tandem_salary_percentiles p
  ON (p.title = g.title AND p.gender = g.gender) OR (p.dept_no = g.dept_no AND p.gender = g.gender)
  OR (p.dept_no = g.dept_no AND p.title = g.title)
LEFT JOIN departments d ON d.dept_no = p.dept_no
ORDER BY p.dept_no, p.title, p.gender
"""

BANDS = """
SELECT CAST(begins AS SIGNED) AS begins, CAST(width AS SIGNED) AS width, CAST(employees AS SIGNED) AS employees
FROM tandem_salary_bands WHERE dept_no = %s AND title = '' AND gender = '' ORDER BY begins
"""
