// holdfast/store

interface Affected {
    readonly count: number;
}

type Allow = "unsynced";

interface AskedCancels {
    readonly partition: string;
    readonly cancels: Renewed["cancels"];
}

interface BusPublish {
    readonly op: "bus.publish";
    readonly topic: string;
    readonly message: Data;
}

type Cancelled = "cancelled" | "requested" | "finished" | "missing";

interface Capabilities {
    readonly engine: string;
    readonly atomic: "store" | "partition" | "key";
    readonly ports: readonly ("kv" | "queue" | "runs" | "log" | "limit" | "bus")[];
    readonly isPersistent: boolean;
    readonly isShared: boolean;
    readonly joinsUserTransaction: boolean;
    readonly hasExpiryEvents: boolean;
    readonly maxOpsPerGroup: number;
    readonly commitsInFlight: number;
    readonly ttlGranularityMs: number;
}

interface Channel {
    readonly kind: "queue" | "done" | "cancel" | "bus";
    readonly partition: string;
    readonly name: string;
}

interface Child {
    close(): Promise<void>;
}

interface Claimed {
    readonly jobs: readonly ClaimedJob[];
    readonly nextMs: number | null;
}

interface ClaimedJob {
    readonly seq: number;
    readonly id: string;
    readonly payload: Data;
    readonly key: string | null;
    readonly priority: number;
    readonly attempt: number;
    readonly delivery: number;
    readonly token: number;
    readonly waitedMs: number;
    readonly trace: string | null;
    readonly run?: RunState | undefined;
}

interface Clock {
    wallMs(): number;
    monotonicMs(): number;
    timer(delayMs: number, fire: () => void, options?: {
        readonly keepAlive?: boolean;
    }): Timer;
    yield(): Promise<void>;
}

interface Codec {
    readonly name: string;
    encode(value: unknown): Data;
    decode(data: Data): unknown;
}

type Committed<O extends readonly Op[] = readonly Op[]> = {
    readonly ok: true;
    readonly revision: number;
    readonly results: {
        readonly [I in keyof O]: OpResult<O[I]>;
    };
} | {
    readonly ok: false;
    readonly refusal: Refusal;
};

const DEFAULT_QUEUE_CONFIG: QueueConfig;

type Data = string | Uint8Array;

interface Dedupe {
    readonly key: string;
    readonly ttlMs: number;
    readonly mode: DedupeMode;
}

type DedupeMode = "first" | "last" | "debounce";

interface Definition<H> {
    readonly name: string;
    [opens](store: Store): H;
}

interface Durability {
    readonly copies: number;
    readonly synced: "yes" | "no" | "unknown" | {
        readonly withinMs: number;
    };
    readonly source: string;
}

interface Enqueued {
    readonly id: string;
    readonly seq: number;
    readonly status: "added" | "exists" | "deduped" | "replaced";
}

interface ExportPage {
    readonly records: readonly ExportRecord[];
    readonly cursor: string | null;
}

type ExportRecord = {
    readonly record: "partition";
    readonly revision: number;
    readonly nextSeq: number;
    readonly clockMs: number;
} | {
    readonly record: "kv";
    readonly key: string;
    readonly value: Data;
    readonly revision: number;
    readonly expiresMs: number | null;
    readonly session: string | null;
} | {
    readonly record: "session";
    readonly session: string;
    readonly label: string;
    readonly ttlMs: number;
    readonly untilMs: number;
    readonly isEnded: boolean;
} | {
    readonly record: "queue";
    readonly queue: string;
    readonly config: QueueConfig;
    readonly isPaused: boolean;
    readonly rateMs: number;
} | {
    readonly record: "mark";
    readonly queue: string;
    readonly kind: "dedupe" | "rate";
    readonly name: string;
    readonly value: number;
    readonly id: string | null;
    readonly writer: string | null;
    readonly expiresMs: number;
} | {
    readonly record: "job";
    readonly queue: string;
    readonly view: Omit<JobView, "queue">;
    readonly at: number;
    readonly holdsKey: boolean;
    readonly hasStarted: boolean;
    readonly isReplaced: boolean;
    readonly isSuspended: boolean;
    readonly expiresMs: number | null;
    readonly trace: string | null;
}
 | ({
    readonly record: "run-record";
    readonly queue: string;
    readonly seq: number;
} & RunRecord) | ({
    readonly record: "run-event";
    readonly queue: string;
    readonly seq: number;
} & RunEvent);

