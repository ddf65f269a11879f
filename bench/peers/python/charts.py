"""The charts of a department's page: figures in, shapes and tables out, which templates/chart.html writes as inline SVG.

Each chart is drawn twice, for wide screens and for phones. Shared by both Python peers.
"""

import math
from urllib.parse import urlencode

# The width of a character and the height of a line, in units of a drawing.
CHARACTER, LINE, MIDDLE = 7.5, 15.0, 4.0
WIDE, NARROW = "broad", "narrow"
MAX_YEARS = 100


def grouped(number):
    return f"{number:,}"


def rounded(number):
    """To the nearest whole number, halves up."""
    return math.floor(number + 0.5)


def coordinate(place):
    """A place in a drawing, to a tenth of its unit."""
    tenths = rounded(place * 10)
    return str(tenths // 10) if tenths % 10 == 0 else f"{tenths / 10:.1f}"


def round_step(span, most):
    """1, 2 or 5 times a power of ten that covers the span in at most so many steps."""
    least = max(span / max(most, 1), 1.0)
    power = 10.0 ** math.floor(math.log10(least))
    return next((step for step in (power, 2 * power, 5 * power) if step >= least), 10 * power)


def fit(text, width):
    """The text, or as much of it as there is room for; None where that says nothing."""
    room = max(math.floor(width / CHARACTER), 0)
    if len(text) <= room:
        return text
    cut = text[: max(room - 1, 0)].rstrip()
    return None if len(cut) < 3 else cut + "…"


class Scale:
    """A straight way from values to places."""

    def __init__(self, low, high, start, end):
        self.low, self.high, self.start, self.end = low, high, start, end

    @classmethod
    def from_zero(cls, highest, most, start, end):
        step = round_step(max(highest, 1), most)
        steps = math.ceil(max(highest, 1) / step)
        return cls(0.0, steps * step, start, end), [n * int(step) for n in range(steps + 1)]

    def ticks(self, most):
        step = round_step(self.high - self.low, most)
        first, last = math.ceil(self.low / step), math.floor(self.high / step)
        return [n * int(step) for n in range(first, last + 1)]

    def columns(self):
        """As many round values as there is room for beside each other: their places and their texts."""
        widest = max(len(grouped(int(self.low))), len(grouped(int(self.high)))) * CHARACTER
        most = int((self.end - self.start) / (widest + 2.0 * CHARACTER))
        return [(self.at(tick), grouped(tick)) for tick in self.ticks(most)]

    def at(self, value):
        part = 0.5
        if self.high > self.low:
            part = min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)
        return self.start + part * (self.end - self.start)


class Drawing:
    """Shapes in a frame."""

    def __init__(self, screen, height):
        self.screen = screen
        self.width = 960.0 if screen == WIDE else 360.0
        self.height = height
        self.shapes = []

    def line(self, style, *points):
        self.shapes.append({"kind": "line", "class": style, "points": points})

    def rect(self, style, one, other, hint=""):
        corner = (min(one[0], other[0]), min(one[1], other[1]))
        size = (abs(one[0] - other[0]), abs(one[1] - other[1]))
        self.shapes.append({"kind": "rect", "class": style, "corner": corner, "size": size, "hint": hint})

    def text(self, style, x, y, anchor, text):
        """A text, pushed into the drawing where it would hang over its edge."""
        text = fit(text, self.width) or ""
        width = len(text) * CHARACTER
        before, after = {"start": (0.0, width), "middle": (width / 2.0, width / 2.0), "end": (width, 0.0)}[anchor]
        x = max(min(x, self.width - after), before)
        self.shapes.append({"kind": "text", "class": style, "at": (x, y), "anchor": anchor, "text": text})

    def rows(self, scale, ticks, left, right):
        for tick in ticks:
            y = scale.at(tick)
            self.line("axis" if tick == 0 else "grid", (left, y), (right, y))
            self.text("tick", left - 6.0, y + MIDDLE, "end", grouped(tick))

    def years(self, years, at, y):
        room = 5.0 * CHARACTER
        apart = at(1) - at(0) if len(years) > 1 else room
        every = max(math.ceil(room / apart), 1) if apart > 0 else 1
        for place in range(len(years) - 1, -1, -every):
            self.text("tick", at(place), y, "middle", str(years[place]))


