"""The paper: a page that needs nothing but a printer, and says what the files say."""

import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ceremonies import OFFICERS, Cast, Domain, copy_record, forge
from sealwright.ceremony.begin import new_folder
from sealwright.ceremony.clock import utc_now
from sealwright.ceremony.folder import load_folder
from sealwright.ceremony.pages import ROOM, digest_of, group, table
from sealwright.ceremony.paper import print_record, print_script
from sealwright.ceremony.preparation import prepare
from sealwright.ceremony.script import Kind
from sealwright.ceremony.sitting import rehearse
from sealwright.ceremony.words import spell_hex
from sealwright.cli.ceremony.pdf import make_pdf
from sealwright.errors import InputError, IntegrityError

pytestmark = pytest.mark.xdist_group("ceremony")


class Page(HTMLParser):
    """Which tags and attributes there are, and whether every tag is closed."""

    VOID = frozenset({"meta", "br"})
    """``path`` and such close themselves."""

    def __init__(self, page: bytes) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(page.decode())
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("print_page", [print_script, print_record])
def test_a_page_is_one_file_with_no_script_and_no_link(domain: Domain, kind: Kind, print_page: object) -> None:
    path = domain.record(kind)
    page = print_script(path.parent) if print_page is print_script else print_record(path)
    parsed = Page(page)
    assert not parsed.seen & {"script", "link", "img", "a", "iframe"}
    assert not parsed.attributes & {"src", "href", "onclick"}
    assert not re.search(rb"https?://(?!pki\.example\.org)", page)
    assert b"REHEARSAL" in page


def test_the_script_s_page_has_every_step_role_and_digest(domain: Domain) -> None:
    folder = domain.record(Kind.ROOT_GENESIS).parent
    page = print_script(folder).decode()
    for number in range(1, 25):
        assert f"<b>{number} · " in page
    digest = domain.records[Kind.ROOT_GENESIS].script
    assert " ".join(spell_hex(digest)) in page
    assert "types: <code>make the root key</code>" in page
    assert "key-dependent octets zeroed" in page


def test_there_is_room_for_all_that_people_write_down(domain: Domain) -> None:
    """A row for each officer by name, for each bag and seal, for the head in its eight rows, for each output."""
    rows = re.findall(r"<tr><td>(.*?)</td>", print_script(domain.record(Kind.ISSUING_KEY).parent).decode())
    assert rows.count("officer (2 of 3)") == len(OFFICERS)
    for content in ("machine", "token issuing", "token ocsp", "token ledger", "medium IN", "medium OUT"):
        assert content in rows
    head = rows.index("1", rows.index("medium OUT"))
    assert rows[head : head + 8] == [str(row) for row in range(1, 9)]
    assert rows[head + 8 : head + 10] == ["issuing.csr", "keys.json"]


@pytest.mark.parametrize("style", ["plain", "room", "answers"])
def test_no_table_is_longer_than_a_page(style: str) -> None:
    """Thirty-two officers may be named, and each has a row."""
    blocks = table(("role", "name"), [("officer (2 of 32)", f"name-{number}") for number in range(32)], style=style)
    assert max(block.height for block in blocks) < ROOM - 13, "with its heading"
    assert sum(block.html.count("name-") for block in blocks) == 32


def test_the_record_is_signed_by_the_names_of_those_who_were_there(domain: Domain) -> None:
    page = print_record(domain.record(Kind.ROOT_CRL)).decode().split("<h2>Signatures</h2>")[1]
    names = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td>", page)
    assert names == [
        ("administrator", "rehearsal-administrator"),
        ("operator", "rehearsal-operator"),
        ("officer", "ada"),
        ("officer", "grace"),
        ("witness", "rehearsal-witness"),
    ]


