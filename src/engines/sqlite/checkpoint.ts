/**
 * Keeps the write-ahead file bounded. Commits append pages to it; a checkpoint copies them into the
 * database, and when all are copied and nobody reads the old ones, the next commit starts the file
 * again from its beginning.
 *
 *   - from `COPY_PAGES` on, a passive checkpoint after a commit copies what there is, without the
 *     write lock;
 *   - alone, that is enough: nobody wrote meanwhile, so all is copied. When several processes write
 *     without a pause it never is, and the file would grow for ever. So from `RESTART_PAGES` on
 *     whoever has the write lock next copies the rest before it writes, lets go, and the commit
 *     after it finds all copied and starts the file again. SQLite's own RESTART mode asks for the
 *     write lock itself and gives up when it is taken: with 4 saturating processes 25 of 28 were
 *     refused, and the file reached 81 MB.
 *   - a file that grew beyond `KEEP_BYTES` (one large commit, or a reader that held old pages) is
 *     cut when it starts again.
 *
 * A connection can't checkpoint in its own transaction, so that copying has a connection of its
 * own.
 *
 * Why 4 MB and not more: written over, the file keeps its size and blocks, and a sync costs half of
 * what it costs while the file grows (124 us against 240 to 320 us for a one-page commit, ext4); a
 * short cycle gets there sooner and stays in the page cache.
 *
 * The bound holds as long as no reader keeps a transaction open: the pages it sees can't be given
 * up. Our reads are short; a user's open cursor or a `sqlite3` shell in a transaction is not ours
 * to end.
 */
import type { Database, Statement } from "./database.ts";
import { isBusy, sqliteCode } from "./errors.ts";

const COPY_PAGES = 1_000;
const RESTART_PAGES = 4_000;
/** Where a reader is in the way, the next try comes after as many pages more. */
const RETRY_PAGES = 1_000;
const KEEP_BYTES = 16 * 1_048_576;

/**
 * What the write-ahead file stays below while no reader holds old pages: the mark for a restart,
 * and a full commit of each process.
 */
export const WAL_BOUND_BYTES: number = 64 * 1_048_576;

type State = [isBusy: number, pages: number, copied: number];

export interface CheckpointStats {
  readonly checkpoints: number;
  /** Of these, those under the write lock. */
  readonly locked: number;
  /** Of those, the ones that a reader kept from copying all. */
  readonly hindered: number;
  /**
   * Checkpoints that failed (the disk is full, say). Nothing is lost by it: the next one tries
   * again.
   */
  readonly failed: number;
}

export class Checkpointer {
  readonly #copier: Database;
  readonly #look: Statement;
  readonly #copy: Statement;
  /** Pages at the last try: the next comes after as many more. */
  #triedAt = 0;
  #isRestartDue = false;
  #checkpoints = 0;
  #locked = 0;
  #hindered = 0;
  #failed = 0;

  /**
   * `copier`: a connection of its own, whose transactions are never used. It is closed with
   * `close`.
   */
  constructor(database: Database, copier: Database) {
    // Of the connection that starts the file again.
    database.exec(`PRAGMA journal_size_limit = ${KEEP_BYTES}`);
    this.#copier = copier;
    // NOOP copies nothing and tells how much there is.
    this.#look = copier.prepare("PRAGMA wal_checkpoint(NOOP)").raw();
    this.#copy = copier.prepare("PRAGMA wal_checkpoint(PASSIVE)").raw();
  }

  get stats(): CheckpointStats {
    return {
      checkpoints: this.#checkpoints,
      locked: this.#locked,
      hindered: this.#hindered,
      failed: this.#failed,
    };
  }

  /** True: the next holder of the write lock should call `underLock` first, and then let go. */
  get isRestartDue(): boolean {
    return this.#isRestartDue;
  }

  /** Called after a commit, outside of transactions. Never fails: the next commit tries again. */
  afterCommit(): void {
    const [, pages, copied] = this.#run(this.#look);
    if (pages < this.#triedAt) this.#triedAt = 0;
    if (pages - Math.max(copied, this.#triedAt) < COPY_PAGES) return;
    this.#checkpoints++;
    this.#triedAt = pages;
    this.#run(this.#copy);
    // Others may have written while it copied.
    this.#isRestartDue = pages >= RESTART_PAGES;
  }

  /** Copies what is left while the caller holds the write lock and has written nothing yet. */
  underLock(): void {
    this.#isRestartDue = false;
    const [, pages] = this.#run(this.#look);
    // Somebody else was first.
    if (pages < RESTART_PAGES) return;
    this.#checkpoints++;
    this.#locked++;
    const [, , copied] = this.#run(this.#copy);
    if (copied === pages) return;
    this.#hindered++;
    this.#triedAt = pages + RETRY_PAGES - COPY_PAGES;
  }

  close(): void {
    this.#copier.close();
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