def chart(name, title, description, draw, table, key=None):
    return {
        "id": name,
        "title": title,
        "description": description,
        "key": key,
        "drawings": [draw(WIDE), draw(NARROW)],
        "table": table,
    }


def headcounts(name, title, label, years):
    """One line over the years, with its name at its end."""
    if not years:
        description = "There are no figures."
    else:
        first, last = years[0], years[-1]
        ends = f"{label} from {grouped(first['headcount'])} to {grouped(last['headcount'])}"
        description = f"From {first['year']} to {last['year']}: {ends}."

    def draw(screen):
        bottom = 330.0 if screen == WIDE else 240.0
        drawing = Drawing(screen, bottom + 28.0)
        left, right = 56.0, drawing.width - (230.0 if screen == WIDE else 20.0)
        values = [year["headcount"] for year in years]
        scale, ticks = Scale.from_zero(max(values, default=0), 6, bottom, 12.0)
        drawing.rows(scale, ticks, left, right)
        across = Scale(0.0, max(len(years) - 1, 0), left, right)
        drawing.years([year["year"] for year in years], across.at, bottom + 20.0)
        drawing.line("series s0", *((across.at(place), scale.at(value)) for place, value in enumerate(values)))
        if screen == WIDE:
            last = values[-1] if values else 0
            y = scale.at(last)
            drawing.line("series lead s0", (right, y), (right + 10.0, y), (right + 22.0, y))
            shown = fit(f"{label} {grouped(last)}", drawing.width - right - 28.0)
            if shown:
                drawing.text("label", right + 28.0, y + MIDDLE, "start", shown)
        return drawing

    rows = [(str(year["year"]), None, [grouped(year["headcount"])]) for year in years]
    return chart(name, title, description, draw, {"head": ["Year", label], "rows": rows})


def hires_and_leavers(name, title, years):
    """Two bars for each year."""
    if not years:
        description = "There are no figures."
    else:
        # Of several years with as many, the last one.
        hires = max(reversed(years), key=lambda year: year["hires"])
        leavers = max(reversed(years), key=lambda year: year["leavers"])
        description = (
            f"From {years[0]['year']} to {years[-1]['year']}. Most came in {hires['year']},"
            f" {grouped(hires['hires'])}, and most went in {leavers['year']}, {grouped(leavers['leavers'])}."
        )

    def draw(screen):
        bottom = 240.0 if screen == WIDE else 210.0
        drawing = Drawing(screen, bottom + 28.0)
        left, right = 56.0, drawing.width - 8.0
        highest = max((max(year["hires"], year["leavers"]) for year in years), default=0)
        scale, ticks = Scale.from_zero(highest, 5, bottom, 34.0)
        drawing.rows(scale, ticks, left, right)
        for x, kind, label in ((left, "came", "Came"), (left + 80.0, "went", "Went")):
            drawing.rect(kind, (x + 1.0, 4.0), (x + 13.0, 16.0))
            drawing.text("label", x + 20.0, 10.0 + MIDDLE, "start", label)
        slot = (right - left) / max(len(years), 1)
        bar = slot * 0.38

        def middle(place):
            return left + (place + 0.5) * slot

        for place, year in enumerate(years):
            for kind, start, value, did in (
                ("came", middle(place) - bar, year["hires"], "came"),
                ("went", middle(place), year["leavers"], "went"),
            ):
                hint = f"{year['year']}: {grouped(value)} {did}"
                drawing.rect(kind, (start, scale.at(0.0)), (start + bar, scale.at(value)), hint)
        drawing.years([year["year"] for year in years], middle, bottom + 20.0)
        return drawing

    rows = [
        (str(year["year"]), None, [grouped(year[figure]) for figure in ("hires", "leavers", "headcount")])
        for year in years
    ]
    head = ["Year", "Came", "Went", "There at its end"]
    return chart(name, title, description, draw, {"head": head, "rows": rows})


