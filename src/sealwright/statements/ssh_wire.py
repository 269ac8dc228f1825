"""The SSH wire format (RFC 4251 section 5), read strictly: every length is inside its buffer, nothing is left over."""

from dataclasses import dataclass

from sealwright.errors import IntegrityError


@dataclass(slots=True)
class Reader:
    """Takes values off the front of ``data``. Raises ``IntegrityError`` where they are not there."""

    data: bytes
    what: str
    place: int = 0

    def take(self, count: int) -> bytes:
        if count > len(self.data) - self.place:
            raise IntegrityError(f"{self.what} ends too early")
        self.place += count
        return self.data[self.place - count : self.place]

    def uint32(self) -> int:
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        return self.take(self.uint32())

    def text(self) -> str:
        """A string of printable ASCII."""
        value = self.string()
        if not (value.isascii() and (text := value.decode("ascii")).isprintable()):
            raise IntegrityError(f"{self.what} has a name that is not ASCII")
        return text

    def mpint(self) -> int:
        """A positive integer in its shortest form."""
        value = self.string()
        if not value or value[0] & 0x80 or (value[0] == 0 and (len(value) < 2 or not value[1] & 0x80)):
            raise IntegrityError(f"{self.what} has an integer that is not positive or not in its shortest form")
        return int.from_bytes(value, "big")

    def end(self) -> None:
        if self.place != len(self.data):
            raise IntegrityError(f"{self.what} has {len(self.data) - self.place} octets too many")


def pack(*parts: bytes) -> bytes:
    """Each part as an SSH string."""
    return b"".join(len(part).to_bytes(4, "big") + part for part in parts)
