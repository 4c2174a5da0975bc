"""What the chat templates of released models say; no answer is masked away, whatever a tokenizer puts around it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tokenizers import processors

from vlmzoo.data.assembly import make_processor
from vlmzoo.data.prompts import load_prompts
from vlmzoo.data.tokenizers import IMAGE_TOKEN, TOKENIZERS
from vlmzoo.errors import DataError
from vlmzoo.types import Sample, assistant, user

IMAGE = {"image": {"aspect": "pad", "size": 28}}
PICTURE = Image.new("RGB", (8, 6))
ENDS = {
    "llava_plain": "\n",
    "vicuna_v1": None,  # the tokenizer's own end of sequence
    "llava_llama_3": "<|eot_id|>",
    "llama3": "<|eot_id|>",
    "yi_34b_chatml_direct": "<|im_end|>",
}
SPECS = {
    "byte_bpe": {"type": "byte_bpe", "corpus": [], "vocab_size": 300},
    "llama": {"type": "llama_bpe", "corpus": [], "vocab_size": 400},
    "llama3": {"type": "llama3_bpe", "corpus": [], "vocab_size": 300},
    "qwen2": {"type": "qwen2_bpe", "corpus": [], "image_token": IMAGE_TOKEN},
}
HABITS = ("its own", "begins", "ends", "neither")


def make_tokenizer(kind, habit):
    """A tokenizer that puts special tokens of its own around what it is given, or none."""
    tokenizer = TOKENIZERS.build(SPECS[kind])
    bos, eos = tokenizer.bos_token or tokenizer.eos_token, tokenizer.eos_token
    forms = {"begins": f"{bos} $A", "ends": f"$A {eos}", "neither": "$A"}
    if habit in forms:
        ids = [(token, tokenizer.convert_tokens_to_ids(token)) for token in {bos, eos}]
        tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
            single=forms[habit], special_tokens=ids
        )
    return tokenizer


PROCESSORS = {
    (kind, habit, name): make_processor(
        {**IMAGE, "tokenizer": {}, "chat_template": name}, tokenizer=tokenizer, num_image_tokens=2
    )
    for kind in SPECS
    for habit in HABITS
    for tokenizer in [make_tokenizer(kind, habit)]
    for name in ENDS
}


def targets_of(encoded):
    """The runs of neighbouring targets: one for each answer."""
    runs, was_target = [], False
    for id, label in zip(encoded["input_ids"], encoded["labels"], strict=True):
        is_target = label != -100
        assert label in (-100, id)
        if is_target:
            runs = runs if was_target else [*runs, []]
            runs[-1].append(id)
        was_target = is_target
    return runs


@st.composite
def conversations(draw, num_turns=3):
    texts = draw(st.lists(st.tuples(st.text(max_size=12), st.text(max_size=12)), min_size=1, max_size=num_turns))
    has_image = draw(st.booleans())
    turns = [
        (user(asked, num_images=number == 0 and has_image), answer) for number, (asked, answer) in enumerate(texts)
    ]
    messages = [message for question, answer in turns for message in (question, assistant(answer))]
    return Sample(messages=messages, images=[PICTURE] * has_image, id="s")


@pytest.mark.parametrize("name", sorted(set(ENDS) - {"llava_plain"}))
@settings(max_examples=15)
@given(sample=conversations())
def test_every_answer_and_its_end_are_learned_whatever_the_tokenizer_puts_around_a_text(name, sample):
    answers = [message["content"][0]["text"] for message in sample.messages[1::2]]
    for (kind, _habit, template), processor in PROCESSORS.items():
        if template != name:
            continue
        tokenizer = processor.tokenizer
        runs = targets_of(processor.encode(sample))
        assert len(runs) == len(answers)
        end = ENDS[name] or tokenizer.eos_token
        for ids, answer in zip(runs, answers, strict=True):
            said = tokenizer.decode(ids)
            assert said.endswith(end)
            if kind in ("byte_bpe", "llama3"):  # the others normalise
                wanted = tokenizer.decode(tokenizer(processor.escape(answer), add_special_tokens=False)["input_ids"])
                assert said.removesuffix(end).strip() == wanted.strip()


@settings(max_examples=15)
@given(caption=st.text(max_size=20))
def test_a_caption_is_learned_whatever_the_tokenizer_puts_around_it(caption):
    sample = Sample(messages=[user("Describe it.", num_images=1), assistant(caption)], images=[PICTURE], id="s")
    for (kind, habit, template), processor in PROCESSORS.items():
        if template != "llava_plain":
            continue
        encoded = processor.encode(sample)
        (run,) = targets_of(encoded)
        assert encoded["input_ids"].count(processor.image_token_id) == 2
        said = processor.tokenizer.decode(run)
        assert said.endswith("\n")
        begins = habit == "begins" or (habit == "its own" and kind in ("llama", "llama3"))
        assert encoded["labels"][: 2 + begins] == [-100] * (2 + begins)  # nothing of the question is there
        assert encoded["labels"][2 + begins] != -100


@pytest.mark.parametrize(
    ("kind", "name"),
    [("llama", "vicuna_v1"), ("llama3", "vicuna_v1"), ("llama3", "llava_llama_3"), ("llama3", "llama3")],
)
@pytest.mark.parametrize("habit", HABITS)
def test_a_text_begins_once(kind, habit, name):
    processor = PROCESSORS[kind, habit, name]
    bos = processor.tokenizer.bos_token_id
    ids = processor.encode(Sample(messages=[user("a"), assistant("b")], id="s"))["input_ids"]
    assert ids[0] == bos
    assert ids.count(bos) == 1
    prompt = processor.apply_chat_template([user("a")], add_generation_prompt=True, tokenize=True, return_dict=True)
    assert list(prompt["input_ids"][0]) == ids[: len(prompt["input_ids"][0])]


def render(name, *messages, **options):
    tokenizer = make_tokenizer("llama3", "its own")
    spec = {**IMAGE, "tokenizer": {}, "chat_template": name}
    return make_processor(spec, tokenizer=tokenizer, num_image_tokens=1).apply_chat_template(list(messages), **options)


def test_the_prompt_of_eagle_x4_8b_plus_has_two_line_breaks_after_its_headers():
    system = "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
    system += "detailed, and polite answers to the user's questions."
    assert render("llama3", user("Why?", num_images=1), assistant("So."), user("And?"), add_generation_prompt=True) == (
        f"<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n{system}<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\n<image>\nWhy?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\nSo.<|eot_id|>"
        "<|start_header_id|>user<|end_header_id|>\n\nAnd?<|eot_id|>"
        "<|start_header_id|>assistant<|end_header_id|>\n\n"
    )


def test_the_prompt_of_eagle_x5_34b_has_no_line_break_between_turns():
    assert render("yi_34b_chatml_direct", user("Why?", num_images=1), assistant("So."), add_generation_prompt=True) == (
        "<|im_start|>system\nAnswer the questions.<|im_end|><|im_start|>user\n<image>\nWhy?<|im_end|>"
        "<|im_start|>assistant\nSo.<|im_end|><|im_start|>assistant\n"
    )


def test_a_caption_follows_its_image_and_the_question_is_dropped():
    assert render("llava_plain", user("Describe it.", num_images=1), assistant("A dog.")) == "<image>A dog.\n"


@pytest.mark.parametrize("name", ["vicuna_v1", "llava_llama_3", "llama3", "yi_34b_chatml_direct"])
def test_the_image_moves_to_the_front_and_only_its_turn_is_stripped(name):
    behind = {"role": "user", "content": [{"type": "text", "text": " Why? "}, {"type": "image"}]}
    assert "<image>\nWhy?" in render(name, behind) and "<image>\nWhy? \n" not in render(name, behind)
    assert " Why? " in render(name, user(" Why? "))
    alone = render(name, {"role": "user", "content": [{"type": "image"}]})
    assert "<image>" in alone and "<image>\n" not in alone


@pytest.mark.parametrize("name", ["vicuna_v1", "llava_llama_3", "llama3", "yi_34b_chatml_direct"])
def test_a_system_turn_takes_the_place_of_the_built_in_one(name):
    said = render(name, {"role": "system", "content": "Be brief."}, user("Why?"))
    assert said.count("Be brief.") == 1
    assert "assistant" not in said.replace("Be brief.", "").lower()


def test_a_question_without_an_image_is_not_dropped_in_silence():
    sample = Sample(messages=[user("Why?"), assistant("So.")], id="row-3")
    with pytest.raises(DataError, match="refuses sample `row-3`: a question without an image would be dropped"):
        PROCESSORS["llama", "its own", "llava_plain"].encode(sample)


def test_what_the_assistant_says_must_have_something_before_it():
    sample = Sample(messages=[assistant("")], id="s")
    with pytest.raises(DataError, match="holds nothing that the assistant says"):
        PROCESSORS["byte_bpe", "neither", "llava_plain"].encode(sample)


def test_every_template_names_its_source_and_licence():
    for template in load_prompts("chat_templates").values():
        assert template["source"] and template["licence"] and "{% generation %}" in template["template"]
