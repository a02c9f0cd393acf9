"""What panels are made of: Grafana's own builders, with our defaults.

A panel says what it shows, what is normal, and what to do when it is not: ``about`` becomes its description.
"""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

with warnings.catch_warnings():
    # It would rather have dashboards of the second kind, which Grafana before 12 cannot read.
    warnings.simplefilter("ignore", DeprecationWarning)
    from grafana_foundation_sdk.builders import common as c
    from grafana_foundation_sdk.builders import dashboard as d
    from grafana_foundation_sdk.builders import prometheus, stat, statetimeline, table, text, timeseries
    from grafana_foundation_sdk.models import common as cm
    from grafana_foundation_sdk.models import dashboard as dm
    from grafana_foundation_sdk.models import prometheus as pm
    from grafana_foundation_sdk.models import table as tablem
    from grafana_foundation_sdk.models import text as tm

TAG = "xfrmctl"
JOB = 'job="xfrmctl"'
BYTES, BITS, PACKETS, SECONDS, PER_SECOND, COUNT = "suffix:bytes", "bps", "pps", "s", "cps", "none"
"""Units. Sizes of packets are written out: 1446 bytes, never 1.41 KiB."""

GREEN, YELLOW, RED, BLUE, GREY = "green", "yellow", "red", "blue", "text"
Steps = Sequence[tuple[float | None, str]]
"""Colours from a value on; the first has None."""

GOOD_AT_ONE: Steps = ((None, RED), (1, GREEN))
BAD_FROM_ONE: Steps = ((None, GREEN), (1, RED))
PLAIN: Steps = ((None, BLUE),)
UP_DOWN = {"1": ("up", GREEN), "0": ("down", RED)}
YES_NO = {"1": ("yes", GREEN), "0": ("no", RED)}

_SOURCE = cm.DataSourceRef(type_val="prometheus", uid="${datasource}")
_LEVELS = {
    "J": f'{JOB}, instance=~"$gateway"',
    "G": 'instance=~"$gateway"',
    "C": 'instance=~"$gateway", connection=~"$connection"',
    "K": 'instance=~"$gateway", connection=~"$connection", child=~"$child"',
}


def spelled(expr: str) -> str:
    """An expression with the abbreviations written out.

    ``{G}`` selects the gateways that are chosen, ``{C}`` also the connections, ``{K}`` also the children, ``{J}`` the
    targets of Prometheus; ``{K, direction="in"}`` more than that. ``[R]`` is Grafana's range for rates.
    """
    chosen = re.sub(r"\{([JGCK])\b", lambda found: "{" + _LEVELS[found[1]], expr)
    return " ".join(chosen.replace("[R]", "[$__rate_interval]").split())


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and how its series are called: ``{{label}}`` is put in."""

    expr: str
    legend: str = ""


Dashboard = dm.Dashboard
Panel = timeseries.Panel | stat.Panel | table.Panel | statetimeline.Panel | text.Panel


@dataclass(frozen=True, slots=True)
class Row:
    """A heading and the panels below it, 24 columns to a line."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table: the name that it has in the query's result, and how it is shown."""

    name: str
    title: str
    unit: str = ""
    link: str = ""
    words: Mapping[str, tuple[str, str]] | None = None


def graph(
    title: str,
    about: str,
    *queries: Query,
    unit: str,
    width: int = 12,
    height: int = 8,
    stacked: bool = False,
    mirrored: str = "",
    steps: bool = False,
    least: float | None = 0,
) -> timeseries.Panel:
    """Lines over time. ``mirrored`` is a pattern of names that are drawn downwards; ``steps``: values that jump."""
    legend = c.VizLegendOptions().display_mode(cm.LegendDisplayMode.TABLE).placement(cm.LegendPlacement.BOTTOM)
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(_SOURCE)
        .span(width)
        .height(height)
        .unit(unit)
        .line_width(1)
        .fill_opacity(30 if stacked else 8)
        .show_points(cm.VisibilityMode.AUTO)
        .line_interpolation(cm.LineInterpolation.STEP_AFTER if steps else cm.LineInterpolation.LINEAR)
        .color_scheme(d.FieldColor().mode(dm.FieldColorModeId.PALETTE_CLASSIC))
        .legend(legend.show_legend(True).calcs(["lastNotNull", "max"]))
        .tooltip(c.VizTooltipOptions().mode(cm.TooltipDisplayMode.MULTI).sort(cm.SortOrder.DESCENDING))
        .targets([_target(query, number) for number, query in enumerate(queries)])
    )
    if least is not None and not mirrored:
        panel.min(least)
    if stacked:
        panel.stacking(c.StackingConfig().mode(cm.StackingMode.NORMAL).group("A"))
    if mirrored:
        panel.override_by_regexp(f"/{mirrored}/", [dm.DynamicConfigValue("custom.transform", "negative-Y")])
    return panel


