"""Named queries: each is written once, and asked over the scope of whoever uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from otel_tts.conditions.objectives import Objectives
from otel_tts.promql.naming import label, series
from otel_tts.semconv import SYNTHESIS_REQUESTS, VOICE, Attribute, Metric

MOST_VOICES = 10
"""How many voices a legend has room for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a query is asked about.

    matchers: label matchers, written as PromQL has them (``service_name="tts"``), that every selector carries. places: patterns (RE2,
    anchored) for the labels of where processes run, which every selector carries too, but those of alerts. window: the range of
    rates and increases (``5m``, ``$__rate_interval``). narrowed: patterns (RE2, anchored) for the values of attributes; each narrows the
    metrics that have the attribute, and no others. by: labels that the answer is split by, beside the query's own. objectives: what the
    service is held to, for queries that judge it. ranked_over: the time at the end of all that is shown over which voices are ranked
    by their requests, so that only the first `MOST_VOICES` are in the answer; empty for all voices.
    """

    matchers: tuple[str, ...] = ()
    places: Mapping[str, str] = field(default_factory=dict)
    window: str = "5m"
    narrowed: Mapping[Attribute, str] = field(default_factory=dict)
    by: tuple[str, ...] = ()
    objectives: Objectives = field(default_factory=Objectives)
    ranked_over: str = ""

    def select(self, name: str, *matchers: str) -> str:
        """An instant selector of the series ``name``.

        Args:
            name: of the query.
            matchers: of labels, in PromQL.
        """
        placed = (f'{label}=~"{pattern}"' for label, pattern in self.places.items())
        return f"{name}{{{', '.join((*self.matchers, *placed, *matchers))}}}"

    def select_alerts(self, name: str, matchers: str) -> str:
        """An instant selector of alerts: those of the scope's places, and those that are of no place, such as a Collector's.

        Args:
            name: of the series.
            matchers: of labels, in PromQL.
        """
        placed = (f'{label}=~"{pattern}|"' for label, pattern in self.places.items())
        return f"{name}{{{', '.join((matchers, *placed))}}}"

    def span(self, name: str, *matchers: str) -> str:
        """A range selector of the series ``name``, over the window.

        Args:
            name: of the query.
            matchers: of labels, in PromQL.
        """
        return f"{self.select(name, *matchers)}[{self.window}]"

    def narrow(self, metric: Metric) -> tuple[str, ...]:
        """The matchers of `narrowed` that the metric takes.

        Args:
            metric: the metric.
        """
        return tuple(f'{label(key)}=~"{values}"' for key, values in self.narrowed.items() if key in metric.attributes)

    def labels(self, *attributes: Attribute) -> str:
        """The grouping of an aggregation: the scope's labels and those of ``attributes``, as ``by (...)`` holds them."""
        return ", ".join((*self.by, *map(label, attributes)))

    def busiest(self, expression: str) -> str:
        """Of an expression by voice, the series of the voices with the most requests.

        Args:
            expression: in PromQL.
        """
        requests = (
            f"increase({self.select(series(SYNTHESIS_REQUESTS), *self.narrow(SYNTHESIS_REQUESTS))}[{self.ranked_over}] @ end())"
        )
        return f"({expression}) and on ({label(VOICE)}) topk({MOST_VOICES}, sum by ({label(VOICE)}) ({requests}))"


@dataclass(frozen=True, slots=True)
class Query:
    """One named query.

    unit: UCUM, of its values. labels: the attributes its answer is split by, beside the scope's. bound: of a query that tells where a
    quantile is at least its last bucket's bound, that bound.
    """

    name: str
    description: str
    unit: str
    build: Callable[[Scope], str] = field(repr=False)
    labels: tuple[Attribute, ...] = ()
    bound: float | None = None

    def __call__(self, scope: Scope) -> str:
        """The PromQL expression over the scope."""
        expression = self.build(scope)
        return scope.busiest(expression) if scope.ranked_over and VOICE in self.labels else expression


class Queries(Mapping[str, Query]):
    """Queries by their names: those of a module, and merged, all that there are.

    Args:
        parts: are merged.
    """

    def __init__(self, *parts: Queries) -> None:
        """Merge parts.

        Raises:
            ValueError: two of them have a query of the same name.
        """
        self._queries: dict[str, Query] = {}
        for part in parts:
            for query in part.values():
                self._add(query)

    def __getitem__(self, name: str) -> Query:
        return self._queries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._queries)

    def __len__(self) -> int:
        return len(self._queries)

    def query(self, unit: str, *labels: Attribute) -> Callable[[Callable[[Scope], str]], Query]:
        """Add a function from a scope to an expression, under the function's name; its docstring is the query's description.

        Args:
            unit: UCUM, of the query's values.
            labels: what its answer is split by, beside the scope's.

        Raises:
            ValueError: the name is taken, or there is no docstring.
        """

        def add(build: Callable[[Scope], str]) -> Query:
            return self.define(build.__name__, build.__doc__ or "", unit, build, labels)

        return add

    def define(
        self,
        name: str,
        description: str,
        unit: str,
        build: Callable[[Scope], str],
        labels: tuple[Attribute, ...] = (),
        bound: float | None = None,
    ) -> Query:
        """Add a query.

        Args:
            name: of the query.
            description: of its values, for people.
            unit: UCUM, of the values.
            build: makes the expression over a scope.
            labels: the attributes by which the answer is split, beside the scope's.
            bound: of the last bucket, of a query that tells where a quantile reaches it; None: of every other.

        Raises:
            ValueError: the name is taken, or there is no description.
        """
        if not description:
            raise ValueError(f"The query {name} has no description.")
        return self._add(Query(name, description, unit, build, labels, bound))

    def _add(self, query: Query) -> Query:
        if query.name in self._queries:
            raise ValueError(f"The query {query.name} is there already.")
        self._queries[query.name] = query
        return query
