/**
 * What every measure shares: turns, medians, CPU time, the disk's own rate, and how a row is
 * printed.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { cpus, release, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import Database from "better-sqlite3";

/** One run of one contender: how many operations in which time, and the CPU that it took. */
export interface Sample {
  readonly value: number;
  /**
   * User and system time of the process and its threads, per operation, in µs; null where the work
   * is done in other processes, or is no count of operations.
   */
  readonly cpuUs: number | null;
}

export interface Contender {
  readonly name: string;
  /**
   * Sets up, measures, checks that the work was really done, and cleans up. Throws if it was not.
   */
  run(folder: string): Promise<Sample>;
}

export interface Measure {
  readonly bench: string;
  readonly unit: string;
  /** `less` for times and bytes: the ratio is turned so that above 1 is better for Holdfast. */
  readonly better: "more" | "less";
  readonly ours: Contender;
  /** What the ratio compares with: the best of these. */
  readonly peers: readonly Contender[];
  /** What is shown beside and is no peer, such as the disk's own rate: no ratio counts it. */
  readonly reference?: readonly Contender[] | undefined;
  readonly note?: string | undefined;
}

export interface Row {
  readonly bench: string;
  readonly unit: string;
  readonly holdfast: number;
  readonly peers: Readonly<Record<string, number>>;
  readonly reference: Readonly<Record<string, number>>;
  readonly ratio: number | null;
  readonly cpuUsPerOp: Readonly<Record<string, number | null>>;
  readonly range: Readonly<Record<string, readonly [number, number]>>;
  readonly note?: string | undefined;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  const high = sorted[middle] as number;
  return sorted.length % 2 === 1 ? high : (high + (sorted[middle - 1] as number)) / 2;
}

export function percentile(values: readonly number[], share: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] as number;
}

/** Times `work`, which does `operations` operations: operations a second and CPU per operation. */
export async function timed(operations: number, work: () => Promise<void> | void): Promise<Sample> {
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  await work();
  const seconds = (performance.now() - startMs) / 1_000;
  const used = process.cpuUsage(cpu);
  return { value: operations / seconds, cpuUs: (used.user + used.system) / operations };
}

/** Fails the measure when the work was not done. */
export function check(condition: boolean, message: string): void {
  if (!condition) throw new Error(`The work was not done: ${message}`);
}

const WARM_UPS = 1;

type Samples = ReadonlyMap<string, readonly Sample[]>;

function medianOf(samples: Samples, { name }: Contender): number {
  return median((samples.get(name) ?? []).map(({ value }) => value));
}

function cpuOf(samples: Samples, { name }: Contender): number | null {
  const all = (samples.get(name) ?? []).map(({ cpuUs }) => cpuUs);
  const known = all.filter((cpuUs) => cpuUs !== null);
  return known.length === all.length ? median(known) : null;
}

function rangeOf(samples: Samples, { name }: Contender): readonly [number, number] {
  const all = (samples.get(name) ?? []).map(({ value }) => value);
  return [Math.min(...all), Math.max(...all)];
}

function byName<T>(
  contenders: readonly Contender[],
  of: (contender: Contender) => T,
): Readonly<Record<string, T>> {
  return Object.fromEntries(contenders.map((contender) => [contender.name, of(contender)]));
}

/** Runs ours and the peers in turn (A B A B ...), after a warm-up of each, and takes medians. */
export async function run(measure: Measure, rounds: number): Promise<Row> {
  const { ours, peers, reference = [] } = measure;
  const contenders = [ours, ...peers, ...reference];
  const samples = new Map<string, Sample[]>(contenders.map(({ name }) => [name, []]));
  for (let round = -WARM_UPS; round < rounds; round++) {
    for (const contender of contenders) {
      const folder = mkdtempSync(join(tmpdir(), "holdfast-bench-"));
      try {
        const sample = await contender.run(folder);
        if (round >= 0) samples.get(contender.name)?.push(sample);
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    }
  }
  const value = (contender: Contender): number => medianOf(samples, contender);
  const holdfast = value(ours);
  const values = peers.map(value);
  const best = measure.better === "more" ? Math.max(...values) : Math.min(...values);
  const ratio = measure.better === "more" ? holdfast / best : best / holdfast;
  return {
    bench: measure.bench,
    unit: measure.unit,
    holdfast,
    peers: byName(peers, value),
    reference: byName(reference, value),
    ratio: values.length === 0 ? null : ratio,
    cpuUsPerOp: byName(contenders, (contender) => cpuOf(samples, contender)),
    range: byName(contenders, (contender) => rangeOf(samples, contender)),
    note: measure.note,
  };
}

/** The disk's own rate: one row a transaction, synced, through better-sqlite3 alone. */
export function rawCommits(count: number): Contender {
  return {
    name: "raw better-sqlite3, one synced row a commit",
    async run(folder) {
      const database = new Database(join(folder, "raw.db"));
      database.pragma("journal_mode = WAL");
      database.pragma("synchronous = FULL");
      database.exec("CREATE TABLE t (id INTEGER PRIMARY KEY, body TEXT)");
      const insert = database.prepare("INSERT INTO t (body) VALUES (?)");
      const sample = await timed(count, () => {
        for (let i = 0; i < count; i++) insert.run(PAYLOAD.text);
      });
      const found = database.prepare("SELECT count(*) AS n FROM t").get() as { n: number };
      check(found.n === count, `expected ${count} rows, found ${found.n}`);
      database.close();
      return sample;
    },
  };
}

/** About 200 bytes of JSON. */
export const PAYLOAD = {
  to: "someone@example.org",
  subject: "Your order has been taken",
  text: "x".repeat(110),
  at: 1_700_000_000_000,
};

function version(name: string): string {
  const url = new URL(`../node_modules/${name}/package.json`, import.meta.url);
  try {
    return (JSON.parse(readFileSync(url, "utf8")) as { version: string }).version;
  } catch {
    return "?";
  }
}

/** The machine and versions that figures belong to. */
export function surroundings(): Readonly<Record<string, string>> {
  const cpu = cpus();
  let commit = "unknown";
  try {
    commit = execFileSync("git", ["rev-parse", "--short", "HEAD"], { encoding: "utf8" }).trim();
  } catch {
    // Outside a checkout there is none.
  }
  return {
    date: new Date().toISOString().slice(0, 10),
    cpu: `${cpu.length} × ${cpu[0]?.model ?? "unknown"}`,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    kernel: release(),
    node: process.version,
    commit,
    "better-sqlite3": version("../../node_modules/better-sqlite3"),
    plainjob: version("plainjob"),
    liteque: version("liteque"),
  };
}