def tile(
    title: str,
    about: str,
    query: Query,
    *,
    unit: str = COUNT,
    width: int = 3,
    steps: Steps = PLAIN,
    words: Mapping[str, tuple[str, str]] | None = None,
    name: bool = False,
    history: bool = False,
) -> stat.Panel:
    """One number, or with ``name`` the name of its series."""
    calc = c.ReduceDataOptions().calcs(["lastNotNull"]).values(False)
    panel = (
        stat.Panel()
        .title(title)
        .description(about)
        .datasource(_SOURCE)
        .span(width)
        .height(4)
        .unit(unit)
        .no_value("none")
        .color_mode(cm.BigValueColorMode.VALUE)
        .graph_mode(cm.BigValueGraphMode.AREA if history else cm.BigValueGraphMode.NONE)
        .text_mode(cm.BigValueTextMode.NAME if name else cm.BigValueTextMode.AUTO)
        .reduce_options(calc)
        .thresholds(_thresholds(steps))
        .targets([_target(query, 0)])
    )
    if words:
        panel.mappings([_mapping(words)])
    return panel


def listing(
    title: str,
    about: str,
    queries: Sequence[Query],
    columns: Sequence[Column],
    *,
    width: int = 24,
    height: int = 8,
    hidden: Sequence[str] = (),
) -> table.Panel:
    """A table of the latest values: one row for each set of labels that the queries share."""
    order = {column.name: place for place, column in enumerate(columns)}
    organize: dict[str, object] = {
        "indexByName": order,
        "renameByName": {column.name: column.title for column in columns},
        "excludeByName": dict.fromkeys(["Time", *hidden], True),
    }
    panel = (
        table.Panel()
        .title(title)
        .description(about)
        .datasource(_SOURCE)
        .span(width)
        .height(height)
        .show_header(True)
        .no_value("none")
        .cell_height(cm.TableCellHeight.SM)
        .targets([_target(query, number, table=True) for number, query in enumerate(queries)])
        .with_transformation(dm.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(dm.DataTransformerConfig(id_val="organize", options=organize))
    )
    for column in columns:
        settings = _settings(column)
        if settings:
            panel.override_by_name(column.title, settings)
    return panel


def timeline(
    title: str,
    about: str,
    query: Query,
    *,
    words: Mapping[str, tuple[str, str]] = UP_DOWN,
    width: int = 24,
    height: int = 8,
) -> statetimeline.Panel:
    """States over time, one line for each series."""
    return (
        statetimeline.Panel()
        .title(title)
        .description(about)
        .datasource(_SOURCE)
        .span(width)
        .height(height)
        .no_value("none")
        .mappings([_mapping(words)])
        .thresholds(_thresholds(GOOD_AT_ONE))
        .color_scheme(d.FieldColor().mode(dm.FieldColorModeId.THRESHOLDS))
        .show_value(cm.VisibilityMode.NEVER)
        .row_height(0.8)
        .merge_values(True)
        .legend(c.VizLegendOptions().display_mode(cm.LegendDisplayMode.LIST).placement(cm.LegendPlacement.BOTTOM)
                .show_legend(True).calcs([]))
        .tooltip(c.VizTooltipOptions().mode(cm.TooltipDisplayMode.SINGLE).sort(cm.SortOrder.NONE))
        .targets([_target(query, 0)])
    )  # fmt: skip


def note(title: str, markdown: str, *, width: int = 8, height: int = 8) -> text.Panel:
    """Text for the operator."""
    return text.Panel().title(title).span(width).height(height).mode(tm.TextMode.MARKDOWN).content(markdown)


def chooser(name: str, label: str, query: str, *, several: bool = True, about: str = "") -> d.QueryVariable:
    """A variable with the values of a label: ``query`` is ``label_values(series, label)``."""
    variable = (
        d.QueryVariable(name)
        .label(label)
        .description(about)
        .datasource(_SOURCE)
        .query({"query": spelled(query), "refId": name})
        .refresh(dm.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(dm.VariableSort.NATURAL_ASC)
        .multi(several)
        .include_all(several)
    )
    if several:
        everything = dm.VariableOption(selected=True, text="All", value="$__all")
        variable.all_value(".*").current(everything)
    return variable


GATEWAYS = f"label_values(up{{{JOB}}}, instance)"
CONNECTIONS = "label_values(xfrmctl_connection_up{G}, connection)"
CHILDREN = "label_values(xfrmctl_child_up{C}, child)"


def assembled(
    uid: str, title: str, about: str, choosers: Sequence[d.QueryVariable], rows: Sequence[Row]
) -> dm.Dashboard:
    """The whole dashboard, with links to the others; the first row has no heading."""
    made = (
        d.Dashboard(title)
        .uid(uid)
        .description(about)
        .tags([TAG, "ipsec"])
        .time("now-3h", "now")
        .refresh("30s")
        .timezone("browser")
        .tooltip(dm.DashboardCursorSync.CROSSHAIR)
        .editable()
        .with_variable(d.DatasourceVariable("datasource").label("Data source").type("prometheus"))
        .link(d.DashboardLink("xfrmctl").type(dm.DashboardLinkType.DASHBOARDS).tags([TAG]).icon("external link")
              .as_dropdown(False).include_vars(True).keep_time(True).target_blank(False).tooltip(""))
        .annotation(_mark("Daemon started", "yellow", "changes(xfrmctl_start_time_seconds{G}[2m]) > 0",
                          "{{instance}}: the daemon has started again"))
        .annotation(_mark("Alert", "red", 'ALERTS{alertname=~"Xfrmctl.*", alertstate="firing", instance=~"$gateway"}',
                          "{{alertname}} {{instance}} {{connection}}"))
    )  # fmt: skip
    for variable in choosers:
        made.with_variable(variable)
    number = 0
    for row in rows:
        if row.title:
            number += 1
            made.with_row(d.Row(row.title).id(number))
        for panel in row.panels:
            number += 1
            made.with_panel(panel.id(number))
    return _without_leftovers(made.build())


def to(uid: str, *fields: str) -> str:
    """A link to another dashboard, for the gateway or the connection of the row."""
    wanted = "&".join(f"var-{name}=${{__data.fields[{field!r}]}}" for name, field in (f.split("=") for f in fields))
    return f"/d/{uid}?{wanted}&${{__url_time_range}}".replace("'", '"')


def _without_leftovers(dashboard: dm.Dashboard) -> dm.Dashboard:
    """What the builders write and Grafana's published types do not know."""
    assert dashboard.templating is not None
    for variable in dashboard.templating.list_val or []:
        variable.auto = variable.auto_min = variable.auto_count = None
    for panel in dashboard.panels or []:
        if isinstance(panel, dm.Panel) and isinstance(panel.options, tablem.Options):
            panel.options.footer = None
    return dashboard


def _target(query: Query, number: int, *, table: bool = False) -> prometheus.Dataquery:
    made = (
        prometheus.Dataquery()
        .datasource(_SOURCE)
        .expr(spelled(query.expr))
        .ref_id(chr(ord("A") + number))
        .editor_mode(pm.QueryEditorMode.CODE)
    )
    if query.legend:
        made.legend_format(query.legend)
    if table:
        return made.instant().format(pm.PromQueryFormat.TABLE)
    return made.range()


def _mark(name: str, color: str, expr: str, title: str) -> d.AnnotationQuery:
    return (
        d.AnnotationQuery()
        .name(name)
        .datasource(_SOURCE)
        .enable(True)
        .icon_color(color)
        .expr(spelled(expr))
        .title_format(title)
        .step("60s")
    )


def _thresholds(steps: Steps) -> d.ThresholdsConfig:
    return (
        d.ThresholdsConfig()
        .mode(dm.ThresholdsMode.ABSOLUTE)
        .steps([dm.Threshold(value=value, color=color) for value, color in steps])
    )


def _mapping(words: Mapping[str, tuple[str, str]]) -> dm.ValueMap:
    results = {
        value: dm.ValueMappingResult(text=shown, color=color, index=place)
        for place, (value, (shown, color)) in enumerate(words.items())
    }
    return dm.ValueMap(options=results)


def _settings(column: Column) -> list[dm.DynamicConfigValue]:
    found = []
    if column.unit:
        found.append(dm.DynamicConfigValue("unit", column.unit))
    if column.link:
        link = {"title": "look at it", "url": column.link, "targetBlank": False}
        found.append(dm.DynamicConfigValue("links", [link]))
    if column.words:
        found.append(dm.DynamicConfigValue("mappings", [_mapping(column.words)]))
        found.append(dm.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}))
    return found
