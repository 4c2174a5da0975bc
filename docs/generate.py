"""Write the pages and tables that are made of data: ``python docs/generate.py``; ``--check`` only compares.

docs/claims.md and the tables of systems from docs/claims.yaml; docs/models.md from the cards of the zoo; docs/names.md
and the README's table of names from the registries; the README's figures of the quickstart from its page of results.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from generate_names import names_page, names_table

from vlmzoo.zoo import list_models, model_info

ROOT = Path(__file__).resolve().parents[1]
CLAIMS = ROOT / "docs" / "claims.yaml"
QUICKSTART = ROOT / "docs" / "results" / "quickstart.md"
STATES = ("shown", "partly", "missed", "not run")


def claims_page(content: Mapping[str, Any]) -> str:
    """Return docs/claims.md."""
    lines = [
        "# Claims",
        "",
        "<!-- Made of docs/claims.yaml by `python docs/generate.py`; change it there. -->",
        "",
        "Each headline claim of the systems, where its formula stands, which of the authors' numbers it is held to, "
        "and what was seen at small scale. Small scale says whether the code does what the claim needs, not what 7 B "
        "parameters would do: no figure of a paper has been reproduced here, for want of accelerators and weights.",
        "",
        "| system | shown | partly | missed | not run |",
        "|---|---|---|---|---|",
    ]
    for system in content["systems"]:
        counts = " | ".join(str(number) for number in _counts(system).values())
        lines.append(f"| [{system['name']}](#{_anchor(system['name'])}) | {counts} |")
    for system in content["systems"]:
        lines += _system(system)
    return "\n".join(lines) + "\n"


def _system(system: Mapping[str, Any]) -> list[str]:
    lines = ["", f"## {system['name']}", "", f"{system['paper']}.", ""]
    for claim in system["claims"]:
        result = claim["result"]
        when = f", {result['date']}" if "date" in result else ""
        lines += [
            f"**{claim['claim']}**",
            "",
            f"- formula: {', '.join(f'`{place}`' for place in claim['code'])}",
            f"- authors' numbers: {', '.join(f'`{name}`' for name in claim['golden']) or 'none'}; "
            f"tests: {', '.join(f'`{path}`' for path in claim['tests'])}",
            f"- full scale: `{claim['config']}` (not run here); small scale: `{claim['command']}`",
            f"- **{result['status']}**{when}: {result['figures']} [All figures](results/{result['page']}).",
            "",
        ]
    lines += ["Where paper and released code disagree:", "", "| paper | code | switch |", "|---|---|---|"]
    return [*lines, *(f"| {row['paper']} | {row['code']} | {row['switch']} |" for row in system["disagreements"])]


def _anchor(name: str) -> str:
    return name.lower().replace(" ", "-")


def models_table() -> str:
    """Return the table of all models, from their cards."""
    lines = [
        "| model | family | parameters | tokens an image | licence of the weights | paper |",
        "|---|---|---|---|---|---|",
    ]
    for name in list_models():
        info = model_info(name)
        paper = f"[{info.paper['arxiv']}](https://arxiv.org/abs/{info.paper['arxiv']})"
        size = f"{info.num_parameters / 1e9:.2f} B"
        licence = info.licence["weights"].replace("|", "/")
        lines.append(f"| `{name}` | {info.family} | {size} | {info.image_tokens} | {licence} | {paper} |")
    return "\n".join(lines)


def models_page() -> str:
    """Return docs/models.md."""
    return (
        "# Models\n\n<!-- Made of the cards by `python docs/generate.py`. -->\n\n"
        "`vlmzoo info NAME` says more: parameters by part, memory, where the weights lie. No weights have been loaded "
        'here: parity is by names and shapes ("keys only").\n\n' + models_table() + "\n"
    )


def systems_table(content: Mapping[str, Any], *, docs: str) -> str:
    """Return the table of systems: what each is made of, its configs, and how many of its claims were shown.

    Args:
        content: of docs/claims.yaml.
        docs: the folder of the pages, seen from the page that holds the table, with a slash at its end or empty.
    """
    lines = ["| system | base | adapter | experience | objective | configs | claims |", "|---|---|---|---|---|---|---|"]
    for system in content["systems"]:
        row = system["row"]
        configs = ", ".join(f"`{folder}`" for folder in row["configs"])
        counts = ", ".join(f"{number} {status}" for status, number in _counts(system).items() if number)
        lines.append(
            f"| [{system['name']}]({docs}systems/{row['page']}) | {row['base']} | {row['adapter']} | "
            f"`{row['experience']}` | {row['objective']} | {configs} | "
            f"[{counts}]({docs}claims.md#{_anchor(system['name'])}) |"
        )
    return "\n".join(lines)


def _counts(system: Mapping[str, Any]) -> dict[str, int]:
    found = [claim["result"]["status"] for claim in system["claims"]]
    return {status: found.count(status) for status in STATES}


def models_line() -> str:
    """Return the README's sentence about the zoo."""
    names = list_models()
    families = sorted({model_info(name).family for name in names})
    return f"{len(names)} models of {len(families)} families ({', '.join(families)}): [all of them](docs/models.md)."


def quickstart_table() -> str:
    """Return the README's figures of the quickstart: columns of the first table of its page of results."""
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in QUICKSTART.read_text(encoding="utf-8").split("\n\n")[2].splitlines()
    ]
    names = ("simple image", "simple text", "swapped image", "hard image", "hard text")
    lines = [f"| seed | {' | '.join(names)} | training + evaluation |", "|---|---|---|---|---|---|---|"]
    for row in rows[2:]:
        cell = dict(zip(rows[0], row, strict=True))
        scores = " | ".join(cell[name].split(" ")[0] for name in names)  # without its interval
        lines.append(f"| {cell['seed']} | {scores} | {int(cell['training, s']) + int(cell['evaluation, s'])} s |")
    return "\n".join(lines)


def with_blocks(text: str, blocks: Mapping[str, str]) -> str:
    """Return a page with what stands between ``<!-- NAME: begin -->`` and ``<!-- NAME: end -->`` written anew.

    Raises:
        ValueError: if a mark is not there once.
    """
    for name, block in blocks.items():
        begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
        if text.count(begin) != 1 or text.count(end) != 1:
            raise ValueError(f"The page must hold `{begin}` and `{end}` once each; put them where {name} belong.")
        text = re.sub(f"{begin}.*{end}", lambda _, new=f"{begin}\n{block}\n{end}": new, text, flags=re.DOTALL)
    return text


def pages() -> dict[Path, str]:
    """Return every page that is made of data, with what it should hold."""
    content = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))
    front, house = ROOT / "README.md", ROOT / "docs" / "house.md"
    blocks = {
        "systems": systems_table(content, docs="docs/"),
        "names": names_table(),
        "models": models_line(),
        "quickstart": quickstart_table(),
    }
    return {
        ROOT / "docs" / "claims.md": claims_page(content),
        ROOT / "docs" / "models.md": models_page(),
        ROOT / "docs" / "names.md": names_page(),
        front: with_blocks(front.read_text(encoding="utf-8"), blocks),
        house: with_blocks(house.read_text(encoding="utf-8"), {"systems": systems_table(content, docs="")}),
    }


def main() -> int:
    """Write the pages, or say with ``--check`` which are old."""
    old = [path for path, text in pages().items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    if "--check" not in sys.argv:
        for path in old:
            path.write_text(pages()[path], encoding="utf-8")
        return 0
    return len(old)


if __name__ == "__main__":
    sys.exit(main())
