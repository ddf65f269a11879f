CREATE TABLE tandem_company_years (
  -- Of a person's spans, which may overlap, each begins at the earliest when those before it are over: nobody counts
  -- twice.
  year SMALLINT NOT NULL,
  headcount INT NOT NULL,
  hires INT NOT NULL,
  leavers INT NOT NULL,
  computed_at TIMESTAMP NOT NULL,
  PRIMARY KEY (year)
) AS
WITH spans AS (
  SELECT
    GREATEST(YEAR(from_date), COALESCE(MAX(YEAR(to_date)) OVER (
      PARTITION BY emp_no ORDER BY from_date, dept_no ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)) AS came,
    YEAR(to_date) AS went
  FROM dept_emp
), leavers AS (
  SELECT YEAR(MAX(to_date)) AS went FROM dept_emp GROUP BY emp_no HAVING MAX(to_date) < '9999-01-01'
), changes AS (
  SELECT came AS year, COUNT(*) AS difference, 0 AS hires, 0 AS leavers FROM spans WHERE came < went GROUP BY came
  UNION ALL
  SELECT went, -COUNT(*), 0, 0 FROM spans WHERE came < went AND went < 9999 GROUP BY went
  UNION ALL
  SELECT YEAR(hire_date), 0, COUNT(*), 0 FROM employees GROUP BY YEAR(hire_date)
  UNION ALL
  SELECT went, 0, 0, COUNT(*) FROM leavers GROUP BY went
), years AS (
  SELECT year, SUM(difference) AS difference, SUM(hires) AS hires, SUM(leavers) AS leavers FROM changes GROUP BY year
)
SELECT year, SUM(difference) OVER (ORDER BY year) AS headcount, hires, leavers, CURRENT_TIMESTAMP AS computed_at
FROM years
