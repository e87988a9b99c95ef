import * as fc from "fast-check";
import { expect, test } from "vitest";
import { Backlog, Pending } from "./backlog.ts";

const MOST = { groupsPerCommit: 4, opsPerCommit: 8, commitBytes: 20 };

function pendingOf(name: string, ops = 1, bytes = 1): Pending {
  const op = { op: "kv.get", key: "k" } as const;
  return new Pending({ partition: name, ops: Array.from({ length: ops }, () => op) }, bytes);
}

test("what is withdrawn is let go at once, and its slots soon", () => {
  const backlog = new Backlog();
  const first = pendingOf("first");
  backlog.push(first);
  for (let i = 0; i < 20_000; i++) {
    const pending = pendingOf(`${i}`);
    backlog.push(pending);
    backlog.remove(pending);
    backlog.remove(pending);
    expect(backlog.slots).toBeLessThanOrEqual(64);
  }
  expect(backlog.take(MOST)).toEqual([first]);
  expect(backlog.slots).toBe(0);
});

test("withdrawing all of a long list takes time in proportion to it, in any order", () => {
  const many = 50_000;
  for (const order of ["forwards", "backwards", "all but one"] as const) {
    const backlog = new Backlog();
    const all = Array.from({ length: many }, (_, i) => pendingOf(`${i}`));
    for (const pending of all) backlog.push(pending);
    if (order === "backwards") all.reverse();
    const kept = order === "all but one" ? all.splice(many >> 1, 1) : [];
    for (const pending of all) backlog.remove(pending);
    expect(backlog.slots).toBeLessThanOrEqual(64);
    expect(backlog.takeAll()).toEqual(kept);
  }
});

type Step =
  | { readonly do: "push"; readonly ops: number; readonly bytes: number }
  | { readonly do: "remove"; readonly which: number }
  | { readonly do: "take" };

const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      do: fc.constant("push" as const),
      ops: fc.integer({ min: 1, max: 10 }),
      bytes: fc.integer({ min: 0, max: 25 }),
    }),
  },
  { weight: 4, arbitrary: fc.record({ do: fc.constant("remove" as const), which: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("take" as const) }) },
);

/** The next batch of a plain list, by the rule. */
function cut(list: Pending[]): Pending[] {
  const batch = list.splice(0, 1);
  const sum = (of: (each: Pending) => number): number =>
    [...batch, list[0] as Pending].reduce((total, each) => total + of(each), 0);
  while (
    list.length > 0 &&
    batch.length < MOST.groupsPerCommit &&
    sum(({ group }) => group.ops.length) <= MOST.opsPerCommit &&
    sum(({ bytes }) => bytes) <= MOST.commitBytes
  ) {
    batch.push(list.shift() as Pending);
  }
  return batch;
}

test("batches are those of a list from which the withdrawn were struck out", () => {
  const property = fc.property(fc.array(step, { maxLength: 600 }), (steps) => {
    const backlog = new Backlog();
    let list: Pending[] = [];
    for (const each of steps) {
      if (each.do === "push") {
        const pending = pendingOf("p", each.ops, each.bytes);
        backlog.push(pending);
        list.push(pending);
      } else if (each.do === "take") expect(backlog.take(MOST)).toEqual(cut(list));
      else if (list.length > 0) {
        const pending = list[each.which % list.length] as Pending;
        backlog.remove(pending);
        list = list.filter((other) => other !== pending);
      }
      expect(backlog.slots).toBeLessThanOrEqual(Math.max(64, 2 * list.length));
    }
    expect(backlog.takeAll()).toEqual(list);
  });
  fc.assert(property, { numRuns: 200 });
});
