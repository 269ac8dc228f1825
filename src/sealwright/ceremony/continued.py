"""The room of a ceremony that is taken up again: recorded up to where it was cut off, living from there on.

Nothing is asked twice of the record, and nothing of people or tokens before the take-up (``takeup``) is done: whoever
reaches for them is what makes the ceremony go on.
"""

from sealwright.ceremony.room import Bench, People, Room, SecondOpinion, Tokens
from sealwright.ceremony.transcript import Continued


class ContinuedRoom(Room):
    """``past`` is the room of a replay, ``living`` the one that people are in."""

    def __init__(self, journal: Continued, past: Room, living: Room) -> None:
        self.journal: Continued = journal
        self._past, self._living = past, living

    def _now(self) -> Room:
        self.journal.interrupted()
        return self._living if self.journal.live else self._past

    @property
    def people(self) -> People:
        return self._now().people

    @property
    def tokens(self) -> Tokens:
        return self._now().tokens

    @property
    def bench(self) -> Bench:
        return self._now().bench

    @property
    def second(self) -> SecondOpinion:
        return self._now().second
