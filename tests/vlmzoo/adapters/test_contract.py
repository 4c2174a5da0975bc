"""What every adapter is promised on every base."""

import copy
import pickle

import pytest
import torch

from tests.vlmzoo.adapters.bases import make_base, make_samples
from vlmzoo.data.collation import Collator
from vlmzoo.data.conversations import prompt_of
from vlmzoo.errors import ConfigError, RegistryError
from vlmzoo.evaluation import complete
from vlmzoo.objectives import OBJECTIVES

PROBE_AND_LORA = ("probe", {"type": "lora", "rank": 4})


def make_batch(model, samples):
    processor = model.processor
    collate = Collator(pad_token_id=processor.padding_id, adapter_inputs=processor.adapter_inputs)
    return collate([processor.encode(sample) for sample in samples])


def plain_inputs(model):
    batch = make_batch(model, make_samples(3))
    return {name: value for name, value in batch.inputs.items() if name != "probe_features"}


@torch.no_grad()
@pytest.mark.parametrize("adapters", [["probe"], PROBE_AND_LORA], ids=["probe", "probe+lora"])
def test_an_untriggered_adapter_leaves_the_first_logits_bit_for_bit(base_name, adapters):
    bare, adapted = make_base(base_name), make_base(base_name)
    inputs = plain_inputs(bare)
    vocabulary = len(bare.processor.tokenizer)
    adapted.attach_adapters(adapters)
    before, after = bare(**inputs).logits, adapted(**inputs).logits
    assert after.shape[-1] > vocabulary
    assert torch.equal(after[..., :vocabulary], before[..., :vocabulary])
    assert adapted(**inputs).adapters is None


@torch.no_grad()
def test_a_triggered_adapter_reads_the_state_that_predicts_its_token(base_name):
    model = make_base(base_name, adapters=["probe"])
    batch = make_batch(model, make_samples(3))
    outputs = model(**batch.inputs, output_hidden_states=True)
    score = model.adapters["probe"].score
    token = model.token_ids["[PROBE]"]
    rows, places = torch.nonzero(batch.inputs["input_ids"] == token, as_tuple=True)
    read = torch.cat(
        [
            outputs.hidden_states[-1][rows, places - 1],
            outputs.hidden_states[0][rows, places],
            batch.inputs["probe_features"],
        ],
        dim=-1,
    )
    torch.testing.assert_close(outputs.adapters["probe"]["score"], score(read).squeeze(-1))
    assert batch.count()["probes"] == 3.0


def test_a_new_token_is_embedded_and_predicted_from_its_own_rows(base_name):
    model = make_base(base_name, adapters=["probe"])
    token, rows = model.token_ids["[PROBE]"], model.token_rows
    embedded = model.get_input_embeddings()(torch.tensor([[token, 1]]))
    assert torch.equal(embedded[0, 0], rows.input[0])
    hidden = torch.randn(2, model.config.get_text_config().hidden_size)
    logits = model.get_output_embeddings()(hidden)
    torch.testing.assert_close(logits[:, token], hidden @ rows("output")[0])
    logits[:, token].sum().backward()
    assert (rows.input if rows.output is None else rows.output).grad.abs().sum() > 0


def test_eight_samples_are_learned_to_exact_answers(base_name):
    model = make_base(base_name, adapters=["probe"]).train()
    samples = make_samples(8)
    batch = make_batch(model, samples)
    objective = OBJECTIVES.build(
        {"type": "weighted_sum", "terms": {"text": {"type": "next_token"}, **model.adapters["probe"].loss_terms}}
    )
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=5e-3)
    for _ in range(150):
        loss = objective(model(**batch.inputs, return_logits=False), batch, batch.count())
        optimiser.zero_grad()
        loss.loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        if float(loss.loss) < 2e-3:
            break
    prompts = [model.processor.adapter_inputs["probe"].prepare(prompt_of(sample)) for sample in samples]
    answers = complete(model, model.processor, prompts, max_new_tokens=24)
    assert [answer.text.startswith(sample.reference) for answer, sample in zip(answers, samples, strict=True)] == [
        True
    ] * 8
    assert [
        answer.text.rstrip().endswith(f"{sample.id}.") for answer, sample in zip(answers, samples, strict=True)
    ] == [True] * 8
    found = model.eval()(**batch.inputs).adapters["probe"]["score"]
    torch.testing.assert_close(found, batch.targets["probe_targets"], atol=0.1, rtol=0)


def test_what_learns_is_what_was_declared(base_name):
    model = make_base(base_name, adapters=PROBE_AND_LORA)
    learning = {name for name, p in model.named_parameters() if p.requires_grad}
    parts = {model.part_of(name) for name in learning}
    assert parts == {"probe", "token_rows", "lora"}
    assert not any(name.startswith("adapters.probe.frozen") for name in learning)
    assert set(model.part_names) >= {"encoder", "projector", "language_model", "probe", "token_rows", "lora"}


