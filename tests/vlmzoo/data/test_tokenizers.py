"""The miniatures of released tokenizers: same class, same habits, nothing downloaded."""

import hashlib
import inspect
import json
import unicodedata

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, LlamaTokenizer, PreTrainedTokenizerFast, Qwen2Tokenizer
from transformers.convert_slow_tokenizer import TikTokenConverter

from tests.golden.conftest import golden_folder
from vlmzoo.data.tokenizers import IMAGE_TOKEN, TOKENIZERS
from vlmzoo.data.tokenizers.llama3_bpe import LLAMA3_PATTERN
from vlmzoo.errors import ConfigError, DataError

SMALL = {"num_samples": 5}
SPECS = {
    "llama": {"type": "llama_bpe", **SMALL},
    "llama_pad": {"type": "llama_bpe", "pad_token": "<pad>", **SMALL},
    "qwen2": {"type": "qwen2_bpe", **SMALL},
    "internvl": {"type": "qwen2_bpe", "internvl": True, **SMALL},
    "llama3": {"type": "llama3_bpe", **SMALL},
}
CLASSES = {"llama": LlamaTokenizer, "llama_pad": LlamaTokenizer, "qwen2": Qwen2Tokenizer, "internvl": Qwen2Tokenizer}
BUILT = {name: TOKENIZERS.build(spec) for name, spec in SPECS.items()}
TEXTS = (
    "What is the total of the highlighted values?",
    "  two spaces, 1234 digits, it's don't\nnew line\n\n  and\ttabs",
    "naïve café \N{SNOWMAN} 漢字 e\N{COMBINING ACUTE ACCENT}",
    "USER: <image>\nSure, [SEG]. ASSISTANT:",
    "",
)


def tokens_of(tokenizer, text, **options):
    return tokenizer.convert_ids_to_tokens(tokenizer(text, **options)["input_ids"])


@pytest.fixture(params=sorted(SPECS))
def kind(request):
    return request.param


def test_a_miniature_is_of_the_released_tokenizers_class(kind):
    assert isinstance(BUILT[kind], CLASSES.get(kind, PreTrainedTokenizerFast))


def test_equal_specs_give_equal_tokenizers_on_any_day(fresh_python):
    code = (
        "import hashlib; from vlmzoo.data.tokenizers import TOKENIZERS; "
        "dump = lambda spec: TOKENIZERS.build(spec).backend_tokenizer.to_str().encode(); "
        f"print([hashlib.sha256(dump(spec)).hexdigest() for spec in {list(SPECS.values())!r}])"
    )
    dumps = [tokenizer.backend_tokenizer.to_str().encode() for tokenizer in BUILT.values()]
    assert fresh_python(code) == str([hashlib.sha256(dump).hexdigest() for dump in dumps])


def test_pieces_are_learnt_and_stay_within_the_limit(kind):
    tokenizer = BUILT[kind]
    assert len(tokenizer) <= 512
    assert len(TOKENIZERS.build({"type": SPECS[kind]["type"], "corpus": [], **SMALL})) < len(tokenizer)
    assert sorted(tokenizer.get_vocab().values()) == list(range(len(tokenizer)))
    assert len(tokenizer(TEXTS[0])["input_ids"]) < len(TEXTS[0]) * 0.8


@pytest.mark.parametrize(
    ("kind", "model_type"),
    [
        *((kind, None) for kind in SPECS),
        *((kind, "llava") for kind in ("llama", "llama_pad")),
        *(("qwen2", model_type) for model_type in ("qwen2_vl", "qwen2_5_vl", "qwen3_vl")),
        ("internvl", "internvl"),
    ],
)
def test_a_saved_miniature_comes_back_through_auto_tokenizer(kind, model_type, tmp_path):
    tokenizer = BUILT[kind]
    tokenizer.save_pretrained(tmp_path)
    if model_type is not None:  # a model's folder: transformers looks at its configuration first
        (tmp_path / "config.json").write_text(json.dumps({"model_type": model_type}))
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert loaded.special_tokens_map == tokenizer.special_tokens_map
    assert set(loaded.all_special_tokens) == set(tokenizer.all_special_tokens)
    for text in TEXTS:
        assert loaded(text)["input_ids"] == tokenizer(text)["input_ids"]
        assert loaded(text, add_special_tokens=False) == tokenizer(text, add_special_tokens=False)
    for twin in (loaded, tokenizer):
        assert twin.decode(twin("a b")["input_ids"], skip_special_tokens=True) == "a b"


