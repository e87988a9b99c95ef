// holdfast/engines/sqlite

interface CheckpointStats {
    readonly checkpoints: number;
    readonly locked: number;
    readonly hindered: number;
    readonly failed: number;
}

interface Database {
    readonly name: string;
    readonly memory: boolean;
    readonly readonly: boolean;
    readonly open: boolean;
    readonly inTransaction: boolean;
    prepare(sql: string): Statement;
    exec(sql: string): unknown;
    close(): unknown;
}

type DatabaseClass = new (path: string, options?: DatabaseOptions) => Database;

interface LockStats {
    readonly acquired: number;
    readonly waited: number;
    readonly longestWaitMs: number;
}

const SCHEMA_VERSION: number;

interface SqliteOptions {
    readonly mode?: (typeof MODES)[number] | undefined;
    readonly allow?: "unsynced" | readonly "unsynced"[] | undefined;
    readonly maxPageCount?: number | undefined;
    readonly lockTimeoutMs?: number | undefined;
    readonly thread?: (typeof SWITCH)[number] | undefined;
    readonly network?: (typeof NETWORK)[number] | undefined;
    readonly clock?: Clock | undefined;
    readonly params?: Readonly<Record<string, string>> | undefined;
}

class SqliteStore implements StoreDriver {
    #private;
    readonly capabilities: Capabilities;
    constructor(options: SqliteStoreOptions, hints: Hints);
    commit(groups: readonly Group[]): Promise<readonly GroupResult[]>;
    read<const R extends readonly Read[]>(reads: R): Promise<{
        [I in keyof R]: ReadResult<R[I]>;
    }>;
    watch(partition: string, prefix: string, cursor: number | null, signal: AbortSignal): AsyncIterable<KvChanges>;
    subscribe(channel: Channel, listen: (message: Data | null) => void): () => void;
    export(partition: string, cursor: string | null, limit: number): Promise<ExportPage>;
    import(partition: string, records: readonly ExportRecord[]): Promise<void>;
    seal(partition: string, seal: Seal): Promise<void>;
    durability(): Promise<Durability>;
    stats(): Promise<WriterStats>;
    enqueueIn(tx: Database, partition: string, ops: readonly QueueEnqueue[]): void;
    recordIn(tx: Database, partition: string, op: RunsRecord): RunState;
    close(): Promise<void>;
}

interface Statement {
    run(...values: readonly unknown[]): {
        readonly changes: number;
        readonly lastInsertRowid: number | bigint;
    };
    get(...values: readonly unknown[]): unknown;
    all(...values: readonly unknown[]): unknown[];
    raw(): Statement;
    pluck(): Statement;
}

const WAL_BOUND_BYTES: number;

interface WriterStats {
    readonly lock: LockStats;
    readonly checkpoints: CheckpointStats;
}

// as capabilities
const CAPABILITIES: Capabilities;

function sqlite(path: string, options?: SqliteOptions): Promise<SqliteStore>;
