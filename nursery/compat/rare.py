"""Slots that are left unset as long as they have the value that nearly every object of the class has.

Invariant: reading such a slot gives its usual value until it is set.  To store 30 usual values would cost a task a
fifth of its birth; to read one that is unset costs 400 ns, so hot paths have no use for it.
"""

from __future__ import annotations

from types import MemberDescriptorType


def leave_unset(cls: type, **usual: object) -> None:
    """Let the named slots of a class read as these values until they are set."""
    for name, value in usual.items():
        member = cls.__dict__[name]
        assert isinstance(member, MemberDescriptorType)
        setattr(cls, name, _rarely_set(cls, f"slot{name}", member, value))


def _rarely_set(cls: type, slot: str, member: MemberDescriptorType, usual: object) -> property:
    # Under a second name, since `getattr` with a default handles the unset slot in C: catching the error costs as much
    # again.
    setattr(cls, slot, member)
    return property(lambda instance: getattr(instance, slot, usual), member.__set__)
