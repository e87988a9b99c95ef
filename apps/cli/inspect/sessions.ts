/** `holdfast inspect sessions` */
import type { SessionView } from "holdfast/store";
import { table, type Cell, type Column } from "../table.ts";
import { numberText, spanText } from "../text.ts";
import { nothingHere, type Place, type View } from "./open.ts";

const COLUMNS: readonly Column[] = [
  { title: "SESSION", atLeast: 12 },
  { title: "HOLDER", atLeast: 12 },
  { title: "JOBS HELD", align: "right" },
  { title: "TTL", align: "right" },
  { title: "ENDS UNLESS RENEWED IN", align: "right" },
];

/**
 * The sessions of the partition: one for each live process that holds something, or held it a
 * moment ago.
 */
export async function readSessions(place: Place): Promise<readonly SessionView[]> {
  const { store } = place.hf;
  const partition = store.partitionName(place.partition);
  const [sessions] = await store.read([{ read: "session.list", partition }]);
  return sessions;
}

export async function inspectSessions(place: Place): Promise<View> {
  const sessions = await readSessions(place);
  const empty = sessions.length > 0 ? "" : await nothingHere(place, "sessions");
  return {
    json: { sessions },
    text: (layout) => (empty === "" ? table(COLUMNS, sessions.map(rowOf), layout) : empty),
  };
}

function rowOf({ session, label, leases, ttlMs, leftMs }: SessionView): Cell[] {
  const left: Cell = leftMs > 0 ? spanText(leftMs) : { text: "over", style: "red" };
  return [session, label, numberText(leases), spanText(ttlMs), left];
}
