"""Every registered source works from its smallest example, and travels to another process."""

import pickle

import pytest

from vlmzoo.data.checking import check_source
from vlmzoo.data.sources import SOURCES
from vlmzoo.errors import MissingExtraError

ENTRIES = list(SOURCES)


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.name for entry in ENTRIES])
def test_the_smallest_example_is_read_without_a_fault_in_any_process(entry):
    try:
        source = SOURCES.build({"type": entry.name, **entry.tiny})
    except MissingExtraError as error:
        pytest.skip(str(error))
    found = check_source(source, num=30, decode=True)
    assert not found.faults, found.first_faults
    assert found.num_rows >= 1
    carried = pickle.dumps(source)
    assert len(carried) < 20_000
    again = pickle.loads(carried)
    for position in range(found.num_rows):
        before, after = source.sample(position), again.sample(position)
        assert (after.id, after.messages, after.reference, after.meta) == (
            before.id,
            before.messages,
            before.reference,
            before.meta,
        )


def test_the_formats_are_there():
    known = {"hf_dataset", "llamafactory", "llava_json", "mixture", "swift", "synthetic", "trl", "verl", "vlmevalkit"}
    assert known <= set(SOURCES.names())
