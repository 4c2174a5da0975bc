"""Tables of constructors by name: every thing that a config can name stands in one of them."""

import importlib
import importlib.metadata
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Generic, TypeAlias, TypeVar

from vlmzoo.errors import ConfigError, RegistryError

__all__ = ["PLUGIN_GROUP", "Entry", "NestedSpecs", "Registry", "nearest_hint"]

PLUGIN_GROUP = "vlmzoo.plugins"

T = TypeVar("T")
C = TypeVar("C", bound=Callable[..., Any])

NestedSpecs: TypeAlias = Mapping[str, Callable[[Any], object]]
"""What checks the arguments of a constructor that are specs themselves, by name: ``{"source": SOURCES.check}``."""


def nearest_hint(name: str, candidates: Iterable[str]) -> str:
    """Return `` Did you mean `x`?`` for the candidate nearest to ``name``, or the empty string."""
    matches = get_close_matches(name, list(candidates), n=1, cutoff=0.5)
    return f" Did you mean `{matches[0]}`?" if matches else ""


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One row of a registry.

    Args:
        name: what a config writes under ``type``.
        build: the constructor; its signature is the schema of the row.
        source: paper and section, or documentation, that the row implements.
        tiny: the smallest arguments that work on a CPU; tests build every row from them.
    """

    name: str
    build: Callable[..., T]
    source: str
    tiny: Mapping[str, Any]

    @property
    def place(self) -> str:
        """Module and name of the constructor, for messages."""
        return f"{self.build.__module__}.{getattr(self.build, '__qualname__', self.build)}"


def _load_plugin(plugin: importlib.metadata.EntryPoint) -> None:
    """Import what another package offers.

    Raises:
        RegistryError: if it cannot be imported.
    """
    try:
        plugin.load()
    except Exception as error:  # whatever another package may raise
        raise RegistryError(
            f"The plug-in `{plugin.name}` ({plugin.value}) cannot be imported: {error!r}; mend or uninstall it."
        ) from error


class Registry(Generic[T]):
    """A table of constructors of one kind, filled by the modules of one package.

    Args:
        kind: singular noun used in error messages, e.g. ``"projector"``.
        home: package whose modules register here; imported on first look-up, so
            adding an entry is adding a file.
    """

    def __init__(self, kind: str, home: str) -> None:
        self.kind = kind
        self.home = home
        self._entries: dict[str, Entry[T]] = {}
        self._is_filled = False

    def register(self, name: str, *, source: str, tiny: Mapping[str, Any]) -> Callable[[C], C]:
        """Decorate a constructor so that configs can name it.

        Raises:
            RegistryError: if ``name`` is taken by another constructor, or ``source`` is empty.
        """
        if not source.strip():
            raise RegistryError(f"{self.kind} `{name}` must name its `source`: a paper and section, or a page.")

        def decorate(build: C) -> C:
            entry: Entry[T] = Entry(name, build, source, dict(tiny))
            known = self._entries.get(name)
            if known is not None and known.place != entry.place:
                raise RegistryError(
                    f"{self.kind} `{name}` is registered twice: by {known.place} and by {entry.place}; rename one."
                )
            self._entries[name] = entry
            return build

        return decorate

    def entry(self, name: str) -> Entry[T]:
        """Look a name up.

        Raises:
            RegistryError: if nothing is registered under ``name``; the nearest name is in the message.
        """
        self._fill()
        if name not in self._entries:
            known = ", ".join(f"`{other}`" for other in sorted(self._entries)) or "none"
            raise RegistryError(
                f"There is no {self.kind} named `{name}`.{nearest_hint(name, self._entries)} Known: {known}."
            )
        return self._entries[name]

    def check(self, spec: Mapping[str, Any], *, runtime: Iterable[str] = ()) -> Entry[T]:
        """Check a ``{type: name, …}`` mapping against the constructor's signature, building nothing.

        A constructor whose arguments are specs themselves tells ``nested_specs``, so that a wrong name is found however
        deep it stands.

        Args:
            spec: the mapping as read from YAML.
            runtime: names of arguments that will be given at build time.

        Raises:
            ConfigError: if ``type`` is missing, or an argument is unknown, missing or given twice.
            RegistryError: if the name is unknown.
        """
        if not isinstance(spec, Mapping) or not isinstance(spec.get("type"), str):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigError(f"A {self.kind} must be a mapping with a `type`, but is {spec!r} instead.")
        entry = self.entry(spec["type"])
        arguments = {name: value for name, value in spec.items() if name != "type"}
        parameters = inspect.signature(entry.build).parameters
        accepts_any = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
        for name in arguments:
            if name not in parameters and not accepts_any:
                raise ConfigError(f"{self.kind} `{entry.name}` takes no `{name}`.{nearest_hint(name, parameters)}")
            if name in set(runtime):
                raise ConfigError(f"{self.kind} `{entry.name}` is given `{name}` by the library; leave it out.")
        try:
            inspect.signature(entry.build).bind(**arguments, **dict.fromkeys(runtime))
        except TypeError as error:
            raise ConfigError(f"{self.kind} `{entry.name}`: {error}.") from error
        nested: NestedSpecs = getattr(entry.build, "nested_specs", {})
        for name, check in nested.items():
            if isinstance(arguments.get(name), (Mapping, list, tuple, str)):  # neither left out nor built already
                check(arguments[name])
        return entry

    def check_each(self, specs: Iterable[Mapping[str, Any]]) -> None:
        """Check several specs, as ``check`` does."""
        for spec in specs:
            self.check(spec)

    def build(self, spec: Mapping[str, Any], **runtime: Any) -> T:
        """Build the object that a config describes.

        Args:
            spec: ``{"type": name, **arguments}`` as read from YAML.
            runtime: objects that a config cannot hold, such as an encoder already built; those that
                the constructor does not take are an error of the caller, not of the config.

        Raises:
            ConfigError: if an argument is not in the constructor's signature, or one is missing.
            RegistryError: if the name is unknown.
        """
        entry = self.check(spec, runtime=runtime)
        return entry.build(**{name: value for name, value in spec.items() if name != "type"}, **runtime)

    def names(self) -> list[str]:
        """Return all registered names, sorted."""
        self._fill()
        return sorted(self._entries)

    def __iter__(self) -> Iterator[Entry[T]]:
        """Iterate over the entries in order of name."""
        self._fill()
        return iter([self._entries[name] for name in sorted(self._entries)])

    def __contains__(self, name: str) -> bool:
        """Say whether ``name`` is registered."""
        self._fill()
        return name in self._entries

    def _fill(self) -> None:
        """Import the modules of the home package, then the plug-ins, once."""
        if self._is_filled:
            return
        self._is_filled = True  # before the imports: they may look names up themselves
        try:
            package = importlib.import_module(self.home)
            for module in pkgutil.iter_modules(package.__path__, prefix=f"{self.home}."):
                if not module.name.rsplit(".", 1)[-1].startswith("_"):
                    importlib.import_module(module.name)
            for plugin in importlib.metadata.entry_points(group=PLUGIN_GROUP):
                _load_plugin(plugin)
        except BaseException:
            self._is_filled = False  # a table that is filled in part would answer for names that it lacks
            raise
