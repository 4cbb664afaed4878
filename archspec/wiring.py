"""Who reads whom within a body: edges from nowhere, cycles, and tensors that nobody uses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from archspec.errors import Mark, SpecError, brief, did_you_mean
from archspec.names import ids_of, words
from archspec.source import Key, Node
from archspec.steps import Step


def check_sources(
    step: Step, names: set[str], later: Mapping[str, Mark], items: tuple[Node, ...]
) -> None:
    for source in step.sources or ():
        if source in names:
            continue
        if source in later:
            cycle = _cycle(items, source)
            if cycle:
                raise SpecError(f"a cycle: {' → '.join(cycle)}", mark=source.mark)
            raise SpecError(
                f"'from: {source}' reads a step that comes later (line {later[source].line})",
                mark=source.mark,
                hint="a step reads earlier steps only; move it down",
            )
        raise SpecError(
            f"{brief(f'from: {source}')} reads from nowhere: no step before this has that id",
            mark=source.mark,
            hint=did_you_mean(source, names),
        )


def _cycle(items: tuple[Node, ...], start: str) -> list[str]:
    """The ids on a cycle through `start`, if the edges of a body form one."""
    import networkx

    graph: networkx.DiGraph[str] = networkx.DiGraph()
    previous: Key | None = None
    for item in items:
        ids = ids_of(item)
        sources: tuple[Key, ...] = (previous,) if previous is not None else ()
        if isinstance(item.value, dict) and len(item.value) == 1:
            ((_, value),) = item.value.items()
            if isinstance(value.value, dict) and "from" in value.value:
                sources = words(value.value["from"])
        graph.add_edges_from((str(source), str(key)) for source in sources for key in ids)
        # a step without an id still hands on what it read
        previous = ids[0] if len(ids) == 1 else previous if not ids else None
    if start not in graph:
        return []
    try:
        edges = networkx.find_cycle(graph, start)
    except networkx.NetworkXNoCycle:
        return []
    return [edges[0][0], *(edge[1] for edge in edges)]


def check_all_used(steps: list[Step], inputs: set[str]) -> None:
    """Every output must be read: by the next step, by name, or as the result of the body."""
    read = {str(source) for step in steps for source in _all_sources(step)}
    for position, step in enumerate(steps):
        is_last = position == len(steps) - 1
        taken = not is_last and steps[position + 1].sources is None
        if step.kind == "op" and step.name == "split":
            if len(step.ids) < 2 and not is_last:
                raise SpecError(
                    "'split' has several outputs; name each of them", mark=step.mark,
                    hint="- split: {into: 2, id: [u, v]}",
                )  # fmt: skip
            if is_last:
                raise SpecError(
                    "a body must end in one tensor, and 'split' has several", mark=step.mark
                )
            if taken:
                raise SpecError(
                    "the step after a 'split' must say which part it reads",
                    mark=steps[position + 1].mark,
                    hint=f"from: {step.ids[0]}",
                )
        elif len(step.ids) > 1:
            raise SpecError(
                f"'{step.name}' has one output, found {len(step.ids)} ids", mark=step.mark
            )
        elif is_last or taken:
            continue
        unread = [key for key in step.ids if key not in read]
        if unread or not step.ids:
            what = f"{str(unread[0])!r}" if unread else f"this '{step.name}'"
            raise SpecError(
                f"nobody uses {what}: the next step reads something else", mark=step.mark,
                hint="remove it, or name it in a later 'from'",
            )  # fmt: skip
    for name in sorted(inputs - read):
        raise SpecError(f"nobody uses the input {name!r}", mark=steps[0].mark)


def _all_sources(step: Step) -> Iterator[Key]:
    yield from step.sources or ()
    for body in step.bodies:
        for inner in body:
            yield from _all_sources(inner)
