/**
 * One job that nobody finishes and everybody wants: instances claim it, hold it far too long for
 * what their sessions stand, and give it back. What is judged is belief: at no instant may an
 * instance whose session says that it lives hold what the store has given to another, as long as
 * clocks lie no more than a lease can know.
 */
import type { Clock } from "../../src/core/clock.ts";
import { isHoldfastError } from "../../src/core/errors.ts";
import { SeededRandom } from "../../src/core/random.ts";
import { Queue } from "../../src/ports/queue/index.ts";
import {
  simulate,
  type FaultPlan,
  type Instance,
  type SimulationResult,
} from "../../src/sim/index.ts";
import type { ClaimedJob } from "../../src/store/ops.ts";
import type { Session } from "../../src/store/session.ts";
import { Store } from "../../src/store/store.ts";

const NAMESPACE = "leases";
const QUEUE = "one";
const UNTIL_MS = 8_000;

interface Hold {
  readonly session: Session;
  readonly token: number;
}

/** How often the prize was claimed, and how often from a holder that was silent for too long. */
export interface LeaseCounts {
  claims: number;
  lost: number;
}

/**
 * Faults chosen to make leases end while they are believed in: always a cut, and some of what hides
 * the time from a holder.
 */
function planOf(seed: number, ttlMs: number): Partial<FaultPlan> {
  const random = new SeededRandom(seed ^ 0x1ea5e);
  const maybe = (share: number): boolean => random.next() < share;
  const upTo = (max: number): number => Math.round(random.next() * max);
  const set = (share: number, faults: Partial<FaultPlan>): Partial<FaultPlan> =>
    maybe(share) ? faults : {};
  // Wall time set back while monotonic time stood: nobody can know, so one world has one of the
  // two.
  const hidden: Partial<FaultPlan> = maybe(0.5)
    ? { suspendEveryMs: 500 + upTo(2_000), suspendMs: 3 * ttlMs }
    : { wallJumpEveryMs: 200 + upTo(1_000), wallJumpMs: 2 + upTo(4 * ttlMs) };
  return {
    timeoutMs: ttlMs / 2 + upTo(ttlMs),
    cutEveryMs: 300 + upTo(1_000),
    cutMs: 3 * ttlMs,
    ...set(0.7, hidden),
    ...set(0.5, { pauseEveryMs: 500 + upTo(2_000), pauseMs: 3 * ttlMs }),
    ...set(0.5, { slowRate: random.next() / 3, slowMs: ttlMs }),
    ...set(0.5, { lostReplyRate: random.next() / 5, resetShare: random.next() }),
    ...set(0.5, { lateRenewalRate: random.next(), lateRenewalMs: ttlMs }),
    ...set(0.6, { driftRatio: 0.02 }),
    ...set(0.5, { skewMs: 600_000 }),
    ...set(0.3, { lagRate: random.next(), lagMs: ttlMs / 2 }),
    ...set(0.3, { commitsInFlight: 2 + upTo(2) }),
    ...set(0.3, { crashEveryMs: 1_000 + upTo(3_000), downMs: ttlMs }),
  };
}

class Contender {
  readonly #instance: Instance;
  readonly #store: Store;
  readonly #queue: Queue;
  readonly #ttlMs: number;
  readonly #holds: Set<Hold>;

  constructor(instance: Instance, store: Store, ttlMs: number, holds: Set<Hold>) {
    this.#instance = instance;
    this.#store = store;
    this.#queue = new Queue(store, QUEUE);
    this.#ttlMs = ttlMs;
    this.#holds = holds;
  }

  async run(): Promise<void> {
    const { random } = this.#instance;
    for (;;) {
      try {
        await this.#queue.configure({ maxDeliveries: 1_000_000 });
        await this.#queue.add({ id: "prize", payload: "" });
        const session = await this.#store.session();
        try {
          const { jobs } = await this.#queue.claim(session, 1);
          for (const job of jobs) await this.#hold(session, job);
        } catch (error) {
          if (isHoldfastError(error) && error.outcome === "unknown") await session.close();
          throw error;
        }
      } catch (error) {
        if (!isHoldfastError(error)) throw error;
      }
      await this.#instance.sleep(5 + random.next() * 50);
    }
  }

  async #hold(session: Session, job: ClaimedJob): Promise<void> {
    const hold = { session, token: job.token };
    this.#holds.add(hold);
    const { clock, random } = this.#instance;
    const endMs = clock.monotonicMs() + random.next() * 4 * this.#ttlMs;
    // Its own code looks at nothing but the signal; the world looks at its belief after each of
    // these steps.
    while (clock.monotonicMs() < endMs && !session.signal.aborted) await this.#instance.sleep(4);
    this.#holds.delete(hold);
    if (!session.isOver) await this.#queue.settle(session, job, { outcome: "released" });
  }
}

export interface LeaseOptions {
  readonly counts?: LeaseCounts;
  /** What a program sees of its clock; for programs that are blind on purpose. */
  readonly clock?: (clock: Clock) => Clock;
}

/** Runs the workload under a seed; throws `SimulationError` if a belief was wrong. */
export async function leaseWorkload(
  seed: number,
  { counts = { claims: 0, lost: 0 }, clock: see = (clock) => clock }: LeaseOptions = {},
): Promise<SimulationResult> {
  const ttlMs = 150 + Math.floor(new SeededRandom(seed).next() * 450);
  const holds = new Map<string, Set<Hold>>();
  let token = 0;
  let lost = 1;
  const program = async (instance: Instance): Promise<void> => {
    const mine = new Set<Hold>();
    holds.set(instance.name, mine);
    const { random } = instance;
    const clock = see(instance.clock);
    const options = { namespace: NAMESPACE, sessionTtlMs: ttlMs, label: instance.name };
    const store = await Store.open(instance.driver(), { ...options, clock, random });
    await new Contender(instance, store, ttlMs, mine).run();
  };
  return simulate(program, {
    ...{ seed, nodes: 3, untilMs: UNTIL_MS, healMs: 0, faults: planOf(seed, ttlMs) },
    replay: "npm run test:sim -- --seed {seed} test/sim/lease.test.ts",
    isDone: ({ nowMs }) => nowMs >= UNTIL_MS - 500,
    always: (_, { groups, results }) => {
      groups.forEach(({ ops }, index) => {
        const result = results[index];
        if (result?.ok !== true || ops[0]?.op !== "queue.claim") return;
        const [claimed] = result.results as readonly { readonly jobs: readonly ClaimedJob[] }[];
        for (const job of claimed?.jobs ?? []) {
          counts.claims++;
          counts.lost += job.delivery - lost;
          lost = job.delivery;
          token = job.token;
        }
      });
    },
    onStep: (_, name) => {
      for (const hold of holds.get(name) ?? []) {
        if (hold.token === token || hold.session.isOver) continue;
        throw new Error(`${name} believes in token ${hold.token}, but ${token} was given out`);
      }
    },
  });
}