def widen(bands, most):
    """At most about so many bands, which begin at round salaries."""
    if not bands:
        return []
    width = max(bands[0]["below"] - bands[0]["from"], 1)
    step = max(int(round_step((bands[-1]["below"] - bands[0]["from"]) / width, most)) * width, 1)
    wide = []
    for band in bands:
        start = band["from"] // step * step
        if wide and wide[-1]["from"] == start:
            wide[-1]["employees"] += band["employees"]
        else:
            wide.append({"from": start, "below": start + step, "employees": band["employees"]})
    return wide


def pack(spans):
    """Puts spans into as few rows as possible so that none overlap: each one's row."""
    ends, rows = [], []
    for start, end in spans:
        row = next((row for row, taken in enumerate(ends) if taken <= start), len(ends))
        ends[row : row + 1] = [end]
        rows.append(row)
    return rows


def distribution(name, title, bands, salaries):
    """Bars over the range of salaries, with the percentiles as marks above them."""
    shown = {each: grouped(salaries[each]) for each in ("employees", "min", "max", "median", "p25", "p75")}
    description = (
        "{employees} people are paid {min} to {max}. Half of them get {median} or less, the middle half from {p25} to"
        " {p75}."
    ).format(**shown)

    def draw(screen):
        few = widen(bands, 70 if screen == WIDE else 30)
        left, right = 56.0, (960.0 if screen == WIDE else 360.0) - 12.0
        low, high = (few[0]["from"], few[-1]["below"]) if few else (0.0, 1.0)
        across = Scale(low, high, left, right)
        labels = []
        for mark, of in (("10 %", "p10"), ("25 %", "p25"), ("median", "median"), ("75 %", "p75"), ("90 %", "p90")):
            labels.append((across.at(salaries[of]), f"{mark} {grouped(salaries[of])}"))
        spans = ((x, len(label) * CHARACTER) for x, label in labels)
        rows = pack((x - width / 2.0, x + width / 2.0 + 8.0) for x, width in spans)
        top = 13.0 + LINE * (max(rows) + 1.0)
        bottom = top + (230.0 if screen == WIDE else 190.0)
        drawing = Drawing(screen, bottom + 28.0)
        scale, ticks = Scale.from_zero(max((band["employees"] for band in few), default=0), 5, bottom, top)
        drawing.rows(scale, ticks, left, right)
        for band in few:
            hint = (
                f"{grouped(band['from'])} to {grouped(band['below'] - 1)}: {grouped(band['employees'])} people"
            )
            start, end = across.at(band["from"]), across.at(band["below"])
            gap = min((end - start) / 8.0, 1.0)
            drawing.rect("came", (start + gap, scale.at(0.0)), (end - gap, scale.at(band["employees"])), hint)
        marks = [(x, 13.0 + LINE * row, label) for (x, label), row in zip(labels, rows, strict=True)]
        for x, y, _ in marks:
            drawing.line("mark", (x, y + MIDDLE), (x, bottom))
        for x, y, label in marks:
            drawing.text("label mark-label", x, y, "middle", label)
        for x, tick in across.columns():
            drawing.text("tick", x, bottom + 20.0, "middle", tick)
        return drawing

    rows = [
        (grouped(band["from"]), None, [grouped(band["below"] - 1), grouped(band["employees"])])
        for band in widen(bands, 70)
    ]
    return chart(name, title, description, draw, {"head": ["Salary from", "to", "Employees"], "rows": rows})


