"""Train what a config describes: ``deepspeed training/train.py configs/….yaml key.sub=value``."""

import sys

from vlmzoo.cli import app

if __name__ == "__main__":
    launcher_flags = ("--local_rank", "--local-rank")  # the environment says the same
    app(["train", *(word for word in sys.argv[1:] if not word.startswith(launcher_flags))])
