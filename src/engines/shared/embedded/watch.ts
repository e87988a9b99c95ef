/**
 * A watch over an engine that keeps a journal: read what changed, then wait for the next commit.
 */
import { deferred } from "../../../core/signal.ts";
import type { Deferred } from "../../../core/signal.ts";
import type { KvChanges } from "../../../store/driver.ts";

/**
 * Reads changes until the signal aborts. Commits that come while the reader is busy merge into one
 * read, so that a slow watcher costs the store nothing and loses only intermediate values.
 */
export async function* watchJournal(
  readChanges: (cursor: number | null) => Promise<KvChanges>,
  onChange: (listen: () => void) => () => void,
  cursor: number | null,
  signal: AbortSignal,
): AsyncGenerator<KvChanges, void, void> {
  let isChanged = true;
  let waiting: Deferred<void> | undefined;
  const wake = (): void => {
    isChanged = true;
    waiting?.resolve();
  };
  const stop = onChange(wake);
  signal.addEventListener("abort", wake);
  try {
    let at = cursor;
    let isFirst = true;
    while (!signal.aborted) {
      if (!isChanged) {
        waiting = deferred();
        await waiting.promise;
        waiting = undefined;
        continue;
      }
      isChanged = false;
      const batch = await readChanges(at);
      // More may lie behind a full page: look again before waiting.
      if (batch.cursor !== at) isChanged = true;
      at = batch.cursor;
      const hasNews = isFirst || batch.isResync || batch.changes.length > 0;
      isFirst = false;
      if (hasNews && !signal.aborted) yield batch;
    }
  } finally {
    stop();
    signal.removeEventListener("abort", wake);
  }
}
