"""Which layer of its network a parameter belongs to, for learning rates that fall towards the input.

Letters: L blocks of a network; its stem is layer 0, its blocks are 1 to L, and what stands behind them is L + 1.
"""

from collections.abc import Iterator

from torch import nn

__all__ = ["layer_numbers"]


def layer_numbers(network: nn.Module) -> tuple[dict[str, int], int]:
    """Number the layers of a network, whatever its parts are called.

    A block is an element of a list whose elements are all of one kind; where blocks hold lists of blocks themselves
    (the stages of a ConvNeXt), the inner ones count. What stands before the first block is its stem, and what stands
    between two blocks belongs to the later one.

    Args:
        network: an encoder or a language model.

    Returns:
        The number of each parameter, by name, and L + 1.
    """
    blocks = _blocks(network)
    found: dict[str, int] = {}
    seen: list[str] = []
    for name, _ in network.named_parameters():
        block = max((block for block in blocks if name.startswith(f"{block}.")), key=len, default=None)
        if block is not None and block not in seen and not _holds_blocks(block, blocks):
            seen.append(block)
        if block in seen:
            found[name] = seen.index(block) + 1
        else:
            found[name] = len(seen) + (block is not None or len(seen) > 0)
    return found, len(seen) + 1


def _blocks(network: nn.Module) -> set[str]:
    """Return the names of all elements of lists of blocks."""
    return {
        f"{name}.{number}" if name else number
        for name, module in network.named_modules()
        if _is_list_of_blocks(module)
        for number, _ in module.named_children()
    }


def _is_list_of_blocks(module: nn.Module) -> bool:
    elements = list(module.children())
    least = {nn.ModuleList: 1, nn.Sequential: 2}.get(type(module), len(elements) + 1)
    return (
        len(elements) >= least
        and len({type(element) for element in elements}) == 1
        and all(_has_parts(element) for element in elements)
    )


def _has_parts(module: nn.Module) -> bool:
    return any(True for _ in _learned(module))


def _learned(module: nn.Module) -> Iterator[nn.Module]:
    """Iterate over the modules inside a module that have parameters of their own."""
    for inner in module.modules():
        if inner is not module and any(True for _ in inner.parameters(recurse=False)):
            yield inner


def _holds_blocks(block: str, blocks: set[str]) -> bool:
    return any(other.startswith(f"{block}.") for other in blocks)
