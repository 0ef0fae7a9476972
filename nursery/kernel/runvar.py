"""Variables whose scope is one run.

Invariant: a value lives exactly as long as the run in which it was set.
"""

from __future__ import annotations

from typing import Any, Final, Generic, TypeVar, final

from .current import current_runner

T = TypeVar("T")


class _NoValue:
    def __repr__(self) -> str:
        return "<no value>"


_NO_VALUE: Final = _NoValue()


@final
class RunVarToken(Generic[T]):
    """What `RunVar.set` returns and `RunVar.reset` takes; made by them alone."""

    __slots__ = ("_var", "previous_value", "redeemed")
    _var: RunVar[T]
    previous_value: T | _NoValue
    redeemed: bool

    def __init__(self, *args: object) -> None:
        raise TypeError("RunVarToken has no public constructor: RunVar.set returns one")

    @classmethod
    def _create(cls, var: RunVar[T], previous: T | _NoValue) -> RunVarToken[T]:
        self = cls.__new__(cls)
        self._var = var
        self.previous_value = previous
        self.redeemed = False
        return self


@final
class RunVar(Generic[T]):
    """A variable with one value a run, as a context variable has one a context.

    Source: trio's documentation, `trio.lowlevel.RunVar`.
    """

    __slots__ = ("__weakref__", "_default", "_name")

    def __init__(self, name: str, default: T | _NoValue = _NO_VALUE) -> None:
        self._name = name
        self._default = default

    def get(self, default: T | _NoValue = _NO_VALUE) -> T:
        """Return the value in this run, or `default`, or the variable's own default; LookupError if there is none."""
        values: dict[Any, Any] = current_runner().locals
        try:
            return values[self]  # type: ignore[no-any-return]  # a heterogeneous dict; set() stores a T
        except KeyError:
            pass
        for candidate in (default, self._default):
            if not isinstance(candidate, _NoValue):
                return candidate
        raise LookupError(self)

    def set(self, value: T) -> RunVarToken[T]:
        """Set the value in this run, and return a token that can put the old one back."""
        values: dict[Any, Any] = current_runner().locals
        token: RunVarToken[T] = RunVarToken._create(self, values.get(self, _NO_VALUE))
        values[self] = value
        return token

    def reset(self, token: RunVarToken[T]) -> None:
        """Put back the value from before the `set` that returned `token`; once.

        Raises ValueError for a token of another variable or one that was used, TypeError without a token.
        """
        if not isinstance(token, RunVarToken):
            raise TypeError(f"reset() takes the token that set() returned, not {token!r}")
        if token._var is not self:
            raise ValueError("token is not for us: it was returned by another RunVar")
        if token.redeemed:
            raise ValueError("token has already been used")
        values: dict[Any, Any] = current_runner().locals
        if isinstance(token.previous_value, _NoValue):
            values.pop(self, None)
        else:
            values[self] = token.previous_value
        token.redeemed = True

    def __repr__(self) -> str:
        return f"<RunVar name={self._name!r}>"
