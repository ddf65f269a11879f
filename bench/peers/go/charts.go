package main

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// The charts of a department's page: figures in, shapes and tables out, which templates/chart.html writes as inline SVG.
// Each chart is drawn twice, for wide screens and for phones.

const (
	// The width of a character and the height of a line, in units of a drawing.
	character, line, middle = 7.5, 15.0, 4.0

	maxYears = 100
)

// A screen is what a drawing is made for.
type screen string

const (
	broad  screen = "broad"
	narrow screen = "narrow"
)

func pick[T any](s screen, wide, small T) T {
	if s == broad {
		return wide
	}
	return small
}

func (s screen) width() float64 { return pick(s, 960.0, 360.0) }

// A Place is a coordinate in a drawing, shown to a tenth of its unit.
type Place float64

func (p Place) String() string {
	return strconv.FormatFloat(math.Round(float64(p)*10)/10, 'f', -1, 64)
}

type Point struct{ X, Y Place }

// A Shape is an element of a drawing: a line has points; a rectangle has a size; what remains is a text.
type Shape struct {
	Kind, Class, Hint, Anchor, Text string
	Points                          []Point
	At, Size                        Point
}

// A Drawing is shapes in a frame.
type Drawing struct {
	Screen        screen
	Width, Height Place
	Shapes        []Shape
}

// A Row is a name, where it leads, and its figures.
type Row struct {
	Name, Link string
	Figures    []string
}

type Chart struct {
	ID, Title, Description string
	// How its signs are read, where that is not plain.
	Key      string
	Drawings []*Drawing
	Head     []string
	Rows     []Row
}

func chart(id, title, description string, draw func(screen) *Drawing, head []string, rows []Row) Chart {
	return Chart{id, title, description, "", []*Drawing{draw(broad), draw(narrow)}, head, rows}
}

func newDrawing(s screen, height float64) *Drawing {
	return &Drawing{Screen: s, Width: Place(s.width()), Height: Place(height)}
}

func point(x, y float64) Point { return Point{Place(x), Place(y)} }

func (d *Drawing) line(class string, points ...Point) {
	d.Shapes = append(d.Shapes, Shape{Kind: "line", Class: class, Points: points})
}

func (d *Drawing) rect(class string, one, other Point, hint string) {
	d.Shapes = append(d.Shapes, Shape{
		Kind: "rect", Class: class, Hint: hint,
		At:   Point{min(one.X, other.X), min(one.Y, other.Y)},
		Size: Point{Place(math.Abs(float64(one.X - other.X))), Place(math.Abs(float64(one.Y - other.Y)))},
	})
}

// text pushes a text into the drawing where it would hang over its edge.
func (d *Drawing) text(class string, x, y float64, anchor, text string) {
	text, _ = fit(text, float64(d.Width))
	width := textWidth(text)
	before, after := 0.0, width
	switch anchor {
	case "middle":
		before, after = width/2, width/2
	case "end":
		before, after = width, 0
	}
	x = max(min(x, float64(d.Width)-after), before)
	d.Shapes = append(d.Shapes, Shape{Kind: "text", Class: class, At: point(x, y), Anchor: anchor, Text: text})
}

func (d *Drawing) rows(s scale, ticks []int, left, right float64) {
	for _, tick := range ticks {
		y, class := s.at(float64(tick)), "grid"
		if tick == 0 {
			class = "axis"
		}
		d.line(class, point(left, y), point(right, y))
		d.text("tick", left-6, y+middle, "end", grouped(tick))
	}
}

func (d *Drawing) years(years []Year, at func(int) float64, y float64) {
	room := 5 * character
	apart := room
	if len(years) > 1 {
		apart = at(1) - at(0)
	}
	every := 1
	if apart > 0 {
		every = max(int(math.Ceil(room/apart)), 1)
	}
	for place := len(years) - 1; place >= 0; place -= every {
		d.text("tick", at(place), y, "middle", strconv.Itoa(years[place].Year))
	}
}

// A scale is a straight way from values to places.
type scale struct{ low, high, start, end float64 }

