// The types of a dashboard file, out of those that Grafana publishes (@grafana/schema, Apache-2.0), made strict:
// its own `Panel` takes anything as options, targets and custom field settings. Each kind of panel that we use has a
// type of its own here, so that a validator can choose by `type` and say what is wrong.
import * as D from "@grafana/schema/dist/types/raw/dashboard/x/types.gen";
import * as C from "@grafana/schema/dist/types/common/common.gen";
import * as Stat from "@grafana/schema/dist/types/raw/composable/stat/panelcfg/x/types.gen";
import * as StateTimeline from "@grafana/schema/dist/types/raw/composable/statetimeline/panelcfg/x/types.gen";
import * as Table from "@grafana/schema/dist/types/raw/composable/table/panelcfg/x/types.gen";
import * as Text from "@grafana/schema/dist/types/raw/composable/text/panelcfg/x/types.gen";
import * as TimeSeries from "@grafana/schema/dist/types/raw/composable/timeseries/panelcfg/x/types.gen";

// A query of the Prometheus data source. No package publishes its type; these are the keys that its editor writes.
export interface PrometheusTarget {
  datasource: { type: "prometheus"; uid: string };
  expr: string;
  refId: string;
  format?: "time_series" | "table" | "heatmap";
  instant?: boolean;
  range?: boolean;
  exemplar?: boolean;
  hide?: boolean;
  interval?: string;
  legendFormat?: string;
  editorMode?: "code" | "builder";
  queryType?: string;
}

interface Fields<Custom> extends Omit<D.FieldConfig, "custom"> {
  custom?: Partial<Custom>;
}

interface Source<Custom> extends Omit<D.FieldConfigSource, "defaults"> {
  defaults: Fields<Custom>;
}

interface Common extends Omit<D.Panel, "type" | "options" | "fieldConfig" | "targets" | "gridPos" | "id" | "title"> {
  id: number;
  title: string;
  gridPos: D.GridPos;
}

type Plain = Record<string, never>;

export interface PanelTimeseries extends Common {
  type: "timeseries";
  options: Partial<TimeSeries.Options>;
  fieldConfig: Source<TimeSeries.FieldConfig>;
  targets: PrometheusTarget[];
}

export interface PanelStat extends Common {
  type: "stat";
  options: Partial<Stat.Options>;
  fieldConfig: Source<Plain>;
  targets: PrometheusTarget[];
}

export interface PanelStatetimeline extends Common {
  type: "state-timeline";
  options: Partial<StateTimeline.Options>;
  fieldConfig: Source<StateTimeline.FieldConfig>;
  targets: PrometheusTarget[];
}

export interface PanelTable extends Common {
  type: "table";
  options: Partial<Table.Options>;
  fieldConfig: Source<C.TableFieldOptions>;
  targets: PrometheusTarget[];
}

export interface PanelText extends Common {
  type: "text";
  options: Partial<Text.Options>;
}

export interface PanelRow extends Omit<D.RowPanel, "panels"> {
  panels: never[];
}

// A variable of the two kinds that we use.
interface Variable extends Omit<D.VariableModel, "type" | "query"> {
  type: "query" | "datasource";
  query: string | { query: string; refId?: string };
}

interface Annotation extends Omit<D.AnnotationQuery, "target"> {
  expr?: string;
  titleFormat?: string;
  textFormat?: string;
  tagKeys?: string;
  step?: string;
  target?: PrometheusTarget;
}

// The whole file without its panels, which are checked one by one, each by the type that it says it is.
export interface DashboardFile extends Omit<D.Dashboard, "panels" | "templating" | "annotations" | "uid" | "title" | "id"> {
  uid: string;
  title: string;
  panels: never[];
  templating: { list: Variable[] };
  annotations: { list: Annotation[] };
}
