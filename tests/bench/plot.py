"""Small line charts as one SVG, side by side: a picture without a library to draw it."""

import math
from xml.sax.saxutils import escape

WIDTH, HEIGHT, COLUMNS = 360, 250, 3
LEFT, RIGHT, TOP, BOTTOM = 52, 84, 44, 36
COLORS = ("#0072b2", "#d55e00", "#009e73", "#7b3294")  # told apart by the color-blind too
GRID, INK = "#dddddd", "#333333"


def short(number):
    """1000 is 1k, 0.25 stays."""
    return f"{number / 1000:g}k" if number >= 1000 else f"{number:g}"


def linear_ticks(highest):
    """Round steps from 0 to above `highest`."""
    power = 10 ** math.floor(math.log10(highest / 4))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= highest / 4)
    return [step * i for i in range(math.ceil(highest / step) + 1)]


def log_ticks(lowest, highest):
    return [10.0**power for power in range(math.floor(math.log10(lowest)), math.ceil(math.log10(highest)) + 1)]


class Panel:
    """One chart: x is logarithmic; y begins at 0, or is logarithmic too."""

    def __init__(self, title, xs, lines, is_log=False):
        self.title, self.xs, self.lines, self.is_log = title, xs, lines, is_log
        values = [value for line in lines.values() for value in line]
        self.ticks = log_ticks(min(values), max(values)) if is_log else linear_ticks(max(values))

    def x(self, value):
        share = math.log(value / self.xs[0]) / math.log(self.xs[-1] / self.xs[0])
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(self, value):
        scale = math.log10 if self.is_log else float
        low, high = scale(self.ticks[0]), scale(self.ticks[-1])
        return HEIGHT - BOTTOM - (scale(value) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    def grid(self):
        yield f'<text x="{LEFT}" y="24" font-size="13" font-weight="bold">{escape(self.title)}</text>'
        for tick in self.ticks:
            y = self.y(tick)
            yield f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>'
            yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{short(tick)}</text>'
        for x in self.xs:
            yield f'<text x="{self.x(x):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{short(x)}</text>'

    def label_places(self):
        """Where each line's name stands: at its end, 13 apart."""
        places, last = {}, -math.inf
        for name, line in sorted(self.lines.items(), key=lambda item: self.y(item[1][-1])):
            last = max(self.y(line[-1]) + 4, last + 13)
            places[name] = last
        return places

    def drawn(self):
        yield from self.grid()
        places = self.label_places()
        for (name, line), color in zip(self.lines.items(), COLORS):
            points = [(self.x(x), self.y(value)) for x, value in zip(self.xs, line)]
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
            yield f'<path d="M{path}" fill="none" stroke="{color}" stroke-width="2"/>'
            yield from (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{color}"/>' for x, y in points)
            yield f'<text x="{WIDTH - RIGHT + 8}" y="{places[name]:.1f}" fill="{color}">{escape(name)}</text>'


def svg(panels):
    rows = math.ceil(len(panels) / COLUMNS)
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * COLUMNS} {HEIGHT * rows}" '
           f'width="{WIDTH * COLUMNS}" font-family="sans-serif" font-size="11" fill="{INK}">')
    yield '<rect width="100%" height="100%" fill="white"/>'
    for i, panel in enumerate(panels):
        yield f'<g transform="translate({i % COLUMNS * WIDTH} {i // COLUMNS * HEIGHT})">'
        yield from panel.drawn()
        yield "</g>"
    yield "</svg>"


def write(path, panels):
    path.write_text("\n".join(svg(panels)) + "\n", encoding="utf-8")
