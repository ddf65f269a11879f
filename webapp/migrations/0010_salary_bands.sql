CREATE TABLE tandem_salary_bands (
  -- How many of today's salaries lie in each band, for the groups of tandem_salary_percentiles. The width is a power of
  -- ten that cuts the span of all salaries into a hundred to a thousand bands.
  dept_no CHAR(4) NOT NULL,
  title VARCHAR(50) NOT NULL,
  gender CHAR(1) NOT NULL,
  begins INT NOT NULL,
  width INT NOT NULL,
  employees INT NOT NULL,
  computed_at TIMESTAMP NOT NULL,
  PRIMARY KEY (dept_no, title, gender, begins)
) AS
WITH scale AS (
  SELECT CAST(POW(10, GREATEST(FLOOR(LOG10(GREATEST(MAX(salary) - MIN(salary), 1))) - 2, 0)) AS SIGNED) AS width
  FROM salaries WHERE to_date = '9999-01-01'
), members AS (
  SELECT emp_no, dept_no, dept_no = MIN(dept_no) OVER (PARTITION BY emp_no) AS is_first
  FROM dept_emp WHERE to_date = '9999-01-01'
), holders AS (
  SELECT DISTINCT emp_no, title, title = MIN(title) OVER (PARTITION BY emp_no) AS is_first
  FROM titles WHERE (to_date = '9999-01-01' OR to_date IS NULL) AND title <> ''
), today AS (
  SELECT m.dept_no, h.title, e.gender, FLOOR(s.salary / width) * width AS begins, width,
    COALESCE(m.is_first, 1) AS first_department, COALESCE(h.is_first, 1) AS first_title, COUNT(*) AS employees
  FROM scale JOIN salaries s JOIN employees e USING (emp_no)
  LEFT JOIN members m USING (emp_no) LEFT JOIN holders h USING (emp_no)
  WHERE s.to_date = '9999-01-01'
  GROUP BY 1, 2, 3, 4, 5, 6, 7
), shown AS (
  SELECT department, title, gender
  FROM (SELECT 0 AS department UNION ALL SELECT 1) d
  JOIN (SELECT 0 AS title UNION ALL SELECT 1) t
  JOIN (SELECT 0 AS gender UNION ALL SELECT 1) g
)
SELECT IF(shown.department, dept_no, '') AS dept_no, IF(shown.title, today.title, '') AS title,
  IF(shown.gender, today.gender, '') AS gender, begins, width, SUM(employees) AS employees,
  CURRENT_TIMESTAMP AS computed_at
FROM today JOIN shown
  ON IF(shown.department, dept_no IS NOT NULL, first_department) AND IF(shown.title, today.title IS NOT NULL, first_title)
GROUP BY 1, 2, 3, 4, 5
