package main

import (
	"database/sql"
	"net/http"
)

// The statements of a department's page, prepared.
type departmentStatements struct {
	one, managers, years, percentiles, bands *sql.Stmt
}

func (d *departmentStatements) prepare(db *sql.DB) (err error) {
	for _, each := range []struct {
		statement **sql.Stmt
		text      string
	}{
		{&d.one, `SELECT dept_no, dept_name FROM departments WHERE dept_no = ?`},
		{&d.managers, `SELECT m.emp_no, e.first_name, e.last_name, m.from_date, NULLIF(m.to_date, DATE'9999-01-01') AS to_date
			FROM dept_manager m JOIN employees e USING (emp_no)
			WHERE m.dept_no = ? ORDER BY m.from_date DESC, m.emp_no`},
		{&d.years, `SELECT '' AS dept_no, CAST(year AS SIGNED) AS year, headcount, hires, leavers, computed_at
			FROM tandem_company_years
			UNION ALL
			SELECT d.dept_no, CAST(y.year AS SIGNED), COALESCE(y.headcount, 0), COALESCE(y.hires, 0),
			COALESCE(y.leavers, 0), y.computed_at
			FROM departments d LEFT JOIN tandem_department_years y USING (dept_no)
			WHERE ? IS NULL OR d.dept_no = ?
			ORDER BY dept_no, year`},
		{&d.percentiles, `SELECT p.title, p.gender, p.dept_no = g.dept_no, p.title = g.title, p.gender = g.gender,
			p.employees, p.total, p.min, p.p10, p.p25, p.median, p.p75, p.p90, p.max
			FROM (SELECT ? AS dept_no, '' AS title, '' AS gender) g
			JOIN tandem_salary_percentiles p
			ON (p.title = g.title AND p.gender = g.gender) OR (p.dept_no = g.dept_no AND p.gender = g.gender)
			OR (p.dept_no = g.dept_no AND p.title = g.title)
			LEFT JOIN departments d ON d.dept_no = p.dept_no
			ORDER BY p.dept_no, p.title, p.gender`},
		{&d.bands, `SELECT CAST(begins AS SIGNED), CAST(begins + width AS SIGNED), CAST(employees AS SIGNED)
			FROM tandem_salary_bands WHERE dept_no = ? AND title = '' AND gender = '' ORDER BY begins`},
	} {
		if *each.statement, err = db.Prepare(each.text); err != nil {
			return
		}
	}
	return
}

// A Manager is somebody who manages a department, or did.
type Manager struct {
	EmpNo               int
	FirstName, LastName string
	FromDate            Date
	ToDate              *Date
}

func (s *server) oneDepartment(w http.ResponseWriter, r *http.Request) {
	ctx, number := r.Context(), r.PathValue("number")
	found, err := all(ctx, s.department.one, func(d *Department) []any { return []any{&d.DeptNo, &d.DeptName} }, number)
	if err == nil && len(found) == 0 {
		http.NotFound(w, r)
		return
	}
	newest := Search{Department: number, Status: "current", Sort: "hire_date", Order: "desc", Limit: 10}
	var changes []Change
	var paid []Paid
	var bands []Band
	var managers []Manager
	var employees []Employee
	if err == nil {
		changes, err = all(ctx, s.department.years, func(c *Change) []any {
			return []any{&c.DeptNo, &c.Year, &c.Headcount, &c.Hires, &c.Leavers, &c.ComputedAt}
		}, number, number)
	}
	if err == nil {
		paid, err = all(ctx, s.department.percentiles, func(p *Paid) []any {
			return []any{&p.Title, &p.Gender, &p.SameDepartment, &p.SameTitle, &p.SameGender,
				&p.Employees, &p.Total, &p.Min, &p.P10, &p.P25, &p.Median, &p.P75, &p.P90, &p.Max}
		}, number)
	}
	if err == nil {
		bands, err = all(ctx, s.department.bands, func(b *Band) []any {
			return []any{&b.From, &b.Below, &b.Employees}
		}, number)
	}
	if err == nil {
		managers, err = all(ctx, s.department.managers, func(m *Manager) []any {
			return []any{&m.EmpNo, &m.FirstName, &m.LastName, &m.FromDate, &m.ToDate}
		}, number)
	}
	if err == nil {
		employees, err = s.rows(ctx, newest)
	}
	if err != nil {
		fail(w, err)
		return
	}
	headcount := 0
	for _, known := range s.form.departments {
		if known.DeptNo == number {
			headcount = known.Headcount
		}
	}
	charts, note := departmentCharts(found[0], changes, paid, bands)
	s.page(w, "department.html", map[string]any{
		"Department": found[0],
		"Headcount":  grouped(headcount),
		"Charts":     charts,
		"Note":       note,
		"Managers":   managers,
		"Employees":  employees[:min(len(employees), newest.Limit)],
	})
}
