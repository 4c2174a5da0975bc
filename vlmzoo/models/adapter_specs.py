"""Specs of adapters: their labels, and whether a base can hold them."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from vlmzoo.adapters import ADAPTERS, Adapter, Host
from vlmzoo.errors import ConfigError
from vlmzoo.models.new_tokens import check_tokens

__all__ = ["Spec", "adapter_specs", "check_adapter_specs", "check_adapters", "check_labels", "rehearse_adapters"]

Spec = Mapping[str, Any]


def adapter_specs(adapters: Sequence[str | Spec]) -> dict[str, dict[str, Any]]:
    """Return the specs of adapters by label: their ``name``, or their ``type`` if they give none.

    Raises:
        ConfigError: if two have the same label.
    """
    specs: dict[str, dict[str, Any]] = {}
    for adapter in adapters:
        spec = {"type": adapter} if isinstance(adapter, str) else dict(adapter)
        label = str(spec.pop("name", spec.get("type")))
        if label in specs:
            raise ConfigError(f"Two adapters are called `{label}`; give one of them a `name` of its own.")
        specs[label] = spec
    return specs


def check_labels(specs: Mapping[str, Spec], attached: Mapping[str, Spec]) -> None:
    """Check that new adapters are called otherwise than those that a model has.

    Raises:
        ConfigError: if one is not.
    """
    taken = sorted(set(specs) & set(attached))
    if taken:
        raise ConfigError(f"This model already has an adapter called `{taken[0]}`; give the new one a `name`.")


def check_adapter_specs(adapters: Sequence[str | Spec]) -> dict[str, Any]:
    """Check the specs of adapters by themselves, whatever the base.

    Returns:
        The constructor of each, by label.

    Raises:
        ConfigError: if a spec is faulty, two have the same label, or there is more than one LoRA.
        RegistryError: if a name is unknown.
    """
    specs = adapter_specs(adapters)
    loras = [label for label, spec in specs.items() if spec.get("type") == "lora"]
    if len(loras) > 1:
        raise ConfigError(
            f"A model holds one `lora`, but {' and '.join(loras)} are asked for; give one more `targets`."
        )
    return {label: ADAPTERS.check(spec, runtime=("host",)).build for label, spec in specs.items()}


def check_adapters(adapters: Sequence[str | Spec], host: Host) -> None:
    """Check adapters against a base, before any weight is read.

    Raises:
        ConfigError: if a spec is faulty, or the base cannot hold an adapter.
        RegistryError: if a name is unknown.
    """
    builds, specs = check_adapter_specs(adapters), adapter_specs(adapters)
    for label, build in builds.items():
        if inspect.isclass(build) and issubclass(build, Adapter):
            build.check_host(host, **{name: value for name, value in specs[label].items() if name != "type"})


def rehearse_adapters(
    adapters: Sequence[str | Spec], host: Host, *, attached: Mapping[str, Spec] | None = None
) -> None:
    """Build adapters without memory and check them against each other, before any weight is read.

    Args:
        adapters: to attach anew.
        host: the base.
        attached: what it has already, by label.

    Raises:
        ConfigError: if one cannot be built, the base cannot hold it, or two have the same label or add the same token.
        RegistryError: if a name is unknown.
    """
    known, specs = dict(attached or {}), adapter_specs(adapters)
    check_labels(specs, known)
    check_adapters([*({"name": label, **spec} for label, spec in known.items()), *adapters], host)
    with torch.device("meta"):
        check_tokens({label: ADAPTERS.build(spec, host=host) for label, spec in {**known, **specs}.items()})
