/** A store that has the journal of one run, to be read, and refuses everything else. */
import type { Clock } from "../../../core/clock.ts";
import { jsonCodec } from "../../../core/codec.ts";
import { HoldfastError } from "../../../core/errors.ts";
import { LIMITS } from "../../../core/limits.ts";
import { SeededRandom } from "../../../core/random.ts";
import type { Capabilities } from "../../../store/capabilities.ts";
import type { Read, ReadResult, RunPage, StoreDriver } from "../../../store/driver.ts";
import { Store } from "../../../store/store.ts";
import type { RunJournal } from "./journals.ts";

const CAPABILITIES: Capabilities = Object.freeze<Capabilities>({
  engine: "replay",
  atomic: "store",
  ports: ["kv", "queue", "runs", "bus"],
  isPersistent: false,
  isShared: false,
  joinsUserTransaction: false,
  hasExpiryEvents: false,
  maxOpsPerGroup: LIMITS.opsPerGroup,
  commitsInFlight: 1,
  ttlGranularityMs: 1,
});

function refused(): HoldfastError {
  const message =
    "A replay does nothing: expected code that calls the store only inside of its steps";
  return new HoldfastError("UNSUPPORTED", message, { outcome: "not-applied" });
}

export function openReadOnly(journal: RunJournal, clock: Clock): Promise<Store> {
  const refuse = async (): Promise<never> => {
    throw refused();
  };
  const driver: StoreDriver = {
    capabilities: CAPABILITIES,
    commit: refuse,
    read: async <const R extends readonly Read[]>(reads: R) => {
      const results = reads.map((read) => {
        if (read.read !== "runs.journal") throw refused();
        return pageOf(journal, clock.wallMs(), read);
      });
      return results as unknown as { [I in keyof R]: ReadResult<R[I]> };
    },
    watch: () => {
      throw refused();
    },
    subscribe: () => () => {},
    export: refuse,
    import: refuse,
    seal: refuse,
    durability: refuse,
    close: async () => {},
  };
  return Store.open(driver, { clock, random: new SeededRandom(1), label: "replay" });
}

function pageOf(
  journal: RunJournal,
  nowMs: number,
  { afterRecord, afterEvent, limit }: { afterRecord: number; afterEvent: number; limit: number },
): RunPage {
  const records = journal.records.slice(afterRecord, afterRecord + limit);
  const events = journal.events.slice(afterEvent, afterEvent + limit);
  return {
    records: records.map(({ key, value, atMs, dueMs }, i) => {
      return { no: afterRecord + i + 1, key, data: jsonCodec.encode(value), atMs, dueMs };
    }),
    events: events.map(({ event, value, id, atMs }, i) => {
      return { no: afterEvent + i + 1, event, data: jsonCodec.encode(value), id, atMs };
    }),
    hasMore:
      afterRecord + limit < journal.records.length || afterEvent + limit < journal.events.length,
    nowMs,
  };
}