interface Group {
    readonly partition: string;
    readonly ops: readonly Op[];
}

type GroupResult = {
    readonly ok: true;
    readonly revision: number;
    readonly results: readonly OpResult[];
} | {
    readonly ok: false;
    readonly refusal: Refusal;
};

const JOB_STATES: readonly ["ready", "leased", "scheduled", "blocked", "completed", "cancelled", "dead"];

interface JobPage {
    readonly jobs: readonly JobView[];
    readonly hasMore: boolean;
    readonly last: number | null;
}

type JobState = (typeof JOB_STATES)[number];

interface JobView {
    readonly queue: string;
    readonly id: string;
    readonly seq: number;
    readonly state: JobState;
    readonly payload: Data;
    readonly key: string | null;
    readonly priority: number;
    readonly attempts: number;
    readonly lost: number;
    readonly createdMs: number;
    readonly dueMs: number | null;
    readonly session: string | null;
    readonly token: number | null;
    readonly isCancelRequested: boolean;
    readonly progress: Data | null;
    readonly result: Data | null;
    readonly error: string | null;
    readonly finishedMs: number | null;
    readonly attributes: Attributes;
}

interface KvAdd {
    readonly op: "kv.add";
    readonly key: string;
    readonly delta: number;
    readonly min?: number | undefined;
    readonly max?: number | undefined;
}

interface KvChange {
    readonly key: string;
    readonly value: Data | null;
    readonly revision: number;
}

interface KvChanges {
    readonly changes: readonly KvChange[];
    readonly cursor: number;
    readonly isResync: boolean;
}

interface KvCheck {
    readonly op: "kv.check";
    readonly key: string;
    readonly revision: number;
}

interface KvDelete {
    readonly op: "kv.delete";
    readonly key: string;
}

interface KvEntry {
    readonly key: string;
    readonly value: Data;
    readonly revision: number;
}

interface KvGet {
    readonly op: "kv.get";
    readonly key: string;
}

type KvOp = KvCheck | KvPut | KvDelete | KvAdd | KvGet;

interface KvPage {
    readonly entries: readonly KvEntry[];
    readonly revision: number;
    readonly hasMore: boolean;
}

interface KvPut {
    readonly op: "kv.put";
    readonly key: string;
    readonly value: Data;
    readonly ttlMs?: number | undefined;
    readonly session?: string | undefined;
}

const LIMITS: {
    readonly nameChars: 200;
    readonly keyBytes: 1024;
    readonly valueBytes: 1048576;
    readonly payloadBytes: 1048576;
    readonly resultBytes: 1048576;
    readonly progressBytes: 16384;
    readonly recordBytes: 1048576;
    readonly recordKeyChars: 400;
    readonly recordsPerOp: 1000;
    readonly runEvents: 10000;
    readonly messageBytes: 65536;
    readonly errorChars: 2000;
    readonly idChars: 200;
    readonly opsPerGroup: 4096;
    readonly groupBytes: 8388608;
    readonly groupsPerCommit: 1024;
    readonly opsPerCommit: 4096;
    readonly commitBytes: 8388608;
    readonly groupsWaiting: 65536;
    readonly bytesWaiting: 268435456;
    readonly claimJobs: 1000;
    readonly lookedAt: 10000;
    readonly attributes: 16;
    readonly pageRows: 1000;
    readonly getKeys: 1000;
    readonly reapRows: 1000;
    readonly durationMs: 34560000000;
    readonly sessionTtlMinMs: 100;
    readonly sessionTtlMaxMs: 3600000;
    readonly priorityMax: 100;
    readonly journalEntries: 200000;
    readonly watchBuffer: 10000;
    readonly sqlitePartitions: 8192;
    readonly addMany: 100000;
    readonly importRecords: 100000;
    readonly importBytes: 67108864;
    readonly cursorChars: 16384;
    readonly placeChars: 2000;
};

