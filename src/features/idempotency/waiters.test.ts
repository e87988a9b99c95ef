/**
 * The turns in which a waiter could be forgotten: each test fails without the line that minds it.
 */
import { afterEach, beforeEach, expect, test } from "vitest";
import { turns, until, World } from "../../../test/kit/jobs.ts";
import { deferred, type Deferred } from "../../core/signal.ts";
import { Claims } from "./claims.ts";
import { idempotency } from "./definition.ts";
import type { StoredRecord } from "./record.ts";
import { Waiters } from "./waiters.ts";

const key = "$idempotency/x/k";
const answered: StoredRecord = {
  ...{ state: "answered", fingerprint: "f", claim: "c", session: "s", data: "", revision: 1 },
};
const never = new AbortController().signal;

let world: World;
let reads: Deferred<StoredRecord | null>[];
let waiters: Waiters;
let kv: Claims["kv"];
beforeEach(async () => {
  world = new World();
  reads = [];
  ({ kv } = new Claims(await world.store(), idempotency("x").settings));
  const read = (): Promise<StoredRecord | null> => {
    const reading = deferred<StoredRecord | null>();
    reads.push(reading);
    return reading.promise;
  };
  waiters = new Waiters({ kv, read });
});
afterEach(() => world.close());

test("who comes during a look is looked for again", async () => {
  const first = waiters.settled(key, never);
  await until(() => reads.length === 1);
  const second = waiters.settled(key, never);
  reads[0]?.resolve(null);
  expect(await first).toBe(null);
  await until(() => reads.length === 2);
  reads[1]?.resolve(answered);
  expect(await second).toBe(answered);
});

test("who comes in the turn in which the others are told begins a watch of its own", async () => {
  const first = waiters.settled(key, never);
  await until(() => reads.length === 1);
  const late = reads[0]?.promise.then(() => waiters.settled(key, never));
  reads[0]?.resolve(answered);
  expect(await first).toBe(answered);
  await until(() => reads.length === 2);
  reads[1]?.resolve(null);
  expect(await late).toBe(null);
});

test("a look that finds the key in flight tells nobody, and the next change is looked at", async () => {
  const first = waiters.settled(key, never);
  await until(() => reads.length === 1);
  reads[0]?.resolve({ ...answered, state: "in-flight" });
  await turns();
  await kv.put(key, "x");
  await until(() => reads.length === 2);
  reads[1]?.resolve(answered);
  expect(await first).toBe(answered);
});

test("a read that fails is told to those who wait, and the next one begins anew", async () => {
  const first = waiters.settled(key, never).catch((error: unknown) => error);
  await until(() => reads.length === 1);
  const reason = new Error("no");
  reads[0]?.reject(reason);
  expect(await first).toBe(reason);
  const second = waiters.settled(key, never);
  await until(() => reads.length === 2);
  reads[1]?.resolve(answered);
  expect(await second).toBe(answered);
});

test("nothing is watched once nobody waits", async () => {
  const controller = new AbortController();
  const first = waiters.settled(key, controller.signal).catch((error: unknown) => error);
  await until(() => reads.length === 1);
  reads[0]?.resolve({ ...answered, state: "in-flight" });
  controller.abort("gone");
  expect(await first).toBe("gone");
  await turns();
  await kv.put(key, "x");
  await world.clock.advance(10_000);
  expect(reads).toHaveLength(1);
});
