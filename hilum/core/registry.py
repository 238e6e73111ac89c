"""Methods by name: ours, other distributions', and one's own; built as in `{"name": "early"}`.

A method of another distribution is found in three ways: by an entry point of the group
`hilum.<kind>`, by a path such as `mylab.fusion:Mine` in place of a name, and by `Table.register`.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

from .errors import SettingsError, did_you_mean
from .plugins import Origin, attribute, inherited, offered, pass_on, path_of
from .sources import Facts, facts_of, file_of, source_hash

T = TypeVar("T")


class Table(Mapping[str, T], Generic[T]):
    """Everything of one kind by name; an entry's file is imported when it is asked for.

    Args:
        kind: As in `hilum list`; entry points of the group `hilum.<kind>` join the table.
        entries: Ours, by name: the class in the room's file of that name, or the object itself.
        base: What an entry is a concrete subclass of, or with `objects` an instance:
            `module:Class`.
        room: Package of our files.
        objects: Whether entries are objects, not classes.
    """

    def __init__(
        self,
        kind: str,
        entries: Mapping[str, Any],
        *,
        base: str,
        room: str = "",
        objects: bool = False,
    ) -> None:
        self.kind, self.base, self.objects = kind, base, objects
        self.ours: dict[str, Any] = dict(entries)
        self.room = room
        self.registered: dict[str, Any] = {}

    def __getitem__(self, name: str) -> T:
        """Return an entry by its name, or by a path.

        Raises:
            KeyError: If nobody offers the name.
            SettingsError: If what is offered does not import, or is not of this kind.
        """
        if name in self.ours:
            found = self.ours[name]
            return attribute(self._our_path(name)) if self.room else found
        if name in self.registered:
            return self.registered[name]
        return self._load(self.origin(name), name)

    def __iter__(self) -> Iterator[str]:
        """Yield names: ours, then those of others, with none that is ours or not unique."""
        yield from dict.fromkeys([*self.ours, *self.registered, *inherited(self.kind)])
        yield from (name for name in self._offers() if name not in self.ours)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self.ours or (isinstance(name, str) and (":" in name or name in [*self]))

    def origin(self, name: str) -> Origin:
        """Return where an entry comes from.

        Raises:
            KeyError: If nobody offers the name.
            SettingsError: If two distributions offer it.
        """
        if name in self.ours:
            return Origin(self._our_path(name))
        if name in self.registered:
            return Origin(path_of(self.registered[name]), "registered")
        if path := inherited(self.kind).get(name):
            return Origin(path, "registered")
        if ":" in name:
            return Origin(name, "path")
        offers = self._offers()[name]
        if len(offers) > 1:
            raise SettingsError(
                f"one distribution may offer {name!r} of {self.kind}",
                found=" and ".join(origin.owner for origin in offers),
                remedy=f"name it by its path: {' or '.join(origin.path for origin in offers)}",
            )
        return offers[0]

    def facts(self, name: str) -> Facts:
        """Return what the source of an entry's class says, without importing it."""
        return facts_of(self.origin(name).path)

    def fingerprint(self, name: str) -> str:
        """Return a hash of the source of a foreign entry; empty for ours.

        Raises:
            SettingsError: If its file cannot be found.
        """
        origin = self.origin(name)
        if not origin.owner:
            return ""
        module = origin.path.partition(":")[0]
        if file_of(module) is None:
            raise SettingsError(
                f"{name!r} of {self.kind} must lie in a Python file that can be imported",
                found=module or "no module",
                remedy="install its distribution, or put its folder on PYTHONPATH",
            )
        return source_hash(module)

    def register(self, name: str, entry: T) -> None:
        """Add an entry of one's own to this process and to those that it starts.

        A class in a script or notebook exists in this process alone; child processes import it
        from its module.

        Raises:
            SettingsError: If the name is taken, or the entry is not of this kind.
        """
        if name in self:
            raise SettingsError(
                f"the name {name!r} of {self.kind} must be free", remedy="choose another name"
            )
        self._check(entry, name)
        self.registered[name] = entry
        pass_on(self.kind, name, path_of(entry))

    def foreign(self) -> list[str]:
        """Return the names that are not ours."""
        return [name for name in self if name not in self.ours]

    def working(self) -> Iterator[tuple[str, T]]:
        """Yield every entry that can be used; a broken one of others is left out."""
        for name in self:
            try:
                yield name, self[name]
            except SettingsError:
                if name in self.ours:
                    raise

    def faults(self) -> list[str]:
        """Return a line for each foreign entry that cannot be used under its name."""
        found = []
        for name, offers in self._offers().items():
            if name in self.ours:
                found += [f"{o.owner}: the name {name!r} is taken; use {o.path}" for o in offers]
        for name in self.foreign():
            try:
                self[name]
            except SettingsError as error:
                found.append(str(error))
        return found

    def _our_path(self, name: str) -> str:
        return f"{self.room}.{name}:{self.ours[name]}" if self.room else ""

    def _offers(self) -> dict[str, list[Origin]]:
        return offered(f"hilum.{self.kind}")

    def _load(self, origin: Origin, name: str) -> T:
        """Import a foreign entry and check it."""
        try:
            found = attribute(origin.path)
        except (Exception, SystemExit) as error:  # a plug-in may fail in any way
            remedy = "mend or uninstall it, or leave it out; the rest of hilum works"
            if isinstance(error, ModuleNotFoundError) and origin.owner == "path":
                remedy = "install its distribution, or put its folder on PYTHONPATH"
            raise SettingsError(
                f"{name!r} of {self.kind} must import",
                found=f"{type(error).__name__}: {' '.join(str(error).split())} ({origin})",
                remedy=remedy,
            ) from None
        self._check(found, name)
        return found

    def _check(self, entry: object, name: str) -> None:
        """Raise an error unless an entry is of this kind."""
        base = attribute(self.base)
        if self.objects:
            wanted, right = f"an instance of {base.__name__}", isinstance(entry, base)
        else:
            wanted = f"a subclass of {base.__name__}"
            right = isinstance(entry, type) and issubclass(entry, base)
        found: object = entry if right else repr(entry)
        if right and isinstance(entry, type) and inspect.isabstract(entry):
            missing = ", ".join(sorted(getattr(entry, "__abstractmethods__", ())))
            wanted, right, found = f"{wanted} with every method", False, f"no {missing}"
        if not right:
            raise SettingsError(
                f"{name!r} of {self.kind} must be {wanted}",
                found=found,
                remedy="`hilum contract` tells all that it must keep",
            )


