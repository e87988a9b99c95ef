// holdfast/workflow

interface AnyDefinition<I, O> extends Definition<ChildHandle<I, O>> {
    readonly settings: WorkflowSettings;
}

type AnyImplementation = Implementation<any, any, any, any, any>;

interface Attempt {
    readonly id: string;
    readonly key: string;
    readonly attempt: number;
    readonly token: bigint;
    readonly signal: AbortSignal;
    complete<V, const P extends readonly Placed[] = readonly []>(output: V, ops?: P): Promise<Completed<V, P>>;
    tryComplete<V, const P extends readonly Placed[] = readonly []>(output: V, ops?: P): Promise<Completed<V, P> | Refused>;
}

interface ChildHandle<I, O> {
    readonly op: {
        start(input: I, options: {
            readonly id: string;
        }): Placed<QueueEnqueue>;
    };
    get(run: string, wait?: Wait): Promise<RunInfo | null>;
    cancel(run: string, wait?: Wait): Promise<boolean>;
    result(run: string, wait?: Wait): Promise<O>;
}

interface ChildOptions<O> {
    readonly id?: string | undefined;
    readonly onStop?: "cancel" | "leave" | undefined;
    readonly undo?: ((output: O, attempt: Attempt) => unknown) | undefined;
    readonly retry?: RetryOptions | undefined;
    readonly undoRetry?: RetryOptions | undefined;
}

type ChildOutcome<O> = {
    readonly ok: true;
    readonly id: string;
    readonly value: O;
} | {
    readonly ok: false;
    readonly id: string;
    readonly status: "failed" | "cancelled";
    readonly error: FailureData;
};

class Completed<V = unknown, P extends readonly Placed[] = readonly Placed[]> {
    readonly ok: true;
    readonly value: V;
    readonly results: ResultsOf<P> | null;
    constructor(value: V, results: ResultsOf<P> | null);
}

class Continued<I = unknown> {
    readonly input: I;
    constructor(input: I);
}

type EventSchemas = Readonly<Record<string, Schema>>;

type EventsOf<SE extends EventSchemas> = {
    readonly [K in keyof SE]: SchemaOutput<SE[K]>;
};

interface ForkOptions extends Wait {
    readonly from: string;
    readonly id?: string | undefined;
}

interface HistoryEntry {
    readonly atMs: number;
    readonly kind: Kind | "event" | "cancel";
    readonly name: string;
    readonly dueMs: number | undefined;
    readonly value: unknown;
}

interface Implementation<I = unknown, P = I, O = unknown, R = O, E = object> {
    readonly definition: WorkflowDefinition<I, P, O, R, E>;
    readonly handler: RunHandler<P, R, E, I>;
}

interface Refused {
    readonly ok: false;
    readonly refusal: Refusal;
}

interface Run<E, I = unknown> {
    readonly id: string;
    readonly token: bigint;
    readonly signal: AbortSignal;
    step<T>(name: string, work: StepWork<T>, options?: StepOptions<T>): Promise<T>;
    transaction<T>(name: string, database: SyncDatabase, work: (attempt: Attempt) => T, options?: StepOptions<T>): Promise<T>;
    sleep(name: string, ms: number): Promise<void>;
    waitFor<K extends keyof E & string>(event: K, options?: {
        readonly timeoutMs?: number | undefined;
    }): Promise<E[K]>;
    tryWaitFor<K extends keyof E & string>(event: K, options: {
        readonly timeoutMs: number;
    }): Promise<E[K] | null>;
    patched(name: string): Promise<boolean>;
    child<CI, O>(name: string, definition: AnyDefinition<CI, O>, input: CI, options?: ChildOptions<O>): Promise<O>;
    tryChild<CI, O>(name: string, definition: AnyDefinition<CI, O>, input: CI, options?: ChildOptions<O>): Promise<ChildOutcome<O>>;
    open<H>(definition: Definition<H>): H;
    continueAs(input: I): Continued<I>;
    progress(value: unknown): void;
}

type RunHandler<P, R, E, I = unknown> = (input: P, run: Run<E, I>) => Promise<R | Continued<I>> | R | Continued<I>;

class RunInfo {
    #private;
    readonly id: string;
    readonly seq: number;
    readonly status: RunStatus;
    readonly createdMs: number;
    readonly dueMs: number | undefined;
    readonly endedMs: number | undefined;
    readonly error: string | undefined;
    readonly undone: readonly string[];
    readonly attributes: Attributes;
    constructor(job: JobInfo);
    get input(): unknown;
    get output(): unknown;
    get progress(): unknown;
}

interface RunList {
    readonly runs: readonly RunInfo[];
    readonly next: number | null;
}

