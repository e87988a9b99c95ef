/**
 * What goes wrong in a world, as data: every rate and span resolved, so that a plan can be printed,
 * compared and given back. Rates are probabilities for each message or call; `...EveryMs` is the
 * mean gap between events of a kind over the whole world (0: never); spans are greatest values,
 * drawn anew each time. Times are virtual milliseconds.
 */
import type { Chance } from "./chance.ts";

export interface FaultPlan {
  /** Each way of a call takes a time drawn from [minDelayMs, maxDelayMs). */
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
  /** A way that takes up to `slowMs` longer. */
  readonly slowRate: number;
  readonly slowMs: number;
  /** A call without an answer fails after this with `UNAVAILABLE`, outcome unknown. */
  readonly timeoutMs: number;
  /** The call fails before anything is sent: not applied. */
  readonly refusedRate: number;
  /** The request never arrives. */
  readonly lostRequestRate: number;
  /** The effect happened, and the caller never learns of it. */
  readonly lostReplyRate: number;
  /**
   * Share of losses that the caller is told of at once (a reset connection), rather than by the
   * timeout.
   */
  readonly resetShare: number;
  /** A renewal of a session that arrives up to `lateRenewalMs` later. */
  readonly lateRenewalRate: number;
  readonly lateRenewalMs: number;
  readonly lostHintRate: number;
  readonly doubleHintRate: number;
  readonly lateHintRate: number;
  readonly lateHintMs: number;
  /** A watch whose connection breaks: it fails with `UNAVAILABLE` between two batches. */
  readonly brokenWatchRate: number;
  /** Commits that one instance may have under way at once: above 1 they overtake each other. */
  readonly commitsInFlight: number;
  /** An instance dies with all it had in memory, and starts anew after up to `downMs`. */
  readonly crashEveryMs: number;
  readonly downMs: number;
  /** An instance stands still while time goes on: a blocked main loop, a stopped process. */
  readonly pauseEveryMs: number;
  readonly pauseMs: number;
  /** An instance's machine sleeps: its monotonic clock stands too. */
  readonly suspendEveryMs: number;
  readonly suspendMs: number;
  /** An instance is cut off from the store, both ways or one. */
  readonly cutEveryMs: number;
  readonly cutMs: number;
  /** An instance's wall clock is set, by up to so much forward or back. */
  readonly wallJumpEveryMs: number;
  readonly wallJumpMs: number;
  /** The store's wall clock is set. */
  readonly storeJumpEveryMs: number;
  readonly storeJumpMs: number;
  /** Instances' clocks run at a rate of up to 1 ± this. */
  readonly driftRatio: number;
  /** Instances' wall clocks begin up to so far from the store's, either way. */
  readonly skewMs: number;
  /** A timer that fires up to `lagMs` late. */
  readonly lagRate: number;
  readonly lagMs: number;
}

/** Nothing goes wrong; calls take half a millisecond to two each way. */
export const CALM: FaultPlan = Object.freeze({
  minDelayMs: 0.5,
  maxDelayMs: 2,
  slowRate: 0,
  slowMs: 0,
  timeoutMs: 2_000,
  refusedRate: 0,
  lostRequestRate: 0,
  lostReplyRate: 0,
  resetShare: 0.5,
  lateRenewalRate: 0,
  lateRenewalMs: 0,
  lostHintRate: 0,
  doubleHintRate: 0,
  lateHintRate: 0,
  lateHintMs: 0,
  brokenWatchRate: 0,
  commitsInFlight: 1,
  crashEveryMs: 0,
  downMs: 0,
  pauseEveryMs: 0,
  pauseMs: 0,
  suspendEveryMs: 0,
  suspendMs: 0,
  cutEveryMs: 0,
  cutMs: 0,
  wallJumpEveryMs: 0,
  wallJumpMs: 0,
  storeJumpEveryMs: 0,
  storeJumpMs: 0,
  driftRatio: 0,
  skewMs: 0,
  lagRate: 0,
  lagMs: 0,
});

/** Each fault by itself, with rates and spans that a store must live with. */
const FAULTS: readonly ((chance: Chance) => Partial<FaultPlan>)[] = [
  (c) => ({ maxDelayMs: c.between(2, 40) }),
  (c) => ({ slowRate: c.between(0.01, 0.1), slowMs: c.between(100, 4_000) }),
  (c) => ({ timeoutMs: c.between(50, 1_000) }),
  (c) => ({ refusedRate: c.between(0.01, 0.2) }),
  (c) => ({ lostRequestRate: c.between(0.01, 0.15), resetShare: c.next() }),
  (c) => ({ lostReplyRate: c.between(0.01, 0.15), resetShare: c.next() }),
  (c) => ({ lateRenewalRate: c.between(0.1, 0.7), lateRenewalMs: c.between(200, 4_000) }),
  (c) => ({ lostHintRate: c.between(0.1, 1) }),
  (c) => ({ doubleHintRate: c.between(0.1, 0.5) }),
  (c) => ({ lateHintRate: c.between(0.1, 0.7), lateHintMs: c.between(10, 2_000) }),
  (c) => ({ brokenWatchRate: c.between(0.02, 0.2) }),
  (c) => ({ commitsInFlight: c.integer(2, 4) }),
  (c) => ({ crashEveryMs: c.between(1_500, 10_000), downMs: c.between(10, 6_000) }),
  (c) => ({ pauseEveryMs: c.between(1_500, 10_000), pauseMs: c.between(100, 8_000) }),
  (c) => ({ suspendEveryMs: c.between(2_000, 15_000), suspendMs: c.between(100, 8_000) }),
  (c) => ({ cutEveryMs: c.between(2_000, 12_000), cutMs: c.between(100, 6_000) }),
  (c) => ({ wallJumpEveryMs: c.between(2_000, 12_000), wallJumpMs: c.between(100, 7_200_000) }),
  (c) => ({ storeJumpEveryMs: c.between(3_000, 15_000), storeJumpMs: c.between(10, 60_000) }),
  (c) => ({ driftRatio: c.between(0.0001, 0.01) }),
  (c) => ({ skewMs: c.between(1_000, 600_000) }),
  (c) => ({ lagRate: c.between(0.05, 0.5), lagMs: c.between(5, 400) }),
];

/**
 * A plan with a random subset of all faults (swarm testing): a world in which everything goes wrong
 * at once rarely gets far enough to meet the rare case, so that each seed turns some off
 * altogether.
 *
 * Source: A. Groce et al., "Swarm testing", ISSTA 2012.
 */
export function swarm(chance: Chance): FaultPlan {
  // The subset's size is drawn as well, so that calm worlds and storms both occur.
  const share = chance.next();
  let plan: FaultPlan = CALM;
  for (const fault of FAULTS) {
    const stream = chance.split();
    if (chance.hits(share)) plan = { ...plan, ...fault(stream) };
  }
  return Object.freeze(rounded(plan));
}

/** Four significant digits: a plan that can be read aloud and given back as printed. */
function rounded(plan: FaultPlan): FaultPlan {
  const entries = Object.entries(plan).map(([name, value]) => [
    name,
    Number((value as number).toPrecision(4)),
  ]);
  return Object.fromEntries(entries);
}

/** The plan as one line: only what differs from calm. */
export function describePlan(plan: FaultPlan): string {
  const parts: string[] = [];
  for (const name of Object.keys(CALM) as (keyof FaultPlan)[]) {
    if (plan[name] !== CALM[name]) parts.push(`${name}: ${plan[name]}`);
  }
  return parts.length === 0 ? "no faults" : `{ ${parts.join(", ")} }`;
}
