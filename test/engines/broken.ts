/**
 * Engines that are broken on purpose, each in one way: wrappers around a sound driver, for the
 * suites to find out.
 */
import type { Data } from "../../src/core/codec.ts";
import type { Capabilities, Durability } from "../../src/store/capabilities.ts";
import type {
  Channel,
  ExportPage,
  ExportRecord,
  KvChanges,
  Read,
  ReadResult,
  StoreDriver,
} from "../../src/store/driver.ts";
import type { Claimed, Group, GroupResult, Op, OpResult } from "../../src/store/ops.ts";

/** Passes everything through: the base of the broken ones, and the control that must pass. */
export class Through implements StoreDriver {
  readonly inner: StoreDriver;
  readonly capabilities: Capabilities;

  constructor(inner: StoreDriver) {
    this.inner = inner;
    this.capabilities = inner.capabilities;
  }
  commit(groups: readonly Group[]): Promise<readonly GroupResult[]> {
    return this.inner.commit(groups);
  }
  read<const R extends readonly Read[]>(reads: R): Promise<{ [I in keyof R]: ReadResult<R[I]> }> {
    return this.inner.read(reads);
  }
  watch(
    partition: string,
    prefix: string,
    cursor: number | null,
    signal: AbortSignal,
  ): AsyncIterable<KvChanges> {
    return this.inner.watch(partition, prefix, cursor, signal);
  }
  subscribe(channel: Channel, listen: (message: Data | null) => void): () => void {
    return this.inner.subscribe(channel, listen);
  }
  export(partition: string, cursor: string | null, limit: number): Promise<ExportPage> {
    return this.inner.export(partition, cursor, limit);
  }
  import(partition: string, records: readonly ExportRecord[]): Promise<void> {
    return this.inner.import(partition, records);
  }
  seal(
    partition: string,
    seal: { readonly isSealed: boolean; readonly movedTo: string | null },
  ): Promise<void> {
    return this.inner.seal(partition, seal);
  }
  durability(): Promise<Durability> {
    return this.inner.durability();
  }
  close(): Promise<void> {
    return this.inner.close();
  }
}

/** Every op is changed on its way in; undefined: it is dropped, and answered with null. */
export class OpsChanged extends Through {
  readonly #change: (op: Op) => Op | undefined;

  constructor(inner: StoreDriver, change: (op: Op) => Op | undefined) {
    super(inner);
    this.#change = change;
  }
  override async commit(groups: readonly Group[]): Promise<readonly GroupResult[]> {
    const changed = groups.map(({ partition, ops }) => {
      return { partition, ops: ops.flatMap((op) => this.#change(op) ?? []) };
    });
    const results = await this.inner.commit(changed);
    return results.map((result, i) => {
      if (!result.ok) return result;
      const left = [...result.results];
      const all = (groups[i] as Group).ops.map((op) =>
        this.#change(op) === undefined ? null : (left.shift() ?? null),
      );
      return { ...result, results: all };
    });
  }
}

/** Every group's result is changed on its way out. */
export class ResultsChanged extends Through {
  readonly #change: (
    group: Group,
    result: GroupResult,
    inner: StoreDriver,
  ) => GroupResult | Promise<GroupResult>;

  constructor(
    inner: StoreDriver,
    change: (
      group: Group,
      result: GroupResult,
      inner: StoreDriver,
    ) => GroupResult | Promise<GroupResult>,
  ) {
    super(inner);
    this.#change = change;
  }
  override async commit(groups: readonly Group[]): Promise<readonly GroupResult[]> {
    const results = await this.inner.commit(groups);
    const changed: GroupResult[] = [];
    for (const [i, result] of results.entries()) {
      changed.push(await this.#change(groups[i] as Group, result, this.inner));
    }
    return changed;
  }
}

/** Every read's result is changed on its way out. */
export class ReadsChanged extends Through {
  readonly #change: (read: Read, result: ReadResult) => unknown;

  constructor(inner: StoreDriver, change: (read: Read, result: ReadResult) => unknown) {
    super(inner);
    this.#change = change;
  }
  override async read<const R extends readonly Read[]>(
    reads: R,
  ): Promise<{ [I in keyof R]: ReadResult<R[I]> }> {
    const results = (await this.inner.read(reads)) as readonly ReadResult[];
    return results.map((result, i) => this.#change(reads[i] as Read, result)) as never;
  }
}

/** Commits nothing of a tick, and otherwise passes the groups that are left. */
export function isClaim(op: Op | undefined): boolean {
  return op?.op === "queue.claim";
}

/** The results with each claim's answer changed. */
export function withClaims(
  group: Group,
  result: GroupResult,
  change: (claimed: Claimed) => Claimed,
): GroupResult {
  if (!result.ok) return result;
  const results = result.results.map((each, i): OpResult => {
    return isClaim(group.ops[i]) ? change(each as Claimed) : each;
  });
  return { ...result, results };
}
