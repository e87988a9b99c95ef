/** The rows that can be shown, for `holdfast prove`. A proof is loaded when it runs. */
import type { Proof } from "./proof.ts";

export { runProof } from "./proof.ts";
export type { Check, Figure, Findings, Proof, Report, RunOptions } from "./proof.ts";

export const PROOFS: readonly Proof[] = [
  {
    id: "a7",
    title: "Coordination store",
    claim:
      "Compare-and-set loses no update, keys vanish with their TTL or their session, a watch " +
      "misses nothing across kills, and reads are linearizable between processes.",
    broken:
      "puts without a check, reads from a cache, keys without their session, and a watch that " +
      "reconnects without its cursor",
    engines: ["memory", "sqlite"],
    load: async () => (await import("./a7.ts")).proveA7,
  },
  {
    id: "b1",
    title: "Background job queue (slow e-mail)",
    claim:
      "An endpoint that enqueues an e-mail answers in less than 20 ms while each mail takes 2 s " +
      "to send, and every mail arrives although workers are killed in the middle of a job.",
    broken: "jobs completed before their mail was sent, so that a kill loses mail",
    engines: ["memory", "sqlite"],
    load: async () => (await import("./b1.ts")).proveB1,
  },
];
