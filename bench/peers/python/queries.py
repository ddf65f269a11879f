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

# Read once, since they hardly ever change: what the form of the list offers.
EVERY_DEPARTMENT = "SELECT dept_no, dept_name FROM departments ORDER BY dept_no"
EVERY_TITLE = "SELECT DISTINCT title FROM titles ORDER BY title LIMIT 100"
EVERYBODY = "SELECT COUNT(*) AS counted FROM employees"
