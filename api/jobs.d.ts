// holdfast/jobs

interface AddCallOptions extends AddOptions, Wait {
    readonly tx?: unknown;
}

interface AddManyOptions<I> extends AddTiming, Wait {
    readonly id?: ((input: I, index: number) => string) | undefined;
    readonly dedupe?: ((input: I, index: number) => DedupeOptions | undefined) | undefined;
}

interface AddOptions extends AddTiming {
    readonly id?: string | undefined;
    readonly dedupe?: DedupeOptions | undefined;
    readonly attributes?: Attributes | undefined;
}

class AddedJob<O> {
    #private;
    readonly id: string;
    readonly status: Enqueued["status"];
    constructor(queue: {
        result(id: string, wait?: Wait): Promise<O>;
    }, added: Enqueued);
    result(wait?: Wait): Promise<O>;
}

interface BackoffOptions {
    readonly initialMs?: number | undefined;
    readonly factor?: number | undefined;
    readonly maxMs?: number | undefined;
    readonly jitter?: "full" | "none" | undefined;
}

interface Batch {
    readonly signal: AbortSignal;
}

type BatchHandler<P, R> = (items: readonly BatchItem<P, R>[], batch: Batch) => Promise<readonly PromiseSettledResult<Returned<R>>[] | void>;

interface BatchItem<P, R = unknown> {
    readonly input: P;
    readonly job: Job<R>;
}

interface BatchOptions extends Omit<WorkOptions, "concurrency"> {
    readonly max?: number | undefined;
    readonly concurrency?: number | undefined;
}

class Completion<P extends readonly Placed[] = readonly Placed[]> {
    readonly ok: true;
    readonly results: ResultsOf<P> | null;
    constructor(results: ResultsOf<P> | null);
}

interface DedupeOptions {
    readonly key: string;
    readonly ttlMs: number;
    readonly mode?: DedupeMode | undefined;
}

interface EventJob {
    readonly id: string;
    readonly key: string | undefined;
    readonly attempt: number;
    readonly delivery: number;
}

type Handler<P, R> = (input: P, job: Job<R>) => Promise<Returned<R>> | Returned<R>;

class HeldJob implements Job {
    #private;
    readonly claimed: ClaimedJob;
    readonly session: Session;
    readonly queue: string;
    readonly worker: Holder;
    stage: Stage;
    cause: StopCause | undefined;
    reason: unknown;
    deadlineMs: number;
    startedMs: number;
    call: Call | undefined;
    isAnswered: boolean;
    hasEnded: boolean;
    isGivenUp: boolean;
    completing: Promise<CompleteOutcome> | undefined;
    constructor(queue: string, claimed: ClaimedJob, session: Session, worker: Holder);
    get id(): string;
    get key(): string | undefined;
    get priority(): number;
    get attempt(): number;
    get delivery(): number;
    get token(): bigint;
    get waitedMs(): number;
    get signal(): AbortSignal;
    stop(cause: StopCause, reason: unknown): void;
    settlement(outcome: QueueSettle["outcome"]): QueueSettle;
    progress(value: unknown): void;
    complete<const P extends readonly Placed[] = readonly []>(output: unknown, ops?: P): Promise<Completion<P>>;
    tryComplete<const P extends readonly Placed[] = readonly []>(output: unknown, ops?: P): Promise<Completion<P> | Refused>;
}

interface Job<R = unknown> {
    readonly id: string;
    readonly key: string | undefined;
    readonly priority: number;
    readonly attempt: number;
    readonly delivery: number;
    readonly token: bigint;
    readonly waitedMs: number;
    readonly signal: AbortSignal;
    progress(value: unknown): void;
    complete<const P extends readonly Placed[] = readonly []>(output: R, ops?: P): Promise<Completion<P>>;
    tryComplete<const P extends readonly Placed[] = readonly []>(output: R, ops?: P): Promise<Completion<P> | Refused>;
}

class JobInfo {
    #private;
    readonly id: string;
    readonly seq: number;
    readonly state: JobState;
    readonly key: string | undefined;
    readonly priority: number;
    readonly attempts: number;
    readonly lost: number;
    readonly createdMs: number;
    readonly dueMs: number | undefined;
    readonly finishedMs: number | undefined;
    readonly error: string | undefined;
    readonly isCancelRequested: boolean;
    readonly token: bigint | undefined;
    readonly attributes: Attributes;
    constructor(settings: QueueSettings, view: JobView);
    get input(): unknown;
    get output(): unknown;
    get progress(): unknown;
}

interface JobList {
    readonly jobs: readonly JobInfo[];
    readonly next: number | null;
}

interface JobOps<I> {
    add(input: I, options?: AddOptions): Placed<QueueEnqueue>;
}

