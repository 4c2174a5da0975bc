"""Adapters: what is bolted on a base; any adapter on any base that can hold it."""

from vlmzoo.adapters.contract import Adapter, AdapterContext, GenerationContext, Host
from vlmzoo.data.adapter_inputs import AdapterBatch, AdapterInputs
from vlmzoo.registry import Registry

__all__ = ["ADAPTERS", "Adapter", "AdapterBatch", "AdapterContext", "AdapterInputs", "GenerationContext", "Host"]

ADAPTERS: Registry[Adapter] = Registry("adapter", "vlmzoo.adapters")
"""Each is built from its own options and the ``host``, what it needs to know of the base."""
