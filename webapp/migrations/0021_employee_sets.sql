CREATE TABLE tandem_sets (
  -- Who has what a list can be filtered by: for each department, title, gender, status, beginning of a name and span of
  -- dates, the numbers of the employees as words of 64 bits, of which only those stand here that are not 0: four bytes
  -- say which, eight hold the bits, lowest number lowest, both big-endian and in their order. Word n begins at number
  -- 64n - 2147483648, since numbers are signed. A span of dates holds a thirty-second of everybody, or all who share
  -- one date, and is called like its first date. The kind "rows" has no words: how many rows there were, to be compared
  -- with how many there are.
  kind VARCHAR(20) NOT NULL,
  value VARCHAR(50) NOT NULL,
  ends DATE,
  employees INT NOT NULL,
  words LONGBLOB NOT NULL,
  computed_at TIMESTAMP NOT NULL,
  PRIMARY KEY (kind, value)
) CHARACTER SET utf8mb4 AS
WITH bits AS (
  SELECT emp_no, gender, birth_date, hire_date, first_name, last_name,
    (emp_no + 2147483648) >> 6 AS word, 1 << (emp_no & 63) AS bit
  FROM employees
), births AS (
  SELECT birth_date AS day, word, bit,
    FLOOR((RANK() OVER (ORDER BY birth_date) - 1) * 32 / COUNT(*) OVER ()) AS span
  FROM bits
), hires AS (
  SELECT hire_date AS day, word, bit,
    FLOOR((RANK() OVER (ORDER BY hire_date) - 1) * 32 / COUNT(*) OVER ()) AS span
  FROM bits
), members AS (
  SELECT dept_no, (emp_no + 2147483648) >> 6 AS word, 1 << (emp_no & 63) AS bit, to_date = '9999-01-01' AS today
  FROM dept_emp
), holders AS (
  SELECT title, (emp_no + 2147483648) >> 6 AS word, 1 << (emp_no & 63) AS bit,
    to_date IS NULL OR to_date = '9999-01-01' AS today
  FROM titles
), everybody AS (
  SELECT word, BIT_OR(bit) AS bits FROM bits GROUP BY word
), current AS (
  SELECT word, BIT_OR(bit) AS bits FROM members WHERE today GROUP BY word
), former AS (
  SELECT word, IF(c.word IS NULL, e.bits, e.bits & ~c.bits) AS bits FROM everybody e LEFT JOIN current c USING (word)
), named AS (
  SELECT 'everybody' AS kind, '' AS value, word, bits FROM everybody
  UNION ALL
  SELECT 'status', 'current', word, bits FROM current
  UNION ALL
  SELECT 'status', 'former', word, bits FROM former WHERE bits <> 0
  UNION ALL
  SELECT 'gender', CONVERT(gender USING utf8mb4), word, BIT_OR(bit) FROM bits GROUP BY gender, word
  UNION ALL
  SELECT 'first name 1', CONVERT(LEFT(first_name, 1) USING utf8mb4) AS begins, word, BIT_OR(bit) FROM bits
  GROUP BY begins, word
  UNION ALL
  SELECT 'first name 2', CONVERT(LEFT(first_name, 2) USING utf8mb4) AS begins, word, BIT_OR(bit) FROM bits
  GROUP BY begins, word
  UNION ALL
  SELECT 'last name 1', CONVERT(LEFT(last_name, 1) USING utf8mb4) AS begins, word, BIT_OR(bit) FROM bits
  GROUP BY begins, word
  UNION ALL
  SELECT 'last name 2', CONVERT(LEFT(last_name, 2) USING utf8mb4) AS begins, word, BIT_OR(bit) FROM bits
  GROUP BY begins, word
  UNION ALL
  SELECT 'department', CONVERT(dept_no USING utf8mb4), word, BIT_OR(bit) FROM members GROUP BY dept_no, word
  UNION ALL
  SELECT 'department today', CONVERT(dept_no USING utf8mb4), word, BIT_OR(bit) FROM members WHERE today
  GROUP BY dept_no, word
  UNION ALL
  SELECT 'title', CONVERT(title USING utf8mb4), word, BIT_OR(bit) FROM holders GROUP BY title, word
  UNION ALL
  SELECT 'title today', CONVERT(title USING utf8mb4), word, BIT_OR(bit) FROM holders WHERE today GROUP BY title, word
), spans AS (
  SELECT 'born' AS kind, span, word, BIT_OR(bit) AS bits, MIN(day) AS begins, MAX(day) AS ends
  FROM births GROUP BY span, word
  UNION ALL
  SELECT 'hired', span, word, BIT_OR(bit), MIN(day), MAX(day) FROM hires GROUP BY span, word
)
SELECT /*+ SET_VAR(group_concat_max_len = 4294967295) SET_VAR(tmp_table_size = 6291456) */
  kind, value, NULL AS ends, SUM(BIT_COUNT(bits)) AS employees,
  UNHEX(GROUP_CONCAT(LPAD(HEX(word), 8, '0'), LPAD(HEX(bits), 16, '0') ORDER BY word SEPARATOR '')) AS words,
  CURRENT_TIMESTAMP AS computed_at
FROM named GROUP BY kind, value
UNION ALL
SELECT kind, CAST(MIN(begins) AS CHAR), MAX(ends), SUM(BIT_COUNT(bits)),
  UNHEX(GROUP_CONCAT(LPAD(HEX(word), 8, '0'), LPAD(HEX(bits), 16, '0') ORDER BY word SEPARATOR '')), CURRENT_TIMESTAMP
FROM spans GROUP BY kind, span
UNION ALL
SELECT 'rows', 'employees', NULL, COUNT(*), '', CURRENT_TIMESTAMP FROM employees
UNION ALL
SELECT 'rows', 'current', NULL, COALESCE(SUM(BIT_COUNT(bits)), 0), '', CURRENT_TIMESTAMP FROM current
UNION ALL
SELECT 'rows', 'titles', NULL, COUNT(*), '', CURRENT_TIMESTAMP FROM titles