def test_lora_targets_the_parts_that_were_named_and_never_the_head(base_name):
    targets = {"language_model": ["q_proj", "v_proj"], "projector": "all"}
    model = make_base(base_name, adapters=[{"type": "lora", "targets": targets}])
    names = {name.split(".lora_")[0] for name, _ in model.named_parameters() if ".lora_" in name}
    assert {name.rsplit(".", 1)[-1] for name in names if "layers" in name} == {"q_proj", "v_proj"}
    assert any("projector" in name or "merger" in name for name in names)
    assert not any("lm_head" in name for name in names)


def test_parts_may_learn_whole_beside_lora(tmp_path):
    model = make_base("llava-llama", adapters=[{"type": "lora", "rank": 2, "whole": ["projector"]}])
    assert {model.part_of(name) for name, p in model.named_parameters() if p.requires_grad} == {"lora", "projector"}
    with pytest.raises(ConfigError, match="parts projector of the base have learned whole"):
        model.save_pretrained(tmp_path, base={"path": "owner/name"})
    with pytest.raises(ConfigError, match="`whole` names the part `projecter`, which"):
        make_base("llava-llama", adapters=[{"type": "lora", "whole": ["projecter"]}])


@torch.no_grad()
def test_lora_can_be_switched_off_for_a_while(base_name):
    bare, model = make_base(base_name), make_base(base_name, adapters=[{"type": "lora", "rank": 4}])
    inputs = plain_inputs(model)
    for name, parameter in model.named_parameters():
        if ".lora_B" in name:
            parameter.normal_()
    assert not torch.equal(model(**inputs).logits, bare(**inputs).logits)
    with model.without_lora():
        assert torch.equal(model(**inputs).logits, bare(**inputs).logits)
    assert not torch.equal(model(**inputs).logits, bare(**inputs).logits)


@torch.no_grad()
def test_a_deep_copy_is_a_model_of_its_own(base_name):
    model = make_base(base_name, adapters=["probe"])
    inputs = plain_inputs(model)
    copied = copy.deepcopy(model)
    before = copied(**inputs).logits
    model.token_rows.input.add_(1.0)
    if model.token_rows.output is not None:
        model.token_rows.output.add_(1.0)
    assert torch.equal(copied(**inputs).logits, before)
    assert not torch.equal(model(**inputs).logits, before)


def test_data_workers_can_carry_the_processor(base_name):
    processor = make_base(base_name, adapters=["probe"]).processor
    sample = make_samples(1)[0]
    carried = pickle.loads(pickle.dumps(processor))
    assert carried.encode(sample)["input_ids"] == processor.encode(sample)["input_ids"]


def test_assistants_may_say_an_adapters_token_and_users_may_not(base_name):
    processor = make_base(base_name, adapters=["probe"]).processor
    token = processor.tokenizer.convert_tokens_to_ids("[PROBE]")
    sample = make_samples(1)[0]
    assert processor.encode(sample)["input_ids"].count(token) == 1
    sample.messages[0]["content"][-1]["text"] = "Say [PROBE] now."
    assert processor.encode(sample)["input_ids"].count(token) == 1


class TestBadInput:
    def test_two_adapters_that_add_the_same_token(self):
        with pytest.raises(ConfigError, match=r"`probe` and `second` both add the token `\[PROBE\]`"):
            make_base("llava-llama", adapters=["probe", {"type": "probe", "name": "second"}])

    def test_two_adapters_of_one_name(self):
        with pytest.raises(ConfigError, match="Two adapters are called `lora`"):
            make_base("llava-llama", adapters=["lora", "lora"])
        model = make_base("llava-llama", adapters=["lora"])
        with pytest.raises(ConfigError, match="already has an adapter called `lora`"):
            model.attach_adapters(["lora"])

    def test_a_second_lora_under_another_name(self):
        with pytest.raises(ConfigError, match="A model holds one `lora`"):
            make_base("llava-llama", adapters=["lora", {"type": "lora", "name": "second"}])

    def test_tokens_that_come_too_late(self):
        model = make_base("llava-llama", adapters=["probe"])
        with pytest.raises(ConfigError, match="attach all adapters that add tokens at once"):
            model.attach_adapters([{"type": "probe", "name": "later", "token": "[LATER]"}])

    def test_an_unknown_adapter_and_an_unknown_option(self):
        with pytest.raises(RegistryError, match="no adapter named `lorra`. Did you mean `lora`"):
            make_base("llava-llama", adapters=["lorra"])
        with pytest.raises(ConfigError, match="adapter `lora` takes no `rang`. Did you mean `rank`"):
            make_base("llava-llama", adapters=[{"type": "lora", "rang": 4}])

    def test_a_part_or_a_layer_that_the_base_does_not_have(self, base_name):
        with pytest.raises(ConfigError, match="does not have. Did you mean `projector`"):
            make_base(base_name, adapters=[{"type": "lora", "targets": ["projektor"]}])
        with pytest.raises(ConfigError, match="has no layer named `q_prj`. Did you mean `q_proj`"):
            make_base(base_name, adapters=[{"type": "lora", "targets": {"language_model": ["q_prj"]}}])

    @pytest.mark.parametrize(("option", "value"), [("rank", 0), ("rank", True), ("rank", 2.5), ("dropout", 1.0)])
    def test_numbers_that_mean_nothing(self, option, value):
        with pytest.raises(ConfigError, match=f"`{option}` must be"):
            make_base("llava-llama", adapters=[{"type": "lora", option: value}])