interface ListJobs {
    readonly read: "queue.list";
    readonly partition: string;
    readonly queue: string;
    readonly state: JobState;
    readonly after: number | null;
    readonly limit: number;
    readonly where?: JobFilter | undefined;
}

interface ListKv {
    readonly read: "kv.list";
    readonly partition: string;
    readonly prefix: string;
    readonly after: string | null;
    readonly limit: number;
}

class ManualClock implements Clock {
    #private;
    constructor(startWallMs?: number);
    wallMs(): number;
    monotonicMs(): number;
    timer(delayMs: number, fire: () => void): Timer;
    yield(): Promise<void>;
    get pending(): number;
    jumpWall(byMs: number): void;
    suspend(forMs: number): void;
    block(forMs: number): void;
    advance(byMs: number): Promise<void>;
}

type Op = KvOp | QueueOp | RunsOp | SessionOp | BusPublish;

type OpResult<O extends Op = Op> = O extends KvGet ? KvEntry | null : O extends KvAdd ? number : O extends KvDelete ? boolean : O extends QueueEnqueue ? Enqueued : O extends QueueClaim ? Claimed : O extends QueueSettle ? JobState : O extends QueueCancel ? Cancelled : O extends QueueRedrive | QueuePurge ? Affected : O extends SessionRenew ? Renewed : O extends RunsRecord | RunsRestart ? RunState : O extends RunsSend ? Sent : null;

type OpsOf<P extends readonly Placed[]> = {
    readonly [I in keyof P]: P[I]["op"];
};

interface Placed<O extends Op = Op> {
    readonly partition: string;
    readonly op: O;
}

interface QueueCancel {
    readonly op: "queue.cancel";
    readonly queue: string;
    readonly id: string;
    readonly reason: string | null;
}

interface QueueChanges {
    readonly changes: readonly {
        readonly id: string;
        readonly seq: number;
        readonly state: JobState;
        readonly revision: number;
    }[];
    readonly cursor: number;
    readonly isResync: boolean;
}

interface QueueClaim {
    readonly op: "queue.claim";
    readonly queue: string;
    readonly session: string;
    readonly max: number;
}

interface QueueConfig {
    readonly perKey: number;
    readonly maxLeased: number | null;
    readonly rate: RateConfig | null;
    readonly ageMs: number;
    readonly maxDeliveries: number;
    readonly keepMs: number;
    readonly keepCount: number;
    readonly keepDeadMs: number;
    readonly maxWaiting: number | null;
}

interface QueueConfigure {
    readonly op: "queue.configure";
    readonly queue: string;
    readonly config: QueueConfig;
}

type QueueCounts = Readonly<Record<JobState, number>>;

interface QueueEnqueue {
    readonly op: "queue.enqueue";
    readonly queue: string;
    readonly id: string;
    readonly isFresh: boolean;
    readonly payload: Data;
    readonly delayMs: number;
    readonly priority: number;
    readonly key: string | null;
    readonly dedupe: Dedupe | null;
    readonly trace: string | null;
    readonly attributes?: Attributes | undefined;
}

type QueueOp = QueueConfigure | QueueEnqueue | QueueClaim | QueueSettle | QueueProgress | QueueCancel | QueueRedrive | QueuePause | QueuePurge;

interface QueuePause {
    readonly op: "queue.pause";
    readonly queue: string;
    readonly isPaused: boolean;
}

interface QueueProgress {
    readonly op: "queue.progress";
    readonly queue: string;
    readonly session: string;
    readonly seq: number;
    readonly token: number;
    readonly value: Data;
}

interface QueuePurge {
    readonly op: "queue.purge";
    readonly queue: string;
    readonly state: Exclude<JobState, "leased">;
    readonly max: number;
}

interface QueueRedrive {
    readonly op: "queue.redrive";
    readonly queue: string;
    readonly ids: readonly string[] | null;
    readonly max: number;
}

interface QueueSettle {
    readonly op: "queue.settle";
    readonly queue: string;
    readonly session: string;
    readonly seq: number;
    readonly token: number;
    readonly outcome: SettleOutcome;
    readonly isUnstarted?: boolean | undefined;
    readonly untilMs?: number | null | undefined;
    readonly seen?: number | undefined;
    readonly result: Data | null;
    readonly error: string | null;
    readonly delayMs: number;
    readonly holdsKey: boolean;
}

