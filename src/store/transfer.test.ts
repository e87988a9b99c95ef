/** What the store as a whole refuses before an engine is asked: seals, exports, imports. */
import { expect, test } from "vitest";
import { memory } from "../engines/memory/index.ts";
import { Kv } from "../ports/kv/index.ts";
import type { ExportPage, ExportRecord } from "./driver.ts";
import { Store } from "./store.ts";

const caught = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => error);

/** A store whose engine may not be asked to move anything. */
async function openUntouchable(): Promise<Store> {
  const driver = memory();
  const refuse = (): never => {
    throw new Error("The driver was reached");
  };
  return Store.open(Object.assign(driver, { export: refuse, import: refuse, seal: refuse }));
}

const SEAL = { isSealed: true, movedTo: null };
const LONG = "x".repeat(201);
const wrong: [string, (store: Store) => Promise<unknown>, unknown][] = [
  ["seal a reserved name", (store) => store.seal("$\u0001", SEAL), RangeError],
  ["seal no name", (store) => store.seal(undefined as never, SEAL), TypeError],
  ["seal without a seal", (store) => store.seal("p", undefined as never), TypeError],
  ["seal with text", (store) => store.seal("p", "yes" as never), TypeError],
  ["seal with a typo", (store) => store.seal("p", { ...SEAL, to: "x" } as never), TypeError],
  ["seal by a word", (store) => store.seal("p", { ...SEAL, isSealed: "no" as never }), TypeError],
  ["seal without a place", (store) => store.seal("p", { isSealed: true } as never), TypeError],
  ["seal with NUL", (store) => store.seal("p", { ...SEAL, movedTo: "a\u0000" }), RangeError],
  [
    "seal with a long place",
    (store) => store.seal("p", { ...SEAL, movedTo: "x".repeat(2_001) }),
    RangeError,
  ],
  ["export a long name", (store) => store.exportPage(LONG, null, 1), RangeError],
  ["export no rows", (store) => store.exportPage("p", null, 0), RangeError],
  ["export by a number", (store) => store.exportPage("p", 7 as never, 1), TypeError],
  ["export from nowhere", (store) => store.exportPage("p", undefined as never, 1), TypeError],
  ["import into a long name", (store) => store.importPage(LONG, []), RangeError],
  ["import nothing", (store) => store.importPage("p", undefined as never), TypeError],
];
test.each(wrong)("to %s is refused before anything is done", async (_, call, kind) => {
  const store = await openUntouchable();
  // Rejected, not thrown.
  const work = call(store);
  expect(await caught(work)).toBeInstanceOf(kind);
});

test("an import has bounds, and a page is made of records", async () => {
  const store = await openUntouchable();
  const kv = (value: string): ExportRecord => {
    const rest = { revision: 1, expiresMs: null, session: null } as const;
    return { record: "kv", key: "k", value, ...rest };
  };
  const small = kv("");
  const many = Array.from({ length: 100_001 }, () => small);
  const large = Array.from({ length: 65 }, () => kv("x".repeat(1_048_576)));
  const tooLarge = { code: "TOO_LARGE", outcome: "not-applied" };
  expect(await caught(store.importPage("p", many))).toMatchObject(tooLarge);
  expect(await caught(store.importPage("p", large))).toMatchObject(tooLarge);
  for (const page of [[null], ["x"], [undefined]]) {
    const error = await caught(store.importPage("p", page as never));
    expect(error).toMatchObject({ code: "INVALID_DATA", outcome: "not-applied" });
  }
  const cursor = "x".repeat(16_385);
  expect(await caught(store.exportPage("p", cursor, 1))).toMatchObject({ code: "INVALID_DATA" });
});

test("a partition moves from one store to another, page by page", async () => {
  const [from, to] = [await Store.open(memory()), await Store.open(memory())];
  await new Kv(from).put("a", 1);
  await from.seal("default", { isSealed: true, movedTo: "there" });
  let cursor: string | null = null;
  do {
    const page: ExportPage = await from.exportPage("default", cursor, 1);
    await to.importPage("default", page.records);
    ({ cursor } = page);
  } while (cursor !== null);
  await to.seal("default", { isSealed: false, movedTo: null });
  expect((await new Kv(to).get("a"))?.value).toBe(1);
});

test("moving, durability and counters are CLOSED once the store is", async () => {
  const store = await Store.open(memory());
  await store.close();
  const calls = [
    store.exportPage("p", null, 1),
    store.importPage("p", []),
    store.seal("p", SEAL),
    store.durability(),
    store.stats(),
  ];
  for (const call of calls) expect(await caught(call)).toMatchObject({ code: "CLOSED" });
});
