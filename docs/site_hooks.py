"""What the site changes in pages as they stand in the repository: fences with a mark, links to files beside docs."""

import re
from typing import Any

_TITLES = {"gpu": "needs GPUs; not run here", "network": "needs the network"}
_OUTSIDE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+(?!results/)([^)#]+\.(?:md|py|yaml|ipynb)|[\w/-]+/)\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Give a fence such as ``bash gpu`` a title, and show links that leave the site as paths of the repository."""

    def titled(match: re.Match[str]) -> str:
        return f'```{match[1]} title="{_TITLES[match[2]]}"'

    marked = re.sub(rf"^```(\w+) ({'|'.join(_TITLES)})$", titled, markdown, flags=re.MULTILINE)
    return _OUTSIDE.sub(r"\1 (`\2`)", marked)
