// The peer in Go: the same pages and answers as the web application, with net/http, html/template and database/sql, as
// its users write them.

// Without modules, Go takes the program for one of 2022, whose routes have no methods and no wildcards.
//
//go:debug default=go1.24
package main

import (
	"bytes"
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/go-sql-driver/mysql"
)

//go:embed templates/*.html
var files embed.FS

// A Date is a day, as JSON and pages show it.
type Date struct{ time.Time }

func (d *Date) Scan(value any) error {
	day, ok := value.(time.Time)
	if !ok {
		return fmt.Errorf("%v is no date", value)
	}
	d.Time = day
	return nil
}

func (d Date) String() string               { return d.Format(time.DateOnly) }
func (d Date) MarshalText() ([]byte, error) { return d.AppendFormat(nil, time.DateOnly), nil }

// MarshalJSON takes the place of time.Time's own.
func (d Date) MarshalJSON() ([]byte, error) { return d.AppendFormat(nil, `"`+time.DateOnly+`"`), nil }

type Employee struct {
	EmpNo     int    `json:"emp_no"`
	BirthDate Date   `json:"birth_date"`
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
	Gender    string `json:"gender"`
	HireDate  Date   `json:"hire_date"`
}

type Assignment struct {
	DeptNo   string `json:"dept_no"`
	DeptName string `json:"dept_name"`
	FromDate Date   `json:"from_date"`
	ToDate   *Date  `json:"to_date"`
	Manager  bool   `json:"manager"`
}

type Superior struct {
	DeptNo    string `json:"dept_no"`
	DeptName  string `json:"dept_name"`
	EmpNo     int    `json:"emp_no"`
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
	FromDate  Date   `json:"from_date"`
	ToDate    *Date  `json:"to_date"`
}

type Title struct {
	Title    string `json:"title"`
	FromDate Date   `json:"from_date"`
	ToDate   *Date  `json:"to_date"`
}

type Salary struct {
	Salary   int   `json:"salary"`
	FromDate Date  `json:"from_date"`
	ToDate   *Date `json:"to_date"`
}

type Career struct {
	Departments []Assignment `json:"departments"`
	Managers    []Superior   `json:"managers"`
	Titles      []Title      `json:"titles"`
	Salaries    []Salary     `json:"salaries"`
}

// A server answers from its prepared statements; database/sql prepares them on each connection that uses them.
type server struct {
	db                                                       *sql.DB
	form                                                     form
	department                                               departmentStatements
	pages                                                    *template.Template
	employee, departments, managers, titles, salaries, shows *sql.Stmt
}