class JobQueue<I, P = I, O = unknown, R = O> {
    #private;
    readonly name: string;
    readonly op: JobOps<I>;
    constructor(store: Store, settings: QueueSettings);
    add(input: I, options?: AddCallOptions): Promise<AddedJob<O>>;
    addMany(inputs: readonly I[], options?: AddManyOptions<I>): Promise<readonly AddedJob<O>[]>;
    addIn(tx: unknown, input: I, options?: AddOptions): AddedJob<O>;
    work(handler: Handler<P, R>, options?: WorkOptions): Worker;
    workBatch(handler: BatchHandler<P, R>, options?: BatchOptions): Worker;
    result(id: string, wait?: Wait): Promise<O>;
    get(id: string, wait?: Wait): Promise<JobInfo | null>;
    list(state: JobState, options?: ListOptions): Promise<JobList>;
    stats(wait?: Wait): Promise<QueueStats>;
    counts(wait?: Wait): Promise<QueueCounts>;
    changes(cursor: number, options?: Wait & {
        readonly limit?: number | undefined;
    }): Promise<QueueChanges>;
    cancel(id: string, options?: Wait & {
        readonly reason?: string | undefined;
    }): Promise<Cancelled>;
    retry(id: string, wait?: Wait): Promise<boolean>;
    redrive(options?: BulkOptions & {
        readonly ids?: readonly string[] | undefined;
    }): Promise<number>;
    pause(wait?: Wait): Promise<void>;
    resume(wait?: Wait): Promise<void>;
    purge(state: Exclude<JobState, "leased">, options?: BulkOptions): Promise<number>;
}

class PermanentError extends Error {
    constructor(message: string, options?: {
        readonly cause?: unknown;
    });
}

interface QueueDefinition<I, P = I, O = unknown, R = O> extends Definition<JobQueue<I, P, O, R>> {
    readonly settings: QueueSettings;
}

interface QueueOptions<SI extends Schema, SO extends Schema | undefined> {
    readonly input: SI;
    readonly output?: SO;
    readonly key?: ((input: SchemaOutput<SI>) => string | undefined) | undefined;
    readonly concurrency?: {
        readonly perKey?: number | undefined;
        readonly max?: number | undefined;
    } | undefined;
    readonly rate?: RateOptions | undefined;
    readonly retry?: RetryOptions | undefined;
    readonly timeoutMs?: number | undefined;
    readonly graceMs?: number | undefined;
    readonly priority?: {
        readonly ageMs?: number | undefined;
    } | undefined;
    readonly keep?: {
        readonly ms?: number | undefined;
        readonly count?: number | undefined;
        readonly deadMs?: number | undefined;
    } | undefined;
    readonly maxWaiting?: number | undefined;
    readonly codec?: Codec | undefined;
    readonly partition?: string | undefined;
}

interface QueueStats {
    readonly counts: QueueCounts;
    readonly isPaused: boolean;
    readonly oldestReadyMs: number | null;
}

interface RateOptions {
    readonly count: number;
    readonly perMs: number;
    readonly burst?: number | undefined;
    readonly per?: "queue" | "key" | undefined;
}

interface Refused {
    readonly ok: false;
    readonly refusal: Refusal;
}

interface RetryOptions extends Attempts {
    readonly deliveries?: number | undefined;
    readonly key?: "hold" | "release" | undefined;
}

type Returned<R> = R | Completion;

class Verdict {
    readonly settlement: Partial<QueueSettle> & Pick<QueueSettle, "outcome">;
    constructor(settlement: Partial<QueueSettle> & Pick<QueueSettle, "outcome">);
}

interface WorkOptions {
    readonly concurrency?: number | undefined;
    readonly prefetch?: number | undefined;
    readonly signal?: AbortSignal | undefined;
    readonly drainMs?: number | undefined;
    readonly maxLoopDelayMs?: number | null | undefined;
    readonly observe?: ((event: WorkerEvent) => void) | undefined;
}

class Worker extends Lifetime {
    #private;
    readonly done: Promise<void>;
    constructor(queue: Queue, parts: {
        readonly settings: QueueSettings;
        readonly rules: Rules;
        readonly runner: Runner;
    }, options: WorkerSettings);
    get stats(): WorkerStats;
    pause(): void;
    resume(): void;
    protected drain(): Promise<void>;
    close(): Promise<void>;
}

interface WorkerCounts {
    readonly claimed: number;
    readonly completed: number;
    readonly retried: number;
    readonly dead: number;
    readonly cancelled: number;
    readonly released: number;
    readonly lost: number;
    readonly abandoned: number;
}

type WorkerEvent = 
{
    readonly type: "failed";
    readonly job: EventJob;
    readonly error: unknown;
    readonly state: JobState;
}
 | {
    readonly type: "lost";
    readonly job: EventJob;
    readonly error: unknown;
}
 | {
    readonly type: "abandoned";
    readonly job: EventJob;
}
 | {
    readonly type: "trouble";
    readonly during: "claim" | "settle" | "progress";
    readonly error: unknown;
}
 | {
    readonly type: "overloaded";
    readonly loopDelayMs: number;
} | {
    readonly type: "recovered";
};

interface WorkerStats extends WorkerCounts {
    readonly running: number;
    readonly prefetched: number;
    readonly unsettled: number;
    readonly sinceClaimMs: number | null;
    readonly loopDelayMs: number;
    readonly isOverloaded: boolean;
    readonly isPaused: boolean;
}

function permanent(cause: unknown): PermanentError;

function queue<SI extends Schema, SO extends Schema | undefined = undefined>(name: string, options: QueueOptions<SI, SO>): QueueDefinition<SchemaInput<SI>, SchemaOutput<SI>, OutputOf<SO>, ReturnOf<SO>>;

function unchecked<T>(): Schema<T>;
