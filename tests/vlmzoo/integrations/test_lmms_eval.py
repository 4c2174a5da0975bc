"""Requests as lmms-eval makes them, asked of tiny models; lmms-eval's own run stands in ``tests/interop``."""

import logging
import sys
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from tests.vlmzoo.adapters.bases import make_base, make_picture
from vlmzoo.errors import CheckpointError, ConfigError, DataError, MissingExtraError
from vlmzoo.evaluation import complete
from vlmzoo.integrations import lmms_eval
from vlmzoo.integrations._asking import Decoding
from vlmzoo.integrations._lmms_requests import Reading, blocks_of, decoding_of
from vlmzoo.integrations.lmms_eval import ChatRequests, SimpleRequests
from vlmzoo.models.option_scoring import option_losses
from vlmzoo.types import Sample, user

DOCUMENTS = [{"question": f"What is {number}?", "images": [make_picture(number)]} for number in range(5)]
GREEDY = {"max_new_tokens": 6, "temperature": 0, "top_p": 1.0, "num_beams": 1, "do_sample": False, "until": ["\n\n"]}


@pytest.fixture(scope="module")
def base():
    return make_base("llava-llama").eval()


@pytest.fixture
def results(monkeypatch):
    """Stand-ins for the two classes in which lmms-eval takes answers."""
    counts = lambda **given: SimpleNamespace(**given)  # noqa: E731
    module = SimpleNamespace(GenerationResult=counts, TokenCounts=counts)
    monkeypatch.setitem(sys.modules, "lmms_eval.api.instance", module)


def make_asker(kind, base, **options):
    asker = kind(loaded=(base, base.processor), **options)
    asker.task_dict = {"mine": {"test": DOCUMENTS}}
    return asker


def simple(number, options=GREEDY, text=None):
    document = DOCUMENTS[number]
    args = (text or document["question"], options, lambda d: d["images"], number, "mine", "test")
    return SimpleNamespace(args=args)


def chat(number, options=GREEDY):
    def messages(document):
        text = {"type": "text", "text": document["question"]}
        return [{"role": "user", "content": [{"type": "image", "url": document["images"][0]}, text]}]

    return SimpleNamespace(args=("", messages, options, number, "mine", "test"))


def sample_of(number):
    document = DOCUMENTS[number]
    return Sample(messages=[user(document["question"], num_images=1)], images=document["images"], id=str(number))


@pytest.mark.parametrize("name", ["llava-llama", "qwen2.5-vl"])
def test_both_kinds_of_request_get_the_answers_of_our_own_evaluation(name, results):
    base = make_base(name).eval()
    expected = [
        said.text for said in complete(base, base.processor, [sample_of(n) for n in range(4)], max_new_tokens=6)
    ]
    for kind, request in ((SimpleRequests, simple), (ChatRequests, chat)):
        said = make_asker(kind, base, batch_size=4).generate_until([request(number) for number in range(4)])
        assert [one.text for one in said] == expected
        assert all(one.token_counts.output_tokens <= 6 < one.token_counts.input_tokens for one in said)


def test_requests_that_are_decoded_otherwise_keep_their_places(base, results):
    short = {**GREEDY, "max_new_tokens": 1}
    mixed = make_asker(SimpleRequests, base, batch_size=2).generate_until(
        [simple(0), simple(1, short), simple(2), simple(3, short), simple(4)]
    )
    assert [one.token_counts.output_tokens == 1 for one in mixed][1::2] == [True, True]
    alone = make_asker(SimpleRequests, base).generate_until([simple(2)])
    assert mixed[2].text == alone[0].text


def test_likelihoods_are_the_losses_of_the_options_and_the_greedy_answer_is_known(base, results):
    asker = make_asker(SimpleRequests, base)
    options = ["yes", "no way"]
    args = [("What is 1?", text, lambda d: d["images"], 1, "mine", "test") for text in options]
    args.append(("What is 2?", lambda d: d["question"], lambda d: d["images"], 2, "mine", "test"))
    told = asker.loglikelihood([SimpleNamespace(args=one) for one in args])
    losses = [*option_losses(base, sample_of(1), options).tolist()]
    losses += option_losses(base, sample_of(2), ["What is 2?"]).tolist()
    pairs = [one.text for one in told]  # lmms-eval makes a text of a bare pair
    assert [nats for nats, _ in pairs] == pytest.approx(losses)
    assert [is_greedy for _, is_greedy in pairs] == [False, False, False]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, {}),
        (GREEDY, {"max_new_tokens": 6}),
        ({"until": ["\n\n", "ASSISTANT:"]}, {"stop": ("ASSISTANT:",)}),
        ({"until": "END"}, {"stop": ("END",)}),
        ({"temperature": 0.2, "do_sample": False}, {}),
        ({"temperature": 0.2, "top_p": 0.8}, {"temperature": 0.2, "top_p": 0.8}),
        ({"do_sample": True, "top_k": 3}, {"temperature": 1.0, "top_k": 3}),
        ({"image_aspect_ratio": "pad", "temperature": None, "top_p": 0}, {"top_p": 0}),
        ({"num_beams": 2, "repetition_penalty": 1.1}, {"num_beams": 2, "repetition_penalty": 1.1}),
    ],
)
def test_a_task_says_how_to_decode(options, expected):
    assert decoding_of(options, max_new_tokens=9) == Decoding(**{"max_new_tokens": 9, **expected})


def test_a_blank_line_ends_an_answer_where_it_is_asked_for():
    assert decoding_of({"until": ["\n\n"]}, max_new_tokens=9, stop_at_blank_line=True).stop == ("\n\n",)


