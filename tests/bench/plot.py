"""bench.svg: a row of bars for each scenario, one column a filesystem, and how the cost of many volumes grows. Written
by hand, with a background of its own for light and dark; the axes are logarithmic, since the slowest takes a thousand
times as long as the quickest."""

import math
from html import escape

from report import TITLES, median

LABELS, COLUMN, BAR, TOP, GAP = 180, 236, 15, 30, 34
CURVE = 230
STYLE = """
  svg { background: #ffffff; font: 12px system-ui, sans-serif; }
  text { fill: #24292f; } .dim { fill: #656d76; font-size: 11px; } .title { font-size: 13px; font-weight: 600; }
  .bar { fill: #9aa4af; } .line { stroke: #9aa4af; } .limit.bar { fill: #57606a; } .limit.line { stroke: #57606a; }
  .volinit.bar { fill: #0969da; } .volinit.line { stroke: #0969da; stroke-width: 2.5; }
  .line { fill: none; stroke-width: 1.5; }
  .linear { fill: none; stroke: #9aa4af; stroke-dasharray: 2 4; } .grid { stroke: #d8dee4; stroke-width: 1; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; } text { fill: #e6edf3; } .dim { fill: #8d96a0; }
    .bar { fill: #5b6570; } .line { stroke: #6e7681; } .limit.bar { fill: #aab3bd; } .limit.line { stroke: #aab3bd; }
    .volinit.bar { fill: #4493f8; } .volinit.line { stroke: #4493f8; } .grid { stroke: #30363d; }
  }"""


def text(x, y, words, kind="", anchor="start"):
    return f'<text x="{x:.0f}" y="{y:.0f}" class="{kind}" text-anchor="{anchor}">{escape(words)}</text>'


def line(points, kind):
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{path}" class="{kind}"/>'


def kind(name):
    return next((one for one in ("limit", "volinit") if name.startswith(one)), "")


def decades(figures):
    """The powers of ten around them."""
    return math.floor(math.log10(min(figures))), math.ceil(math.log10(max(figures)))


def milliseconds(figure):
    return f"{figure:.2f}" if figure < 10 else f"{figure:.0f}"


def bars(group, y):
    """One scenario: its contestants, the quickest of the first filesystem on top. Gives the elements, their height."""
    first = group[0]
    names = sorted({name for result in group for name in result["found"]},
                   key=lambda name: median(first, name) or math.inf)
    figures = [median(result, name) for result in group for name in result["found"]]
    if not figures:
        return [], 0
    low, high = decades(figures)
    bottom = y + TOP + len(names) * BAR
    said = TITLES[first["name"]] + (f", {first['title'].rsplit(', ', 1)[-1]}" if first["name"] == "S3" else "")
    out = [text(8, y + 12, f"{first['name']}: {said} (ms)", "title")]
    for row, name in enumerate(names):
        out.append(text(LABELS - 8, y + TOP + row * BAR + 11, name, anchor="end"))
    for column, result in enumerate(group):
        left = LABELS + column * COLUMN
        wide = COLUMN - 66
        out.append(text(left, y + TOP - 5, result["filesystem"], "dim"))
        for power in range(low, high + 1):
            x = left + wide * (power - low) / (high - low)
            out.append(line([(x, y + TOP), (x, bottom)], "grid"))
            out.append(text(x, bottom + 12, f"{10.0 ** power:g}", "dim", "middle"))
        for row, name in enumerate(names):
            if figure := median(result, name):
                long = wide * (math.log10(figure) - low) / (high - low)
                top = y + TOP + row * BAR
                place = f'x="{left}" y="{top + 2}" width="{long:.1f}" height="{BAR - 4}"'
                out.append(f'<rect {place} class="bar {kind(name)}"/>')
                out.append(text(left + long + 5, top + 11, milliseconds(figure), "dim"))
    return out, bottom - y + GAP


def curve(results, y):
    """Milliseconds over volumes, both logarithmic: what is no steeper than the dotted line grows no faster than the
    work."""
    counts = [result["count"] for result in results]
    names = [name for name in results[0]["found"] if all(name in result["found"] for result in results)]
    if len(counts) < 2 or not names:
        return [], 0
    low, high = decades([median(result, name) for result in results for name in names])
    left, wide, top, tall = LABELS, 2 * COLUMN, y + TOP, CURVE
    place = lambda count: left + wide * math.log(count / counts[0]) / math.log(counts[-1] / counts[0])
    level = lambda figure: top + tall * (high - math.log10(figure)) / (high - low)
    out = [text(8, y + 12, f"{TITLES['curve']}: 1 to {counts[-1]} formatted volumes to mounted, ext4 (ms)", "title")]
    for power in range(low, high + 1):
        out.append(line([(left, level(10.0 ** power)), (left + wide, level(10.0 ** power))], "grid"))
        out.append(text(left - 8, level(10.0 ** power) + 4, f"{10.0 ** power:g}", "dim", "end"))
    for count in counts:
        out.append(text(place(count), top + tall + 16, str(count), "dim", "middle"))
    begin = median(results[0], "volinit") or median(results[0], names[0])
    fits = [count for count in counts if begin * count / counts[0] <= 10.0 ** high]
    out.append(line([(place(count), level(begin * count / counts[0])) for count in fits], "linear"))
    below = top
    for name in sorted(names, key=lambda name: -median(results[-1], name)):
        points = [(place(result["count"]), level(median(result, name))) for result in results]
        out.append(line(points, f"line {kind(name)}"))
        # Labels of lines that end at one place stand below each other.
        below = max(points[-1][1] + 4, below + BAR)
        out.append(text(left + wide + 8, below, f"{name}: {milliseconds(median(results[-1], name))}"))
    return out, TOP + tall + GAP


def picture(results):
    """The whole of it."""
    groups = {}
    for result in results:
        if result["name"] != "curve":
            groups.setdefault((result["name"], result["size"]), []).append(result)
    parts, y = [], 12
    drawings = [(bars, group) for group in groups.values()]
    growing = [result for result in results if result["name"] == "curve"]
    drawings += [(curve, growing)] if growing else []
    for draw, group in drawings:
        elements, height = draw(group, y)
        parts += elements
        y += height
    width = LABELS + 3 * COLUMN
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{y}" viewBox="0 0 {width} {y}">\n'
            f"<title>volinit and its rivals: milliseconds, medians</title>\n<style>{STYLE}\n</style>\n"
            + "\n".join(parts) + "\n</svg>\n")
