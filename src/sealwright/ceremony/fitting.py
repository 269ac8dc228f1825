"""The script of a ``key-destruction``, for as many tokens as there are: the reviewed one has the root's and one copy's.

A step for the copy is repeated for each further copy, in groups, under the name that it has there; where there is no
copy, or the original is lost, its steps are left out. Only whole steps, and nothing in them but the token's name.
"""

import re

from sealwright.ceremony.destruction import ORIGINAL, token_names
from sealwright.ceremony.destruction import parse_destruction as parse
from sealwright.ceremony.register import parse_register

_COPY = "copy"
_STEP = re.compile(r"(?<=\n\n)(?=(?:#[^\n]*\n)*\[\[steps\]\]\n)")
"""Between steps, each with the comments before it."""
_TOKEN = re.compile(r'(?m)^token = "([^"]*)"$')


def fit_to_tokens(text: bytes, destruction: bytes, register: bytes) -> bytes:
    """Raises ``InputError`` for inputs that cannot be read. Whether these tokens may end is ``destruction``'s."""
    names = token_names(parse(destruction), parse_register(register))
    head, *steps = _STEP.split(text.decode())
    tokens = ", ".join(f'"{name}"' for name in names)
    fitted = [re.sub(r"(?m)^tokens = \[.*\]$", f"tokens = [{tokens}]", head)]
    group: list[str] = []
    for step in [*steps, ""]:
        found = _TOKEN.search(step)
        name = found[1] if found else None
        if name == _COPY:
            group.append(step)
            continue
        for copy in (each for each in names if each != ORIGINAL):
            fitted += [_TOKEN.sub(f'token = "{copy}"', each) for each in group]
        group = []
        if name is None or name in names:
            fitted.append(step)
    return "".join(fitted).encode()