func fromZero(highest int, most, start, end float64) (scale, []int) {
	high := float64(max(highest, 1))
	step := roundStep(high, most)
	steps := math.Ceil(high / step)
	var ticks []int
	for n := range int(steps) + 1 {
		ticks = append(ticks, n*int(step))
	}
	return scale{0, steps * step, start, end}, ticks
}

func (s scale) ticks(most float64) (ticks []int) {
	step := roundStep(s.high-s.low, most)
	for n := int(math.Ceil(s.low / step)); n <= int(math.Floor(s.high/step)); n++ {
		ticks = append(ticks, n*int(step))
	}
	return
}

// columns are as many round values as there is room for beside each other: their places and their texts.
func (s scale) columns(each func(x float64, text string)) {
	widest := max(textWidth(grouped(int(s.low))), textWidth(grouped(int(s.high))))
	for _, tick := range s.ticks(math.Floor((s.end - s.start) / (widest + 2*character))) {
		each(s.at(float64(tick)), grouped(tick))
	}
}

func (s scale) at(value float64) float64 {
	part := 0.5
	if s.high > s.low {
		part = min(max((value-s.low)/(s.high-s.low), 0), 1)
	}
	return s.start + part*(s.end-s.start)
}

// roundStep is 1, 2 or 5 times a power of ten that covers the span in at most so many steps.
func roundStep(span, most float64) float64 {
	least := max(span/max(most, 1), 1)
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, n := range []float64{1, 2, 5} {
		if n*power >= least {
			return n * power
		}
	}
	return 10 * power
}

