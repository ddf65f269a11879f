"""Whether all stacks give the same answers: JSON as values, pages as the tree of their <main>."""

import difflib
import json
from html.parser import HTMLParser

from . import stacks
from .docker import Failed

VOID = {"br", "hr", "img", "input", "link", "meta", "rect", "path", "line", "circle", "polyline"}


class _Main(HTMLParser):
    """Collects what stands in <main>: elements with their attributes in order of name, and text with single spaces."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.lines = []
        self.open = []
        self.text = ""

    def _flush(self):
        words = " ".join(self.text.split())
        if words:
            self.lines.append("  " * len(self.open) + words)
        self.text = ""

    def handle_starttag(self, tag, attributes):
        if not self.open and tag != "main":
            return
        self._flush()
        shown = "".join(f' {name}="{value or ""}"' for name, value in sorted(attributes))
        self.lines.append("  " * len(self.open) + f"<{tag}{shown}>")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if self.open and tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag):
        if self.open and tag == self.open[-1]:
            self._flush()
            self.open.pop()

    def handle_data(self, data):
        if self.open:
            self.text += data


def outline(path, body):
    """The answer as lines that can be compared."""
    text = body.decode()
    if path.startswith("/api/"):
        return json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False).splitlines()
    parser = _Main()
    parser.feed(text)
    parser.close()
    if parser.open or not parser.lines:
        raise Failed(f"{path}: the page has no <main> that is closed")
    return parser.lines


def check(all_stacks, kinds, most):
    """Asks every stack for up to `most` paths of each kind; `Failed` with a diff at the first difference."""
    asked = 0
    reference = all_stacks[0]
    for kind in kinds:
        for path in sorted(set(kind.paths))[:most]:
            outlines = []
            for stack in all_stacks:
                status, body = stacks.get(stack, path)
                if status != 200:
                    raise Failed(f"{stack.title} answers {path} with {status}")
                outlines.append(outline(path, body))
            for stack, lines in zip(all_stacks[1:], outlines[1:], strict=True):
                if lines != outlines[0]:
                    diff = difflib.unified_diff(outlines[0], lines, reference.title, stack.title, lineterm="", n=2)
                    raise Failed(f"{path} is not the same everywhere:\n" + "\n".join(list(diff)[:60]))
            asked += 1
    return asked
