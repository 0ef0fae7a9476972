"""Run an unmodified program on our loop: `python -m nursery.compat script.py [args]`, or `-m module [args]`.

Invariant: the program finds the world as `python script.py` makes it: `__main__`, sys.argv, sys.path[0], exit code, and
tracebacks that begin with its own first frame.
"""

from __future__ import annotations

import builtins
import importlib.util
import io
import os
import pkgutil
import sys
from importlib.machinery import ModuleSpec, SourceFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import Any, NoReturn

from .policy import install

USAGE = """\
usage: python -m nursery.compat script.py [args ...]
       python -m nursery.compat -m module [args ...]

Runs a program whose asyncio.run() and asyncio.new_event_loop() use nursery's event loop."""


def fail(message: str, code: int) -> NoReturn:
    """End as the interpreter does when it cannot begin."""
    print(message, file=sys.stderr)
    raise SystemExit(code)


def as_main(**names: object) -> ModuleType:
    """Make the module `__main__` of the program."""
    module = ModuleType("__main__")
    if sys.version_info < (3, 14):
        names["__annotations__"] = {}
    if sys.version_info >= (3, 15):
        del names["__cached__"]
    module.__dict__.update(names, __builtins__=builtins)
    sys.modules["__main__"] = module
    return module


def load_script(path: str) -> tuple[CodeType, ModuleType]:
    """Prepare a file, or a folder or archive that has a `__main__`."""
    importer: Any = pkgutil.get_importer(path)
    if importer is not None and hasattr(importer, "find_spec"):
        spec = importer.find_spec("__main__")
        if spec is not None and spec.loader is not None:
            put_first(path)
            return load_spec(spec)
        if os.path.isdir(path):
            fail(f"{sys.executable}: can't find '__main__' module in {path!r}", 1)
    try:
        with io.open_code(os.path.abspath(path)) as file:
            source = file.read()
    except OSError as exc:
        fail(f"{sys.executable}: can't open file {os.path.abspath(path)!r}: [Errno {exc.errno}] {exc.strerror}", 2)
    put_first(os.path.dirname(os.path.realpath(path)))
    shown = os.path.abspath(path)
    module = as_main(
        __file__=shown, __cached__=None, __spec__=None, __package__=None, __loader__=SourceFileLoader("__main__", shown)
    )
    return compile(source, shown, "exec", dont_inherit=True), module


def load_module(name: str) -> tuple[CodeType, ModuleType]:
    """Prepare a module, or the `__main__` of a package."""
    try:
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.submodule_search_locations is not None:
            package, spec = name, importlib.util.find_spec(f"{name}.__main__")
            if spec is None:
                fail(
                    f"{sys.executable}: No module named {package}.__main__; {package!r} is a package and cannot be "
                    "directly executed",
                    1,
                )
    except (ImportError, AttributeError, TypeError, ValueError) as exc:
        fail(f"{sys.executable}: Error while finding module specification for {name!r} ({exc!r})", 1)
    if spec is None or spec.loader is None:
        fail(f"{sys.executable}: No module named {name}", 1)
    code, module = load_spec(spec)
    sys.argv[0] = str(spec.origin)
    return code, module


def load_spec(spec: ModuleSpec) -> tuple[CodeType, ModuleType]:
    """Prepare what the import system has found."""
    loader: Any = spec.loader
    code = loader.get_code(spec.name)
    if code is None:
        fail(f"{sys.executable}: No code object available for {spec.name}", 1)
    module = as_main(
        __file__=spec.origin, __cached__=spec.cached, __spec__=spec, __package__=spec.parent, __loader__=loader
    )
    return code, module


def put_first(folder: str) -> None:
    """Put the program's folder where the interpreter had put that of this command."""
    if not sys.flags.safe_path:
        sys.path[0] = folder


def cut_our_frames() -> None:
    """Let an error that ends the program be shown from the program's first frame on."""
    show = sys.excepthook

    def excepthook(etype: type[BaseException], exc: BaseException, tb: TracebackType | None) -> None:
        frame = tb
        while frame is not None and frame.tb_frame.f_code is not run_code.__code__:
            frame = frame.tb_next
        cut = None if isinstance(exc, SyntaxError) else tb
        if frame is not None:
            cut = frame.tb_next
        show(etype, exc.with_traceback(cut), cut)

    sys.excepthook = excepthook


def run_code(code: CodeType, module: ModuleType) -> None:
    """Execute the program."""
    exec(code, module.__dict__)


def main() -> None:
    """Read the command line, and become the program."""
    arguments = sys.argv[1:]
    if not arguments or arguments[0] in ("-h", "--help"):
        print(USAGE)
        raise SystemExit(0 if arguments else 2)
    install()
    cut_our_frames()
    if arguments[0] == "-m":
        if len(arguments) == 1:
            fail(f"Argument expected for the -m option\n{USAGE}", 2)
        sys.argv = arguments[1:]
        code, module = load_module(arguments[1])
    elif arguments[0].startswith("-"):
        fail(f"unknown option {arguments[0]}\n{USAGE}", 2)
    else:
        sys.argv = arguments
        code, module = load_script(arguments[0])
    run_code(code, module)


if __name__ == "__main__":
    main()
