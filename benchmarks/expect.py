"""A figure counts only if the work was done: every workload checks its own result."""


class WrongResult(Exception):
    """A system did not do the work it was timed for."""


def expect(what: str, actual: object, wanted: object) -> None:
    """Raise `WrongResult` unless the two are equal. (Not `assert`, which `-O` removes.)"""
    if actual != wanted:
        raise WrongResult(f"{what}: got {actual!r}, wanted {wanted!r}")
