CREATE TABLE tandem_department_years (
  -- Each year in which somebody came or went. Who came by the end of a year and goes in a later one was there.
  dept_no CHAR(4) NOT NULL,
  year SMALLINT NOT NULL,
  headcount INT NOT NULL,
  hires INT NOT NULL,
  leavers INT NOT NULL,
  computed_at TIMESTAMP NOT NULL,
  PRIMARY KEY (dept_no, year)
) AS
WITH spans AS (
  SELECT dept_no, YEAR(from_date) AS came, YEAR(to_date) AS went FROM dept_emp WHERE from_date <= to_date
), changes AS (
  SELECT dept_no, came AS year, COUNT(*) AS hires, 0 AS leavers FROM spans GROUP BY dept_no, came
  UNION ALL
  SELECT dept_no, went, 0, COUNT(*) FROM spans WHERE went < 9999 GROUP BY dept_no, went
), years AS (
  SELECT dept_no, year, SUM(hires) AS hires, SUM(leavers) AS leavers FROM changes GROUP BY dept_no, year
)
SELECT dept_no, year, SUM(hires - leavers) OVER (PARTITION BY dept_no ORDER BY year) AS headcount, hires, leavers,
  CURRENT_TIMESTAMP AS computed_at
FROM years
