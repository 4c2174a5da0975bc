import pytest

from tests.vlmzoo.adapters import bases, probe  # noqa: F401  (registers them)


@pytest.fixture(params=bases.BASES)
def base_name(request):
    return request.param
