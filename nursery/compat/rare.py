"""Slots that are left unset as long as they have the value that nearly every object of the class has.

Invariant: reading such a slot gives its usual value until it is set.  To store 30 usual values would cost a task a
fifth of its birth.
"""

from __future__ import annotations

from types import MemberDescriptorType
from typing import Any


class RarelySet:
    """A slot's descriptor that knows what the slot holds if it was never set."""

    __slots__ = ("_member", "_usual")

    def __init__(self, member: MemberDescriptorType, usual: object) -> None:
        self._member = member
        self._usual = usual

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            return self
        try:
            return self._member.__get__(instance, owner)
        except AttributeError:
            return self._usual

    def __set__(self, instance: object, value: object) -> None:
        self._member.__set__(instance, value)


def leave_unset(cls: type, **usual: object) -> None:
    """Let the named slots of a class read as these values until they are set."""
    for name, value in usual.items():
        member = cls.__dict__[name]
        assert isinstance(member, MemberDescriptorType)
        setattr(cls, name, RarelySet(member, value))
