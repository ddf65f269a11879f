package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// The list of employees. What the benchmark asks for fits on one page, so there is no paging here; nor are there filters
// by date.

const (
	// The rows of the order that are walked before matches are collected and sorted.
	window      = 1000
	mostCounted = 10_000
	// An estimate above this is not worth a count.
	surelyTooMany = 20_000
	// MySQL's error for a statement that took longer than its hint allows.
	tooSlow = 3024

	columns   = "e.emp_no, e.birth_date, e.first_name, e.last_name, e.gender, e.hire_date"
	isCurrent = "EXISTS (SELECT 1 FROM dept_emp c WHERE c.emp_no = e.emp_no AND c.to_date = DATE'9999-01-01')"
)

// A sort is an order of the list: its name, its heading, its index, its columns.
type sort struct {
	name, label, index string
	columns            []string
}

var sorts = []sort{
	{"emp_no", "Number", "PRIMARY", []string{"emp_no"}},
	{"birth_date", "Birth date", "tandem_birth_date", []string{"birth_date", "emp_no"}},
	{"name", "Name", "tandem_name", []string{"first_name", "last_name", "emp_no"}},
	{"last_name", "Surname", "tandem_last_name", []string{"last_name", "first_name", "emp_no"}},
	{"gender", "Gender", "tandem_gender", []string{"gender", "emp_no"}},
	{"hire_date", "Hire date", "tandem_hire_date", []string{"hire_date", "emp_no"}},
}

// A Search is a list of employees; empty texts filter nothing.
type Search struct {
	Q, Department, Title, Gender, Status, Sort, Order string
	Limit                                             int
}

func parse(query url.Values) (Search, error) {
	s := Search{Sort: "emp_no", Order: "asc", Limit: 25}
	fields := map[string]*string{
		"q": &s.Q, "department": &s.Department, "title": &s.Title, "gender": &s.Gender, "status": &s.Status,
		"sort": &s.Sort, "order": &s.Order,
	}
	for name, values := range query {
		field, known := fields[name]
		if !known {
			return s, fmt.Errorf("there is no parameter %s", name)
		}
		if value := strings.TrimSpace(values[0]); value != "" {
			*field = value
		}
	}
	switch {
	case s.order() == nil, s.Order != "asc" && s.Order != "desc", len(strings.Fields(s.Q)) > 2:
		return s, errors.New("sort, order or q makes no sense")
	case !strings.Contains("MF", s.Gender), s.Status != "" && s.Status != "current" && s.Status != "former":
		return s, errors.New("gender or status makes no sense")
	}
	return s, nil
}

func (s Search) order() *sort {
	for i := range sorts {
		if sorts[i].name == s.Sort {
			return &sorts[i]
		}
	}
	return nil
}

