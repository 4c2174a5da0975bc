"""What both sides of ``beside_trl.py`` must agree on."""

ROWS_PER_STEP = 8  # of a padded batch
CAPACITY, LINES_PER_STEP = 896, 2  # tokens of a packed line; two have about as many as eight rows
WINDOW = 64  # rows among which partners are sought
LEARNING_RATE = 1e-4
PAIRS_PER_STEP = 2  # of preferences
