import { expect, test } from "vitest";
import { ManualClock, systemClock } from "./clock.ts";
import { deferred, stepsWithin, waitFor } from "./signal.ts";

const caught = (work: Promise<unknown>): Promise<unknown> => work.catch((error: unknown) => error);

/** What nobody handled while it ran. */
async function unhandledIn(run: () => Promise<void>): Promise<unknown[]> {
  const unhandled: unknown[] = [];
  const note = (error: unknown): void => void unhandled.push(error);
  const listeners = process.rawListeners("unhandledRejection");
  process.removeAllListeners("unhandledRejection");
  process.on("unhandledRejection", note);
  try {
    await run();
    await systemClock.yield();
    await systemClock.yield();
  } finally {
    process.off("unhandledRejection", note);
    for (const each of listeners) process.on("unhandledRejection", each as () => void);
  }
  return unhandled;
}

test("a wait that is over at once leaves no failure of the work unhandled, and no timer", async () => {
  const clock = new ManualClock();
  const work = deferred<void>();
  const unhandled = await unhandledIn(async () => {
    const wait = { signal: AbortSignal.abort("no"), timeoutMs: 50 };
    const waiting = caught(waitFor(work.promise, clock, wait, "The work"));
    work.reject(new Error("the work's own"));
    expect(await waiting).toBe("no");
  });
  expect(unhandled).toEqual([]);
  expect(clock.pending).toBe(0);
});

test("the steps of a call share its timeout", async () => {
  const clock = new ManualClock();
  const { signal } = new AbortController();
  const step = stepsWithin(clock, { timeoutMs: 50, signal }, "The call");
  expect(step()).toEqual({ timeoutMs: 50, signal });
  await clock.advance(30);
  expect(step()).toEqual({ timeoutMs: 20, signal });
  await clock.advance(20);
  expect(step()).toEqual({ timeoutMs: 0, signal });
  await clock.advance(1);
  const spent = { code: "TIMEOUT", outcome: "not-applied", retryable: true };
  expect(() => step()).toThrow(expect.objectContaining(spent));
  expect(() => step()).toThrow("The call took longer than timeoutMs 50");
  expect(stepsWithin(clock, { signal }, "The call")()).toEqual({ signal });
  expect(stepsWithin(clock, undefined, "The call")()).toBeUndefined();
});