type RunStatus = "ready" | "running" | "waiting" | "completed" | "failed" | "cancelled" | "attention";

interface SendOptions extends Wait {
    readonly id?: string | undefined;
}

interface StartOptions extends Wait {
    readonly id?: string | undefined;
    readonly delayMs?: number | undefined;
    readonly priority?: number | undefined;
    readonly attributes?: Attributes | undefined;
}

interface StartedRun<O> {
    readonly id: string;
    readonly status: "added" | "exists";
    result(wait?: Wait): Promise<O>;
}

class StepError extends Error {
    readonly step: string;
    readonly code: string | undefined;
    constructor(step: string, { name, message, code }: FailureData);
}

interface StepOptions<T> {
    readonly retry?: RetryOptions | undefined;
    readonly timeoutMs?: number | undefined;
    readonly undo?: Undo<T> | undefined;
    readonly undoRetry?: RetryOptions | undefined;
}

type StepWork<T> = (attempt: Attempt) => Promise<T | Completed<T>> | T | Completed<T>;

interface TimelineEntry {
    readonly atMs: number;
    readonly what: string;
    readonly name: string;
    readonly attempts: number | undefined;
    readonly dueMs: number | undefined;
    readonly error: string | undefined;
    readonly value: unknown;
}

class Workflow<I, P = I, O = unknown, R = O, E = Record<never, never>> {
    #private;
    readonly name: string;
    readonly op: WorkflowOps<I, E>;
    constructor(store: Store, settings: WorkflowSettings);
    start(input: I, options?: StartOptions): Promise<StartedRun<O>>;
    send<K extends keyof E & string>(run: string, event: K, value: E[K], options?: SendOptions): Promise<number>;
    startIn(tx: unknown, input: I, options?: Omit<StartOptions, keyof Wait>): StartedRun<O>;
    fork(run: string, options: ForkOptions): Promise<StartedRun<O>>;
    cancel(run: string, options?: Wait & {
        readonly reason?: string | undefined;
    }): Promise<boolean>;
    work(handler: RunHandler<P, R, E, I>, options?: WorkOptions): Worker;
    result(run: string, wait?: Wait): Promise<O>;
    get(run: string, wait?: Wait): Promise<RunInfo | null>;
    list(status: RunStatus, options?: ListOptions): Promise<RunList>;
    history(run: string, wait?: Wait): Promise<readonly HistoryEntry[] | null>;
    stats(wait?: Wait): Promise<QueueStats>;
    redrive(options?: Wait & {
        readonly ids?: readonly string[] | undefined;
        readonly max?: number | undefined;
    }): Promise<number>;
    pause(wait?: Wait): Promise<void>;
    resume(wait?: Wait): Promise<void>;
}

interface WorkflowDefinition<I, P, O, R, E> extends Definition<Workflow<I, P, O, R, E>> {
    readonly settings: WorkflowSettings;
}

interface WorkflowOps<I, E> {
    start(input: I, options?: Omit<StartOptions, keyof Wait>): Placed<QueueEnqueue>;
    send<K extends keyof E & string>(run: string, event: K, value: E[K], options?: Omit<SendOptions, keyof Wait>): Placed<RunsSend>;
}

interface WorkflowOptions<SI extends Schema, SO extends Schema | undefined, SE extends EventSchemas> {
    readonly input: SI;
    readonly output?: SO;
    readonly events?: SE | undefined;
    readonly retry?: RetryOptions | undefined;
    readonly undoRetry?: RetryOptions | undefined;
    readonly stepTimeoutMs?: number | undefined;
    readonly keep?: QueueOptions<SI, SO>["keep"];
    readonly concurrency?: {
        readonly max?: number | undefined;
    } | undefined;
    readonly maxWaiting?: number | undefined;
    readonly partition?: string | undefined;
}

function implement<I, P, O, R, E>(definition: WorkflowDefinition<I, P, O, R, E>, handler: RunHandler<NoInfer<P>, NoInfer<R>, NoInfer<E>, NoInfer<I>>): Implementation<I, P, O, R, E>;

function isImplementation(value: unknown): value is AnyImplementation;

function permanent(cause: unknown): PermanentError;

function timelineOf(history: readonly HistoryEntry[]): readonly TimelineEntry[];

function unchecked<T>(): Schema<T>;

function workflow<SI extends Schema, SO extends Schema | undefined = undefined, SE extends EventSchemas = {}>(name: string, options: WorkflowOptions<SI, SO, SE>): WorkflowDefinition<SchemaInput<SI>, SchemaOutput<SI>, OutputOf<SO>, ReturnOf<SO>, EventsOf<SE>>;
