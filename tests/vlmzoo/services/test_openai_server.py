"""A rollout server: what is asked of it, what is made of its answers, and what becomes of a run when it dies."""

import copy
import json
import threading
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from tests.vlmzoo.adapters.bases import make_base, make_samples
from vlmzoo.data.conversations import prompt_of
from vlmzoo.errors import ConfigError, MissingExtraError, ServiceError
from vlmzoo.experience import EXPERIENCES
from vlmzoo.services.rollout import ROLLOUT_ENGINES, Prompt, Sampling, short_seed


class Server:
    """Answers with the ids that ``say`` returns for a request; can be made to fail."""

    def __init__(self):
        self.asked, self.keys, self.failures, self.status = [], [], 0, 500
        self.say = lambda request: [10 + request["seed"] % 7, 11, 12]
        self.form = "token_id:{}"
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server.asked.append((self.path, request))
                server.keys.append(self.headers["Authorization"])
                if server.failures:
                    server.failures -= 1
                    if server.status == "half":
                        self.send_response(200)
                        self.send_header("Content-Length", "1000")
                        self.end_headers()
                        self.wfile.write(b'{"choices": [')
                        return
                    self.send_response(server.status)
                    self.end_headers()
                    self.wfile.write(f"no such model for {self.headers['Authorization']}".encode())
                    return
                told = [{"token": server.form.format(id), "logprob": -0.5} for id in server.say(request)]
                body = json.dumps({"choices": [{"logprobs": {"content": told}}]}).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/v1"
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def close(self):
        self.http.shutdown()
        self.http.server_close()


@pytest.fixture
def server():
    found = Server()
    yield found
    found.close()


@pytest.fixture(scope="module")
def model():
    return make_base("llava-llama").eval()


def make_engine(model, url, *, temperature=1.0, calls=None, **options):
    policy = SimpleNamespace(module=model)
    calls = {"pause_s": 0.01, "retries": 2, **(calls or {})}
    spec = {"type": "openai_server", "base_url": url, "model": "policy", "calls": calls, **options}
    sampling = Sampling(max_new_tokens=4, temperature=temperature)
    return ROLLOUT_ENGINES.build(spec, policy=policy, processor=model.processor, sampling=sampling)


def make_prompts(model, num=2):
    samples = [prompt_of(sample) for sample in make_samples(num)]
    return [Prompt(sample=s, encoded=model.processor.encode_prompt(s), seeds=[3, 4, 5]) for s in samples]


def test_everything_about_sampling_is_said_and_images_travel(server, model):
    groups = make_engine(model, server.url).complete(make_prompts(model))
    drawn = [10 + short_seed(seed) % 7 for seed in (3, 4, 5)]
    assert [[rollout.ids[0] for rollout in group] for group in groups] == [drawn, drawn]
    assert groups[0][0].logprobs == (-0.5, -0.5, -0.5)
    path, request = server.asked[0]
    assert path == "/v1/chat/completions"
    wanted = {"temperature": 1.0, "top_p": 1.0, "top_k": -1, "max_tokens": 4, "repetition_penalty": 1.0, "n": 1}
    assert wanted.items() <= request.items()
    kinds = [block["type"] for block in request["messages"][0]["content"]]
    assert kinds == ["image_url", "text"]
    assert request["messages"][0]["content"][0]["image_url"]["url"].startswith("data:image/png;base64,")


def test_a_completion_ends_with_the_end_of_sequence_and_before_a_placeholder(server, model):
    end, placeholder = model.processor.tokenizer.eos_token_id, model.processor.image_token_id
    server.say = lambda request: [20, end, 21] if request["seed"] == short_seed(3) else [20, placeholder, 22]
    engine = make_engine(model, server.url)
    ((ended, cut, _),) = engine.complete(make_prompts(model, 1))
    assert (ended.ids, ended.is_finished) == ((20, end), True)
    assert (cut.ids, cut.is_finished) == ((20,), False)
    assert engine.num_cut == 2
    bans = {request["logit_bias"][str(placeholder)] for _, request in server.asked}
    assert bans == {-100} and all(str(end) not in request["logit_bias"] for _, request in server.asked)
    engine.complete(make_prompts(model, 1))
    assert engine.num_cut == 4


def test_seeds_of_runs_that_differ_in_their_seed_alone_differ():
    places = range(40_000, 40_050)
    drawn = {short_seed((run << 80) + (place << 16)) for run in (0, 1) for place in places}
    assert len(drawn) == 100
    assert all(0 <= seed < 2**31 for seed in drawn)


def test_a_temperature_at_which_a_server_tells_other_probabilities_is_refused(model):
    with pytest.raises(ConfigError, match=r"`temperature` must be 1 with the engine `openai_server`.* but is 0\.7"):
        make_engine(model, "http://127.0.0.1:9/v1", temperature=0.7)


