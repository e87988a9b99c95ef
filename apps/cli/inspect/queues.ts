/** `holdfast inspect queues [NAME] [--pause | --resume]` */
import type { QueueConfig, QueueView } from "holdfast/store";
import { oneOption, type Options } from "../args.ts";
import { ActionError, UsageError } from "../failure.ts";
import { list, table, type Cell, type Column, type Layout } from "../table.ts";
import { numberText, spanText } from "../text.ts";
import { nothingHere, type Place, type View } from "./open.ts";

const ABOUT = "inspect queues";

export async function inspectQueues(
  place: Place,
  args: readonly string[],
  options: Options,
): Promise<View> {
  const [name] = args;
  const action = oneOption(options, ["pause", "resume"]);
  if (name === undefined) {
    if (action === undefined) return allQueues(place);
    throw new UsageError(`Expected --${action} with the queue's name`, ABOUT);
  }
  if (action === undefined) return oneView(await find(place, name));
  // A queue that is not there would be made by pausing it, and a mistyped name would pause nothing.
  await find(place, name);
  const queue = place.hf.queue(name, { partition: place.partition });
  await (action === "pause" ? queue.pause() : queue.resume());
  return oneView(await find(place, name));
}

async function read(place: Place, queues: readonly string[] | null): Promise<readonly QueueView[]> {
  const { store } = place.hf;
  const partition = store.partitionName(place.partition);
  const [views] = await store.read([{ read: "queue.stats", partition, queues }]);
  return views;
}

async function find(place: Place, name: string): Promise<QueueView> {
  // The port checks the name.
  const { name: queue, partition } = place.hf.queue(name, { partition: place.partition });
  const [view] = await read(place, [queue]);
  if (view !== undefined) return view;
  throw new ActionError("NOT_FOUND", `There is no queue "${name}" in ${partition}`);
}

const COLUMNS: readonly Column[] = [
  { title: "QUEUE", atLeast: 8 },
  { title: "READY", align: "right" },
  { title: "LEASED", align: "right" },
  { title: "SCHEDULED", align: "right" },
  { title: "BLOCKED", align: "right" },
  { title: "DEAD", align: "right" },
  { title: "CANCELLED", align: "right" },
  { title: "COMPLETED", align: "right" },
  { title: "OLDEST", align: "right" },
  { title: "STATE" },
];

async function allQueues(place: Place): Promise<View> {
  const views = [...(await read(place, null))].sort((a, b) => (a.queue < b.queue ? -1 : 1));
  const empty = views.length > 0 ? "" : await nothingHere(place, "queues");
  return {
    json: { queues: views },
    text: (layout) => (empty === "" ? table(COLUMNS, views.map(rowOf), layout) : empty),
  };
}

function rowOf({ queue, counts, oldestReadyMs, isPaused }: QueueView): Cell[] {
  const count = (value: number): Cell =>
    value === 0 ? { text: "0", style: "dim" } : numberText(value);
  return [
    queue,
    count(counts.ready),
    count(counts.leased),
    count(counts.scheduled),
    count(counts.blocked),
    counts.dead === 0 ? count(0) : { text: numberText(counts.dead), style: "red" },
    count(counts.cancelled),
    count(counts.completed),
    oldestReadyMs === null ? { text: "-", style: "dim" } : spanText(oldestReadyMs),
    stateCell(isPaused),
  ];
}

function stateCell(isPaused: boolean): Cell {
  return isPaused ? { text: "paused", style: "yellow" } : { text: "running", style: "green" };
}

function oneView(view: QueueView): View {
  return { json: { queue: view }, text: (layout) => detail(view, layout) };
}

function detail(
  { queue, counts, isPaused, config, oldestReadyMs }: QueueView,
  layout: Layout,
): string {
  const states = Object.entries(counts).map(
    ([state, count]) => [state, numberText(count)] as const,
  );
  return list(
    [
      ["queue", queue],
      ["state", stateCell(isPaused)],
      ...states,
      ["oldest ready", oldestReadyMs === null ? "-" : spanText(oldestReadyMs)],
      ...rules(config),
    ],
    layout,
  );
}

function rules(config: QueueConfig): (readonly [string, string])[] {
  const { rate } = config;
  const limit = (value: number | null): string => (value === null ? "no limit" : numberText(value));
  const starts =
    rate === null
      ? "no limit"
      : `${numberText(rate.count)} in ${spanText(rate.perMs)}, burst ${numberText(rate.burst)}`;
  const scope = rate?.isPerKey === true ? ", per key" : "";
  return [
    ["at once per key", numberText(config.perKey)],
    ["at once in all", limit(config.maxLeased)],
    ["rate", starts + scope],
    ["may wait", limit(config.maxWaiting)],
    ["priority step", spanText(config.ageMs)],
    ["deliveries", `${numberText(config.maxDeliveries)} at most`],
    ["finished kept", `${spanText(config.keepMs)}, ${numberText(config.keepCount)} at most`],
    ["dead kept", spanText(config.keepDeadMs)],
  ];
}
