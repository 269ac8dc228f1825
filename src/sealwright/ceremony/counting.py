"""What ``take-census`` does: every token that is plugged in is described, those of the script are opened and listed.

Nothing is changed and nothing is refused: what is strange is said, and stands in the census that officers and witness
sign with the record. How a token is described is ``inventory``'s.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from sealwright.ceremony import script as s
from sealwright.ceremony.act import Act
from sealwright.ceremony.activation import make_ready
from sealwright.ceremony.keyinputs import check_key_inputs
from sealwright.ceremony.register import Register


def take_census(step: s.TakeCensus, act: Act) -> None:
    check_key_inputs(act.materials)
    opened = act.state.token_serials[step.token]
    act.intend("list-tokens")
    serials = act.room.tokens.list_serials()
    act.result("list-tokens", observed={"serials": list(serials)})
    for serial in serials:
        here = serial == opened
        act.intend("count-token", serial=serial, opened=here)
        if here:
            make_ready(step.token, act)
        counted = dict(act.room.tokens.count(serial, step.token if here else None))
        act.result("count-token", serial=serial, observed={"counted": counted})
        own = tuple(_against(counted, act.materials.register())) if here else ()
        counted["findings"] = [*counted.get("findings", ()), *own]
        act.materials.census.append(counted)
        _tell(counted, act)


def _tell(counted: Mapping[str, Any], act: Act) -> None:
    found = [f"  !! {line}" for line in counted["findings"]]
    objects = counted.get("objects")
    many = "not opened" if objects is None else f"{len(objects)} objects"
    act.room.people.tell("\n".join((f"{counted.get('serial')}  {counted.get('label')!r}: {many}", *found)))


def _against(counted: Mapping[str, Any], register: Register) -> Iterator[str]:
    """What the register would have one expect of the root's token."""
    private = [each for each in counted.get("objects") or () if each.get("class") == "private-key"]
    if [each.get("key_id") for each in private] != [register.root.key_id]:
        yield f"it holds {len(private)} private keys; by the register it holds one, {register.root.key_id}"
    known = {register.root.token_serial, *(copy.token_serial for copy in register.copies)}
    if counted.get("serial") not in known:
        yield "the register knows no token of this serial number"
