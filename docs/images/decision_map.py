"""Draw decision_map.svg: what you have, what you want, what to take.

    python docs/images/decision_map.py

The lines are those of the table in docs/decision_map.inc.
"""

import re
from itertools import pairwise
from pathlib import Path

DOCS = Path(__file__).parents[1]
COLUMNS = ((10, 190), (230, 220), (480, 310))
COLOURS = ("#e8eef7", "#e8eef7", "#2a6fbb")
HEIGHT, GAP, TOP = 44, 12, 40


def lines():
    """Return the three texts of each line of the table."""
    text = (DOCS / "decision_map.inc").read_text(encoding="utf-8")
    rows = [row.strip("|").split("|") for row in text.splitlines() if row[:1] == "|"]
    plain = [[re.sub(r"{doc}`(.*?) <.*`", r"\1", c.strip()) for c in r] for r in rows]
    return plain[0], plain[2:]


def draw():
    """Return the picture as SVG."""
    header, rows = lines()
    height = TOP + len(rows) * (HEIGHT + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 {height}" '
        'font-family="sans-serif" font-size="15">',
        f'<rect width="800" height="{height}" fill="white"/>',
    ]
    for (left, _), text in zip(COLUMNS, header, strict=True):
        parts.append(f'<text x="{left}" y="24" font-weight="bold">{text}</text>')
    for i, row in enumerate(rows):
        top = TOP + i * (HEIGHT + GAP)
        middle = top + HEIGHT / 2
        for (left, width), text, colour in zip(COLUMNS, row, COLOURS, strict=True):
            ink = "white" if colour == COLOURS[-1] else "#222"
            parts.append(
                f'<rect x="{left}" y="{top}" width="{width}" height="{HEIGHT}" '
                f'rx="8" fill="{colour}"/>'
                f'<text x="{left + 12}" y="{middle + 5:g}" fill="{ink}">{text}</text>'
            )
        for (left, width), (end, _) in pairwise(COLUMNS):
            start = left + width
            parts.append(
                f'<path d="M{start + 4} {middle:g}H{end - 6}m-5 -4l5 4l-5 4" '
                'stroke="#777" fill="none" stroke-width="1.5"/>'
            )
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    (DOCS / "images" / "decision_map.svg").write_text(draw(), encoding="utf-8")
