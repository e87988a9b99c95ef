/**
 * Keeps the write-ahead file bounded. Commits append pages to it; a checkpoint copies them into the database, and when all are
 * copied and nobody reads the old ones, the next commit starts the file again from its beginning.
 *
 *   - from `COPY_PAGES` on, a passive checkpoint after a commit copies what there is, without the write lock;
 *   - alone, that is enough: nobody wrote meanwhile, so all is copied. When several processes write without a pause it never is,
 *     and the file would grow for ever; from `RESTART_PAGES` on, the checkpoint takes the write lock for its last part, so that
 *     the file does start again. We try it right after a commit, when the lock was ours a moment ago: it is seldom refused.
 *   - a file that grew beyond `KEEP_BYTES` (one large commit, or a reader that held old pages) is cut when it starts again.
 *
 * Why 4 MB and not more: written over, the file keeps its size and blocks, and a sync costs half of what it costs while the file
 * grows (124 us against 240 to 320 us for a one-page commit, ext4); a short cycle gets there sooner and stays in the page cache.
 *
 * The bound holds as long as no reader keeps a transaction open: the pages it sees can't be given up. Our reads are short; a
 * user's open cursor or a `sqlite3` shell in a transaction is not ours to end.
 */
import type { Database, Statement } from "./database.ts";
import { isBusy, sqliteCode } from "./errors.ts";

const COPY_PAGES = 1_000;
const RESTART_PAGES = 4_000;
/** A restart that was refused is tried again after as many pages more. */
const RETRY_PAGES = 250;
const KEEP_BYTES = 16 * 1_048_576;

/** What the write-ahead file stays below while no reader holds old pages: restart mark, one full commit, and slack. */
export const WAL_BOUND_BYTES: number = 64 * 1_048_576;

type State = [isBusy: number, pages: number, copied: number];

export interface CheckpointStats {
  readonly checkpoints: number;
  /** Of these, those that took the write lock. */
  readonly restarts: number;
  /** Restarts that others were in the way of. */
  readonly refused: number;
  /** Checkpoints that failed (the disk is full, say). Nothing is lost by it: the next one tries again. */
  readonly failed: number;
}

export class Checkpointer {
  readonly #look: Statement;
  readonly #copy: Statement;
  readonly #restart: Statement;
  #copiedAt = 0;
  #checkpoints = 0;
  #restarts = 0;
  #refused = 0;
  #failed = 0;

  constructor(database: Database) {
    database.exec(`PRAGMA journal_size_limit = ${KEEP_BYTES}`);
    // NOOP copies nothing and tells how much there is.
    this.#look = database.prepare("PRAGMA wal_checkpoint(NOOP)").raw();
    this.#copy = database.prepare("PRAGMA wal_checkpoint(PASSIVE)").raw();
    this.#restart = database.prepare("PRAGMA wal_checkpoint(RESTART)").raw();
  }

  get stats(): CheckpointStats {
    return {
      checkpoints: this.#checkpoints,
      restarts: this.#restarts,
      refused: this.#refused,
      failed: this.#failed,
    };
  }

  /** Called after a commit, outside of transactions. Never fails: the next commit tries again. */
  afterCommit(): void {
    const [, pages, copied] = this.#run(this.#look);
    if (pages < this.#copiedAt) this.#copiedAt = 0;
    if (pages - Math.max(copied, this.#copiedAt) < COPY_PAGES) return;
    this.#checkpoints++;
    // Readers may keep it from copying: then not at every commit again, but after as many pages more.
    this.#copiedAt = pages;
    this.#run(this.#copy);
    if (pages < RESTART_PAGES) return;
    this.#restarts++;
    const [isRefused] = this.#run(this.#restart);
    if (isRefused === 1) {
      this.#refused++;
      this.#copiedAt = pages - COPY_PAGES + RETRY_PAGES;
    } else this.#copiedAt = 0;
  }

  #run(statement: Statement): State {
    try {
      return statement.get() as State;
    } catch (error) {
      if (sqliteCode(error) === undefined) throw error;
      // The commit before it stands, whatever becomes of its copying.
      if (!isBusy(error)) this.#failed++;
      return [1, 0, 0];
    }
  }
}
