import pytest
from PIL import Image

from tests.vlmzoo.adapters.bases import make_base, make_picture
from vlmzoo.errors import ConfigError, DataError
from vlmzoo.models.comparing import choice_logprobs, yes_no_log_odds
from vlmzoo.types import Sample, user


@pytest.fixture(scope="module", params=["llava-llama", "qwen2.5-vl"])
def model(request):
    return make_base(request.param).eval()


def say(model, monkeypatch, text):
    monkeypatch.setattr("vlmzoo.models.comparing.answer_samples", lambda *args, **kwargs: [text])


def test_a_comparison_tells_answer_reason_and_probability(model, monkeypatch):
    images = make_picture(0), make_picture(1)
    say(model, monkeypatch, "Both have a rim. <answer>No.</answer>")
    found = model.compare(*images)
    assert (found.same, found.explanation, found.parsed_ok) == (False, "Both have a rim.", True)
    assert 0 < found.p_same < 1
    say(model, monkeypatch, "I cannot tell.")
    unsure = model.compare(*images)
    assert not unsure.parsed_ok and unsure.same == (unsure.p_same > 0.5)


def test_the_probability_is_that_of_both_whole_answers(model):
    sample = Sample(messages=[user("Same?", num_images=2)], images=[make_picture(0), make_picture(1)])
    yes, no = (choice_logprobs(model, [sample], [f"<answer>{word}</answer>"])[0] for word in ("yes", "no"))
    assert yes_no_log_odds(model, [sample], ["anything"])[0] == pytest.approx(yes - no, abs=1e-4)
    assert yes < 0 and no < 0


def test_matches_are_counted(model, monkeypatch):
    pictures = [make_picture(number) for number in range(4)]
    say(model, monkeypatch, "The second. <answer>1</answer>")
    assert model.count_matches(pictures[0], pictures[1:]).count == 1
    assert model.count_matches(pictures[0], pictures[1:3]).count == 1
    say(model, monkeypatch, "<answer>4</answer>")
    assert model.count_matches(pictures[0], pictures[1:]).to_dict()["count"] is None


def test_a_model_answers_for_real_and_large_images_are_scaled_down(model):
    found = model.compare(Image.new("RGB", (1600, 1200)), make_picture(1), max_new_tokens=4)
    assert isinstance(found.raw, str) and 0 <= found.p_same <= 1


def test_what_cannot_be_compared_is_refused(model, tmp_path):
    with pytest.raises(ConfigError, match="`candidates` must hold at least one image"):
        model.count_matches(make_picture(0), [])
    with pytest.raises(DataError, match="does not exist"):
        model.compare(tmp_path / "gone.png", make_picture(0))
