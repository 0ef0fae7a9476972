"""The interpreter's own tests of asyncio, `test.test_asyncio`, run on our loop.

    modules      which modules are run, and for how long
    loops        the loops that those tests make, exchanged for ours
    worker       the process that runs one module, and writes a line for each test
    ledger       the list of tests that are left out, `exclusions.txt`
    test_suite   the tests themselves, one a module
"""
