/**
 * `holdfast/conformance`: what a store and its ports promise, as tests. An engine is conformant if
 * it passes all five suites with a capability record that says the truth; what the record says is
 * absent is tested to be refused.
 *
 * ```ts
 * import { test } from "node:test";
 * import { kvConformance } from "holdfast/conformance";
 *
 * kvConformance({ test, capabilities, create: async () => ({ open: () => myEngine(url), dispose:
 * async () => {} }) });
 * ```
 */
export { busConformance } from "./bus.ts";
export type { ConformanceOptions, Fixture, TestFunction } from "./kit.ts";
export { kvConformance } from "./kv.ts";
export { queueConformance } from "./queue.ts";
export { runsConformance } from "./runs.ts";
export { storeConformance } from "./store.ts";
