/** Awake while it pays, asleep otherwise, and never so long that the loop starves. */
import { expect, test } from "vitest";
import { ManualClock } from "../../core/clock.ts";
import { Attention } from "./attention.ts";

/** A clock that goes on by a hundredth of a millisecond at each look. */
class TickingClock extends ManualClock {
  looks = 0;
  #ms = 0;
  override monotonicMs(): number {
    this.looks++;
    this.#ms += 0.01;
    return this.#ms;
  }
  pass(ms: number): void {
    this.#ms += ms;
  }
}

interface Setup {
  readonly clock: TickingClock;
  readonly inbox: number[];
  readonly answered: number[];
  readonly serve: (request: number) => Promise<void>;
}

function setup(): Setup {
  const clock = new TickingClock();
  const inbox: number[] = [];
  const answered: number[] = [];
  const attention = new Attention<number>(clock, () => inbox.shift());
  const serve = (first: number): Promise<void> =>
    attention.serve(first, async (request) => {
      answered.push(request);
      await Promise.resolve();
    });
  return { clock, inbox, answered, serve };
}

test("requests that are far apart are not looked out for", async () => {
  const { clock, inbox, answered, serve } = setup();
  for (let i = 0; i < 3; i++) {
    inbox.push(100 + i);
    await serve(i);
    clock.pass(1);
  }
  expect(answered).toEqual([0, 1, 2]);
  expect(clock.looks).toBe(6);
});

test("a close request opens a look-out, which takes what comes, in order", async () => {
  const { inbox, answered, serve } = setup();
  await serve(0);
  inbox.push(2, 3);
  await serve(1);
  expect(answered).toEqual([0, 1, 2, 3]);
});

test("a look-out in vain ends after a tenth of a millisecond", async () => {
  const { clock, serve } = setup();
  await serve(0);
  const before = clock.looks;
  await serve(1);
  expect(clock.looks - before).toBeLessThanOrEqual(14);
});

test("a turn serves so many at most, and leaves the rest to the loop", async () => {
  const { inbox, answered, serve } = setup();
  await serve(0);
  inbox.push(...Array.from({ length: 40 }, (_, i) => i + 2));
  await serve(1);
  expect(answered).toHaveLength(18);
  expect(inbox).toHaveLength(24);
});

test("what comes while a turn is at it is answered, and one turn alone looks out", async () => {
  const { inbox, answered, serve } = setup();
  await serve(0);
  inbox.push(9);
  await Promise.all([serve(1), serve(2)]);
  expect([...answered].sort((a, b) => a - b)).toEqual([0, 1, 2, 9]);
});
