"""The servers of the integration tests, for the tests that only some versions can have."""

from integration.conftest import db, elastic, index, outboxd, postgres, pytest_runtest_call  # noqa: F401