@pytest.mark.parametrize(
    ("kind", "first"), [("llama", "<s>"), ("qwen2", None), ("internvl", None), ("llama3", "<|begin_of_text|>")]
)
def test_what_stands_before_a_text(kind, first):
    tokenizer = BUILT[kind]
    tokens = tokens_of(tokenizer, "Sure")
    assert tokens[0] == first if first else tokenizer.bos_token is None
    bare = tokenizer("Sure", add_special_tokens=False)["input_ids"]
    assert tokenizer("Sure")["input_ids"] == ([tokenizer.bos_token_id, *bare] if first else bare)
    assert tokenizer("")["input_ids"] == ([tokenizer.bos_token_id] if first else [])


@pytest.mark.parametrize(("kind", "space"), [("llama", "▁"), ("qwen2", "Ġ"), ("internvl", "Ġ"), ("llama3", "Ġ")])
def test_a_space_belongs_to_the_word_behind_it(kind, space):
    tokens = tokens_of(BUILT[kind], "the total", add_special_tokens=False)
    starts = [token.startswith(space) for token in tokens]
    assert starts[0] == (kind == "llama")  # LLaMA gives the first word a space, the others do not
    assert sum(starts) == 1 + (kind == "llama")
    assert BUILT[kind].decode(BUILT[kind]("the total", add_special_tokens=False)["input_ids"]) == "the total"


@pytest.mark.parametrize("kind", ["llama", "qwen2", "llama3"])
def test_an_added_special_token_is_one_id_and_keeps_what_is_around_it(kind):
    tokenizer = TOKENIZERS.build(SPECS[kind])
    before = len(tokenizer)
    tokenizer.add_special_tokens({"extra_special_tokens": ["[SEG]"]}, replace_extra_special_tokens=False)
    assert tokenizer.convert_tokens_to_ids("[SEG]") == before == len(tokenizer) - 1
    assert tokens_of(tokenizer, "Sure, [SEG].").count("[SEG]") == 1
    space = "▁" if kind == "llama" else "Ġ"
    tokens = tokens_of(tokenizer, "it, [SEG] it", add_special_tokens=False)
    place = tokens.index("[SEG]")
    assert tokens[place - 1] == space  # the space before it stays, as a piece of its own
    assert tokens[place + 1].startswith(space)
    glued = tokens_of(tokenizer, "it,[SEG].", add_special_tokens=False)
    assert glued[glued.index("[SEG]") - 1] == ","
    assert glued[glued.index("[SEG]") + 1] == "."  # no space is put behind a special token
    assert IMAGE_TOKEN in tokenizer.all_special_tokens or kind == "qwen2"


def test_llama_has_the_habits_of_a_real_sentencepiece_model():
    folder = golden_folder("fast") / "g_tokens"
    real = AutoTokenizer.from_pretrained(folder, legacy=False, add_bos_token=True)  # LLaVA-1.5 sets legacy: false
    assert type(real) is LlamaTokenizer
    twins = real, TOKENIZERS.build(SPECS["llama"] | {"image_token": None})
    for twin in twins:
        twin.add_special_tokens({"extra_special_tokens": ["[SEG]"]}, replace_extra_special_tokens=False)
    for ids in range(3 + 256):  # unknown, begin, end, then the bytes
        assert twins[0].convert_ids_to_tokens(ids) == twins[1].convert_ids_to_tokens(ids)
    for text in ("Sure, [SEG].", "Sure,[SEG] it is", "[SEG]", " two  spaces", "5 12", "\n\n", "a\tb", "漢", "", " "):
        first, second = (spelling(twin, text) for twin in twins)
        assert first == second, text


def spelling(tokenizer, text):
    """What tokens say of each character, however long the pieces are: two tokenizers of equal habits agree."""
    flat = []
    for token in tokens_of(tokenizer, text):
        is_whole = token in tokenizer.all_special_tokens or (token.startswith("<0x") and len(token) == 6)
        flat += [token] if is_whole else list(token)
    return flat


def test_digits_stand_alone_or_in_threes():
    assert "".join(tokens_of(BUILT["llama"], "1234", add_special_tokens=False)) == "▁1234"
    for kind in ("llama", "qwen2"):
        tokens = tokens_of(BUILT[kind], "90 1234", add_special_tokens=False)
        assert all(len(token.lstrip("▁Ġ")) <= 1 for token in tokens)
    corpus = [{"type": "consecutive_table_readout", "style": "compact"}]
    wide = TOKENIZERS.build({"type": "llama3_bpe", "corpus": corpus, "vocab_size": 600, **SMALL})
    splits = wide.backend_tokenizer.pre_tokenizer.pre_tokenize_str("x 123456789 1234")
    assert [piece for piece, _ in splits] == ["x", "Ġ", "123", "456", "789", "Ġ", "123", "4"]
    assert inspect.signature(TikTokenConverter.__init__).parameters["pattern"].default == LLAMA3_PATTERN


