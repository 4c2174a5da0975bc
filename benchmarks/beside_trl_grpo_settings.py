"""What both sides of ``beside_trl_grpo.py`` must agree on."""

NUM_PROMPTS, NUM_ROLLOUTS, MAX_NEW_TOKENS = 8, 8, 64  # of a step
MICRO_BATCH = 16  # completions in one forward pass; four of them are a step
LEARNING_RATE = 1e-5


def variety(completion: str, reference: object = None) -> float:
    """Return the share of different characters: cheap, and different for almost all completions."""
    return len(set(completion)) / max(len(completion), 1)