func prepare(db *sql.DB) (*server, error) {
	pages, err := template.ParseFS(files, "templates/*.html")
	if err != nil {
		return nil, err
	}
	s := &server{db: db, pages: pages}
	if s.form, err = readForm(context.Background(), db); err != nil {
		return nil, err
	}
	if err = s.department.prepare(db); err != nil {
		return nil, err
	}
	for _, each := range []struct {
		statement **sql.Stmt
		text      string
	}{
		{&s.employee, `SELECT emp_no, birth_date, first_name, last_name, gender, hire_date FROM employees WHERE emp_no = ?`},
		{&s.departments, `SELECT w.dept_no, d.dept_name, w.from_date, NULLIF(w.to_date, DATE'9999-01-01') AS to_date,
			w.manager = 1 AS manager
			FROM (SELECT dept_no, from_date, to_date, 0 AS manager FROM dept_emp WHERE emp_no = ? UNION ALL
			SELECT dept_no, from_date, to_date, 1 FROM dept_manager WHERE emp_no = ?) w
			JOIN departments d USING (dept_no)
			ORDER BY w.from_date DESC, w.manager DESC, w.dept_no`},
		{&s.managers, `SELECT d.dept_no, d.dept_name, e.emp_no, e.first_name, e.last_name,
			GREATEST(w.from_date, m.from_date) AS from_date,
			NULLIF(LEAST(w.to_date, m.to_date), DATE'9999-01-01') AS to_date
			FROM dept_emp w
			JOIN dept_manager m
			ON m.dept_no = w.dept_no AND m.from_date < w.to_date AND m.to_date > w.from_date AND m.emp_no <> w.emp_no
			JOIN departments d ON d.dept_no = w.dept_no
			JOIN employees e ON e.emp_no = m.emp_no
			WHERE w.emp_no = ? ORDER BY from_date DESC, d.dept_no, e.emp_no`},
		{&s.titles, `SELECT title, from_date, NULLIF(to_date, DATE'9999-01-01') AS to_date FROM titles
			WHERE emp_no = ? ORDER BY from_date DESC, title`},
		{&s.salaries, `SELECT salary, from_date, NULLIF(to_date, DATE'9999-01-01') AS to_date FROM salaries
			WHERE emp_no = ? ORDER BY from_date DESC`},
		{&s.shows, `SELECT emp_no, birth_date, first_name, last_name, gender, hire_date FROM employees
			WHERE gender = 'M' AND birth_date = DATE'1965-02-01' AND hire_date > DATE'1990-01-01'
			ORDER BY first_name, last_name, emp_no`},
	} {
		if *each.statement, err = db.Prepare(each.text); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// all gives every row of a prepared statement; fields names where a row's columns go.
func all[T any](ctx context.Context, statement *sql.Stmt, fields func(*T) []any, values ...any) ([]T, error) {
	rows, err := statement.QueryContext(ctx, values...)
	return scan(rows, err, fields)
}

// query gives every row of a statement that is put together.
func query[T any](ctx context.Context, db *sql.DB, fields func(*T) []any, text string, values ...any) ([]T, error) {
	rows, err := db.QueryContext(ctx, text, values...)
	return scan(rows, err, fields)
}

func scan[T any](rows *sql.Rows, err error, fields func(*T) []any) ([]T, error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	found := []T{}
	for rows.Next() {
		var row T
		if err := rows.Scan(fields(&row)...); err != nil {
			return nil, err
		}
		found = append(found, row)
	}
	return found, rows.Err()
}

func employeeFields(e *Employee) []any {
	return []any{&e.EmpNo, &e.BirthDate, &e.FirstName, &e.LastName, &e.Gender, &e.HireDate}
}

func (s *server) career(ctx context.Context, number int) (career Career, err error) {
	if career.Departments, err = all(ctx, s.departments, func(a *Assignment) []any {
		return []any{&a.DeptNo, &a.DeptName, &a.FromDate, &a.ToDate, &a.Manager}
	}, number, number); err != nil {
		return
	}
	if career.Managers, err = all(ctx, s.managers, func(m *Superior) []any {
		return []any{&m.DeptNo, &m.DeptName, &m.EmpNo, &m.FirstName, &m.LastName, &m.FromDate, &m.ToDate}
	}, number); err != nil {
		return
	}
	if career.Titles, err = all(ctx, s.titles, func(t *Title) []any {
		return []any{&t.Title, &t.FromDate, &t.ToDate}
	}, number); err != nil {
		return
	}
	career.Salaries, err = all(ctx, s.salaries, func(p *Salary) []any {
		return []any{&p.Salary, &p.FromDate, &p.ToDate}
	}, number)
	return
}

func (s *server) oneEmployee(w http.ResponseWriter, r *http.Request) {
	number, err := strconv.Atoi(r.PathValue("number"))
	if err != nil {
		http.Error(w, "not a number", http.StatusBadRequest)
		return
	}
	var e Employee
	err = s.employee.QueryRowContext(r.Context(), number).Scan(employeeFields(&e)...)
	if errors.Is(err, sql.ErrNoRows) {
		http.NotFound(w, r)
		return
	}
	if err != nil {
		fail(w, err)
		return
	}
	career, err := s.career(r.Context(), number)
	if err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(map[string]any{"employee": e, "career": career}); err != nil {
		log.Print(err)
	}
}

func (s *server) show(w http.ResponseWriter, r *http.Request) {
	employees, err := all(r.Context(), s.shows, employeeFields)
	if err != nil {
		fail(w, err)
		return
	}
	s.page(w, "show.html", map[string]any{"Employees": employees})
}

// page renders into memory first, so that an error in the middle does not look like a page.
func (s *server) page(w http.ResponseWriter, name string, data any) {
	var body bytes.Buffer
	if err := s.pages.ExecuteTemplate(&body, name, data); err != nil {
		fail(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	if _, err := body.WriteTo(w); err != nil {
		log.Print(err)
	}
}

func fail(w http.ResponseWriter, err error) {
	log.Print(err)
	http.Error(w, "internal server error", http.StatusInternalServerError)
}

func setting(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func run() error {
	config := mysql.NewConfig()
	config.Net = "tcp"
	config.Addr = net.JoinHostPort(setting("DATABASE_HOST", "127.0.0.1"), setting("DATABASE_PORT", "3306"))
	config.User = os.Getenv("DATABASE_USER")
	config.Passwd = os.Getenv("DATABASE_PASSWORD")
	config.DBName = setting("DATABASE_NAME", "employees")
	config.ParseTime = true
	// One round trip for a statement that is not prepared, instead of three.
	config.InterpolateParams = true
	connector, err := mysql.NewConnector(config)
	if err != nil {
		return err
	}
	size, err := strconv.Atoi(setting("DATABASE_POOL_SIZE", "10"))
	if err != nil {
		return err
	}
	db := sql.OpenDB(connector)
	// As many idle ones as there may be: else database/sql keeps two, and opens and closes the others all the time.
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	s, err := prepare(db)
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/employees/{number}", s.oneEmployee)
	mux.HandleFunc("GET /departments/{number}", s.oneDepartment)
	mux.HandleFunc("GET /employees", s.list)
	mux.HandleFunc("GET /show", s.show)
	return http.ListenAndServe(":"+setting("PORT", "8080"), mux)
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
