"""The supervised experience: every row once an epoch, a cursor that can be put back, denominators of the step."""

import json

import pytest

from vlmzoo import build_processor
from vlmzoo.errors import ConfigError, DataError, RegistryError
from vlmzoo.experience import EXPERIENCES

TASK = {"type": "consecutive_table_readout", "style": "compact", "num_rows": 2, "num_cols": 3, "path_cells": [2, 3]}
SYNTHETIC = {"type": "synthetic", "task": TASK, "kinds": {"text": 1, "image": 1}}


@pytest.fixture(scope="module")
def processor():
    return build_processor(
        {
            "family": "llava",
            "encoder": {
                "type": "clip",
                "image_size": 28,
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_layers": 2,
                "num_heads": 2,
            },
            "projector": {"type": "linear"},
            "language_model": {
                "type": "causal_lm",
                "model_type": "llama",
                "hidden_size": 32,
                "intermediate_size": 64,
                "num_hidden_layers": 1,
                "num_attention_heads": 2,
            },
            "processor": {
                "image": {"size": 28},
                "tokenizer": {"type": "byte_bpe", "corpus": [TASK], "vocab_size": 320, "num_samples": 20},
            },
        }
    )


def make(processor, source=SYNTHETIC, **options):
    given = {"processor": processor, "micro_batch_size": 2, "accumulation_steps": 2, "seed": 0}
    return EXPERIENCES.build({"type": "supervised", "source": source, **options}, **given)


def take(experience, num):
    steps = iter(experience)
    return [next(steps) for _ in range(num)]


def rows_of(steps):
    return [row for step in steps for batch in step.micro_batches for row in batch.inputs["input_ids"].tolist()]


def test_a_step_has_its_micro_batches_and_counts_all_of_its_targets(processor):
    (step,) = take(make(processor), 1)
    assert [batch.inputs["input_ids"].shape[0] for batch in step.micro_batches] == [2, 2]
    counted = sum(int((batch.inputs["labels"][:, 1:] != -100).sum()) for batch in step.micro_batches)
    assert step.denominators == {"tokens": counted, "sequences": 4.0, "micro_batches": 2.0}


def test_another_seed_draws_other_instances(processor):
    given = {"processor": processor, "micro_batch_size": 2, "accumulation_steps": 2}
    first, other = (
        EXPERIENCES.build({"type": "supervised", "source": SYNTHETIC}, seed=seed, **given) for seed in (0, 1)
    )
    assert rows_of(take(first, 1)) != rows_of(take(other, 1))


def test_rows_of_a_step_are_grouped_by_length(processor):
    (step,) = take(make(processor), 1)
    lengths = [batch.inputs["attention_mask"].sum(dim=1).tolist() for batch in step.micro_batches]
    flat = [length for batch in lengths for length in batch]
    assert flat == sorted(flat)


def test_another_takes_over_where_one_stood(processor):
    whole = take(make(processor), 4)
    first = make(processor)
    take(first, 2)
    state = json.loads(json.dumps(first.state_dict()))
    second = make(processor)
    second.load_state_dict(state)
    assert rows_of(take(second, 2)) == rows_of(whole[2:])


def test_an_epoch_visits_every_row_once_and_the_next_in_another_order(processor, tmp_path):
    records = [
        {"id": str(i), "conversations": [{"from": "human", "value": "?"}, {"from": "gpt", "value": f"{i}"}]}
        for i in range(8)
    ]
    path = tmp_path / "data.json"
    path.write_text(json.dumps(records))
    steps = take(make(processor, {"type": "llava_json", "path": str(path)}), 4)
    first, second = rows_of(steps[:2]), rows_of(steps[2:])
    assert len({tuple(row) for row in first}) == len({tuple(row) for row in second}) == 8
    assert first != second