interface QueueView {
    readonly queue: string;
    readonly counts: QueueCounts;
    readonly isPaused: boolean;
    readonly config: QueueConfig;
    readonly oldestReadyMs: number | null;
}

interface Random {
    next(): number;
    text(chars: number): string;
}

interface RateConfig {
    readonly count: number;
    readonly perMs: number;
    readonly burst: number;
    readonly isPerKey: boolean;
}

type Read = ReadKv | ListKv | ReadJobs | ListJobs | ReadQueues | ReadQueueChanges | ReadRun | ReadSessions | ReadStore;

interface ReadJobs {
    readonly read: "queue.get";
    readonly partition: string;
    readonly queue: string;
    readonly ids: readonly string[];
}

interface ReadKv {
    readonly read: "kv.get";
    readonly partition: string;
    readonly keys: readonly string[];
}

interface ReadQueueChanges {
    readonly read: "queue.changes";
    readonly partition: string;
    readonly queue: string;
    readonly cursor: number;
    readonly limit: number;
}

interface ReadQueues {
    readonly read: "queue.stats";
    readonly partition: string;
    readonly queues: readonly string[] | null;
}

type ReadResult<R extends Read = Read> = R extends ReadKv ? readonly (KvEntry | null)[] : R extends ListKv ? KvPage : R extends ReadJobs ? readonly (JobView | null)[] : R extends ListJobs ? JobPage : R extends ReadQueues ? readonly QueueView[] : R extends ReadQueueChanges ? QueueChanges : R extends ReadRun ? RunPage | null : R extends ReadSessions ? readonly SessionView[] : StoreInfo;

interface ReadSessions {
    readonly read: "session.list";
    readonly partition: string;
}

interface ReadStore {
    readonly read: "store.info";
}

interface Refusal {
    readonly index: number;
    readonly code: ErrorCode;
    readonly message: string;
    readonly details?: Readonly<Record<string, unknown>> | undefined;
}

interface Renewed {
    readonly cancels: readonly {
        readonly queue: string;
        readonly seq: number;
        readonly token: number;
    }[];
}

type Schema<Input = unknown, Output = Input> = StandardSchemaV1<Input, Output>;

class SeededRandom implements Random {
    #private;
    constructor(seed: number);
    next(): number;
    text(chars: number): string;
    split(): SeededRandom;
}

class Session extends Lifetime {
    #private;
    readonly id: string;
    readonly ttlMs: number;
    readonly label: string;
    readonly signal: AbortSignal;
    readonly lost: Promise<LeaseLostError>;
    constructor(host: SessionHost, options: SessionOptions);
    get isOver(): boolean;
    check(): void;
    remainingMs(): number;
    isOpenIn(partition: string): boolean;
    openIn(partition: string, wait?: Wait): Promise<void>;
    onCancels(listen: (asked: AskedCancels) => void): () => void;
    renew(): Promise<void>;
    protected drain(): Promise<void>;
}

interface SessionEnd {
    readonly op: "session.end";
    readonly session: string;
}

interface SessionHost {
    readonly clock: Clock;
    commitUrgent<const O extends readonly Op[]>(partition: string, ops: O): Promise<Committed<O>>;
    onSessionOver(session: Session): void;
}

type SessionOp = SessionOpen | SessionRenew | SessionEnd;

interface SessionOpen {
    readonly op: "session.open";
    readonly session: string;
    readonly ttlMs: number;
    readonly label: string;
}

interface SessionOptions {
    readonly id: string;
    readonly ttlMs: number;
    readonly label: string;
}

interface SessionRenew {
    readonly op: "session.renew";
    readonly session: string;
    readonly ttlMs: number;
}

interface SessionView {
    readonly session: string;
    readonly label: string;
    readonly ttlMs: number;
    readonly leftMs: number;
    readonly leases: number;
}

type SettleOutcome = "completed" | "retry" | "dead" | "cancelled" | "released" | "suspended";

