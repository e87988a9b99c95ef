// holdfast

type Allow = "unsynced";

interface Clock {
    wallMs(): number;
    monotonicMs(): number;
    timer(delayMs: number, fire: () => void, options?: {
        readonly keepAlive?: boolean;
    }): Timer;
    yield(): Promise<void>;
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

interface ConnectOptions extends Wait {
    readonly namespace?: string | undefined;
    readonly drainMs?: number | undefined;
    readonly sessionTtlMs?: number | undefined;
    readonly allow?: Allow | readonly Allow[] | undefined;
    readonly label?: string | undefined;
    readonly clock?: Clock | undefined;
    readonly random?: Random | undefined;
}

type Data = string | Uint8Array;

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

const ERROR_CODES: {
    readonly INVALID_DATA: "A payload or a record failed its schema, or can't be encoded";
    readonly INCOMPATIBLE: "Stored data or schema was written by a version this one can't read or write";
    readonly MISCONFIGURED: "A URL, a file, a definition or the surroundings are not usable as given";
    readonly MOVED: "The partition was sealed; details name the new place if there is one";
    readonly NOT_FOUND: "There is no such thing";
    readonly ALREADY_EXISTS: "A thing of that name exists with another content";
    readonly CONFLICT: "A check in the group did not hold; nothing of the group was written";
    readonly LEASE_LOST: "The session or the lease ended before the call";
    readonly FENCED: "The fencing token is older than the newest grant";
    readonly LIMITED: "A bound or a limit would have been crossed; nothing was written";
    readonly OVERLOADED: "Too much work is waiting already; try again later";
    readonly CIRCUIT_OPEN: "The circuit breaker is open";
    readonly TIMEOUT: "The time given for the call ran out";
    readonly UNAVAILABLE: "The store could not be reached or could not take the write";
    readonly CLOSED: "The store or handle was closed";
    readonly UNSUPPORTED: "The engine does not have this capability";
    readonly CORRUPT: "Stored bytes are not what was written";
    readonly TOO_LARGE: "A hard limit of size or number was crossed";
    readonly NON_DETERMINISTIC: "A replay met another step than the record holds";
    readonly FAILED: "The job or run awaited ended without a result";
};

type ErrorCode = keyof typeof ERROR_CODES;

class Holdfast implements AsyncDisposable {
    readonly store: Store;
    readonly kv: Kv;
    readonly bus: Bus;
    constructor(store: Store);
    open<H>(definition: Definition<H>): H;
    queue(name: string, options?: QueueOptions): Queue;
    commit<const P extends readonly Placed[]>(ops: P, wait?: Wait): Promise<Extract<Committed<OpsOf<P>>, {
        ok: true;
    }>>;
    tryCommit<const P extends readonly Placed[]>(ops: P, wait?: Wait): Promise<Committed<OpsOf<P>>>;
    durability(): Promise<Durability>;
    close(): Promise<void>;
    [Symbol.asyncDispose](): Promise<void>;
}

class HoldfastError extends Error {
    readonly code: ErrorCode;
    readonly retryable: boolean;
    readonly outcome: Outcome | undefined;
    readonly retryAfterMs: number | undefined;
    readonly details: Readonly<Record<string, unknown>>;
    constructor(code: ErrorCode, message: string, options?: HoldfastErrorOptions);
}

interface HoldfastErrorOptions {
    readonly retryable?: boolean | undefined;
    readonly outcome?: Outcome | undefined;
    readonly retryAfterMs?: number | undefined;
    readonly details?: Readonly<Record<string, unknown>> | undefined;
    readonly cause?: unknown;
}

class LeaseLostError extends HoldfastError {
    constructor(message: string, options?: HoldfastErrorOptions);
}

type Outcome = "not-applied" | "unknown";

interface Placed<O extends Op = Op> {
    readonly partition: string;
    readonly op: O;
}

interface Random {
    next(): number;
    text(chars: number): string;
}

interface Timer {
    cancel(): void;
}

type Urls = string | {
    readonly default: string;
    readonly [port: string]: string;
};

interface Wait {
    readonly signal?: AbortSignal | undefined;
    readonly timeoutMs?: number | undefined;
}

function connect(urls: Urls, options?: ConnectOptions): Promise<Holdfast>;

function isHoldfastError(error: unknown, code?: ErrorCode): error is HoldfastError;

function shutdownSignal(...names: NodeJS.Signals[]): AbortSignal;