def test_conversations_that_are_too_long_are_counted_or_refused(processor):
    lengths = sorted(len([t for t in row if t]) for row in rows_of(take(make(processor), 5)))
    limit = lengths[len(lengths) // 2]
    skipping = make(processor, max_tokens=limit, on_too_long="skip")
    assert max(batch.inputs["input_ids"].shape[1] for s in take(skipping, 5) for batch in s.micro_batches) <= limit
    assert skipping.state_dict()["num_skipped"] > 0
    with pytest.raises(DataError, match="but only 3 are allowed"):
        take(make(processor, max_tokens=3), 1)
    with pytest.raises(DataError, match="in a row were corrupt or longer"):
        take(make(processor, max_tokens=3, on_too_long="skip"), 1)


def test_misspelt_options_are_answered_before_anything_runs(processor):
    with pytest.raises(ConfigError, match="takes no `max_token`. Did you mean `max_tokens`"):
        make(processor, max_token=3)
    with pytest.raises(ConfigError, match="is given `seed` by the library"):
        EXPERIENCES.check({"type": "supervised", "source": SYNTHETIC, "seed": 1}, runtime=("processor", "seed"))
    with pytest.raises(RegistryError, match="Did you mean `synthetic`"):
        make(processor, {"type": "synthetik"})


def write_records(folder, *, num, broken=()):
    """Conversations in LLaVA's JSON, some of whose pictures are missing."""
    records = [
        {
            "id": f"row-{index}",
            **({"image": "missing.png"} if index in broken else {}),
            "conversations": [
                {"from": "human", "value": "<image>?" if index in broken else "?"},
                {"from": "gpt", "value": f"{index}"},
            ],
        }
        for index in range(num)
    ]
    path = folder / "data.json"
    path.write_text(json.dumps(records))
    return {"type": "llava_json", "path": str(path)}


def test_corrupt_rows_are_named_counted_and_passed_over(processor, tmp_path, caplog):
    source = write_records(tmp_path, num=40, broken=(3,))
    experience = make(processor, source, corrupt_limit=0.05)
    steps = take(experience, 10)
    assert sum(batch.inputs["input_ids"].shape[0] for step in steps for batch in step.micro_batches) == 40
    assert steps[-1].notes["rows_corrupt"] >= 1.0
    assert "is passed over" in caplog.text and "row-3" in caplog.text and "missing.png" in caplog.text


def test_a_run_fails_when_too_many_rows_are_corrupt(processor, tmp_path):
    source = write_records(tmp_path, num=40, broken=range(20))
    with pytest.raises(DataError, match=r"2 of \d+ rows are corrupt, more than `corrupt_limit` \(1.0%\)"):
        take(make(processor, source), 10)


def test_counts_and_cursor_come_back_with_the_state(processor, tmp_path):
    source = write_records(tmp_path, num=40, broken=(3, 11))
    whole = take(make(processor, source, corrupt_limit=0.2), 12)
    first = make(processor, source, corrupt_limit=0.2)
    take(first, 7)
    second = make(processor, source, corrupt_limit=0.2)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    rest = take(second, 5)
    assert rows_of(rest) == rows_of(whole[7:])
    assert rest[-1].notes == whole[-1].notes


@pytest.mark.parametrize("num_taken", range(1, 6))
def test_a_packed_window_goes_on_in_its_middle(processor, num_taken):
    options = {"packing": True, "max_tokens": 300, "packing_window": 10}
    whole = take(make(processor, **options), 8)
    first = make(processor, **options)
    take(first, num_taken)
    second = make(processor, **options)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert rows_of(take(second, 8 - num_taken)) == rows_of(whole[num_taken:])


def test_packing_loses_no_row_and_keeps_within_its_lines(processor):
    options = {"packing": True, "max_tokens": 300, "packing_window": 12}
    steps = take(make(processor, **options), 6)
    widths = [batch.inputs["input_ids"].shape[1] for step in steps for batch in step.micro_batches]
    assert max(widths) <= 2 * 300  # two lines, laid end to end
    assert sum(step.denominators["sequences"] for step in steps) > 2 * len(widths)


def test_packing_without_a_length_is_refused(processor):
    with pytest.raises(ConfigError, match="`packing` needs `max_tokens`"):
        make(processor, packing=True)


@pytest.mark.slow
def test_workers_prepare_the_same_rows_in_the_same_order(processor, tmp_path):
    source = write_records(tmp_path, num=40, broken=(3,))
    alone = take(make(processor, source, corrupt_limit=0.1), 6)
    helped = take(make(processor, source, corrupt_limit=0.1, num_workers=2), 6)
    assert rows_of(helped) == rows_of(alone)
    assert helped[-1].notes == alone[-1].notes


def test_rows_that_are_kept_are_encoded_once_and_change_nothing(processor):
    source = {**SYNTHETIC, "size": 6}
    plain, kept = make(processor, source=source), make(processor, source=source, keep_rows=6)
    encoded = []
    read = kept.fetcher.rows._encoded
    kept.fetcher.rows._encoded = lambda position: encoded.append(position) or read(position)
    assert rows_of(take(kept, 6)) == rows_of(take(plain, 6))
    assert sorted(encoded) == list(range(6))


def test_rows_cannot_be_kept_by_other_processes(processor):
    with pytest.raises(ConfigError, match="`keep_rows` must be zero or more, and zero with `num_workers`"):
        make(processor, keep_rows=6, num_workers=1)
