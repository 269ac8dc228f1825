"""Pages: what is to be printed, cut into pages by our own hand, each with its own digest. HTML, no script, no link.

A page that went missing, was exchanged or came out of another print is seen: page 1 lists the digests of all others,
and its own digest is the paper's. A page's digest is the SHA-256 of its content between the two rules, with title and
page number before it (``digest_of``). The same pages fit A4 and Letter: a page holds what fits the narrower of the one
and the shorter of the other, estimated line by line and on the safe side.
"""

import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

from sealwright.ceremony.prepared import Mode
from sealwright.ceremony.words import spell_hex

ROOM: Final = 218.0
"""Millimetres for content: Letter's 279 less margins, head and foot, and a tenth for a printer's fonts."""
LINE: Final = 5.2
_CHARACTERS: Final = 84
"""In a line of 178 mm, in the widest font that a browser takes for want of Georgia."""

_STYLE: Final = """
@page { margin: 12mm 15mm }
body { font: 10.5pt/1.4 Georgia, "DejaVu Serif", serif; max-width: 178mm; margin: 1em auto; color: #000 }
.page { break-after: page; break-inside: avoid } .page:last-child { break-after: auto }
.page > header, .page > footer { display: flex; justify-content: space-between; font: 8pt/1.3 monospace }
.page > header { border-bottom: .5mm solid #000; padding-bottom: 1mm; margin-bottom: 3mm; align-items: end }
.page > footer { border-top: .2mm solid #000; padding-top: 1mm; margin-top: 4mm }
@media screen { .page { border: 1px solid #999; padding: 8mm 6mm; margin-bottom: 8mm } }
h1 { font-size: 17pt; margin: 0 0 2mm } h2 { font-size: 12.5pt; margin: 3mm 0 2mm; border-bottom: .2mm solid #000 }
p { margin: 1.5mm 0 }
.mode { font: bold 11pt/1.3 sans-serif; letter-spacing: .15em; border: .5mm solid; padding: 0 1.5mm }
.step { border: .2mm solid #000; padding: 1.5mm 3mm; margin: 2mm 0 }
.head { display: flex; justify-content: space-between; font: 8.5pt/1.4 sans-serif } .say { font-size: 11.5pt }
.box { float: right; border: .3mm solid #000; width: 5mm; height: 5mm; margin: 1mm 0 1mm 4mm }
.blanks { font: 8.5pt/2 sans-serif }
.blank { display: inline-block; border-bottom: .2mm solid #000; width: 28mm; margin: 0 4mm 0 1mm }
table { border-collapse: collapse; width: 100%; font-size: 9pt; margin: 1mm 0 }
td, th { border: .2mm solid #000; padding: .5mm 1.5mm; text-align: left; vertical-align: top }
code { font: 8.5pt/1.5 monospace; overflow-wrap: anywhere }
.room th { font-size: 8.5pt } .words { font-size: 9pt; font-style: italic } .wrong { font-weight: bold }
.room td { height: 11mm } .answers td { height: 24mm } .answers td:first-child { width: 28% }
.qr { float: right; margin: 0 0 2mm 4mm } .qr svg { width: 34mm; height: 34mm; display: block }
ul { margin: 1mm 0; padding-left: 6mm } li { margin: .5mm 0 }
"""


@dataclass(frozen=True, slots=True)
class Block:
    """A piece that is never cut. ``height`` in millimetres; ``leads``: never last on its page; ``fresh``: first."""

    html: str
    height: float
    leads: bool = False
    fresh: bool = False


def lines(text: str, characters: int = _CHARACTERS) -> int:
    return max(1, math.ceil(len(text) / characters))


def heading(text: str, *, fresh: bool = False) -> Block:
    return Block(f"<h2>{escape(text)}</h2>", 13.0, leads=True, fresh=fresh)


def paragraph(text: str) -> Block:
    return Block(f"<p>{escape(text)}</p>", LINE * lines(text) + 3)


def digest(what: str, value: str) -> Block:
    """Hex in groups of eight, and the words that are read aloud."""
    words = " ".join(spell_hex(value))
    html = f'<p>{escape(what)}<br><code>{group(value)}</code><br><span class="words">{words}</span></p>'
    return Block(html, LINE * lines(what) + 5 + 4.6 * lines(words, 98) + 2)


