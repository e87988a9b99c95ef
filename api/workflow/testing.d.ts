// holdfast/workflow/testing

interface BrokenRun {
    readonly workflow: string;
    readonly run: string;
    readonly status: RunStatus;
    readonly record: number | null;
    readonly expected: string;
    readonly found: string;
}

class CrashError extends Error {
    readonly point: number;
    readonly where: string;
    readonly expected: unknown;
    readonly got: unknown;
    readonly history: readonly HistoryEntry[];
    constructor(parts: Pick<CrashError, "point" | "where" | "expected" | "got" | "history" | "cause">);
}

interface CrashPlan<S, I, P, O, R, E> {
    readonly setup: () => S | Promise<S>;
    readonly workflows: (outside: S, hf: Holdfast) => readonly [Implementation<I, P, O, R, E>, ...AnyImplementation[]];
    readonly input: I;
    readonly events?: readonly EventToSend<E>[] | undefined;
    readonly check?: ((outside: S, outcome: RunOutcome<O>) => unknown) | undefined;
    readonly compare?: ((outcome: RunOutcome<O>) => unknown) | undefined;
    readonly points?: readonly number[] | undefined;
    readonly withinMs?: number | undefined;
    readonly world?: TestWorldOptions | undefined;
}

interface CrashReport<O = unknown> {
    readonly outcome: RunOutcome<O>;
    readonly points: readonly string[];
    readonly trials: number;
}

type EventToSend<E> = {
    readonly [K in keyof E & string]: {
        readonly event: K;
        readonly value: E[K];
        readonly afterMs?: number | undefined;
    };
}[keyof E & string];

interface ExportOptions extends Wait {
    readonly statuses?: readonly RunStatus[] | undefined;
    readonly limit?: number | undefined;
}

interface ExportedDefinition extends Definition<{
    list(status: RunStatus, options?: Wait & {
        readonly after?: number;
    }): Promise<RunList>;
    get(run: string, wait?: Wait): Promise<RunInfo | null>;
}> {
    readonly settings: WorkflowSettings;
}

const JOURNAL_FORMAT = 1;

interface ReplayOptions {
    readonly patienceMs?: number | undefined;
    readonly concurrency?: number | undefined;
}

interface ReplayReport {
    readonly checked: number;
    readonly skipped: number;
    readonly broken: readonly BrokenRun[];
}

interface RunJournal {
    readonly format: number;
    readonly workflow: string;
    readonly run: string;
    readonly status: RunStatus;
    readonly error?: string | undefined;
    readonly input?: unknown;
    readonly records: readonly {
        readonly key: string;
        readonly value?: unknown;
        readonly atMs: number;
        readonly dueMs: number | null;
    }[];
    readonly events: readonly {
        readonly event: string;
        readonly value?: unknown;
        readonly id: string | null;
        readonly atMs: number;
    }[];
}

type RunOutcome<O = unknown> = {
    readonly status: "completed";
    readonly output: O;
} | {
    readonly status: Extract<RunStatus, "failed" | "cancelled" | "attention">;
    readonly error: string | undefined;
    readonly undone: readonly string[];
};

class TestProcess {
    #private;
    readonly name: string;
    readonly hf: Holdfast;
    constructor(parts: ProcessParts, hf: Holdfast, driver: ProcessDriver, clock: ProcessClock);
    get isCrashed(): boolean;
    crash(): void;
    get hooks(): CommitHooks;
    renewSessions(): Promise<void>;
}

class TestWorld implements AsyncDisposable {
    #private;
    constructor(options?: TestWorldOptions);
    get clock(): Clock;
    get elapsedMs(): number;
    get hf(): Holdfast;
    open(): Promise<this>;
    process(name?: string): Promise<TestProcess>;
    advance(ms: number): Promise<void>;
    until<T>(promise: Promise<T>, options?: UntilOptions): Promise<T>;
    describe(): Promise<string>;
    isIdle(): Promise<boolean>;
    close(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}

interface TestWorldOptions {
    readonly seed?: number | undefined;
    readonly startMs?: number | undefined;
    readonly namespace?: string | undefined;
    readonly takeoverMs?: number | undefined;
}

interface UntilOptions {
    readonly withinMs?: number | undefined;
}

function crashEverywhere<S, I, P, O, R, E>(plan: CrashPlan<S, I, P, O, R, E>): Promise<CrashReport<O>>;

function exportJournals(hf: {
    readonly store: Store;
}, definition: ExportedDefinition, options?: ExportOptions): AsyncGenerator<RunJournal, void, undefined>;

function parseJournal(line: string): RunJournal;

function replayJournals(implementations: readonly AnyImplementation[], journals: Iterable<RunJournal> | AsyncIterable<RunJournal>, options?: ReplayOptions): Promise<ReplayReport>;

function testWorld(options?: TestWorldOptions): Promise<TestWorld>;
