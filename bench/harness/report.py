"""The report: Markdown, and charts that are readable on light and dark pages."""

from html import escape

FLASK_TIMES, GO_TIMES, BARE_SHARE = 10, 1.3, 0.85

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328 }
.title { font-size: 16px; font-weight: 600 }
.note, .value { fill: #59636e }
.group { font-weight: 600 }
line { stroke: #d1d9e0 }
.bar { fill: #8c959f }
.own { fill: #0969da }
.alone { fill: #54aeff }
.bare { fill: none; stroke: #59636e; stroke-dasharray: 4 3 }
@media (prefers-color-scheme: dark) {
  text { fill: #f0f6fc }
  .note, .value { fill: #9198a1 }
  line { stroke: #3d444d }
  .bar { fill: #656c76 }
  .own { fill: #4493f8 }
  .alone { fill: #1f6feb }
  .bare { stroke: #9198a1 }
}
"""

CLASSES = {"tandem": "bar own", "tandem-direct": "bar alone", "bare": "bar bare"}


def number(value):
    """Three significant digits, with separators."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def chart(title, note, groups):
    """Horizontal bars. `groups`: (heading, [(label, class, value, text behind the bar)]); each has a scale of its own."""
    left, width, row, gap = 190, 420, 21, 34
    height = 62 + sum(gap + row * len(bars) for _, bars in groups)
    described = "; ".join(
        f"{heading}: " + ", ".join(f"{label} {text}" for label, _, _, text in bars) for heading, bars in groups
    )
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 820 {height}" width="820" height="{height}"'
        ' role="img" aria-labelledby="title description">',
        f'<title id="title">{escape(title)}</title><desc id="description">{escape(described)}</desc>',
        f"<style>{STYLE}</style>",
        f'<text class="title" x="8" y="22">{escape(title)}</text>',
        f'<text class="note" x="8" y="42">{escape(note)}</text>',
    ]
    y = 52
    for heading, bars in groups:
        out.append(f'<text class="group" x="8" y="{y + 20}">{escape(heading)}</text>')
        y += gap - 4
        most = max((value for _, _, value, _ in bars), default=0) or 1
        for label, kind, value, text in bars:
            length = max(round(width * value / most, 1), 1)
            out.append(f'<text x="{left - 8}" y="{y + 14}" text-anchor="end">{escape(label)}</text>')
            out.append(f'<rect class="{kind}" x="{left}" y="{y + 2}" width="{length}" height="{row - 6}" rx="2"/>')
            out.append(f'<text class="value" x="{left + length + 8}" y="{y + 14}">{escape(text)}</text>')
            y += row
        out.append(f'<line x1="{left}" x2="{left}" y1="{y - row * len(bars)}" y2="{y}"/>')
        y += 4
    out.append("</svg>\n")
    return "\n".join(out)


def bars(results, kind, field, text):
    """One bar for each stack."""
    measured = results["work"][kind]["stacks"]
    found = []
    for name, stack in results["stacks"].items():
        value = measured[name][field]["median"]
        found.append((stack["title"], CLASSES.get(name, "bar"), value, text(name, value)))
    return found


def rates(results):
    groups = []
    for kind, one in results["work"].items():
        own = one["stacks"]["tandem"]["rate"]["median"]

        def text(name, value, own=own):
            return number(value) if name.startswith("tandem") else f"{number(value)} (Tandem: {own / value:.1f} ×)"

        bare = one["bare"]["median"]
        groups.append(
            (one["title"], [*bars(results, kind, "rate", text), ("MySQL, bare client", CLASSES["bare"], bare, number(bare))])
        )
    note = "Median of the rounds. The longer the better; each group has its own scale."
    return chart("Requests per second", note, groups)


def latencies(results):
    groups = [
        (one["title"], bars(results, kind, "p99", lambda _, value: f"{number(value)} ms"))
        for kind, one in results["work"].items()
    ]
    note = f"With {results['limits']['connections']} connections. The shorter the better; each group has its own scale."
    return chart("The slowest hundredth of the answers takes longer than", note, groups)


def costs(results):
    groups = [
        (one["title"], bars(results, kind, "server_cpu", lambda _, value: f"{value:.2f} s"))
        for kind, one in results["work"].items()
    ]
    note = "The server's alone, without the database's. The shorter the better; each group has its own scale."
    return chart("CPU seconds for 1,000 requests", note, groups)


def table(head, rows):
    lines = ["| " + " | ".join(head) + " |", "| --- " + "| ---: " * (len(head) - 1) + "|"]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def ratios(results):
    """Tandem's rate and p99 beside the peers', and beside the database's own rate."""
    rows = []
    for one in results["work"].values():
        measured = one["stacks"]
        rate = {name: each["rate"]["median"] for name, each in measured.items()}
        p99 = {name: each["p99"]["median"] for name, each in measured.items()}
        rows.append([
            one["title"],
            f"{rate['tandem'] / rate['flask']:.1f} ×",
            f"{rate['tandem'] / rate['fastapi']:.1f} ×",
            f"{rate['tandem'] / rate['go']:.2f} ×",
            f"{rate['tandem-direct'] / rate['go']:.2f} ×",
            f"1/{p99['flask'] / p99['tandem']:.1f}",
            f"{100 * rate['tandem'] / one['bare']['median']:.0f} %",
        ])  # fmt: skip
    rows.append(["target", f"{FLASK_TIMES} ×", "1 ×", f"{GO_TIMES} ×", f"{GO_TIMES} ×", "1/5", f"{100 * BARE_SHARE:.0f} %"])
    return table(
        ["", "rate: Flask's", "FastAPI's", "Go's", "webapp alone: Go's", "p99: Flask's", "rate: the database's own"], rows
    )


def work_table(results, kind):
    one = results["work"][kind]
    rows = []
    for name, stack in results["stacks"].items():
        each = one["stacks"][name]
        rate = each["rate"]
        rows.append([
            stack["title"],
            f"**{number(rate['median'])}** ({number(rate['min'])} to {number(rate['max'])})",
            number(each["p50"]["median"]),
            number(each["p99"]["median"]),
            number(each["alone"]["median"]),
            f"{each['errors']['max']:.0f}",
            f"{each['server_cpu']['median']:.2f}",
            f"{each['database_cpu']['median']:.2f}",
            f"{each['memory']['max'] / 1e6:.0f}",
        ])  # fmt: skip
    bare = one["bare"]
    rows.append([
        "MySQL, bare client", f"{number(bare['median'])} ({number(bare['min'])} to {number(bare['max'])})",
        *[""] * 7,
    ])  # fmt: skip
    head = ["", "requests/s", "p50 ms", "p99 ms", "p50 ms, one client", "errors", "CPU s", "MySQL's CPU s", "memory MB"]
    return table(head, rows)


def readme(results):
    machine, limits, plan = results["machine"], results["limits"], results["plan"]
    base = results["base_size"]
    parts = [
        "# Speed of the web application beside its peers",
        "",
        "Written by `make bench`; do not edit. [bench/README.md](../README.md) says what is compared, and how.",
        "",
        "![Requests per second](rates.svg)",
        "",
        "## In short",
        "",
        "Tandem's rate and p99, nginx included, as multiples of each peer's, from the medians of one run; and its share of the rate",
        "at which a bare client loop gets the peers' statements answered.",
        "",
        ratios(results),
        "",
    ]
    for kind, one in results["work"].items():
        parts += [
            f"## {one['title']}",
            "",
            work_table(results, kind),
            "",
            f"The peers send {number(one['statements'])} statements for each request. CPU: seconds for 1,000 requests.",
            "",
        ]
    rows = [
        [
            stack["title"],
            f"{stack['start']['median']:.2f} ({stack['start']['min']:.2f} to {stack['start']['max']:.2f})",
            f"{stack['image_size'] / 1e6:.0f}",
            f"{(stack['image_size'] - base) / 1e6:.0f}",
        ]
        for stack in results["stacks"].values()
    ]
    versions = results["versions"]
    parts += [
        "![p99](latencies.svg)",
        "",
        "![CPU](costs.svg)",
        "",
        "## Start and size",
        "",
        table(["", "start to first answer, s", "image MB", "without the base MB"], rows),
        "",
        "## Measured on",
        "",
        f"- {machine['date']}, in {results['seconds'] / 60:.0f} minutes; Tandem {versions['tandem']}",
        f"- {machine['cpu']}, {machine['cores']} processors, {machine['memory_gb']} GB, Linux {machine['kernel']};"
        f" load before it began: {', '.join(map(str, machine['load']))}",
        f"- The server on processor {results['cores']['server']}, with {limits['web_memory']} of memory; MySQL and the load"
        f" generator on {results['cores']['rest']}",
        f"- {limits['connections']} connections; {plan['rounds']} rounds of {plan['loaded']} s for each stack and kind of work,"
        f" after {plan['warm_up']} s to warm up",
        f"- Pools of {limits['pool']} connections to the database; Flask has one for each of its sync workers (two for each"
        " of the server's processors and one more), which answer one request at a time",
        f"- {results['compared']} answers compared before",
        f"- {versions['base']}; MySQL {versions['mysql']}; Docker {versions['docker']}",
        f"- Tandem: {versions['web']}",
        f"- Flask: {versions['flask']}",
        f"- FastAPI: {versions['fastapi']}",
        f"- Go: {versions['go']}",
        "",
    ]
    return "\n".join(parts)


def write(folder, results):
    (folder / "README.md").write_text(readme(results))
    (folder / "rates.svg").write_text(rates(results))
    (folder / "latencies.svg").write_text(latencies(results))
    (folder / "costs.svg").write_text(costs(results))
