"""Write the pages and tables that are made of data: ``python docs/generate.py``; ``--check`` only compares.

docs/claims.md from docs/claims.yaml; docs/models.md and the README's table of models from the cards of the zoo.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from vlmzoo.zoo import list_models, model_info

ROOT = Path(__file__).resolve().parents[1]
CLAIMS = ROOT / "docs" / "claims.yaml"
_MARKS = ("<!-- models: begin -->", "<!-- models: end -->")


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
        found = [claim["result"]["status"] for claim in system["claims"]]
        counts = " | ".join(str(found.count(status)) for status in ("shown", "partly", "missed", "not run"))
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


def readme(text: str) -> str:
    """Return the README with its sentence about the zoo made of the cards."""
    names = list_models()
    families = sorted({model_info(name).family for name in names})
    total = f"{len(names)} models of {len(families)} families ({', '.join(families)}); [all of them](docs/models.md)."
    before, rest = text.split(_MARKS[0])
    return f"{before}{_MARKS[0]}{total}{_MARKS[1]}{rest.split(_MARKS[1])[1]}"


def pages() -> dict[Path, str]:
    """Return every page that is made of data, with what it should hold."""
    content = yaml.safe_load(CLAIMS.read_text(encoding="utf-8"))
    front = ROOT / "README.md"
    return {
        ROOT / "docs" / "claims.md": claims_page(content),
        ROOT / "docs" / "models.md": models_page(),
        front: readme(front.read_text(encoding="utf-8")),
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
