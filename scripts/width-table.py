#!/usr/bin/env python3
"""Print the ranges of src/core/text-width.c from the Unicode data of this Python.

Zero cells: non-spacing and enclosing marks, format characters that are not seen, and the vowels and finals of Hangul
that join the syllable before them. Two cells: East Asian Wide and Fullwidth (UAX 11), the code points that are
reserved for more ideographs, and two blocks that terminals draw wide all the same (Unicode 16 agrees about hexagrams).
Code points that are not assigned do not end a range, which halves the tables.
"""
import sys
import unicodedata

SEEN_FORMAT = [range(0xAD, 0xAE), range(0x600, 0x606), range(0x6DD, 0x6DE), range(0x70F, 0x710), range(0x890, 0x892),
               range(0x8E2, 0x8E3), range(0x110BD, 0x110BE), range(0x110CD, 0x110CE)]
JOINING_HANGUL = [range(0x1160, 0x1200), range(0xD7B0, 0xD800)]
RESERVED_WIDE = [range(0x3400, 0x4DC0), range(0x4E00, 0xA000), range(0xF900, 0xFB00), range(0x20000, 0x2FFFE),
                 range(0x30000, 0x3FFFE)]
DRAWN_WIDE = [range(0x3248, 0x3250), range(0x4DC0, 0x4E00)]


def within(ranges, point):
    return any(point in r for r in ranges)


def width(point):
    category = unicodedata.category(chr(point))
    if category in ("Mn", "Me") or within(JOINING_HANGUL, point):
        return 0
    if category == "Cf" and not within(SEEN_FORMAT, point):
        return 0
    if category == "Cn":
        return 2 if within(RESERVED_WIDE, point) else None
    if within(DRAWN_WIDE, point):
        return 2
    return 2 if unicodedata.east_asian_width(chr(point)) in ("W", "F") else 1


def ranges_of(cells):
    first = last = None
    for point in range(0xA0, sys.maxunicode + 1):
        got = width(point)
        if got == cells:
            first = point if first is None else first
            last = point
        elif got is not None and first is not None:
            yield first, last
            first = None
    if first is not None:
        yield first, last


def table(name, cells):
    print(f"static const struct range {name}[] = {{")
    line = "   "
    for first, last in ranges_of(cells):
        item = f" {{0x{first:x}, 0x{last:x}}},"
        if len(line) + len(item) > 120:
            print(line)
            line = "   "
        line += item
    print(line)
    print("};")


print(f"/* Unicode {unicodedata.unidata_version}, made by scripts/width-table.py. */")
table("zero_cells", 0)
table("two_cells", 2)
