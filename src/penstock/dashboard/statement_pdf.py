"""A statement as PDF, by fpdf2: the optional extra `pdf`. No browser, no network."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from penstock.dashboard.asked import Asked
from penstock.dashboard.figure import Figure
from penstock.dashboard.house import House
from penstock.dashboard.statement import Bill, bill, said_of
from penstock.dashboard.words import exact, stamp
from penstock.errors import InputError

if TYPE_CHECKING:
    from fpdf import FPDF

FONTS = (
    "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
    "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
    "/usr/share/fonts/TTF/DejaVuSans.ttf",
    "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
    "/Library/Fonts/Arial Unicode.ttf",
)
"""The first one there is; without any, letters beyond Western European ones are printed as question marks."""
MISSING = "A PDF takes the library fpdf2: pip install 'penstock[pdf]'. The page itself can be printed without it."
NAME, SIZE = "page", 9
LONGEST = 60
"""Signs of a name before it is cut: a cell must not fill the page."""


class PdfMissingError(InputError):
    """The optional library is not installed."""

    code = "pdf_missing"


def statement_pdf(house: House, asked: Asked) -> bytes:
    """Make the PDF of the statement that the address names. Raises PdfMissingError."""
    try:
        from fpdf import FPDF  # noqa: PLC0415  # optional
    except ImportError:
        raise PdfMissingError(MISSING) from None
    made = bill(house, asked)
    pdf = FPDF(format="A4")
    pdf.set_creation_date(asked.now)
    font = _font(pdf)
    pdf.set_title(f"Statement of {made.payer} {made.statement.name[:LONGEST]}")
    pdf.add_page()
    _head(pdf, made, asked, font)
    for figure in (made.lines, made.shares):
        _table(pdf, figure, font)
    _foot(pdf, made, font)
    return bytes(pdf.output())


def _font(pdf: "FPDF") -> str:
    for file in FONTS:
        if Path(file).exists():
            pdf.add_font(NAME, fname=file)
            return NAME
    return "helvetica"


def _head(pdf: "FPDF", made: Bill, asked: Asked, font: str) -> None:
    one = made.statement
    pdf.set_font(font, size=16)
    pdf.multi_cell(0, 9, _text(f"Statement of {made.payer} {_cut(one.name)}", font), new_x="LMARGIN", new_y="NEXT")
    pdf.set_font(font, size=10)
    period = f"{stamp(asked.since)} to {stamp(asked.until)} UTC ({asked.label})"
    for line in (period, f"Total {exact(one.total)}: direct {exact(one.direct)}, shared {exact(one.shared)}"):
        pdf.multi_cell(0, 6, _text(line, font), new_x="LMARGIN", new_y="NEXT")
    pdf.ln(4)


def _table(pdf: "FPDF", figure: Figure, font: str) -> None:
    pdf.set_font(font, size=12)
    pdf.cell(0, 8, figure.title, new_x="LMARGIN", new_y="NEXT")
    from fpdf.fonts import FontFace  # noqa: PLC0415  # optional

    pdf.set_font(font, size=SIZE)
    if not figure.rows:
        pdf.cell(0, 6, figure.empty, new_x="LMARGIN", new_y="NEXT")
        return
    shown = [n for n, column in enumerate(figure.columns) if not column.hidden]
    align: Any = tuple("LEFT" if figure.columns[n].kind == "text" else "RIGHT" for n in shown)
    lines = [row.cells for row in figure.rows] + ([figure.total] if figure.total else [])
    with pdf.table(
        text_align=align,
        borders_layout="HORIZONTAL_LINES",
        line_height=5.5,
        headings_style=FontFace(emphasis=""),
    ) as table:
        head = table.row()
        for n in shown:
            head.cell(_text(figure.columns[n].label, font))
        for cells in lines:
            row = table.row()
            for n in shown:
                row.cell(_text(_cut(said_of(cells[n], figure.columns[n].kind)), font))  # type: ignore[arg-type]
    pdf.ln(4)


def _foot(pdf: "FPDF", made: Bill, font: str) -> None:
    pdf.set_font(font, size=8)
    notes = ["Amounts are US dollars, exact; direct and shared add up to the total to the last digit."]
    if made.statement.unpriced_events:
        notes.append(f"Events without a price yet, which are not charged: {made.statement.unpriced_events:,}.")
    if font != NAME:
        notes.append("Letters that the built-in font does not have are printed as question marks.")
    for note in notes:
        pdf.multi_cell(0, 5, note, new_x="LMARGIN", new_y="NEXT")


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _text(text: str, font: str) -> str:
    """Leave out what directs text, and what a built-in font cannot write."""
    plain = "".join(sign for sign in text if sign.isprintable())
    return plain if font == NAME else plain.encode("latin-1", "replace").decode("latin-1")