def test_the_paper_for_the_real_one_says_production_and_not_rehearsal(domain: Domain, tmp_path: Path) -> None:
    folder, site = tmp_path / "genesis", tmp_path / "site.toml"
    site.write_text('module = "hsm.so"\n[tokens.root]\nserial = "4a3f1c"\n')
    new_folder(Kind.ROOT_GENESIS, folder, ca=domain.ca, inputs=domain.officers, site=site)
    prepare(folder, at=utc_now())
    both, real, dry = (print_script(folder, mode).decode() for mode in (None, "PRODUCTION", "REHEARSAL"))
    assert "PRODUCTION: to-be-signed" in both
    assert "REHEARSAL: to-be-signed" in both
    assert "REHEARSAL" not in real
    assert "PRODUCTION" not in dry
    assert "serial number of the token root, in production</td><td>4a3f1c" in real
    assert "4a3f1c" not in dry
    with pytest.raises(InputError, match="is prepared for REHEARSAL, not for PRODUCTION"):
        print_script(domain.record(Kind.ROOT_CRL).parent, "PRODUCTION")


def test_the_record_s_page_has_the_answers_and_the_head(domain: Domain) -> None:
    page = print_record(domain.record(Kind.ROOT_GENESIS)).decode()
    assert " ".join(spell_hex(domain.records[Kind.ROOT_GENESIS].head)) in page
    assert "answer: make the root key" in page
    assert (domain.record(Kind.ROOT_GENESIS) / "record.html").read_text() == page


def test_a_record_that_does_not_verify_is_not_printed(domain: Domain, tmp_path: Path) -> None:
    record = copy_record(domain.record(Kind.ROOT_CRL), tmp_path / "record")
    forge(record, lambda entries: entries[0].update(kind="issuing-ca"))
    with pytest.raises(IntegrityError):
        print_record(record)


def test_what_people_typed_cannot_become_markup(domain: Domain, tmp_path: Path) -> None:
    record = copy_record(domain.record(Kind.ROOT_CRL), tmp_path / "record")

    def change(entries: list[dict[str, object]]) -> None:
        shown = next(entry for entry in entries if entry["entry"] == "verified")
        shown["version"] = "<script>alert(1)</script>"

    forge(record, change)
    assert b"<script" not in print_record(record)


# Pages


def pages_of(html: bytes) -> list[tuple[str, str, str]]:
    """For each page: what stands in its header, its content, the digest in its footer."""
    found = re.findall(
        r'<section class="page"><header>(.*?)</header>\n<div>(.*?)</div>\n'
        r"<footer>.*?<span>([0-9a-f]{64})</span></footer>",
        html.decode(),
        re.DOTALL,
    )
    assert len(found) == html.count(b"<section")
    return found


@pytest.mark.parametrize("kind", list(Kind))
def test_every_page_says_rehearsal_and_has_its_digest_and_the_first_lists_the_others(
    domain: Domain, kind: Kind
) -> None:
    html = print_record(domain.record(kind))
    title = re.search(r"<title>(.*?)</title>", html.decode())
    assert title is not None
    pages = pages_of(html)
    for place, (head, content, digest) in enumerate(pages, 1):
        assert "REHEARSAL" in head
        assert f"page {place} of {len(pages)}" in head
        assert digest_of(unescape(title[1]), place, len(pages), content) == digest
        if place > 1:
            assert group(digest[:32]) in pages[0][1]


def test_a_wrong_answer_is_an_exception_of_the_record(domain: Domain, tmp_path: Path) -> None:
    html = print_record(domain.record(Kind.ROOT_CRL)).decode()
    assert "None: every answer was the one that the script wants" in html
    folder = tmp_path / "crl"
    before = [domain.record(Kind.ROOT_GENESIS), domain.record(Kind.ROOT_CRL)]
    records = [before[0], domain.record(Kind.ISSUING_CA), before[1]]
    new_folder(Kind.ROOT_CRL, folder, ca=domain.ca, records=records, site=domain.site)
    prepare(folder, at=utc_now(), previous=before[1])
    record = rehearse(folder, people=Cast(("ada: to sign", ["by no means"])))
    html = print_record(record.path).decode()
    exceptions = html.split("<h2>Exceptions</h2>")[1].split("<h2>")[0]
    assert "accepted: no" in exceptions
    assert "by no means" not in exceptions
    assert "exception sheet" in exceptions


