"""What of the seg adapter needs an accelerator; run with ``pytest -m gpu``."""

import pytest
import torch

from tests.vlmzoo.adapters.bases import make_base
from tests.vlmzoo.adapters.seg_samples import make_batch, make_sample, seg_spec

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


@torch.no_grad()
def test_an_encoder_that_waits_on_the_cpu_leaves_room_on_the_accelerator():
    plain = make_base("llava-llama", adapters=[seg_spec()])
    waiting = make_base("llava-llama", adapters=[seg_spec(offload_encoder=True, cache_size=0)])
    waiting.load_state_dict(plain.state_dict())
    batch = make_batch(plain, [make_sample(number, num_masks=2) for number in range(2)]).to("cuda")
    expected = plain.to("cuda")(**batch.inputs).adapters["seg"]["mask_logits"]
    found = waiting.to("cuda")(**batch.inputs).adapters["seg"]["mask_logits"]
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-3)
    assert next(waiting.adapters["seg"].decoder.image_encoder.parameters()).device.type == "cpu"
    assert next(waiting.adapters["seg"].decoder.mask_decoder.parameters()).device.type == "cuda"