def build(table: Mapping[str, type[T]], spec: Mapping[str, Any], **context: Any) -> T:
    """Build the component that `spec` names.

    Args:
        table: Every component of one room by name; the room's `__init__` holds it.
        spec: The `name` of the component and its parameters.
        **context: What only the run knows, such as the channels of an encoder. The component gets
            those that its constructor names.

    Raises:
        SettingsError: If the name is not in the table or the component lacks a parameter.
    """
    cls, params = look_up(table, spec, context)
    accepted = inspect.signature(cls).parameters
    return cls(**params, **{key: value for key, value in context.items() if key in accepted})


def look_up(
    table: Mapping[str, type[T]], spec: Mapping[str, Any], context: Mapping[str, Any]
) -> tuple[type[T], dict[str, Any]]:
    """Return the class that `spec` names and its own parameters, checked."""
    params = dict(spec)
    if "name" not in params:
        raise SettingsError(
            "parameters need the name of what they belong to",
            found=", ".join(params) or "nothing",
            remedy=f"add name: one of {', '.join(table)}",
        )
    name = str(params.pop("name"))
    cls = find(table, name)
    own = [key for key in inspect.signature(cls).parameters if key not in context]
    for key in params:
        if key not in own:
            raise SettingsError(
                f"{name!r} has no {key!r}{did_you_mean(key, own)}",
                remedy=f"it has {', '.join(own) or 'no parameters'}",
            )
    return cls, params


def find(table: Mapping[str, T], name: str, what: str = "name") -> T:
    """Return the entry of a name, or raise an error that tells those there are."""
    if name not in table:
        raise SettingsError(
            f"unknown {what} {name!r}{did_you_mean(name, table)}",
            remedy=f"choose from {', '.join(table)}",
        )
    return table[name]
