/** The checker of histories: it must take what is linearizable, and above all find what is not. */
import { describe, expect, test } from "vitest";
import { SeededRandom } from "../core/random.ts";
import { checkHistory, keyModel, type Call, type KeyInput, type KeyOutput } from "./history.ts";

type KeyCall = Call<KeyInput, KeyOutput>;
type Span = readonly [startAt: number, endAt: number];

function call(span: Span, input: KeyInput, output: Partial<KeyOutput> | undefined): KeyCall {
  const full = { revision: 0, value: null, isRefused: false, ...output };
  const [startAt, endAt] = span;
  return { client: 0, input, startAt, endAt, output: output === undefined ? undefined : full };
}
const put = (span: Span, value: string, revision: number) =>
  call(span, { kind: "put", value }, { revision, value });
const read = (span: Span, value: string | null, revision: number) =>
  call(span, { kind: "read" }, { value, revision });
const isFine = (...calls: KeyCall[]): boolean => checkHistory(calls, keyModel).isLinearizable;

describe("a history that some order explains passes", () => {
  test("of calls one after another", () => {
    expect(isFine(put([0, 1], "1", 5), read([2, 3], "1", 5), put([4, 5], "2", 6))).toBe(true);
    expect(isFine()).toBe(true);
  });

  test("in which calls at once are seen in either order", () => {
    const [one, two] = [put([0, 9], "1", 1), put([0, 9], "2", 2)];
    expect(isFine(one, two, read([1, 2], "1", 1), read([3, 4], "2", 2))).toBe(true);
    expect(isFine(one, read([1, 2], null, 0), read([3, 4], "1", 1))).toBe(true);
  });

  test("in which a write without an answer is seen later, or never", () => {
    const lost = call([0, Infinity], { kind: "put", value: "1" }, undefined);
    expect(isFine(lost, read([5, 6], "1", 7), read([8, 9], "1", 7))).toBe(true);
    expect(isFine(lost, read([5, 6], null, 0), read([8, 9], null, 0))).toBe(true);
    expect(isFine(lost, read([5, 6], null, 0), read([8, 9], "1", 7))).toBe(true);
  });

  test("of conditional puts, adds and deletes", () => {
    const taken = call(
      [0, 1],
      { kind: "put-if", value: "1", revision: 0 },
      { revision: 3, value: "1" },
    );
    const refused = call(
      [2, 3],
      { kind: "put-if", value: "2", revision: 0 },
      { isRefused: true, revision: 3 },
    );
    const sum = call([4, 5], { kind: "add", delta: 4 }, { revision: 4, value: "5" });
    const gone = call([6, 7], { kind: "delete" }, {});
    expect(isFine(taken, refused, sum, gone, read([8, 9], null, 0))).toBe(true);
  });
});

test("a write without an answer is known by its revision once a refusal tells it", () => {
  const lost = call([0, Infinity], { kind: "put", value: "1" }, undefined);
  const told = call(
    [1, 2],
    { kind: "put-if", value: "2", revision: 3 },
    { isRefused: true, revision: 7 },
  );
  const taken = call([3, 4], { kind: "put-if", value: "3", revision: 7 }, { revision: 8 });
  expect(isFine(lost, told, taken, read([5, 6], "3", 8))).toBe(true);
  const other = call([3, 4], { kind: "put-if", value: "3", revision: 6 }, { revision: 8 });
  expect(isFine(lost, told, other)).toBe(false);
});

describe("a history that no order explains is found", () => {
  const one = put([0, 1], "1", 1);
  const two = put([2, 3], "2", 2);
  test.each([
    ["a stale read", [one, two, read([4, 5], "1", 1)]],
    ["a lost write", [one, two, read([4, 5], null, 0)]],
    ["a value from nowhere", [one, read([2, 3], "7", 1)]],
    ["a read before its write began", [read([0, 1], "1", 2), put([2, 3], "1", 2)]],
    [
      "a value that comes, goes and comes again",
      [put([0, 99], "1", 1), read([1, 2], "1", 1), read([3, 4], null, 0)],
    ],
    ["a revision that falls", [put([0, 1], "1", 5), put([2, 3], "2", 4)]],
    ["two puts of one revision", [put([0, 9], "1", 5), put([0, 9], "2", 5)]],
    [
      "two conditional puts on one revision",
      [
        call([0, 9], { kind: "put-if", value: "1", revision: 0 }, { revision: 1, value: "1" }),
        call([0, 9], { kind: "put-if", value: "2", revision: 0 }, { revision: 2, value: "2" }),
      ],
    ],
    [
      "a conditional put refused for nothing",
      [call([0, 1], { kind: "put-if", value: "1", revision: 0 }, { isRefused: true })],
    ],
    [
      "two adds with one sum",
      [
        call([0, 9], { kind: "add", delta: 1 }, { revision: 1, value: "1" }),
        call([0, 9], { kind: "add", delta: 1 }, { revision: 2, value: "1" }),
      ],
    ],
    [
      "a deleted key that is still seen",
      [one, call([2, 3], { kind: "delete" }, {}), read([4, 5], "1", 1)],
    ],
    [
      "a write without an answer that takes effect twice",
      [
        call([0, Infinity], { kind: "put", value: "1" }, undefined),
        read([1, 2], "1", 1),
        put([3, 4], "2", 2),
        read([5, 6], "1", 1),
      ],
    ],
  ] satisfies [string, KeyCall[]][])("%s", (_what, calls) => {
    const verdict = checkHistory<never, KeyInput, KeyOutput>(calls, keyModel as never);
    expect(verdict.isLinearizable).toBe(false);
    if (!verdict.isLinearizable) expect(verdict.stuckAt.length).toBeGreaterThan(0);
  });
});

test("random histories of a sound register pass, and one changed answer among a hundred calls is found", () => {
  for (let seed = 0; seed < 200; seed++) {
    const random = new SeededRandom(seed);
    const calls = simulate(random, 100, 8);
    expect(isFine(...calls)).toBe(true);
    const reads = calls.filter(({ input, output }) => input.kind === "read" && output?.value);
    const target = reads[Math.floor(random.next() * reads.length)] as KeyCall;
    const output = { ...(target.output as KeyOutput), revision: target.output!.revision - 1 };
    const changed = calls.map((each) => (each === target ? { ...each, output } : each));
    expect(isFine(...changed)).toBe(false);
  }
});

/**
 * Calls on a register that takes each at one instant between its begin and its end, up to `width`
 * at once.
 */
function simulate(random: SeededRandom, count: number, width: number): KeyCall[] {
  const calls: KeyCall[] = [];
  let [value, revision] = [null as string | null, 0];
  for (let at = 10; calls.length < count; at += 10) {
    // Each takes effect at `at`, and spans some of the instants around it.
    const span = [
      at - Math.floor(random.next() * 5 * width),
      at + 1 + Math.floor(random.next() * 5 * width),
    ] as const;
    if (random.next() < 0.5) {
      calls.push(read(span, value, revision));
    } else {
      value = `v${at}`;
      calls.push(put(span, value, ++revision));
    }
  }
  return calls;
}
