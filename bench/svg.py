"""Line plots as SVG, just what the scaling curves need: two axes, linear or logarithmic, a legend, no script."""
import html
import math

WIDTH, HEIGHT = 640, 360
LEFT, RIGHT, TOP, BOTTOM = 70, 150, 40, 50
COLOURS = ["#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df"]


def _ticks(low, high, logarithmic):
    if logarithmic:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        return [10.0 ** e for e in range(first, last + 1)]
    raw = (high - low) / 5 or 1
    step = 10 ** math.floor(math.log10(raw))
    step *= next(f for f in (1, 2, 5, 10) if f * step >= raw)
    return [low + i * step for i in range(int((high - low) / step + 1e-9) + 2)]


def _number(value):
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:g}" if value else "0"


def plot(title, x_label, y_label, series, log_x=False, log_y=False):
    """`series` is {name: [(x, y), …]}. Gives the text of an SVG file."""
    xs = [x for points in series.values() for x, _ in points]
    ys = [y for points in series.values() for _, y in points]
    x_ticks = _ticks(min(xs) if log_x else 0, max(xs), log_x)
    y_ticks = _ticks(min(ys) if log_y else 0, max(ys), log_y)

    def place(value, ticks, logarithmic, begin, end):
        low, high = ticks[0], ticks[-1]
        share = (math.log10(value / low) / (math.log10(high / low) or 1)) if logarithmic else (value - low) / ((high - low) or 1)
        return begin + share * (end - begin)

    def x_at(value):
        return place(value, x_ticks, log_x, LEFT, WIDTH - RIGHT)

    def y_at(value):
        return place(value, y_ticks, log_y, HEIGHT - BOTTOM, TOP)

    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
           f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
           f'<text x="{LEFT}" y="22" font-size="14" font-weight="bold">{html.escape(title)}</text>']
    for tick in x_ticks:
        x = x_at(tick)
        out.append(f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}" stroke="#e0e0e0"/>')
        out.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{_number(tick)}</text>')
    for tick in y_ticks:
        y = y_at(tick)
        out.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#e0e0e0"/>')
        out.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(tick)}</text>')
    out.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 10}" text-anchor="middle">{html.escape(x_label)}</text>')
    middle = (TOP + HEIGHT - BOTTOM) / 2
    out.append(f'<text x="16" y="{middle}" text-anchor="middle" transform="rotate(-90 16 {middle})">{html.escape(y_label)}</text>')
    for number, (name, points) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = " ".join(f"{x_at(x):.1f},{y_at(y):.1f}" for x, y in sorted(points))
        out.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out.extend(f'<circle cx="{x_at(x):.1f}" cy="{y_at(y):.1f}" r="3" fill="{colour}"/>' for x, y in points)
        y = TOP + 12 + 18 * number
        out.append(f'<rect x="{WIDTH - RIGHT + 12}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        out.append(f'<text x="{WIDTH - RIGHT + 28}" y="{y}">{html.escape(name)}</text>')
    out.append("</svg>\n")
    return "\n".join(out)
