"""Types that carry proof: whoever holds one knows that its check was passed, because nothing else can make one."""

from dataclasses import InitVar, dataclass
from typing import ClassVar


@dataclass(frozen=True, slots=True, kw_only=True)
class Proven:
    """Base of frozen dataclasses. ``made_by`` is the token of the module whose check makes them.

    It is not kept, so neither a copy by ``dataclasses.replace`` nor another module comes by it.
    """

    proof: InitVar[object]
    made_by: ClassVar[object]

    def __post_init__(self, proof: object) -> None:
        if proof is not self.made_by:
            raise TypeError(f"only its check makes a {type(self).__name__}")