def test_nothing_is_left_to_the_settings_of_the_model():
    assert Decoding(max_new_tokens=1).arguments() == {"max_new_tokens": 1, "do_sample": False, "num_beams": 1}
    drawn = Decoding(max_new_tokens=1, temperature=0.5).arguments()
    assert drawn == {
        "max_new_tokens": 1, "do_sample": True, "num_beams": 1, "temperature": 0.5, "top_p": 1.0, "top_k": 0
    }  # fmt: skip


def test_what_a_task_says_without_effect_is_refused():
    with pytest.raises(ConfigError, match="`generation_kwargs` has `stop_sequences`, which would have no effect"):
        decoding_of({"stop_sequences": ["x"]}, max_new_tokens=1)
    for options, name in (({"max_new_tokens": 0}, "max_new_tokens"), ({"num_beams": 0}, "num_beams"),
                          ({"temperature": -1}, "temperature"), ({"temperature": 1, "top_p": 2}, "top_p"),
                          ({"top_k": -1}, "top_k")):  # fmt: skip
        with pytest.raises(ConfigError, match=f"`{name}` must be"):
            decoding_of(options, max_new_tokens=1)


def test_an_answer_ends_before_the_first_stop_text(base, results):
    asker = make_asker(SimpleRequests, base, stop_at_blank_line=True)
    (whole,) = asker.generate_until([simple(0, {**GREEDY, "until": None})])
    stop = whole.text[2:4]
    (cut,) = asker.generate_until([simple(0, {**GREEDY, "until": ["never said", stop]})])
    assert stop and cut.text == whole.text[: whole.text.index(stop)]


def test_pictures_stand_at_their_marks_or_before_the_text(caplog):
    picture = Image.new("RGB", (2, 2))
    told = blocks_of("a <image> b <image>", [picture, "x.png"], id="q")
    assert [block["type"] for block in told] == ["text", "image", "text", "image"]
    assert [block["type"] for block in blocks_of("a", [picture], id="q")] == ["image", "text"]
    assert blocks_of("only words", None, id="q") == [{"type": "text", "text": "only words"}]
    with caplog.at_level(logging.WARNING):
        told = blocks_of("<image> and <image>", [picture], id="q")
    assert [block["type"] for block in told] == ["image", "text"] and "2 marks" in caplog.text


def test_paths_are_pictures_or_videos_by_their_names():
    kinds = [blocks_of("?", [visual], id="q")[0] for visual in ("a.JPG", "a.mp4", {"type": "image", "path": "b"})]
    assert [(block["type"], block["url"]) for block in kinds] == [
        ("image", "a.JPG"),
        ("video", "a.mp4"),
        ("image", "b"),
    ]
    with pytest.raises(DataError, match="must be a picture, a path or a mapping, but is 3"):
        blocks_of("?", [3], id="q")


def test_a_video_becomes_pictures_in_its_place(monkeypatch):
    frames = torch.arange(3, dtype=torch.uint8)[:, None, None, None].expand(3, 4, 4, 3).numpy()
    reader = SimpleNamespace(read_video=lambda path, num_frm: frames[:num_frm])
    monkeypatch.setitem(sys.modules, "lmms_eval.models.model_utils.load_video", reader)
    blocks = [{"type": "text", "text": "a"}, {"type": "video", "url": "v.mp4"}, {"type": "text", "text": "b"}]
    sample = Reading(num_frames=2, system="Be brief.").sample(blocks, id="q")
    assert [block["type"] for block in sample.messages[1]["content"]] == ["text", "image", "image", "text"]
    assert [picture.getpixel((0, 0)) for picture in sample.images] == [(0, 0, 0), (1, 1, 1)]
    assert sample.messages[0]["content"][0]["text"] == "Be brief."
    reader.read_video = lambda path, num_frm: open(path)  # noqa: PTH123, SIM115
    with pytest.raises(DataError, match="video `v.mp4` of question `q` cannot be read"):
        Reading().sample(blocks, id="q")
    with pytest.raises(DataError, match="has `audio`, too"):
        Reading().sample([{"type": "audio", "url": "a.wav"}], id="q")


def test_bad_arguments_are_told(base, tmp_path):
    with pytest.raises(ConfigError, match="`batch_size` must be a number of at least 1, but is 'auto'"):
        SimpleRequests(loaded=(base, base.processor), batch_size="auto")
    with pytest.raises(ConfigError, match="`max_batch_size` must be left out"):
        SimpleRequests(loaded=(base, base.processor), max_batch_size=8)
    with pytest.raises(ConfigError, match="Give one of `pretrained`"):
        SimpleRequests()
    with pytest.raises(ConfigError, match="`revision` must go with `pretrained`"):
        SimpleRequests(name="llava-1.5-7b", revision="main")
    with pytest.raises(CheckpointError, match="holds no config.json"):
        SimpleRequests(pretrained=str(tmp_path))
    with pytest.raises(ConfigError, match="Tasks of several rounds"):
        make_asker(SimpleRequests, base).generate_until_multi_round([simple(0)])


def test_without_lmms_eval_the_module_loads_and_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "lmms_eval.models.registry_v2", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'vlmzoo\[eval\]'"):
        lmms_eval.manifest()
    monkeypatch.setitem(sys.modules, "lmms_eval.models.model_utils.load_video", None)
    with pytest.raises(MissingExtraError):
        Reading().sample([{"type": "video", "url": "v.mp4"}], id="q")
    with pytest.raises(AttributeError, match="no attribute `Nothing`"):
        lmms_eval.Nothing  # noqa: B018
