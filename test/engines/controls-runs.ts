/** Faults that the suite of runs must find. */
import { runsConformance } from "../../src/conformance/index.ts";
import type { StoreDriver } from "../../src/store/driver.ts";
import type { Op, QueueSettle, RunsRecord, RunsSend } from "../../src/store/ops.ts";
import { OpsChanged, ReadsChanged, ResultsChanged } from "./broken.ts";

type Break = () => (inner: StoreDriver) => StoreDriver;

const changeOps = (change: (op: Op) => Op): Break => {
  return () => (inner) => new OpsChanged(inner, change);
};
const records = (change: (op: RunsRecord) => RunsRecord): Break =>
  changeOps((op) => (op.op === "runs.record" ? change(op) : op));
const sends = (change: Partial<RunsSend>): Break =>
  changeOps((op) => (op.op === "runs.send" ? { ...op, ...change } : op));
const suspends = (change: Partial<QueueSettle>): Break =>
  changeOps((op) => {
    return op.op === "queue.settle" && op.outcome === "suspended" ? { ...op, ...change } : op;
  });

/** What was refused with this code is said to hold. */
const unrefused = (code: string): Break => {
  return () => (inner) =>
    new ResultsChanged(inner, (group, result) => {
      const isOurs = group.ops.some((op) => op.op === "runs.record");
      if (result.ok || result.refusal.code !== code || !isOurs) return result;
      const state = { lastRecord: 0, lastEvent: 0, nowMs: 0 };
      return { ok: true, revision: 1, results: group.ops.map(() => state) };
    });
};

/** A journal read from its end back. */
const backwards: Break = () => (inner) =>
  new ReadsChanged(inner, (read, result) => {
    if (read.read !== "runs.journal" || result === null) return result;
    const page = result as { readonly records: readonly unknown[] };
    return { ...page, records: [...page.records].reverse() };
  });

const suite = runsConformance;

export const runsControls = [
  {
    fault: "lets anybody append to a journal",
    suite,
    breaks: unrefused("FENCED"),
    sentences: [/^Only the holder appends/, /^Records, other ops/],
  },
  {
    fault: "appends wherever the journal ends",
    suite,
    breaks: unrefused("CONFLICT"),
    sentences: [/^Records follow/, /^The same records again/],
  },
  {
    fault: "loses the order of a journal",
    suite,
    breaks: backwards,
    sentences: [/^Records come back/, /^A lost run comes/],
  },
  {
    fault: "forgets when a record is due",
    suite,
    breaks: records((op) => {
      return { ...op, records: op.records.map((each) => ({ ...each, delayMs: null })) };
    }),
    sentences: [/^Records come back/],
  },
  {
    fault: "takes every record for progress",
    suite,
    breaks: records((op) => ({ ...op, isProgress: true })),
    sentences: [/^Records that say/],
  },
  {
    fault: "takes every sending for a new one",
    suite,
    breaks: sends({ id: null }),
    sentences: [/^Sending an event again/],
  },
  {
    fault: "passes over whoever is not there",
    suite,
    breaks: sends({ isLenient: true }),
    sentences: [/^An event to a run that is missing/],
  },
  {
    fault: "sleeps through events",
    suite,
    breaks: suspends({ seen: Number.MAX_SAFE_INTEGER }),
    sentences: [/^An event that the holder did not know/],
  },
  {
    fault: "never wakes by time",
    suite,
    breaks: suspends({ untilMs: null }),
    sentences: [/^A suspended run is never/],
  },
  {
    fault: "suspends for no time at all",
    suite,
    breaks: suspends({ untilMs: 0 }),
    sentences: [/^A suspended run is never/, /^A run that is suspended without/],
  },
] as const;