// grouped gives a number in groups of three digits.
func grouped(number int) string {
	digits := strconv.Itoa(number)
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func textWidth(text string) float64 { return float64(utf8.RuneCountInString(text)) * character }

// fit gives the text, or as much of it as there is room for, and whether that says anything.
func fit(text string, width float64) (string, bool) {
	room := max(int(math.Floor(width/character)), 0)
	runes := []rune(text)
	if len(runes) <= room {
		return text, true
	}
	cut := strings.TrimRight(string(runes[:max(room-1, 0)]), " ")
	if utf8.RuneCountInString(cut) < 3 {
		return "", false
	}
	return cut + "…", true
}

// A Year is what a year did.
type Year struct{ Year, Headcount, Hires, Leavers int }

func headcounts(id, title, name string, years []Year) Chart {
	description := "There are no figures."
	highest, latest := 0, 0
	var rows []Row
	for _, year := range years {
		highest, latest = max(highest, year.Headcount), year.Headcount
		rows = append(rows, Row{Name: strconv.Itoa(year.Year), Figures: []string{grouped(year.Headcount)}})
	}
	if len(years) > 0 {
		first, last := years[0], years[len(years)-1]
		description = fmt.Sprintf("From %d to %d: %s from %s to %s.",
			first.Year, last.Year, name, grouped(first.Headcount), grouped(last.Headcount))
	}
	draw := func(s screen) *Drawing {
		bottom := pick(s, 330.0, 240.0)
		d := newDrawing(s, bottom+28)
		left, right := 56.0, s.width()-pick(s, 230.0, 20.0)
		up, ticks := fromZero(highest, 6, bottom, 12)
		d.rows(up, ticks, left, right)
		across := scale{0, float64(max(len(years)-1, 0)), left, right}
		d.years(years, func(place int) float64 { return across.at(float64(place)) }, bottom+20)
		points := make([]Point, 0, len(years))
		for place, year := range years {
			points = append(points, point(across.at(float64(place)), up.at(float64(year.Headcount))))
		}
		d.line("series s0", points...)
		if s == broad {
			y := up.at(float64(latest))
			d.line("series lead s0", point(right, y), point(right+10, y), point(right+22, y))
			if label, good := fit(name+" "+grouped(latest), s.width()-right-28); good {
				d.text("label", right+28, y+middle, "start", label)
			}
		}
		return d
	}
	return chart(id, title, description, draw, []string{"Year", name}, rows)
}

func hiresAndLeavers(id, title string, years []Year) Chart {
	description := "There are no figures."
	highest := 0
	var mostHires, mostLeavers Year
	var rows []Row
	for _, year := range years {
		highest = max(highest, year.Hires, year.Leavers)
		// Of several years with as many, the last one.
		if year.Hires >= mostHires.Hires {
			mostHires = year
		}
		if year.Leavers >= mostLeavers.Leavers {
			mostLeavers = year
		}
		rows = append(rows, Row{
			Name:    strconv.Itoa(year.Year),
			Figures: []string{grouped(year.Hires), grouped(year.Leavers), grouped(year.Headcount)},
		})
	}
	if len(years) > 0 {
		description = fmt.Sprintf("From %d to %d. Most came in %d, %s, and most went in %d, %s.",
			years[0].Year, years[len(years)-1].Year,
			mostHires.Year, grouped(mostHires.Hires), mostLeavers.Year, grouped(mostLeavers.Leavers))
	}
	draw := func(s screen) *Drawing {
		bottom := pick(s, 240.0, 210.0)
		d := newDrawing(s, bottom+28)
		left, right := 56.0, s.width()-8
		up, ticks := fromZero(highest, 5, bottom, 34)
		d.rows(up, ticks, left, right)
		legend := func(x float64, class, name string) {
			d.rect(class, point(x+1, 4), point(x+13, 16), "")
			d.text("label", x+20, 10+middle, "start", name)
		}
		legend(left, "came", "Came")
		legend(left+80, "went", "Went")
		slot := (right - left) / float64(max(len(years), 1))
		center := func(place int) float64 { return left + (float64(place)+0.5)*slot }
		bar := slot * 0.38
		for place, year := range years {
			draw := func(class string, from float64, value int, did string) {
				hint := fmt.Sprintf("%d: %s %s", year.Year, grouped(value), did)
				d.rect(class, point(from, up.at(0)), point(from+bar, up.at(float64(value))), hint)
			}
			draw("came", center(place)-bar, year.Hires, "came")
			draw("went", center(place), year.Leavers, "went")
		}
		d.years(years, center, bottom+20)
		return d
	}
	return chart(id, title, description, draw, []string{"Year", "Came", "Went", "There at its end"}, rows)
}

// A Band is how many are paid that much.
type Band struct{ From, Below, Employees int }

// widen gives at most about so many bands, which begin at round salaries.
func widen(bands []Band, most float64) (wide []Band) {
	if len(bands) == 0 {
		return
	}
	first, last := bands[0], bands[len(bands)-1]
	width := max(first.Below-first.From, 1)
	step := max(int(roundStep(float64(last.Below-first.From)/float64(width), most))*width, 1)
	for _, band := range bands {
		from := band.From / step * step
		if n := len(wide); n > 0 && wide[n-1].From == from {
			wide[n-1].Employees += band.Employees
		} else {
			wide = append(wide, Band{from, from + step, band.Employees})
		}
	}
	return
}

// Percentiles are what a group is paid.
type Percentiles struct {
	Employees, Total, Min, P10, P25, Median, P75, P90, Max int
}

func (p Percentiles) mean() int {
	cents := math.Round(float64(p.Total) * 100 / float64(p.Employees))
	return int(math.Round(cents / 100))
}

func distribution(id, title string, bands []Band, p Percentiles) Chart {
	description := fmt.Sprintf(
		"%s people are paid %s to %s. Half of them get %s or less, the middle half from %s to %s.",
		grouped(p.Employees), grouped(p.Min), grouped(p.Max), grouped(p.Median), grouped(p.P25), grouped(p.P75))
	draw := func(s screen) *Drawing {
		few := widen(bands, pick(s, 70.0, 30.0))
		left, right := 56.0, s.width()-12
		across := scale{0, 1, left, right}
		if len(few) > 0 {
			across.low, across.high = float64(few[0].From), float64(few[len(few)-1].Below)
		}
		type mark struct {
			x, y  float64
			label string
		}
		var marks []mark
		// The marks' names get as many rows as they need to stand apart.
		var ends []float64
		for _, each := range []struct {
			name   string
			salary int
		}{{"10 %", p.P10}, {"25 %", p.P25}, {"median", p.Median}, {"75 %", p.P75}, {"90 %", p.P90}} {
			x, label := across.at(float64(each.salary)), each.name+" "+grouped(each.salary)
			from, to := x-textWidth(label)/2, x+textWidth(label)/2+8
			row := slices.IndexFunc(ends, func(end float64) bool { return end <= from })
			if row < 0 {
				row = len(ends)
				ends = append(ends, to)
			}
			ends[row] = to
			marks = append(marks, mark{x, 13 + line*float64(row), label})
		}
		top := 13 + line*float64(len(ends))
		bottom := top + pick(s, 230.0, 190.0)
		d := newDrawing(s, bottom+28)
		highest := 0
		for _, band := range few {
			highest = max(highest, band.Employees)
		}
		up, ticks := fromZero(highest, 5, bottom, top)
		d.rows(up, ticks, left, right)
		for _, band := range few {
			hint := fmt.Sprintf("%s to %s: %s people", grouped(band.From), grouped(band.Below-1), grouped(band.Employees))
			from, below := across.at(float64(band.From)), across.at(float64(band.Below))
			gap := min((below-from)/8, 1)
			d.rect("came", point(from+gap, up.at(0)), point(below-gap, up.at(float64(band.Employees))), hint)
		}
		for _, mark := range marks {
			d.line("mark", point(mark.x, mark.y+middle), point(mark.x, bottom))
		}
		for _, mark := range marks {
			d.text("label mark-label", mark.x, mark.y, "middle", mark.label)
		}
		across.columns(func(x float64, text string) { d.text("tick", x, bottom+20, "middle", text) })
		return d
	}
	var rows []Row
	for _, band := range widen(bands, 70) {
		rows = append(rows, Row{
			Name: grouped(band.From), Figures: []string{grouped(band.Below - 1), grouped(band.Employees)},
		})
	}
	return chart(id, title, description, draw, []string{"Salary from", "to", "Employees"}, rows)
}

// A Group has a name, a link and salaries.
type Group struct {
	Name, Link string
	Percentiles
}

func ranges(id, title, what string, groups []Group) Chart {
	drawn := groups[:min(len(groups), 20)]
	description := "There is nobody."
	var medians []string
	for _, group := range drawn {
		medians = append(medians, group.Name+" "+grouped(group.Median))
	}
	if len(medians) > 0 {
		description = "Median salaries: " + strings.Join(medians, ", ") + "."
	}
	draw := func(s screen) *Drawing {
		left, height := pick(s, 190.0, 8.0), pick(s, 28.0, 44.0)
		bottom := 6 + height*float64(len(drawn))
		d := newDrawing(s, bottom+26)
		right := s.width() - 70
		low, high := 0, 0
		for place, group := range drawn {
			if place == 0 || group.P10 < low {
				low = group.P10
			}
			high = max(high, group.P90)
		}
		high = max(high, low)
		margin := max(float64(high-low)*0.03, 1)
		across := scale{float64(low) - margin, float64(high) + margin, left, right}
		across.columns(func(x float64, text string) {
			d.line("grid", point(x, 4), point(x, bottom))
			d.text("tick", x, bottom+18, "middle", text)
		})
		for place, group := range drawn {
			top := 6 + height*float64(place)
			y := top + pick(s, height/2, 30)
			if label, good := fit(group.Name, pick(s, left-16, right)); good && s == broad {
				d.text("label", left-12, y+middle, "end", label)
			} else if good {
				d.text("label", left, top+14, "start", label)
			}
			x := func(salary int) float64 { return across.at(float64(salary)) }
			d.line("whisker", point(x(group.P10), y), point(x(group.P90), y))
			hint := fmt.Sprintf("%s: half of them from %s to %s", group.Name, grouped(group.P25), grouped(group.P75))
			d.rect("half", point(x(group.P25), y-7), point(x(group.P75), y+7), hint)
			d.line("median", point(x(group.Median), y-9), point(x(group.Median), y+9))
			d.text("label", right+12, y+middle, "start", grouped(group.Median))
		}
		return d
	}
	var rows []Row
	for _, group := range groups {
		p, row := group.Percentiles, Row{Name: group.Name, Link: group.Link}
		for _, figure := range []int{p.Employees, p.Min, p.P10, p.P25, p.Median, p.P75, p.P90, p.Max, p.mean()} {
			row.Figures = append(row.Figures, grouped(figure))
		}
		rows = append(rows, row)
	}
	head := []string{what, "Employees", "Lowest", "10 %", "25 %", "Median", "75 %", "90 %", "Highest", "Average"}
	c := chart(id, title, description, draw, head, rows)
	c.Key = "The line goes from the 10 % to the 90 % mark, the bar is the middle half, and the mark in it the median."
	return c
}

// A Change is a row of the summary of years; of the company where it has no department.
type Change struct {
	DeptNo     string
	Year       *int
	Headcount  int
	Hires      int
	Leavers    int
	ComputedAt *time.Time
}

// fill gives a department's years, also those in which nothing changed.
func fill(changes []Change, department string) (years []Year) {
	first, last := math.MaxInt, math.MinInt
	for _, change := range changes {
		if change.Year != nil {
			first, last = min(first, *change.Year), max(last, *change.Year)
		}
	}
	first = max(first, last-maxYears+1)
	headcount, next := 0, 0
	changes = slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return c.DeptNo != department || c.Year == nil })
	for number := first; number <= last; number++ {
		year := Year{Year: number}
		for ; next < len(changes) && *changes[next].Year <= number; next++ {
			headcount = changes[next].Headcount
			if *changes[next].Year == number {
				year.Hires, year.Leavers = changes[next].Hires, changes[next].Leavers
			}
		}
		year.Headcount = headcount
		years = append(years, year)
	}
	return
}

