"""The paper as a PDF, by WeasyPrint: the extra ``pdf``. Without it any browser prints the HTML."""

from sealwright.errors import InputError, IntegrityError


def make_pdf(page: bytes, size: str) -> bytes:
    """``size``: A4 or Letter. Raises ``InputError`` without the extra. Nothing is fetched: the page needs nothing."""
    try:
        import weasyprint  # type: ignore[import-untyped]
    except (ImportError, OSError) as error:  # OSError: Pango is not on this machine
        raise InputError(
            "a PDF needs WeasyPrint and Pango, which are not on this machine",
            hint="pip install 'sealwright[pdf]', apt-get install libpangoft2-1.0-0; or print the HTML from any browser",
        ) from error

    sized = weasyprint.CSS(string=f"@page {{ size: {size}; margin: 12mm 15mm }}")
    nothing = weasyprint.urls.URLFetcher(allowed_protocols=(), fail_on_errors=True)
    try:
        return bytes(weasyprint.HTML(string=page.decode(), url_fetcher=nothing).write_pdf(stylesheets=[sized]))
    except weasyprint.urls.FatalURLFetchingError as error:
        raise IntegrityError(f"the paper names something outside itself: {error}") from None
