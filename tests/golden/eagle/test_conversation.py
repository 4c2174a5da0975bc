"""The conversation that Eagle-X2-Llama3-8B was trained with: its text, its ids and what of them is learned."""

import re

import pytest
from PIL import Image
from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

from vlmzoo.data.assembly import make_processor
from vlmzoo.data.sources._turns import compose
from vlmzoo.data.sources.llava_json import LlavaRule
from vlmzoo.types import Sample

GOLDEN = ("eagle", "conversation_llama3*.json")
SPECIAL = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")  # ids 1, 2, 3, 4
PLACEHOLDER = -200
PIXELS = {"image": {"aspect": "pad", "size": 28}, "chat_template": "llava_llama_3"}


def toy_id(token):
    return 10 + sum(ord(letter) * place for place, letter in enumerate(token, start=1)) % 5000


def toy_tokenizer(text, *, adds_bos):
    """The tokenizer that the file describes, which knows the tokens of one text."""
    pieces = re.split("|".join(map(re.escape, (*SPECIAL, "<image>"))), text)
    words = {word for piece in pieces for word in re.findall(r"\s+|\S+", piece)}
    vocabulary = {word: toy_id(word) for word in words} | {token: id for id, token in enumerate(SPECIAL, start=1)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary | {"<image>": 9999}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"\s+"), behavior="isolated")
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in (*SPECIAL, "<image>")])
    if adds_bos:  # as today's tokenizer of Llama 3 does
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{SPECIAL[0]} $A", special_tokens=[(SPECIAL[0], 1)]
        )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=SPECIAL[0], eos_token=SPECIAL[3], extra_special_tokens=["<image>"]
    )


def conversation_of(case):
    """The case as our reader of LLaVA's rows gives it."""
    num_images = sum(turn["value"].count("<image>") for turn in case["conversation"] if turn["from"] == "human")
    row = {"conversations": case["conversation"], "image": [Image.new("RGB", (8, 6))] * num_images}
    messages, images = compose(LlavaRule()(row if num_images else {"conversations": case["conversation"]}))
    return Sample(messages=messages, images=images, id="golden")


def processor_for(case, *, adds_bos=False):
    tokenizer = toy_tokenizer(case["prompt_full_with_trailing_header"], adds_bos=adds_bos)
    return make_processor(PIXELS | {"tokenizer": {}}, tokenizer=tokenizer, num_image_tokens=1)


def test_the_text_is_the_authors_own(golden):
    case = golden.content
    render = processor_for(case).apply_chat_template
    messages = list(conversation_of(case).messages)
    assert render(messages) == case["prompt_trained"]
    assert render(messages, add_generation_prompt=True) == case["prompt_full_with_trailing_header"]
    assert render(messages[:1], add_generation_prompt=True) == case["generation_prompt"]


@pytest.mark.parametrize("adds_bos", [False, True])
def test_ids_and_targets_are_the_authors_own_whatever_the_tokenizer_puts_first(golden, adds_bos):
    case = golden.content
    processor = processor_for(case, adds_bos=adds_bos)
    encoded = processor.encode(conversation_of(case))
    ids = [PLACEHOLDER if id == processor.image_token_id else id for id in encoded["input_ids"]]
    assert ids == case["toy_input_ids"]
    assert encoded["labels"] == case["toy_labels"]
