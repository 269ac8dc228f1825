"""How a transcript opens: the header, read, and the ceremony that it is of."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import NoneType
from typing import Any, Self

from sealwright.ceremony.conduct import VERSION, Ceremony
from sealwright.ceremony.folder import CeremonyFolder
from sealwright.ceremony.prepared import Mode
from sealwright.errors import IntegrityError, NotReady

_PLAIN = re.compile(r"[0-9A-Za-z.+-]{1,64}")


def activations(folder: CeremonyFolder, mode: Mode) -> dict[str, str]:
    """How each token of the script is opened in the folder's room."""
    return {name: folder.site.activation(name, rehearsal=mode == "REHEARSAL") for name in folder.script.tokens}


def drivers(folder: CeremonyFolder, mode: Mode) -> dict[str, str]:
    """Who clones and erases each token in the folder's room."""
    return {name: folder.site.driver(name, rehearsal=mode == "REHEARSAL") for name in folder.script.tokens}


@dataclass(frozen=True, slots=True)
class Opening:
    """Those fields of the header that are not computed again from script, site, preparation and inputs."""

    mode: Mode
    software: Mapping[str, str]
    rehearsal: str | None
    attended: bool
    version: int

    @classmethod
    def of(cls, header: Mapping[str, Any]) -> Self:
        """Raises ``IntegrityError`` for what no ceremony begins with, ``NotReady`` for a form from the future."""
        mode, software, rehearsal = header.get("mode"), header.get("software"), header.get("rehearsal")
        if header["entry"] != "header" or mode not in ("REHEARSAL", "PRODUCTION"):
            raise IntegrityError("the transcript does not begin with a header that names its mode")
        if not (
            isinstance(software, dict)
            and set(software) == {"version", "sha256"}
            and all(isinstance(value, str) and _PLAIN.fullmatch(value) for value in software.values())
        ):
            raise IntegrityError("the transcript's header does not name the software")
        if type(rehearsal) is not (str if mode == "PRODUCTION" else NoneType):
            raise IntegrityError("production names the rehearsal that it relies on, and only production does")
        attended = header.get("attended")
        if not isinstance(attended, bool) or (mode == "PRODUCTION" and not attended):
            raise IntegrityError("the transcript's header does not say that people were there")
        version = header.get("version")
        if type(version) is not int or version < 1:
            raise IntegrityError("the transcript's header does not name the version of its form")
        if version > VERSION:
            raise NotReady(
                f"this transcript has form {version}, and this software knows forms 1 to {VERSION}",
                hint=f"replay it with version {software['version']} of the software, or a later one",
            )
        return cls(mode, software, rehearsal, attended, version)

    def ceremony(self, folder: CeremonyFolder) -> Ceremony:
        """The ceremony of the record in ``folder``, to be conducted again."""
        return Ceremony(
            script=folder.script,
            prepared=folder.prepared,
            inputs=folder.inputs,
            site_sha256=folder.site.sha256,
            mode=self.mode,
            software=self.software,
            rehearsal=self.rehearsal,
            attended=self.attended,
            activation=activations(folder, self.mode),
            drivers=drivers(folder, self.mode),
            version=self.version,
        )