// A Paid is a row of the summary of percentiles, and in what it is like the group that is looked for.
type Paid struct {
	Title, Gender                         string
	SameDepartment, SameTitle, SameGender bool
	Percentiles
}

// contiguous adds the empty bands between others.
func contiguous(found []Band) (bands []Band) {
	for _, band := range found {
		width := band.Below - band.From
		for n := len(bands); n > 0 && width > 0 && bands[n-1].Below < band.From; n++ {
			bands = append(bands, Band{bands[n-1].Below, bands[n-1].Below + width, 0})
		}
		bands = append(bands, band)
	}
	return
}

// departmentCharts gives all charts of a department, and the sentence below them.
func departmentCharts(department Department, changes []Change, paid []Paid, bands []Band) ([]Chart, string) {
	years := fill(changes, department.DeptNo)
	charts := []Chart{
		headcounts("headcount", "Headcount at each year's end", department.DeptName, years),
		hiresAndLeavers("hires-and-leavers", "Who came and who went, year by year", years),
	}
	var titles, genders []Group
	var everybody *Percentiles
	link := func(name, value string) string {
		return "/salaries?department=" + url.QueryEscape(department.DeptNo) + "&" + name + "=" + url.QueryEscape(value)
	}
	for _, row := range paid {
		switch {
		case !row.SameDepartment:
		case row.SameTitle && row.SameGender:
			everybody = &row.Percentiles
		case row.SameGender && len(titles) < 100:
			titles = append(titles, Group{row.Title, link("title", row.Title), row.Percentiles})
		case row.SameTitle:
			genders = append(genders, Group{row.Gender, link("gender", row.Gender), row.Percentiles})
		}
	}
	if everybody != nil {
		charts = append(charts,
			distribution("distribution", "Today's salaries", contiguous(bands), *everybody),
			ranges("by-title", "Salaries by title", "Title", titles),
			ranges("by-gender", "Salaries by gender", "Gender", genders))
	}
	var computed time.Time
	for _, change := range changes {
		if at := change.ComputedAt; at != nil && (computed.IsZero() || at.Before(computed)) {
			computed = *at
		}
	}
	return charts, computed.Format("The charts show what was computed on 2006-01-02 at 15:04:05 UTC.")
}
