"""``scripts/quickstart``: parses, opens the folder, tells the chapters, stops or stays."""

from pathlib import Path
from typing import Annotated

import typer

from sealwright.cli.edge import EXIT_CODES, examples, run_app
from sealwright.cli.quickstart.chapters import tell_chapters, what_next
from sealwright.cli.quickstart.place import open_place
from sealwright.cli.quickstart.servers import Servers
from sealwright.cli.quickstart.story import Story

app = typer.Typer(
    name="scripts/quickstart", add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False
)


@app.command(
    help="A whole Sealwright PKI on this machine, as a rehearsal, told as a story.\n\n"
    "Ceremonies on four SoftHSM tokens, a roster that two of three officers sign, the four servers on loopback, a"
    " certificate that two people sign for, a file signed with it, OCSP and CRL, renewal and revocation. A second run"
    " on the same folder starts the same PKI.\n\n"
    + examples("scripts/quickstart", "scripts/quickstart --dir /tmp/pki --once"),
    epilog=EXIT_CODES,
)
def quickstart(
    source: Annotated[Path, typer.Option(help="The checkout.", hidden=True)],
    folder: Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where the rehearsal PKI lives.")] = Path("var"),
    once: Annotated[bool, typer.Option("--once", help="Stop the services at the end and exit.")] = False,
) -> None:
    place = open_place(folder.absolute())
    story = Story(home=place.folder, environment=place.environment, inherited=(place.commands,))
    story.console.print(f"[bold]Sealwright, a rehearsal[/bold] in {place.folder}")
    if once:
        place.forget("evidence")  # answers are good for two days: what is kept is of this run
    with Servers(place, story) as servers:
        tell_chapters(place, story, servers, source)
        story.tell("")
        story.console.print(f"[bold]Done in {story.elapsed():.0f} s.[/bold] What to try next:")
        story.tell(what_next(place, source, up=not once))
        if not once:
            place.let_others_in()
            story.console.print("\nThe services stay up. Ctrl-C stops them.")
            servers.stay()


if __name__ == "__main__":
    run_app(app)
