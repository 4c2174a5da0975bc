import pytest
import torch

from vlmzoo.errors import DataError
from vlmzoo.evaluation.records import model_digest, read_generations


def test_equal_models_have_equal_digests_wherever_they_lie(make_model, processor):
    model, twin = make_model({}, seed=0), make_model({}, seed=0)
    twin.config.to_dict = lambda: {"hidden_dim": 4, "_name_or_path": "elsewhere"}
    assert model_digest(model, processor) == model_digest(twin, processor)


def test_a_training_step_changes_the_digest(make_model, processor):
    model = make_model({})
    before = model_digest(model, processor)
    with torch.no_grad():
        model.weight += 1e-6
    assert model_digest(model, processor) != before


def test_another_chat_template_changes_the_digest(make_model, processor):
    model = make_model({})
    before = model_digest(model, processor)
    processor.chat_template = "{{ other }}"
    assert model_digest(model, processor) != before


def test_a_file_of_other_rows_is_refused(tmp_path):
    path = tmp_path / "generations.jsonl"
    path.write_text('{"step": 1}\n')
    with pytest.raises(DataError, match="must hold generations"):
        read_generations(path)
