CREATE TABLE tandem_salary_percentiles (
  -- Today's salaries by department, title and gender: '' is all of them. Who has two titles counts for each of them, and
  -- once for all. The salaries of a group stand in their order in one text, eleven characters each, so that the one at
  -- place n begins at 11n - 10: window functions over all groups take several times as long.
  dept_no CHAR(4) NOT NULL,
  title VARCHAR(50) NOT NULL,
  gender CHAR(1) NOT NULL,
  employees INT NOT NULL,
  total BIGINT NOT NULL,
  min INT NOT NULL,
  p10 INT NOT NULL,
  p25 INT NOT NULL,
  median INT NOT NULL,
  p75 INT NOT NULL,
  p90 INT NOT NULL,
  max INT NOT NULL,
  computed_at TIMESTAMP NOT NULL,
  PRIMARY KEY (dept_no, title, gender),
  KEY (title, gender)
) AS
WITH people AS (
  SELECT s.emp_no, e.gender, s.salary, LPAD(s.salary, 11, ' ') AS padded
  FROM salaries s JOIN employees e USING (emp_no) WHERE s.to_date = '9999-01-01'
), holders AS (
  SELECT DISTINCT emp_no, title FROM titles WHERE (to_date = '9999-01-01' OR to_date IS NULL) AND title <> ''
), everybody AS (
  SELECT gender, COUNT(*) AS employees, SUM(salary) AS total,
    GROUP_CONCAT(padded ORDER BY salary SEPARATOR '') AS sorted
  FROM people GROUP BY gender WITH ROLLUP
), by_department AS (
  SELECT dept_no, gender, COUNT(*) AS employees, SUM(salary) AS total,
    GROUP_CONCAT(padded ORDER BY salary SEPARATOR '') AS sorted
  FROM people JOIN dept_emp USING (emp_no) WHERE to_date = '9999-01-01' GROUP BY dept_no, gender WITH ROLLUP
), by_title AS (
  SELECT title, gender, COUNT(*) AS employees, SUM(salary) AS total,
    GROUP_CONCAT(padded ORDER BY salary SEPARATOR '') AS sorted
  FROM people JOIN holders USING (emp_no) GROUP BY title, gender WITH ROLLUP
), by_both AS (
  SELECT dept_no, title, gender, COUNT(*) AS employees, SUM(salary) AS total,
    GROUP_CONCAT(padded ORDER BY salary SEPARATOR '') AS sorted
  FROM people JOIN dept_emp USING (emp_no) JOIN holders USING (emp_no) WHERE to_date = '9999-01-01'
  GROUP BY dept_no, title, gender WITH ROLLUP
), together AS (
  SELECT '' AS dept_no, '' AS title, gender, employees, total, sorted FROM everybody
  UNION ALL
  SELECT dept_no, '', gender, employees, total, sorted FROM by_department WHERE dept_no IS NOT NULL
  UNION ALL
  SELECT '', title, gender, employees, total, sorted FROM by_title WHERE title IS NOT NULL
  UNION ALL
  SELECT dept_no, title, gender, employees, total, sorted FROM by_both WHERE dept_no IS NOT NULL AND title IS NOT NULL
)
SELECT /*+ SET_VAR(group_concat_max_len = 4294967295) */
  dept_no, title, COALESCE(gender, '') AS gender, employees, total,
  LEFT(sorted, 11) AS min,
  SUBSTRING(sorted, CEIL(employees * 0.10) * 11 - 10, 11) AS p10,
  SUBSTRING(sorted, CEIL(employees * 0.25) * 11 - 10, 11) AS p25,
  SUBSTRING(sorted, CEIL(employees * 0.50) * 11 - 10, 11) AS median,
  SUBSTRING(sorted, CEIL(employees * 0.75) * 11 - 10, 11) AS p75,
  SUBSTRING(sorted, CEIL(employees * 0.90) * 11 - 10, 11) AS p90,
  RIGHT(sorted, 11) AS max,
  CURRENT_TIMESTAMP AS computed_at
FROM together WHERE employees > 0
