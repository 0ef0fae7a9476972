"""The programs that are timed, one subject a file; `benchmarks.catalogue` names them."""
