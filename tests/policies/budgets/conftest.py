import pytest
from tests.policies.budgets.redis_server import RedisServer


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    """One Redis for the tests of a module."""
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()