class Store extends Lifetime implements SessionHost {
    #private;
    readonly clock: Clock;
    readonly random: Random;
    readonly namespace: string;
    readonly sessionTtlMs: number;
    readonly drainMs: number;
    readonly capabilities: Capabilities;
    readonly label: string;
    private constructor();
    static open(driver: StoreDriver, options?: StoreOptions): Promise<Store>;
    partitionName(name?: string): string;
    commit<const O extends readonly Op[]>(partition: string, ops: O, wait?: Wait): Promise<Committed<O>>;
    commitAll<const P extends readonly Placed[]>(placed: P, wait?: Wait): Promise<Committed<OpsOf<P>>>;
    enqueueIn(tx: unknown, partition: string, ops: readonly QueueEnqueue[]): void;
    recordIn(tx: unknown, partition: string, op: RunsRecord): RunState;
    commitUrgent<const O extends readonly Op[]>(partition: string, ops: O): Promise<Committed<O>>;
    read<const R extends readonly Read[]>(reads: R, wait?: Wait): Promise<{
        [I in keyof R]: ReadResult<R[I]>;
    }>;
    info(wait?: Wait): Promise<StoreInfo>;
    watch(partition: string, prefix: string, cursor: number | null, signal?: AbortSignal): AsyncGenerator<KvChanges, void, void>;
    subscribe(channel: Channel, listen: (message: Data | null) => void, onClose?: () => void): () => void;
    session(partition?: string, wait?: Wait): Promise<Session>;
    onSessionOver(session: Session): void;
    needsTicks(): () => void;
    handle<H>(definition: Definition<H>): H;
    durability(): Promise<Durability>;
    stats(): Promise<object>;
    exportPage(partition: string, cursor: string | null, limit: number): Promise<ExportPage>;
    importPage(partition: string, records: readonly ExportRecord[]): Promise<void>;
    seal(partition: string, seal: Seal): Promise<void>;
    adopt(child: Child): () => void;
    protected drain(): Promise<void>;
}

interface StoreDriver {
    readonly capabilities: Capabilities;
    commit(groups: readonly Group[]): Promise<readonly GroupResult[]>;
    read<const R extends readonly Read[]>(reads: R): Promise<{
        [I in keyof R]: ReadResult<R[I]>;
    }>;
    watch(partition: string, prefix: string, cursor: number | null, signal: AbortSignal): AsyncIterable<KvChanges>;
    subscribe(channel: Channel, listen: (message: Data | null) => void): () => void;
    enqueueIn?(tx: unknown, partition: string, ops: readonly QueueEnqueue[]): void;
    recordIn?(tx: unknown, partition: string, op: RunsRecord): RunState;
    export(partition: string, cursor: string | null, limit: number): Promise<ExportPage>;
    import(partition: string, records: readonly ExportRecord[]): Promise<void>;
    seal(partition: string, seal: Seal): Promise<void>;
    durability(): Promise<Durability>;
    stats?(): Promise<object>;
    close(): Promise<void>;
}

interface StoreInfo {
    readonly clockMs: number;
    readonly partitions: readonly {
        readonly partition: string;
        readonly revision: number;
        readonly isSealed: boolean;
        readonly movedTo: string | null;
    }[];
}

interface StoreOptions {
    readonly clock?: Clock | undefined;
    readonly random?: Random | undefined;
    readonly namespace?: string | undefined;
    readonly sessionTtlMs?: number | undefined;
    readonly drainMs?: number | undefined;
    readonly allow?: Allow | readonly Allow[] | undefined;
    readonly label?: string | undefined;
}

interface Timer {
    cancel(): void;
}

interface Wait {
    readonly signal?: AbortSignal | undefined;
    readonly timeoutMs?: number | undefined;
}

const bytesCodec: Codec;

function dataBytes(data: Data): number;

function isDefinition(value: unknown): value is Definition<unknown>;

const jsonCodec: Codec;

const opens: unique symbol;

function refusalError(refusal: Refusal): HoldfastError;

function resultsOf<O extends readonly Op[]>(committed: Committed<O>): {
    readonly [I in keyof O]: OpResult<O[I]>;
};

const systemClock: Clock;

const systemRandom: Random;
