"""From sampled answers to pairs with negative images: judge, select, describe, render, verify, beside training."""
