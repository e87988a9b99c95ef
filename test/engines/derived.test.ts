/**
 * The suites' negative branches, on engines made to have less: the memory engine behind a wrapper
 * that says so, and that refuses or leaves out what it says it has not.
 */
import { describe, test } from "vitest";
import {
  busConformance,
  kvConformance,
  queueConformance,
  runsConformance,
  storeConformance,
  type ConformanceOptions,
  type Fixture,
} from "../../src/conformance/index.ts";
import { ManualClock } from "../../src/core/clock.ts";
import { memory, MemoryState } from "../../src/engines/memory/index.ts";
import type { Capabilities } from "../../src/store/capabilities.ts";
import type { KvChanges, StoreDriver } from "../../src/store/driver.ts";
import type { Group } from "../../src/store/ops.ts";
import { Through } from "./broken.ts";

const full = memory().capabilities;

/** Much as an engine over etcd or JetStream would be. */
const small: Capabilities = {
  ...full,
  engine: "small",
  atomic: "key",
  ports: ["kv"],
  maxOpsPerGroup: 128,
  ttlGranularityMs: 1_000,
};
const silent: Capabilities = { ...full, engine: "silent", hasExpiryEvents: false };
const without: Capabilities = { ...full, engine: "without", ports: [] };

class Derived extends Through {
  override readonly capabilities: Capabilities;
  /** Keys that somebody deleted: their ends are told, those by time are not. */
  readonly #deleted: Set<string>;

  constructor(inner: StoreDriver, capabilities: Capabilities, deleted: Set<string>) {
    super(inner);
    this.capabilities = capabilities;
    this.#deleted = deleted;
  }
  override commit(groups: readonly Group[]): ReturnType<StoreDriver["commit"]> {
    for (const op of groups.flatMap((group) => group.ops)) {
      if (op.op === "kv.delete") this.#deleted.add(op.key);
    }
    return this.inner.commit(groups);
  }
  override async *watch(...args: Parameters<StoreDriver["watch"]>): AsyncGenerator<KvChanges> {
    for await (const batch of this.inner.watch(...args)) {
      if (this.capabilities.hasExpiryEvents) yield batch;
      else {
        const isTold = ({ key, value }: { key: string; value: unknown }): boolean =>
          value !== null || this.#deleted.has(key);
        yield { ...batch, changes: batch.changes.filter(isTold) };
      }
    }
  }
}

for (const capabilities of [small, silent, without]) {
  const create = async (): Promise<Fixture> => {
    const clock = new ManualClock();
    const state = new MemoryState({ clock });
    const deleted = new Set<string>();
    return {
      clock,
      open: async () => new Derived(memory({ state }), capabilities, deleted),
      advance: (ms) => clock.advance(ms),
      dispose: async () => {},
    };
  };
  const options: ConformanceOptions = { test, create, capabilities };
  describe(capabilities.engine, () => {
    describe("kv", () => kvConformance(options));
    describe("queue", () => queueConformance(options));
    describe("runs", () => runsConformance(options));
    describe("bus", () => busConformance(options));
    if (capabilities !== without) describe("store", () => storeConformance(options));
  });
}
