"""What both sides of ``beside_trl.py`` must agree on."""

ROWS_PER_STEP = 8  # of a padded batch
CAPACITY = 1024  # tokens of a packed line; about as many as eight rows have
WINDOW = 64  # rows among which partners are sought
LEARNING_RATE = 1e-4