var wildcards = strings.NewReplacer(`\`, `\\`, `%`, `\%`, `_`, `\_`)

// prefix gives the LIKE pattern of what begins with a word.
func prefix(word string) string {
	return wildcards.Replace(word) + "%"
}

// where gives the conditions and the values for their place holders.
func (s Search) where() (string, []any) {
	var conditions strings.Builder
	var values []any
	add := func(condition string, more ...any) {
		conditions.WriteString(" AND ")
		conditions.WriteString(condition)
		values = append(values, more...)
	}
	words := strings.Fields(s.Q)
	for i := range words {
		words[i] = prefix(words[i])
	}
	switch len(words) {
	case 1:
		add("(e.first_name LIKE ? OR e.last_name LIKE ?)", words[0], words[0])
	case 2:
		add("(e.first_name LIKE ? AND e.last_name LIKE ? OR e.first_name LIKE ? AND e.last_name LIKE ?)",
			words[0], words[1], words[1], words[0])
	}
	if s.Gender != "" {
		add("e.gender = ?", s.Gender)
	}
	inDepartment, withTitle := "", ""
	if s.Status == "current" {
		inDepartment = " AND d.to_date = DATE'9999-01-01'"
		withTitle = " AND (t.to_date = DATE'9999-01-01' OR t.to_date IS NULL)"
	}
	if s.Department != "" {
		add("EXISTS (SELECT 1 FROM dept_emp d WHERE d.emp_no = e.emp_no AND d.dept_no = ?"+inDepartment+")", s.Department)
	}
	if s.Title != "" {
		add("EXISTS (SELECT 1 FROM titles t WHERE t.emp_no = e.emp_no AND t.title = ?"+withTitle+")", s.Title)
	}
	if s.Status == "former" {
		add("NOT " + isCurrent)
	} else if s.Status == "current" && s.Department == "" {
		add(isCurrent)
	}
	return conditions.String(), values
}

func (s Search) orderBy(table string) string {
	direction := ""
	if s.Order == "desc" {
		direction = " DESC"
	}
	return " ORDER BY " + table + "." + strings.Join(s.order().columns, direction+", "+table+".") + direction
}

// link is the address of this list, with what differs from the defaults.
func (s Search) link(path string) string {
	var link strings.Builder
	link.WriteString(path + "?")
	first := true
	for _, each := range [][3]string{
		{"q", s.Q}, {"department", s.Department}, {"title", s.Title}, {"gender", s.Gender}, {"status", s.Status},
		{"sort", s.Sort, "emp_no"}, {"order", s.Order, "asc"},
	} {
		if each[1] == each[2] {
			continue
		}
		if !first {
			link.WriteByte('&')
		}
		first = false
		link.WriteString(each[0] + "=" + url.QueryEscape(each[1]))
	}
	return link.String()
}

// A File is the whole list as a file.
type File struct{ Name, Link string }

// Files gives all formats.
func (s Search) Files() (files []File) {
	for _, name := range []string{"CSV", "JSON", "NDJSON"} {
		files = append(files, File{name, s.link("/api/v1/employees." + strings.ToLower(name))})
	}
	return
}

// A Column is a heading with the list that a click on it asks for.
type Column struct {
	Label, Link, Sorted string
	Numeric             bool
}

// Columns gives the headings.
func (s Search) Columns() iter.Seq[Column] {
	return func(yield func(Column) bool) {
		for _, each := range sorts {
			list := s
			list.Sort, list.Order = each.name, "asc"
			column := Column{Label: each.label, Numeric: each.name == "emp_no"}
			if each.name == s.Sort {
				column.Sorted = "descending"
				if s.Order == "asc" {
					column.Sorted, list.Order = "ascending", "desc"
				}
			}
			column.Link = list.link("/employees")
			if !yield(column) {
				return
			}
		}
	}
}

// A Department is what the form offers.
type Department struct {
	DeptNo, DeptName string
	Headcount        int
}

// A form is read once, since it hardly ever changes.
type form struct {
	departments []Department
	titles      []string
	everybody   int
}

func readForm(ctx context.Context, db *sql.DB) (f form, err error) {
	if f.departments, err = query(ctx, db, func(d *Department) []any { return []any{&d.DeptNo, &d.DeptName, &d.Headcount} },
		"SELECT d.dept_no, d.dept_name, COALESCE(c.headcount, 0) FROM departments d LEFT JOIN"+
			" (SELECT dept_no, COUNT(*) AS headcount FROM dept_emp WHERE to_date = '9999-01-01' GROUP BY dept_no) c"+
			" USING (dept_no) ORDER BY d.dept_no"); err != nil {
		return
	}
	if f.titles, err = query(ctx, db, func(t *string) []any { return []any{t} },
		"SELECT DISTINCT title FROM titles ORDER BY title LIMIT 100"); err != nil {
		return
	}
	err = db.QueryRowContext(ctx, "SELECT COUNT(*) FROM employees").Scan(&f.everybody)
	return
}

// rows gives the page's rows, and one more where there is another page.
func (s *server) rows(ctx context.Context, search Search) ([]Employee, error) {
	where, values := search.where()
	limit := " LIMIT " + strconv.Itoa(search.Limit+1)
	end := where + search.orderBy("e") + limit
	if search.Q+search.Department+search.Title+search.Gender+search.Status == "" {
		return query(ctx, s.db, employeeFields, "SELECT "+columns+" FROM employees e WHERE TRUE"+end, values...)
	}
	words := strings.Fields(search.Q)
	// Two names are rare: no need to walk.
	if len(words) < 2 {
		// The window is read from the index alone.
		found, err := query(ctx, s.db, employeeFields, fmt.Sprintf(
			"SELECT /*+ JOIN_PREFIX(w) */ %s FROM (SELECT /*+ INDEX(e %s) */ e.%s FROM employees e WHERE TRUE%s LIMIT %d) w"+
				" JOIN employees e ON e.emp_no = w.emp_no WHERE TRUE%s",
			columns, search.order().index, strings.Join(search.order().columns, ", e."), search.orderBy("e"), window,
			where+search.orderBy("w")+limit), values...)
		if err != nil || len(found) > search.Limit {
			return found, err
		}
	} else {
		// Each order of the two is found through the index that begins with the longer one.
		slices.SortStableFunc(words, func(a, b string) int { return len(b) - len(a) })
		long, short := prefix(words[0]), prefix(words[1])
		return query(ctx, s.db, employeeFields,
			"SELECT /*+ JOIN_PREFIX(n) */ "+columns+" FROM (SELECT /*+ INDEX(a tandem_name) */ a.emp_no FROM employees a"+
				" WHERE a.first_name LIKE ? AND a.last_name LIKE ? UNION SELECT /*+ INDEX(a tandem_last_name) */ a.emp_no"+
				" FROM employees a WHERE a.last_name LIKE ? AND a.first_name LIKE ?) n"+
				" JOIN employees e ON e.emp_no = n.emp_no WHERE TRUE"+end,
			append([]any{long, short, long, short}, values...)...)
	}
	return query(ctx, s.db, employeeFields,
		"SELECT /*+ NO_ORDER_INDEX(e) NO_INDEX(e tandem_gender) */ "+columns+" FROM employees e WHERE TRUE"+end, values...)
}

// total gives the size of the whole list, and whether that is exact: it is when everybody is on the page.
func (s *server) total(ctx context.Context, search Search, shown int) (count int, exact bool, err error) {
	if shown <= search.Limit {
		return shown, true, nil
	}
	where, values := search.where()
	var seen, matching int
	err = s.db.QueryRowContext(ctx,
		"WITH RECURSIVE bounds AS (SELECT MIN(emp_no) AS low, MAX(emp_no) AS high FROM employees), "+
			"runs (number) AS (SELECT 0 UNION ALL SELECT number + 1 FROM runs WHERE number < 63) "+
			"SELECT COUNT(*), CAST(COALESCE(SUM(TRUE"+where+"), 0) AS SIGNED) FROM bounds JOIN runs JOIN employees e "+
			"ON e.emp_no BETWEEN low + number * ((high - low) DIV 64) AND low + number * ((high - low) DIV 64) + 31",
		values...).Scan(&seen, &matching)
	if err != nil {
		return 0, false, err
	}
	estimate := scaleUp(matching, seen, s.form.everybody)
	if estimate > surelyTooMany {
		return estimate, false, nil
	}
	err = s.db.QueryRowContext(ctx, fmt.Sprintf("SELECT /*+ MAX_EXECUTION_TIME(10) */ COUNT(*) FROM"+
		" (SELECT 1 FROM employees e WHERE TRUE%s LIMIT %d) counted", where, mostCounted+1), values...).Scan(&count)
	var failed *mysql.MySQLError
	switch {
	case errors.As(err, &failed) && failed.Number == tooSlow:
		return max(estimate, shown), false, nil
	case err != nil:
		return 0, false, err
	case count > mostCounted:
		return max(estimate, mostCounted), false, nil
	}
	return count, true, nil
}

// scaleUp rounds an estimate to the digits that so many matches deserve.
func scaleUp(matching, seen, everybody int) int {
	digits := 2
	if matching < 100 {
		digits = 1
	}
	estimate := everybody * max(matching, 1) / max(seen, 1)
	unit := 1
	for range max(len(strconv.Itoa(max(estimate, 1)))-digits, 0) {
		unit *= 10
	}
	return (estimate + unit/2) / unit * unit
}

func found(total int, exact bool) string {
	number := grouped(total)
	switch {
	case total == 0:
		return "Nobody found"
	case !exact:
		return "About " + number + " employees found"
	case total == 1:
		return "1 employee found"
	}
	return number + " employees found"
}

func (s *server) list(w http.ResponseWriter, r *http.Request) {
	search, err := parse(r.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	employees, err := s.rows(r.Context(), search)
	if err != nil {
		fail(w, err)
		return
	}
	total, exact, err := s.total(r.Context(), search, len(employees))
	if err != nil {
		fail(w, err)
		return
	}
	s.page(w, "employees.html", map[string]any{
		"Search":      search,
		"Departments": s.form.departments,
		"Titles":      s.form.titles,
		"Genders":     []string{"M", "F"},
		"Found":       found(total, exact),
		"Employees":   employees[:min(len(employees), search.Limit)],
	})
}
