/** Compare-and-set: concurrent increments from two processes, none of which may be lost. */
import { check, figure } from "../kit/figures.ts";
import type { Findings } from "../proof.ts";
import { plain } from "./member.ts";
import type { World } from "./world.ts";

const INCREMENTS = 100;
const KEY = "cas/counter";

export async function proveCas({ clock, kv, members }: World): Promise<Findings> {
  const startMs = clock.monotonicMs();
  const task = plain({ key: KEY, times: INCREMENTS / members.length });
  const tries = await Promise.all(members.map((member) => member.ask("increment", task)));
  const spentMs = clock.monotonicMs() - startMs;
  const sum = (await kv.get(KEY))?.value ?? 0;
  const total = tries.reduce<number>((all, each) => all + (each as number), 0);
  return {
    checks: [
      check(
        `${INCREMENTS} concurrent compare-and-set increments lose none`,
        sum === INCREMENTS,
        `the counter is ${sum}, after ${total} tries`,
      ),
    ],
    figures: [
      figure("increments by compare-and-set", (INCREMENTS * 1_000) / spentMs, "1/s"),
      figure("tries for each increment", total / INCREMENTS, "tries"),
    ],
  };
}