def group(value: str) -> str:
    return " ".join(value[place : place + 8] for place in range(0, len(value), 8))


def bullets(texts: Iterable[str]) -> tuple[Block, ...]:
    return tuple(Block(f"<ul><li>{escape(text)}</li></ul>", LINE * lines(text, 80) + 2.5) for text in texts)


def table(heads: Sequence[str], rows: Iterable[Sequence[str]], *, style: str = "plain") -> tuple[Block, ...]:
    """As many tables as pages need, each with the heads. ``style``: "room" to sign in, "answers" for sentences."""
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    least = {"plain": 0.0, "room": 13.0, "answers": 26.0}[style]
    most = ROOM / 2 if style == "plain" else ROOM - 20  # what is filled in by hand stays together while it can
    blocks: list[Block] = []
    part: list[str] = []
    used = 8.0

    def end() -> None:
        if part:
            blocks.append(Block(f'<table class="{style}"><tr>{head}</tr>{"".join(part)}</table>', used))

    for row in rows:
        need = max(least, 4.4 * sum(lines(cell, 66) for cell in row if cell) / 1.3 + 1.5)
        if used + need > most and part:
            end()
            part, used = [], 8.0
        part.append("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
        used += need
    end()
    return tuple(blocks)


def blanks(*names: str) -> str:
    return "".join(f'{escape(name)}<span class="blank"></span>' for name in names)


def exception_sheet(number: int) -> tuple[Block, ...]:
    """To be filled in by hand, on the spot."""
    asked = ("Step, and time", "What was expected", "What happened", "Who decided what", "What follows from it")
    return (
        heading(f"Exception sheet {number}", fresh=True),
        paragraph("For whatever is not as written. It is filled in before anything goes on, and kept with the record."),
        *table(("", "in words"), ((question, "") for question in asked), style="answers"),
        *table(("administrator", "witness", "officer", "officer"), [("", "", "", "")], style="room"),
    )


def lay_out(title: str, modes: Sequence[Mode], cover: Sequence[Block], blocks: Sequence[Block]) -> bytes:
    """The whole file. ``cover`` is page 1, together with the list of the other pages."""
    rest = tuple(_paginate(blocks))
    total = len(rest) + 1
    mark = " ".join(modes)
    digests = [digest_of(title, place, total, content) for place, content in enumerate(rest, 2)]
    first = "\n".join((*(block.html for block in cover), _contents(digests)))
    pages = [
        _page(title, mark, place, total, content, digest_of(title, place, total, content))
        for place, content in enumerate((first, *rest), 1)
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>\n"
        + "\n".join(pages)
        + "\n</body></html>\n"
    ).encode()


def digest_of(title: str, place: int, total: int, content: str) -> str:
    """SHA-256, in hex, of a page's title, place and content."""
    return hashlib.sha256(f"{title}\n{place} of {total}\n{content}".encode()).hexdigest()


def _contents(digests: Sequence[str]) -> str:
    if not digests:
        return ""
    rows = "".join(
        f"<tr><td>{place}</td><td><code>{group(value[:32])}</code></td>"
        f"<td class=words>{' '.join(spell_hex(value[:8]))}</td></tr>"
        for place, value in enumerate(digests, 2)
    )
    heads = "<tr><th>page</th><th>first half of its digest</th><th>first quarter of that, as words</th></tr>"
    return f"<h2>The other pages</h2><table>{heads}{rows}</table>"


def _paginate(blocks: Sequence[Block]) -> Iterable[str]:
    page: list[Block] = []
    used = 0.0
    for place, block in enumerate(blocks):
        after = blocks[place + 1].height if block.leads and place + 1 < len(blocks) else 0.0
        if page and (block.fresh or used + block.height + after > ROOM):
            yield "\n".join(each.html for each in page)
            page, used = [], 0.0
        page.append(block)
        used += block.height
    if page:
        yield "\n".join(each.html for each in page)


def _page(title: str, mark: str, place: int, total: int, content: str, value: str) -> str:
    return (
        f'<section class="page"><header><span class="mode">{mark}</span><span>{escape(title)}</span>'
        f"<span>page {place} of {total}</span></header>\n<div>{content}</div>\n"
        f"<footer><span>SHA-256 of this page</span><span>{value}</span></footer></section>"
    )
