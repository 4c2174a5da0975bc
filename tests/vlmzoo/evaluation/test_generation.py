from dataclasses import replace

import pytest
import torch

from vlmzoo import build_model
from vlmzoo.errors import DataError
from vlmzoo.evaluation.generation import complete, sampling_exclusions
from vlmzoo.types import Sample, assistant, user

TABLE = {"type": "consecutive_table_readout", "style": "compact", "num_rows": 2, "num_cols": 3, "path_cells": [2, 3]}


def test_placeholders_and_special_tokens_are_never_said_but_the_end_of_sequence_may_be(processor):
    assert sampling_exclusions(processor) == [0, 2, 3]


def test_a_token_that_an_adapter_waits_for_may_be_said(processor):
    assert sampling_exclusions(processor, keep=[3]) == [0, 2]


def test_the_model_is_told_which_tokens_it_must_not_say_and_decides_greedily(make_model, processor, samples, answers):
    model = make_model(answers)
    complete(model, processor, samples[:2], max_new_tokens=8)
    assert model.seen == {"suppress_tokens": [0, 2, 3], "do_sample": False}


def test_answers_do_not_depend_on_the_batch_they_were_asked_in(make_model, processor, samples, answers):
    together = complete(make_model(answers), processor, samples, max_new_tokens=32)
    alone = [complete(make_model(answers), processor, [sample], max_new_tokens=32)[0] for sample in samples]
    assert together == alone


@pytest.fixture(scope="module")
def tiny():
    torch.manual_seed(0)
    model = build_model(
        {
            "family": "llava",
            "encoder": {"type": "clip", "image_size": 28, "hidden_size": 32, "intermediate_size": 64, "num_layers": 2},
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
                "tokenizer": {"type": "byte_bpe", "corpus": [TABLE], "vocab_size": 320, "num_samples": 20},
            },
        }
    )
    return model.eval(), model.processor


def test_a_model_goes_on_from_an_answer_that_was_begun(tiny):
    model, processor = tiny
    question = Sample(messages=[user("What is it?")], id="q")
    begun = replace(question, messages=[*question.messages, assistant("The total is\n")])
    plain, gone_on = (complete(model, processor, [sample], max_new_tokens=4)[0] for sample in (question, begun))
    added = len(processor.tokenizer("The total is\n", add_special_tokens=False)["input_ids"])
    assert gone_on.text.startswith("The total is\n") and not plain.text.startswith("The total is")
    assert gone_on.num_prompt_tokens - plain.num_prompt_tokens in (added - 1, added, added + 1)
    ids = processor.apply_chat_template(
        [list(begun.messages)], tokenize=True, return_dict=True, continue_final_message=True, return_tensors="pt"
    )["input_ids"][0]
    assert ids[-1] != processor.tokenizer.eos_token_id


def test_begun_and_open_answers_are_not_asked_together(tiny):
    model, processor = tiny
    question = Sample(messages=[user("What is it?")], id="q")
    begun = replace(question, messages=[*question.messages, assistant("It")])
    with pytest.raises(DataError, match="must all be begun, or none"):
        complete(model, processor, [question, begun], max_new_tokens=2)
