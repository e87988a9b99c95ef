// mentioned by exported declarations, exported by none

// src/core/attributes.d.ts
type Attributes = Readonly<Record<string, string>>;

// src/core/codec.d.ts
type SchemaInput<S> = S extends StandardSchemaV1<infer I, unknown> ? I : never;

// src/core/codec.d.ts
type SchemaOutput<S> = S extends StandardSchemaV1<unknown, infer O> ? O : never;

// src/core/lifetime.d.ts
abstract class Lifetime implements AsyncDisposable {
    #private;
    constructor(what: string);
    get state(): LifetimeState;
    protected checkRunning(): void;
    close(): Promise<void>;
    protected abstract drain(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}

// src/core/lifetime.d.ts
type LifetimeState = "running" | "draining" | "closed";

// src/core/retry.d.ts
interface RetryOptions {
    readonly attempts?: number | undefined;
    readonly backoff?: BackoffOptions | undefined;
}

// src/core/retry.d.ts
interface RetryPolicy {
    readonly attempts: number;
    readonly initialMs: number;
    readonly factor: number;
    readonly maxMs: number;
    readonly isJittered: boolean;
}

// src/engines/memory/queue-tables.d.ts
class QueueTables extends RunTables {
    #private;
    queueByName(partition: number, name: string): QueueRow | undefined;
    queueByNo(no: number): QueueRow | undefined;
    createQueue(partition: number, name: string, config: QueueConfig): QueueRow;
    saveQueue(): void;
    queues(partition: number): QueueRow[];
    job(queue: number, seq: number): JobRow | undefined;
    jobById(queue: number, id: string): JobRow | undefined;
    insertJob(row: JobRow): void;
    saveJob(): void;
    deleteJob(row: JobRow): void;
    jobRange(queue: number, after: number | null, limit: number): JobRow[];
    putReady(queue: number, rank: number, seq: number): void;
    deleteReady(queue: number, rank: number, seq: number): void;
    takeReady(queue: number, max: number): JobRow[];
    firstReady(queue: number): {
        readonly rank: number;
        readonly seq: number;
    } | undefined;
    putScheduled(queue: number, dueMs: number, seq: number): void;
    deleteScheduled(queue: number, dueMs: number, seq: number): void;
    takeDue(queue: number, nowMs: number, max: number): JobRow[];
    nextDueMs(queue: number): number | undefined;
    putBlocked(queue: number, key: string, seq: number): void;
    deleteBlocked(queue: number, key: string, seq: number): void;
    firstBlocked(queue: number, key: string): number | undefined;
    waitingRange(queue: number, state: WaitingState, after: number | null, limit: number): number[];
    keyRow(queue: number, key: string): KeyRow | undefined;
    saveKey(row: KeyRow): void;
    deleteKey(row: KeyRow): void;
    lease(session: number, seq: number): LeaseRow | undefined;
    leaseOfJob(queue: number, seq: number): LeaseRow | undefined;
    insertLease(row: LeaseRow): void;
    saveLease(): void;
    deleteLease(row: LeaseRow): void;
    leasesOfSession(session: number, limit: number): LeaseRow[];
    leaseCount(session: number): number;
    cancelsOfSession(session: number): LeaseRow[];
    leaseRange(queue: number, after: number | null, limit: number): LeaseRow[];
    finished(queue: number, seq: number): FinishedRow | undefined;
    insertFinished(row: FinishedRow): void;
    deleteFinished({ queue: no, seq }: FinishedPlace): void;
    finishedRange(queue: number, state: FinishedState, after: number | null, limit: number): FinishedRow[];
    finishedOldest(queue: number, state: CountedState, limit: number): FinishedPlace[];
    finishedExpired(nowMs: number, limit: number): FinishedRow[];
    finishedOver(nowMs: number): FinishedOver[];
    mark(queue: number, kind: MarkRow["kind"], name: string): MarkRow | undefined;
    saveMark(row: MarkRow): void;
    deleteMark(row: MarkRow): void;
    marksExpired(nowMs: number, limit: number): MarkRow[];
    markRange(queue: number, after: {
        readonly kind: string;
        readonly name: string;
    } | null, limit: number): MarkRow[];
}

// src/engines/memory/run-tables.d.ts
class RunTables {
    #private;
    lastRecord(queue: number, seq: number): number;
    insertRecord(row: RecordRow): void;
    records(queue: number, seq: number, after: number, limit: number): RecordRow[];
    lastEvent(queue: number, seq: number): number;
    eventById(queue: number, seq: number, id: string): EventRow | undefined;
    insertEvent(row: EventRow): void;
    events(queue: number, seq: number, after: number, limit: number): EventRow[];
    deleteRun(queue: number, seq: number): void;
}

// src/engines/memory/tables.d.ts
class MemoryTables extends QueueTables implements Tables {
    #private;
    partitionByName(name: string): PartitionRow | undefined;
    partitionByNo(no: number): PartitionRow;
    createPartition(name: string): PartitionRow;
    savePartition(): void;
    partitions(): PartitionRow[];
    kv(partition: number, key: string): KvRow | undefined;
    saveKv(row: KvRow): void;
    deleteKv(row: KvRow): void;
    kvRange(partition: number, prefix: string, after: string | null, limit: number): KvRow[];
    kvExpired(nowMs: number, limit: number): KvRow[];
    kvOfSession(partition: number, session: string, limit: number): KvRow[];
    session(partition: number, id: string): SessionRow | undefined;
    sessionByNo(no: number): SessionRow | undefined;
    createSession(row: Omit<SessionRow, "no">): SessionRow;
    saveSession(): void;
    deleteSession(row: SessionRow): void;
    sessionsOver(nowMs: number, limit: number): SessionRow[];
    sessions(partition: number): SessionRow[];
    appendJournal(partition: number, revision: number, count: number, entries: readonly JournalEntry[]): void;
    journal(partition: number, after: number, limit: number): JournalEntry[][];
    trimJournal(partition: number, count: number): number | undefined;
    publish(_partition: number, _topic: string, _message: Data): void;
}

// src/engines/shared/embedded/channels.d.ts
class Channels {
    #private;
    subscribe(channel: Channel, listen: Listen): () => void;
    onChange(listen: () => void): () => void;
    get isWatched(): boolean;
    get hasBus(): boolean;
    emit(channel: Channel, message: Data | null): void;
    emitChange(): void;
    emitAll(): void;
}

// src/engines/shared/embedded/channels.d.ts
type Listen = (message: Data | null) => void;

// src/engines/shared/embedded/scope.d.ts
interface Message {
    readonly channel: Channel;
    readonly message: Data;
}

// src/engines/shared/embedded/store-clock.d.ts
class StoreClock {
    #private;
    constructor(clock: Clock);
    nowMs(highWaterMs: number): number;
}

// src/engines/shared/embedded/tables.d.ts
type CountedState = Exclude<FinishedState, "dead">;

// src/engines/shared/embedded/tables.d.ts
interface Counts {
    ready: number;
    leased: number;
    scheduled: number;
    blocked: number;
    completed: number;
    cancelled: number;
    dead: number;
}

// src/engines/shared/embedded/tables.d.ts
interface EventRow extends RunEvent {
    readonly queue: number;
    readonly seq: number;
}

// src/engines/shared/embedded/tables.d.ts
interface FinishedOver {
    readonly queue: number;
    readonly state: FinishedState;
    readonly count: number;
}

// src/engines/shared/embedded/tables.d.ts
type FinishedPlace = Pick<FinishedRow, "queue" | "seq" | "state">;

// src/engines/shared/embedded/tables.d.ts
interface FinishedRow {
    readonly queue: number;
    readonly seq: number;
    readonly state: FinishedState;
    readonly finishedMs: number;
    readonly expiresMs: number;
    readonly result: Data | null;
}

// src/engines/shared/embedded/tables.d.ts
type FinishedState = "completed" | "cancelled" | "dead";

// src/engines/shared/embedded/tables.d.ts
interface JobRow {
    readonly seq: number;
    readonly queue: number;
    readonly id: string;
    readonly key: string | null;
    readonly priority: number;
    payload: Data;
    attempts: number;
    lost: number;
    readonly createdMs: number;
    state: WaitingState;
    at: number;
    holdsKey: boolean;
    error: string | null;
    readonly trace: string | null;
    readonly attributes?: string | null;
    progress?: Data | null;
    hasStarted?: boolean;
    isReplaced?: boolean;
    isSuspended?: boolean;
}

// src/engines/shared/embedded/tables.d.ts
type JournalEntry = readonly [revision: number, port: "k", key: string, isGone: 0 | 1] | readonly [revision: number, port: "q", queue: number, seq: number, state: string];

// src/engines/shared/embedded/tables.d.ts
interface KeyRow {
    readonly queue: number;
    readonly key: string;
    active: number;
    waiting: number;
}

// src/engines/shared/embedded/tables.d.ts
interface KvRow {
    readonly partition: number;
    readonly key: string;
    value: Data;
    revision: number;
    expiresMs: number | null;
    session: string | null;
}

// src/engines/shared/embedded/tables.d.ts
interface LeaseRow {
    readonly session: number;
    readonly seq: number;
    readonly queue: number;
    readonly token: number;
    isCancelRequested: boolean;
    progress: Data | null;
}

// src/engines/shared/embedded/tables.d.ts
interface MarkRow {
    readonly queue: number;
    readonly kind: "dedupe" | "rate";
    readonly name: string;
    readonly value: number;
    readonly id: string | null;
    readonly writer?: string | null;
    readonly expiresMs: number;
}

// src/engines/shared/embedded/tables.d.ts
interface PartitionRow {
    readonly no: number;
    readonly name: string;
    revision: number;
    nextSeq: number;
    isSealed: boolean;
    movedTo: string | null;
    journalCount: number;
    journalFloor: number;
}

// src/engines/shared/embedded/tables.d.ts
interface QueueRow {
    readonly no: number;
    readonly partition: number;
    readonly name: string;
    config: QueueConfig;
    isPaused: boolean;
    rateMs: number;
    readonly counts: Counts;
}

// src/engines/shared/embedded/tables.d.ts
interface RecordRow extends RunRecord {
    readonly queue: number;
    readonly seq: number;
}

// src/engines/shared/embedded/tables.d.ts
interface SessionRow {
    readonly no: number;
    readonly partition: number;
    readonly id: string;
    readonly label: string;
    ttlMs: number;
    untilMs: number;
    isEnded: boolean;
}

// src/engines/shared/embedded/tables.d.ts
interface Tables {
    partitionByName(name: string): PartitionRow | undefined;
    partitionByNo(no: number): PartitionRow;
    createPartition(name: string): PartitionRow;
    savePartition(row: PartitionRow): void;
    partitions(): PartitionRow[];
    kv(partition: number, key: string): KvRow | undefined;
    saveKv(row: KvRow): void;
    deleteKv(row: KvRow): void;
    kvRange(partition: number, prefix: string, after: string | null, limit: number): KvRow[];
    kvExpired(nowMs: number, limit: number): KvRow[];
    kvOfSession(partition: number, session: string, limit: number): KvRow[];
    queueByName(partition: number, name: string): QueueRow | undefined;
    queueByNo(no: number): QueueRow | undefined;
    createQueue(partition: number, name: string, config: QueueConfig): QueueRow;
    saveQueue(row: QueueRow): void;
    queues(partition: number): QueueRow[];
    job(queue: number, seq: number): JobRow | undefined;
    jobById(queue: number, id: string): JobRow | undefined;
    insertJob(row: JobRow): void;
    saveJob(row: JobRow): void;
    deleteJob(row: JobRow): void;
    jobRange(queue: number, after: number | null, limit: number): JobRow[];
    putReady(queue: number, rank: number, seq: number): void;
    deleteReady(queue: number, rank: number, seq: number): void;
    takeReady(queue: number, max: number): JobRow[];
    firstReady(queue: number): {
        readonly rank: number;
        readonly seq: number;
    } | undefined;
    putScheduled(queue: number, dueMs: number, seq: number): void;
    deleteScheduled(queue: number, dueMs: number, seq: number): void;
    takeDue(queue: number, nowMs: number, max: number): JobRow[];
    nextDueMs(queue: number): number | undefined;
    putBlocked(queue: number, key: string, seq: number): void;
    deleteBlocked(queue: number, key: string, seq: number): void;
    firstBlocked(queue: number, key: string): number | undefined;
    waitingRange(queue: number, state: WaitingState, after: number | null, limit: number): number[];
    keyRow(queue: number, key: string): KeyRow | undefined;
    saveKey(row: KeyRow): void;
    deleteKey(row: KeyRow): void;
    lease(session: number, seq: number): LeaseRow | undefined;
    leaseOfJob(queue: number, seq: number): LeaseRow | undefined;
    insertLease(row: LeaseRow): void;
    saveLease(row: LeaseRow): void;
    deleteLease(row: LeaseRow): void;
    leasesOfSession(session: number, limit: number): LeaseRow[];
    leaseCount(session: number): number;
    cancelsOfSession(session: number): LeaseRow[];
    leaseRange(queue: number, after: number | null, limit: number): LeaseRow[];
    finished(queue: number, seq: number): FinishedRow | undefined;
    insertFinished(row: FinishedRow): void;
    deleteFinished(row: FinishedPlace): void;
    finishedRange(queue: number, state: FinishedState, after: number | null, limit: number): FinishedRow[];
    finishedOldest(queue: number, state: CountedState, limit: number): FinishedPlace[];
    finishedExpired(nowMs: number, limit: number): FinishedRow[];
    finishedOver(nowMs: number): FinishedOver[];
    mark(queue: number, kind: MarkRow["kind"], name: string): MarkRow | undefined;
    saveMark(row: MarkRow): void;
    deleteMark(row: MarkRow): void;
    marksExpired(nowMs: number, limit: number): MarkRow[];
    markRange(queue: number, after: {
        kind: string;
        name: string;
    } | null, limit: number): MarkRow[];
    lastRecord(queue: number, seq: number): number;
    insertRecord(row: RecordRow): void;
    records(queue: number, seq: number, after: number, limit: number): RecordRow[];
    lastEvent(queue: number, seq: number): number;
    eventById(queue: number, seq: number, id: string): EventRow | undefined;
    insertEvent(row: EventRow): void;
    events(queue: number, seq: number, after: number, limit: number): EventRow[];
    deleteRun(queue: number, seq: number): void;
    session(partition: number, id: string): SessionRow | undefined;
    sessionByNo(no: number): SessionRow | undefined;
    createSession(row: Omit<SessionRow, "no">): SessionRow;
    saveSession(row: SessionRow): void;
    deleteSession(row: SessionRow): void;
    sessionsOver(nowMs: number, limit: number): SessionRow[];
    sessions(partition: number): SessionRow[];
    appendJournal(partition: number, revision: number, count: number, entries: readonly JournalEntry[]): void;
    journal(partition: number, after: number, limit: number): JournalEntry[][];
    trimJournal(partition: number, count: number): number | undefined;
    publish(partition: number, topic: string, message: Data): void;
}

// src/engines/shared/embedded/tables.d.ts
type WaitingState = "ready" | "scheduled" | "blocked";

// src/engines/sqlite/connect.d.ts
const MODES: readonly ["ro", "rw", "rwc"];

// src/engines/sqlite/connect.d.ts
const NETWORK: readonly ["refuse", "allow"];

// src/engines/sqlite/connect.d.ts
const SWITCH: readonly ["on", "off"];

// src/engines/sqlite/database.d.ts
interface DatabaseOptions {
    readonly readonly?: boolean;
    readonly fileMustExist?: boolean;
    readonly timeout?: number;
}

// src/engines/sqlite/executor.d.ts
interface Executor {
    commit(groups: readonly Group[]): Promise<Committed>;
    import(partition: string, records: readonly ExportRecord[]): Promise<Committed>;
    seal(partition: string, seal: Seal): Promise<Committed>;
    durability(): Promise<Durability>;
    stats(): Promise<WriterStats>;
    watch(baseline: Baseline | null): void;
    keepAlive(isListening: boolean): void;
    close(): Promise<void>;
}

// src/engines/sqlite/foreign.d.ts
interface Baseline {
    readonly busNo: number;
    readonly events: readonly (readonly [no: number, events: readonly number[]])[];
}

// src/engines/sqlite/foreign.d.ts
interface Foreign {
    readonly channels: readonly Channel[];
    readonly messages: readonly Message[];
}

// src/engines/sqlite/store.d.ts
class Hints {
    #private;
    readonly channels: Channels;
    tell(news: Foreign, isDirty: boolean): void;
}

// src/engines/sqlite/store.d.ts
interface SqliteStoreOptions {
    readonly path: string;
    readonly Class: DatabaseClass;
    readonly reader: Database;
    readonly writes: Writes;
    readonly clock: Clock;
}

// src/engines/sqlite/store.d.ts
type Writes = {
    readonly executor: Executor;
} | {
    readonly refusal: HoldfastError;
};

// src/engines/sqlite/writer.d.ts
interface Committed {
    readonly results: readonly GroupResult[];
    readonly channels: readonly Channel[];
    readonly messages: readonly Message[];
    readonly isDirty: boolean;
}

// src/features/idempotency/attempt.d.ts
type ResultsOf<P extends readonly Placed[]> = Extract<Committed<OpsOf<P>>, {
    readonly ok: true;
}>["results"];

// src/features/idempotency/settings.d.ts
interface IdempotencySettings {
    readonly name: string;
    readonly partition: string | undefined;
    readonly output: Schema | undefined;
    readonly ttlMs: number;
    readonly inFlight: InFlight;
    readonly fingerprint: ((input: unknown) => unknown) | undefined;
    readonly timeoutMs: number;
    readonly graceMs: number;
    readonly codec: Codec;
    readonly prefix: string;
}

// src/features/idempotency/settings.d.ts
type OutputOf<SO extends Schema | undefined> = SO extends Schema ? SchemaOutput<SO> : unknown;

// src/features/idempotency/settings.d.ts
type ReturnOf<SO extends Schema | undefined> = SO extends Schema ? SchemaInput<SO> : unknown;

// src/features/jobs/add.d.ts
interface AddTiming {
    readonly delayMs?: number | undefined;
    readonly priority?: number | undefined;
}

// src/features/jobs/job.d.ts
class Call {
    readonly jobs: readonly HeldJob[];
    isOver: boolean;
    onStop: ((reason: unknown) => void) | undefined;
    constructor(jobs: readonly HeldJob[]);
}

// src/features/jobs/job.d.ts
type CompleteOutcome = {
    readonly kind: "applied";
    readonly results: readonly unknown[] | null;
} | {
    readonly kind: "refused";
    readonly refusal: Refusal;
}
 | {
    readonly kind: "lost";
    readonly error: HoldfastError;
};

// src/features/jobs/job.d.ts
interface Holder {
    onSettled(held: HeldJob, settled: Settled, failure: unknown): void;
    onDue(held: HeldJob, nowMs: number): void;
    onCancel(held: HeldJob): void;
    onLost(held: HeldJob, error: HoldfastError): void;
    storeOutput(output: unknown): Data | null | Promise<Data | null>;
    settleWith(held: HeldJob, settle: QueueSettle, ops: readonly Placed[]): Promise<CompleteOutcome>;
    writeProgress(held: HeldJob, value: Data): Promise<void>;
}

// src/features/jobs/job.d.ts
type ResultsOf<P extends readonly Placed[]> = Extract<Committed<OpsOf<P>>, {
    readonly ok: true;
}>["results"];

// src/features/jobs/job.d.ts
type Settled = {
    readonly kind: "applied";
    readonly state: JobState;
} | {
    readonly kind: "lost";
    readonly error: HoldfastError;
}
 | {
    readonly kind: "failed";
    readonly error: unknown;
};

// src/features/jobs/job.d.ts
type Stage = "waiting" | "running" | "ending" | "over";

// src/features/jobs/job.d.ts
type StopCause = "timeout" | "cancel" | "drain" | "lost";

// src/features/jobs/leases.d.ts
type ClaimAnswer = {
    readonly ok: true;
    readonly claimed: Claimed;
    readonly session: Session;
} | {
    readonly ok: false;
    readonly refusal: Refusal;
};

// src/features/jobs/leases.d.ts
class Leases {
    #private;
    constructor(queue: Queue);
    get held(): ReadonlySet<HeldJob>;
    join(): () => void;
    claim(max: number, rules: Rules): Promise<ClaimAnswer>;
    hold(held: HeldJob): void;
    forget(held: HeldJob): void;
    arm(deadlineMs: number): void;
    settle(held: HeldJob, op: QueueSettle, failure?: unknown): void;
    settleWith(held: HeldJob, op: QueueSettle, ops: readonly Placed[]): Promise<CompleteOutcome>;
    progress(held: HeldJob, value: Data): Promise<void>;
}

// src/features/jobs/loop.d.ts
class Loop implements Holder {
    #private;
    readonly queue: Queue;
    readonly settings: QueueSettings;
    isTracing: boolean;
    constructor(queue: Queue, parts: {
        readonly settings: QueueSettings;
        readonly leases: Leases;
        readonly rules: Rules;
        readonly runner: Runner;
        readonly tally: Tally;
        readonly onFatal: (error: unknown) => void;
    }, options: LoopOptions);
    get running(): number;
    get ready(): number;
    get unsettled(): number;
    get sinceClaimMs(): number | null;
    get loopDelayMs(): number;
    get isOverloaded(): boolean;
    get isPaused(): boolean;
    ended(call: Call): void;
    completed(held: HeldJob, returned: Data | null | Verdict): void;
    failed(held: HeldJob, thrown: unknown): void;
    unusable(held: HeldJob, error: unknown): void;
    storeOutput(output: unknown): Data | null | Promise<Data | null>;
    settleWith(held: HeldJob, op: QueueSettle, ops: readonly Placed[]): Promise<CompleteOutcome>;
    writeProgress(held: HeldJob, value: Data): Promise<void>;
    onSettled(held: HeldJob, settled: Settled, failure: unknown): void;
    onDue(held: HeldJob, nowMs: number): void;
    onCancel(held: HeldJob): void;
    onLost(held: HeldJob, error: HoldfastError): void;
    pause(): void;
    resume(): void;
    stop(): void;
    abort(graceMs: number): void;
    idle(): Promise<void>;
    leave(): void;
}

// src/features/jobs/loop.d.ts
interface LoopOptions {
    readonly concurrency: number;
    readonly prefetch: number;
    readonly maxLoopDelayMs: number | null;
}

// src/features/jobs/loop.d.ts
interface Runner {
    readonly batch: number;
    start(call: Call, loop: Loop): void;
}

// src/features/jobs/retry.d.ts
interface RetryPolicy extends AttemptsPolicy {
    readonly deliveries: number;
    readonly holdsKey: boolean;
}

// src/features/jobs/rules.d.ts
class Rules {
    #private;
    constructor(store: Store, partition: string, configure: QueueConfigure);
    commit<const O extends readonly Op[]>(ops: O, wait?: Wait): Promise<Committed<O>>;
    touch(wait?: Wait): Promise<void>;
    sendAhead(): void;
}

// src/features/jobs/settings.d.ts
type OutputOf<SO extends Schema | undefined> = SO extends Schema ? SchemaOutput<SO> : unknown;

// src/features/jobs/settings.d.ts
interface QueueSettings {
    readonly name: string;
    readonly partition: string | undefined;
    readonly input: Schema;
    readonly output: Schema | undefined;
    readonly key: ((input: unknown) => string | undefined) | undefined;
    readonly codec: Codec;
    readonly retry: RetryPolicy;
    readonly timeoutMs: number;
    readonly graceMs: number;
    readonly config: QueueConfig;
}

// src/features/jobs/settings.d.ts
type ReturnOf<SO extends Schema | undefined> = SO extends Schema ? SchemaInput<SO> : unknown;

// src/features/jobs/tally.d.ts
class Tally {
    #private;
    constructor(queue: string, clock: Clock, observe: ((event: WorkerEvent) => void) | undefined);
    counts(): WorkerCounts;
    claimed(job: ClaimedJob): void;
    applied(held: HeldJob, state: JobState, failure: unknown): void;
    ended(call: Call): void;
    lost(held: HeldJob, error: unknown): void;
    abandoned(held: HeldJob): void;
    trouble(during: "claim" | "settle" | "progress", error: unknown): void;
    overload(isOverloaded: boolean, loopDelayMs: number): void;
}

// src/features/jobs/worker.d.ts
interface WorkerSettings {
    readonly concurrency: number;
    readonly batch: number;
    readonly prefetch: number;
    readonly signal: AbortSignal | undefined;
    readonly drainMs: number | undefined;
    readonly maxLoopDelayMs: number | null;
    readonly observe: ((event: WorkerEvent) => void) | undefined;
}

// src/features/workflow/attempts.d.ts
type ResultsOf<P extends readonly Placed[]> = {
    readonly [I in keyof OpsOf<P>]: OpResult<OpsOf<P>[I]>;
};

// src/features/workflow/definition.d.ts
type OutputOf<SO extends Schema | undefined> = SO extends Schema ? SchemaOutput<SO> : unknown;

// src/features/workflow/definition.d.ts
type ReturnOf<SO extends Schema | undefined> = SO extends Schema ? SchemaInput<SO> : unknown;

// src/features/workflow/journal.d.ts
interface SyncDatabase {
    readonly inTransaction: boolean;
    transaction<T>(work: () => T): {
        immediate(): T;
    };
}

// src/features/workflow/records.d.ts
interface FailureData {
    readonly name: string;
    readonly message: string;
    readonly code?: string | undefined;
}

// src/features/workflow/records.d.ts
type Kind = Outcome | Mark;

// src/features/workflow/records.d.ts
type Mark = "begin" | "retry" | "sleep" | "wait" | "stop" | "undone" | "unfit" | "parked" | "anew" | "redrive";

// src/features/workflow/records.d.ts
type Outcome = "step" | "got" | "woke" | "patch";

// src/features/workflow/settings.d.ts
type RunQueueSettings = ReturnType<typeof queue>["settings"];

// src/features/workflow/settings.d.ts
interface WorkflowSettings {
    readonly name: string;
    readonly events: EventSchemas;
    readonly retry: RetryPolicy;
    readonly undoRetry: RetryPolicy;
    readonly stepTimeoutMs: number;
    readonly queue: RunQueueSettings;
}

// src/features/workflow/step.d.ts
type Undo<T> = (done: T | undefined, attempt: Attempt) => unknown;

// src/features/workflow/testing/clock.d.ts
class ProcessClock implements Clock {
    #private;
    constructor(clock: VirtualClock, onSign: () => void);
    wallMs(): number;
    monotonicMs(): number;
    timer(delayMs: number, fire: () => void): Timer;
    yield(): Promise<void>;
    stop(): void;
}

// src/features/workflow/testing/clock.d.ts
interface Surroundings {
    readonly signs: number;
    idleMs(): Promise<number>;
    readonly longestJumpMs: number;
    onJump(): Promise<void>;
}

// src/features/workflow/testing/clock.d.ts
class VirtualClock implements Clock {
    #private;
    constructor(startMs: number);
    wallMs(): number;
    monotonicMs(): number;
    get elapsedMs(): number;
    timer(delayMs: number, fire: () => void): Timer;
    yield(): Promise<void>;
    rest(around: Surroundings): Promise<void>;
    advance(byMs: number, around: Surroundings, isDone: () => boolean): Promise<boolean>;
}

// src/features/workflow/testing/process.d.ts
interface CommitHooks {
    before?: ((groups: readonly Group[]) => void) | undefined;
    after?: ((groups: readonly Group[], results: readonly GroupResult[]) => void) | undefined;
}

// src/features/workflow/testing/process.d.ts
interface OpenSession {
    readonly partition: string;
    readonly session: string;
}

// src/features/workflow/testing/process.d.ts
class ProcessDriver implements StoreDriver {
    #private;
    readonly capabilities: StoreDriver["capabilities"];
    readonly hooks: CommitHooks;
    readonly sessions: Map<string, OpenSession>;
    constructor(inner: StoreDriver, onSign: () => void);
    cut(): void;
    get isCut(): boolean;
    commit(groups: readonly Group[]): Promise<readonly GroupResult[]>;
    read<const R extends readonly Read[]>(reads: R): Promise<{
        [I in keyof R]: ReadResult<R[I]>;
    }>;
    subscribe(channel: Channel, listen: (message: Data | null) => void): () => void;
    watch(...args: Parameters<StoreDriver["watch"]>): ReturnType<StoreDriver["watch"]>;
    export(...args: Parameters<StoreDriver["export"]>): ReturnType<StoreDriver["export"]>;
    import(...args: Parameters<StoreDriver["import"]>): Promise<void>;
    seal(...args: Parameters<StoreDriver["seal"]>): Promise<void>;
    durability(): ReturnType<StoreDriver["durability"]>;
    close(): Promise<void>;
}

// src/features/workflow/testing/process.d.ts
interface ProcessParts {
    readonly name: string;
    readonly state: MemoryState;
    readonly clock: VirtualClock;
    readonly seed: number;
    readonly namespace: string;
    readonly sessionTtlMs: number;
    readonly takeoverMs: number;
    readonly onSign: () => void;
}

// src/ports/runs/ops.d.ts
interface RecordMode {
    readonly isProgress?: boolean | undefined;
    readonly isOnce?: boolean | undefined;
}

// src/ports/runs/ops.d.ts
interface Renewal {
    readonly after: number;
    readonly lastKey: string | null;
    readonly payload: Data;
    readonly events: readonly number[];
}

// src/sim/chance.d.ts
class Chance implements Random {
    #private;
    constructor(random: SeededRandom, count: DrawCount);
    next(): number;
    text(chars: number): string;
    split(): Chance;
    hits(rate: number): boolean;
    between(min: number, max: number): number;
    integer(min: number, max: number): number;
    gapMs(meanMs: number): number;
    pick<T>(list: readonly T[]): T;
}

// src/sim/chance.d.ts
interface DrawCount {
    draws: number;
}

// src/sim/network.d.ts
interface NetworkOptions {
    readonly scheduler: Scheduler;
    readonly chance: Chance;
    readonly plan: () => FaultPlan;
    readonly onCommit: (event: CommitEvent) => void;
}

// src/sim/node.d.ts
interface NodeOptions {
    readonly name: string;
    readonly scheduler: Scheduler;
    readonly chance: Chance;
    readonly plan: () => FaultPlan;
}

// src/sim/scheduler.d.ts
interface Owner {
    readonly name: string;
    readonly epoch: number;
    readonly isHalted: boolean;
    hold(event: Planned): void;
}

// src/sim/scheduler.d.ts
class Planned {
    readonly kind: string;
    readonly label: string;
    readonly owner: Owner | undefined;
    readonly epoch: number;
    readonly detail: (() => string) | undefined;
    atMs: number;
    order: number;
    run: (() => void) | undefined;
    constructor(options: PlannedOptions, atMs: number, order: number, run: () => void);
    cancel(): void;
}

// src/sim/scheduler.d.ts
interface PlannedOptions {
    readonly atMs: number;
    readonly kind: string;
    readonly label: string;
    readonly owner?: Owner | undefined;
    readonly detail?: (() => string) | undefined;
}

// src/sim/scheduler.d.ts
interface SchedulerOptions {
    readonly chance: Chance;
    readonly count: DrawCount;
    readonly maxEvents: number;
    readonly onStep?: ((owner: Owner) => void) | undefined;
}

// src/sim/world.d.ts
interface WorldOptions {
    readonly seed: number;
    readonly nodes?: number | undefined;
    readonly faults?: "swarm" | "none" | Partial<FaultPlan> | undefined;
    readonly maxEvents?: number | undefined;
    readonly onCommit?: ((world: World, event: CommitEvent) => void) | undefined;
    readonly onStep?: ((world: World, instance: string) => void) | undefined;
    readonly state?: ((clock: Clock) => MemoryState) | undefined;
}

// src/store/driver.d.ts
interface JobFilter {
    readonly attributes: Attributes;
    readonly fromMs: number | null;
    readonly beforeMs: number | null;
    readonly idPrefix: string;
}

// src/store/driver.d.ts
interface ReadRun {
    readonly read: "runs.journal";
    readonly partition: string;
    readonly queue: string;
    readonly seq: number;
    readonly afterRecord: number;
    readonly afterEvent: number;
    readonly limit: number;
}

// src/store/driver.d.ts
interface RunPage {
    readonly records: readonly RunRecord[];
    readonly events: readonly RunEvent[];
    readonly hasMore: boolean;
    readonly nowMs: number;
}

// src/store/driver.d.ts
interface Seal {
    readonly isSealed: boolean;
    readonly movedTo: string | null;
}

// src/store/run-ops.d.ts
interface RecordInput {
    readonly key: string;
    readonly data: Data;
    readonly delayMs: number | null;
}

// src/store/run-ops.d.ts
interface RunEvent {
    readonly no: number;
    readonly event: string;
    readonly data: Data;
    readonly id: string | null;
    readonly atMs: number;
}

// src/store/run-ops.d.ts
interface RunRecord {
    readonly no: number;
    readonly key: string;
    readonly data: Data;
    readonly atMs: number;
    readonly dueMs: number | null;
}

// src/store/run-ops.d.ts
interface RunState {
    readonly lastRecord: number;
    readonly lastEvent: number;
    readonly nowMs: number;
}

// src/store/run-ops.d.ts
type RunsOp = RunsRecord | RunsSend | RunsRestart;

// src/store/run-ops.d.ts
interface RunsRecord {
    readonly op: "runs.record";
    readonly queue: string;
    readonly session: string;
    readonly seq: number;
    readonly token: number;
    readonly after: number;
    readonly records: readonly RecordInput[];
    readonly isProgress: boolean;
    readonly isOnce: boolean;
}

// src/store/run-ops.d.ts
interface RunsRestart {
    readonly op: "runs.restart";
    readonly queue: string;
    readonly session: string;
    readonly seq: number;
    readonly token: number;
    readonly after: number;
    readonly lastKey: string | null;
    readonly payload: Data;
    readonly events: readonly number[];
}

// src/store/run-ops.d.ts
interface RunsSend {
    readonly op: "runs.send";
    readonly queue: string;
    readonly run: string;
    readonly event: string;
    readonly data: Data;
    readonly id: string | null;
    readonly isLenient: boolean;
}

// src/store/run-ops.d.ts
interface Sent {
    readonly no: number;
    readonly status: "sent" | "exists" | "passed-over";
}