def test_a_server_that_stumbles_is_asked_again(server, model):
    server.failures = 2
    groups = make_engine(model, server.url, num_parallel=1).complete(make_prompts(model, 1))
    assert len(groups[0]) == 3
    assert len(server.asked) == 5


def test_half_an_answer_is_asked_for_again_and_ends_in_a_sentence(server, model):
    server.failures, server.status = 2, "half"
    engine = make_engine(model, server.url, num_parallel=1)
    assert len(engine.complete(make_prompts(model, 1))[0]) == 3
    server.failures = 999
    with pytest.raises(ServiceError, match=r"failed 3 times.*answers half: 13 bytes came, and 987 did not.*no prompt"):
        engine.complete(make_prompts(model, 1))


def test_a_server_that_is_down_is_left_alone(server, model):
    server.failures = 999
    engine = make_engine(model, server.url, num_parallel=1, calls={"retries": 0, "breaker_after": 1})
    for found in ("refuses the request \\(500\\)", "is down and is left alone"):
        with pytest.raises(ServiceError, match=found):
            engine.complete(make_prompts(model, 1))
    assert len(server.asked) == 1


def test_a_key_is_sent_and_never_told(server, model, monkeypatch):
    monkeypatch.setenv("ROLLOUT_KEY", "sesame")
    engine = make_engine(model, server.url, num_parallel=1, api_key_env="ROLLOUT_KEY")
    engine.complete(make_prompts(model, 1))
    assert set(server.keys) == {"Bearer sesame"}
    server.failures, server.status = 1, 401
    with pytest.raises(ServiceError, match=r"\(401\): no such model for Bearer \*\*\*") as caught:
        engine.complete(make_prompts(model, 1))
    assert "sesame" not in str(caught.value)
    monkeypatch.delenv("ROLLOUT_KEY")
    with pytest.raises(ConfigError, match="environment variable `ROLLOUT_KEY` is empty"):
        make_engine(model, server.url, api_key_env="ROLLOUT_KEY")
    monkeypatch.setenv("ROLLOUT_KEY", "two\nlines")
    with pytest.raises(ConfigError, match="`ROLLOUT_KEY` must hold one line"):
        make_engine(model, server.url, api_key_env="ROLLOUT_KEY")


def test_a_refusal_is_told_at_once(server, model):
    server.failures, server.status = 99, 404
    with pytest.raises(ServiceError, match="refuses the request \\(404\\): no such model"):
        make_engine(model, server.url, num_parallel=1).complete(make_prompts(model, 1))
    assert len(server.asked) <= 3


def test_a_server_that_tells_words_in_place_of_ids_is_refused(server, model):
    server.form = "word{}"
    with pytest.raises(ServiceError, match="must tell each token as `token_id:N`.*vLLM 0.6 or newer"):
        make_engine(model, server.url).complete(make_prompts(model, 1))


def test_a_dead_server_ends_the_run_and_resuming_loses_nothing(server, model):
    policy = SimpleNamespace(module=copy.deepcopy(model), frozen=None, whole_weights=nullcontext)

    def make(url):
        task = {"type": "shape_detection"}
        spec = {
            "type": "rollouts",
            "source": {"type": "synthetic", "task": task, "kinds": {"text": 1.0}},
            "rewards": [{"type": "iou"}],
            "num_prompts": 2,
            "num_rollouts": 2,
            "sampling": {"max_new_tokens": 4},
            "engine": {
                "type": "openai_server",
                "base_url": url,
                "model": "p",
                "calls": {"pause_s": 0.01, "retries": 1},
            },
        }
        return EXPERIENCES.build(spec, processor=model.processor, micro_batch_size=4, seed=0, policy=policy)

    def rows(steps):
        return [row.tolist() for step in steps for row in step.micro_batches[0].inputs["input_ids"]]

    undisturbed = iter(make(server.url))
    expected = rows([next(undisturbed) for _ in range(3)])
    experience = make(server.url)
    steps = iter(experience)
    found = rows([next(steps)])
    state = json.loads(json.dumps(experience.state_dict()))
    server.failures = 999
    with pytest.raises(ServiceError, match="failed 2 times.*no prompt is lost"):
        next(steps)
    server.failures = 0
    resumed = make(server.url)
    resumed.load_state_dict(state)
    again = iter(resumed)
    assert found + rows([next(again) for _ in range(2)]) == expected


def test_bad_options_and_missing_packages_are_told(model):
    with pytest.raises(ConfigError, match="`timeout_s` of calls must be positive"):
        make_engine(model, "http://127.0.0.1:9/v1", calls={"timeout_s": 0})
    with pytest.raises(ConfigError, match="`base_url` must begin with http"):
        make_engine(model, "127.0.0.1:9/v1")
    given = {"policy": SimpleNamespace(module=model), "processor": model.processor}
    with pytest.raises(MissingExtraError, match="`vllm` is not installed"):
        ROLLOUT_ENGINES.build({"type": "vllm", "path": "x"}, sampling=Sampling(max_new_tokens=4), **given)
