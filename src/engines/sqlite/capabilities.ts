import { LIMITS } from "../../core/limits.ts";
import type { Capabilities } from "../../store/capabilities.ts";

/**
 * What SQLite can do. Two commits in flight: while one is synced, the next waits in the thread's
 * queue already.
 */
export const CAPABILITIES: Capabilities = Object.freeze<Capabilities>({
  engine: "sqlite",
  atomic: "store",
  ports: ["kv", "queue", "runs", "bus"],
  isPersistent: true,
  isShared: true,
  joinsUserTransaction: true,
  hasExpiryEvents: true,
  maxOpsPerGroup: LIMITS.opsPerGroup,
  commitsInFlight: 2,
  ttlGranularityMs: 1,
});
