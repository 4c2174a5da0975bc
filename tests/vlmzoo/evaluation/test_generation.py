from vlmzoo.evaluation.generation import complete, sampling_exclusions


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