def ranges(name, title, what, groups):
    """Several groups beside each other: (name, link, salaries)."""
    drawn = groups[:20]
    medians = ", ".join(f"{label} {grouped(salaries['median'])}" for label, _, salaries in drawn)
    description = f"Median salaries: {medians}." if drawn else "There is nobody."

    def draw(screen):
        left, height = (190.0, 28.0) if screen == WIDE else (8.0, 44.0)
        bottom = 6.0 + height * len(drawn)
        drawing = Drawing(screen, bottom + 26.0)
        right = drawing.width - 70.0
        low = min((salaries["p10"] for _, _, salaries in drawn), default=0)
        high = max(max((salaries["p90"] for _, _, salaries in drawn), default=0), low)
        margin = max((high - low) * 0.03, 1.0)
        scale = Scale(low - margin, high + margin, left, right)
        for x, tick in scale.columns():
            drawing.line("grid", (x, 4.0), (x, bottom))
            drawing.text("tick", x, bottom + 18.0, "middle", tick)
        for place, (label, _, salaries) in enumerate(drawn):
            top = 6.0 + height * place
            y = top + (height / 2.0 if screen == WIDE else 30.0)
            at = {of: scale.at(salaries[of]) for of in ("p10", "p25", "median", "p75", "p90")}
            shown = fit(label, left - 16.0 if screen == WIDE else right)
            if shown and screen == WIDE:
                drawing.text("label", left - 12.0, y + MIDDLE, "end", shown)
            elif shown:
                drawing.text("label", left, top + 14.0, "start", shown)
            drawing.line("whisker", (at["p10"], y), (at["p90"], y))
            hint = f"{label}: half of them from {grouped(salaries['p25'])} to {grouped(salaries['p75'])}"
            drawing.rect("half", (at["p25"], y - 7.0), (at["p75"], y + 7.0), hint)
            drawing.line("median", (at["median"], y - 9.0), (at["median"], y + 9.0))
            drawing.text("label", right + 12.0, y + MIDDLE, "start", grouped(salaries["median"]))
        return drawing

    figures = ("employees", "min", "p10", "p25", "median", "p75", "p90", "max", "mean")
    head = [what, "Employees", "Lowest", "10 %", "25 %", "Median", "75 %", "90 %", "Highest", "Average"]
    rows = [(label, link, [grouped(rounded(salaries[of])) for of in figures]) for label, link, salaries in groups]
    key = "The line goes from the 10 % to the 90 % mark, the bar is the middle half, and the mark in it the median."
    return chart(name, title, description, draw, {"head": head, "rows": rows}, key)


def fill(changes, department):
    """A department's years, also those in which nothing changed."""
    every = [change["year"] for change in changes if change["year"] is not None]
    own = {c["year"]: c for c in changes if c["dept_no"] == department and c["year"] is not None}
    if not every:
        return []
    last = max(every)
    first = max(min(every), last - MAX_YEARS + 1)
    before = [year for year in own if year < first]
    headcount = own[max(before)]["headcount"] if before else 0
    years = []
    for year in range(first, last + 1):
        change = own.get(year)
        if change:
            headcount = change["headcount"]
        years.append({
            "year": year,
            "headcount": headcount,
            "hires": change["hires"] if change else 0,
            "leavers": change["leavers"] if change else 0,
        })  # fmt: skip
    return years


def contiguous(found):
    """Bands with the empty ones between them."""
    bands = []
    for band in found:
        start, width = band["begins"], band["width"]
        while bands and bands[-1]["below"] < start and width > 0:
            below = bands[-1]["below"]
            bands.append({"from": below, "below": below + width, "employees": 0})
        bands.append({"from": start, "below": start + width, "employees": band["employees"]})
    return bands


def of_department(department, changes, percentiles, bands):
    """All charts of a department, and the sentence below them."""
    percentiles = [row for row in percentiles if row["same_department"]]
    for row in percentiles:
        row["mean"] = rounded(row["total"] * 100.0 / row["employees"]) / 100.0
    number = department["dept_no"]
    years = fill(changes, number)
    charts = [
        headcounts("headcount", "Headcount at each year's end", department["dept_name"], years),
        hires_and_leavers("hires-and-leavers", "Who came and who went, year by year", years),
    ]
    everybody = next((row for row in percentiles if row["same_title"] and row["same_gender"]), None)
    if everybody:

        def link(**narrower):
            return "/salaries?" + urlencode({"department": number, **narrower})

        titles = [
            (row["title"], link(title=row["title"]), row) for row in percentiles if row["same_gender"] and row["title"]
        ]
        genders = [
            (row["gender"], link(gender=row["gender"]), row) for row in percentiles if row["same_title"] and row["gender"]
        ]
        charts += [
            distribution("distribution", "Today's salaries", contiguous(bands), everybody),
            ranges("by-title", "Salaries by title", "Title", titles[:100]),
            ranges("by-gender", "Salaries by gender", "Gender", genders),
        ]
    computed = min(change["computed_at"] for change in changes if change["computed_at"])
    return charts, f"The charts show what was computed on {computed:%Y-%m-%d at %H:%M:%S} UTC."
