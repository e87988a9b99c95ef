/** Groups that send to one run more than once. */
import { expect, test } from "vitest";
import { ManualClock } from "../../../core/clock.ts";
import type { Group, GroupResult, Op, RunsSend } from "../../../store/ops.ts";
import { MemoryState } from "../../memory/index.ts";

const QUEUE = "$run/r";

function send(more: Partial<RunsSend> = {}): RunsSend {
  const event = { event: "e", data: "1", id: "s", isLenient: false };
  return { op: "runs.send", queue: QUEUE, run: "1", ...event, ...more };
}
const start: Op = {
  ...{ op: "queue.enqueue", queue: QUEUE, id: "1", isFresh: false, payload: "", delayMs: 0 },
  ...{ priority: 0, key: null, dedupe: null, trace: null },
};

/** Commits groups of these ops in turn; gives the last result. */
function commit(...groups: readonly (readonly Op[])[]): GroupResult {
  const state = new MemoryState({ clock: new ManualClock() });
  const results = groups.map((ops) => state.commit([{ partition: "p", ops } satisfies Group])[0]);
  return results.at(-1) as GroupResult;
}

test("the same sending twice in one group is one event", () => {
  const result = commit([start], [send(), send()]);
  expect(result).toMatchObject({
    results: [
      { no: 1, status: "sent" },
      { no: 1, status: "exists" },
    ],
  });
  expect(commit([start, send(), send()])).toMatchObject({ ok: true });
});

test("another event under an id that the group has used is refused, also of a run that it starts", () => {
  const refusal = { code: "ALREADY_EXISTS" };
  const other = send({ data: "2" });
  expect(commit([start], [send(), other])).toMatchObject({ refusal: { ...refusal, index: 1 } });
  expect(commit([start, send(), other])).toMatchObject({ refusal: { ...refusal, index: 2 } });
  expect(commit([start], [send(), send({ event: "f" })])).toMatchObject({ refusal });
  // Another run's ids are its own.
  const second: Op = { ...start, id: "2" };
  expect(commit([start, second, send(), { ...other, run: "2" }])).toMatchObject({ ok: true });
});