def test_a_ceremony_that_stopped_has_a_paper_too_that_says_so(domain: Domain, tmp_path: Path) -> None:
    record = copy_record(domain.record(Kind.ROOT_CRL), tmp_path / "record")
    shutil.rmtree(record / "outputs")

    def stop(entries: list[dict[str, object]]) -> None:
        del entries[30:]
        last = {name: entries[-1][name] for name in ("at", "step")}
        entries.append({**last, "entry": "stopped", "error": "WrongPin", "message": "the <PIN> was refused"})

    forge(record, stop)
    html = print_record(record).decode()
    Page(html.encode())
    assert "record of one that stopped" in html
    assert "the &lt;PIN&gt; was refused" in html
    assert "Nothing came of it" in html
    assert html.count('<div class="step">') < len(load_folder(record).script.steps)
    assert "stopped" in html.split("<h2>Exceptions</h2>")[1].split("<h2>")[0]
    assert all("REHEARSAL" in head for head, _, _ in pages_of(html.encode()))
    forge(record, lambda entries: entries[10].update(step=3))
    with pytest.raises(IntegrityError):
        print_record(record)


BROWSER = (
    *("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-pdf-header-footer"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"),
)


def printed(html: bytes, size: str, folder: Path) -> Path:
    """By a real browser, on paper of that size."""
    page, out = folder / f"{size}.html", folder / f"{size}.pdf"
    page.write_bytes(html.replace(b"@page { margin", f"@page {{ size: {size}; margin".encode()))
    profile = f"--user-data-dir={folder / 'profile'}"
    subprocess.run([*BROWSER, profile, f"--print-to-pdf={out}", page.as_uri()], check=True, capture_output=True)
    return out


def count(pdf: Path) -> int:
    said = subprocess.run(["pdfinfo", pdf], check=True, capture_output=True, text=True).stdout
    found = re.search(r"^Pages:\s+(\d+)$", said, re.MULTILINE)
    assert found is not None
    return int(found[1])


@pytest.mark.slow
@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("size", ["A4", "Letter"])
def test_a_browser_cuts_it_into_the_pages_that_we_cut(domain: Domain, kind: Kind, size: str, tmp_path: Path) -> None:
    for html in (print_script(domain.record(kind).parent), print_record(domain.record(kind))):
        pdf = printed(html, size, tmp_path)
        assert count(pdf) == len(pages_of(html))
        for place in range(1, count(pdf) + 1):
            command = ["pdftotext", "-f", str(place), "-l", str(place), pdf, "-"]
            text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            assert "REHEARSAL" in text
            assert f"page {place} of" in text


@pytest.mark.slow
def test_a_camera_reads_the_head_off_the_printed_record(domain: Domain, tmp_path: Path) -> None:
    record = domain.record(Kind.ROOT_GENESIS)
    pdf = printed(print_record(record), "A4", tmp_path)
    subprocess.run(["pdftoppm", "-r", "150", "-gray", "-png", "-l", "1", pdf, tmp_path / "page"], check=True)
    (picture,) = tmp_path.glob("page*.png")
    read = subprocess.run(["zbarimg", "-q", "--raw", picture], check=True, capture_output=True, text=True).stdout
    assert read.strip() == f"sealwright root-genesis REHEARSAL {domain.records[Kind.ROOT_GENESIS].head}"


@pytest.mark.parametrize("size", ["A4", "Letter"])
def test_a_pdf_has_the_same_pages(domain: Domain, size: str, tmp_path: Path) -> None:
    html = print_record(domain.record(Kind.ISSUING_CA))
    (tmp_path / "record.pdf").write_bytes(make_pdf(html, size))
    assert count(tmp_path / "record.pdf") == len(pages_of(html))


def test_a_pdf_fetches_nothing() -> None:
    with pytest.raises(IntegrityError, match="outside itself"):
        make_pdf(b"<img src='http://127.0.0.1:1/x.png'>", "A4")