@settings(max_examples=50)
@example(" ")
@example("  a")
@given(st.text(max_size=40))
def test_every_text_can_be_encoded_and_comes_back(text):
    # Llama puts a space before a text unless one is there, and takes one away again when it decodes
    expected = {"llama": text.removeprefix(" "), "qwen2": unicodedata.normalize("NFC", text), "llama3": text}
    for kind, whole in expected.items():
        tokenizer = BUILT[kind]
        if any(token in text for token in tokenizer.all_special_tokens):
            continue
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids or tokenizer.unk_token is None
        decoded = tokenizer.decode(ids)
        assert decoded == (whole.encode("utf-8", "surrogatepass").decode("utf-8", "replace"))


def test_qwen_composes_letters_and_llama_does_not():
    split = "e\N{COMBINING ACUTE ACCENT}"
    assert BUILT["qwen2"](split)["input_ids"] == BUILT["qwen2"]("é")["input_ids"]
    assert BUILT["llama"](split)["input_ids"] != BUILT["llama"]("é")["input_ids"]


def test_qwens_special_tokens_stand_behind_the_pieces_in_the_released_order():
    tokenizer = BUILT["qwen2"]
    first = tokenizer.convert_tokens_to_ids("<|endoftext|>")
    assert first == tokenizer.vocab_size
    released = {"<|im_start|>": 1, "<|im_end|>": 2, "<|vision_start|>": 9, "<|vision_end|>": 10, "<|image_pad|>": 12}
    for token, offset in (released | {"<|video_pad|>": 13}).items():  # 151643 + offset in Qwen2-VL
        assert tokenizer.convert_tokens_to_ids(token) == first + offset
        assert token in tokenizer.all_special_tokens
    assert (tokenizer.eos_token, tokenizer.pad_token, tokenizer.bos_token) == ("<|im_end|>", "<|endoftext|>", None)


def test_internvl_adds_its_tokens_behind_qwens_and_names_them():
    plain, tokenizer = BUILT["qwen2"], BUILT["internvl"]
    for token in ("<img>", "</img>", "<IMG_CONTEXT>", "<box>", "<video>"):
        assert tokenizer.convert_tokens_to_ids(token) > tokenizer.convert_tokens_to_ids("<|video_pad|>")
        assert token in tokenizer.all_special_tokens
        assert token not in plain.get_vocab()
    assert (tokenizer.start_image_token, tokenizer.end_image_token) == ("<img>", "</img>")
    assert tokenizer.context_image_token_id == tokenizer.convert_tokens_to_ids("<IMG_CONTEXT>")


@pytest.mark.parametrize("kind", ["llama", "qwen2", "llama3"])
def test_the_image_placeholder_is_there_for_composed_models(kind):
    has_it = IMAGE_TOKEN in BUILT[kind].all_special_tokens
    assert has_it == (kind != "qwen2")
    asked = TOKENIZERS.build(SPECS[kind] | {"image_token": IMAGE_TOKEN})
    assert tokens_of(asked, "a<image><image>b").count(IMAGE_TOKEN) == 2
    assert IMAGE_TOKEN not in TOKENIZERS.build(SPECS[kind] | {"image_token": None}).get_vocab()


def test_padding_is_what_the_spec_says():
    assert (BUILT["llama"].pad_token, BUILT["llama"].pad_token_id) == ("<unk>", 0)
    assert BUILT["llama_pad"].pad_token == "<pad>"
    assert BUILT["llama_pad"].pad_token_id > 258


@pytest.mark.parametrize("name", ["llama_bpe", "qwen2_bpe", "llama3_bpe"])
def test_too_small_a_vocabulary_is_refused(name):
    with pytest.raises(ConfigError, match=r"must leave room for \d+ single pieces beside the special tokens, but"):
        TOKENIZERS.build({"type": name, "vocab_size": 200})


def test_a_folder_is_read_as_a_repository_is(tmp_path):
    BUILT["qwen2"].save_pretrained(tmp_path)
    spec = {"type": "pretrained", "repo": str(tmp_path)}
    native = TOKENIZERS.build(spec | {"image_token": None})
    assert native.get_vocab() == BUILT["qwen2"].get_vocab()
    composed = TOKENIZERS.build(spec)
    assert composed.convert_tokens_to_ids(IMAGE_TOKEN) == len(native)
    assert set(composed.all_special_tokens) == {*native.all_special_tokens, IMAGE_TOKEN}
    with pytest.raises(DataError, match="cannot be loaded"):
        TOKENIZERS.build({"type": "pretrained", "repo": str(tmp_path / "nowhere")})
