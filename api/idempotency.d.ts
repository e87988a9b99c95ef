// holdfast/idempotency

interface Attempt<R = unknown> {
    readonly id: string;
    readonly key: string;
    readonly token: bigint;
    readonly signal: AbortSignal;
    complete<const P extends readonly Placed[] = readonly []>(output: R, ops?: P): Promise<Completion<P>>;
    tryComplete<const P extends readonly Placed[] = readonly []>(output: R, ops?: P): Promise<Completion<P> | Refused>;
}

class Completion<P extends readonly Placed[] = readonly Placed[]> {
    readonly ok: true;
    readonly results: ResultsOf<P> | null;
    constructor(results: ResultsOf<P> | null);
}

interface ExpressRequestLike {
    readonly method: string;
    readonly originalUrl: string;
    readonly headers: Readonly<Record<string, string | string[] | undefined>>;
    readonly body?: unknown;
}

interface ExpressResponseLike {
    statusCode: number;
    statusMessage: string;
    getHeader(name: string): number | string | string[] | undefined;
    setHeader(name: string, value: number | string | readonly string[]): unknown;
    removeHeader(name: string): void;
    writeHead(...args: never[]): unknown;
    flushHeaders(): void;
    write(...args: never[]): boolean;
    end(...args: never[]): unknown;
}

interface FastifyLike {
    addHook(name: "preHandler", hook: (request: FastifyRequestLike, reply: FastifyReplyLike) => Promise<unknown>): unknown;
    addHook(name: "onSend", hook: (request: FastifyRequestLike, reply: FastifyReplyLike, payload: unknown) => Promise<unknown>): unknown;
}

interface FastifyReplyLike {
    readonly statusCode: number;
    code(status: number): unknown;
    header(name: string, value: string): unknown;
    getHeader(name: string): number | string | string[] | undefined;
    removeHeader(name: string): unknown;
    send(payload: Buffer): unknown;
}

interface FastifyRequestLike {
    readonly method: string;
    readonly url: string;
    readonly headers: Readonly<Record<string, string | string[] | undefined>>;
    readonly body: unknown;
}

type Handler<I, R> = (input: I, attempt: Attempt<R>) => Promise<R | Completion> | R | Completion;

interface HonoContextLike {
    readonly req: {
        readonly method: string;
        readonly url: string;
        header(name: string): string | undefined;
        arrayBuffer(): Promise<ArrayBuffer>;
    };
    get res(): Response;
    set res(response: Response | undefined);
}

interface HttpAnswer {
    readonly status?: number | undefined;
    readonly headers?: Readonly<Record<string, string>> | undefined;
    readonly body?: unknown;
    readonly base64?: string | undefined;
}

interface HttpOptions<Req> {
    readonly methods?: readonly string[] | undefined;
    readonly header?: string | undefined;
    readonly isRequired?: boolean | undefined;
    readonly scope?: ((request: Req) => string | undefined) | undefined;
    readonly fingerprint?: ((request: Req) => unknown) | undefined;
    readonly inFlight?: InFlight | undefined;
    readonly timeoutMs?: number | undefined;
    readonly isStored?: ((status: number) => boolean) | undefined;
    readonly headers?: readonly string[] | undefined;
    readonly maxBodyBytes?: number | undefined;
}

class Idempotency<O = unknown, R = O> {
    #private;
    readonly name: string;
    constructor(store: Store, settings: IdempotencySettings);
    run<I>(key: string, input: I, handler: Handler<I, R>, options?: RunOptions): Promise<O>;
    tryRun<I>(key: string, input: I, handler: Handler<I, R>, options?: RunOptions): Promise<Outcome<O>>;
    get(key: string, wait?: Wait): Promise<Stored<O> | null>;
    forget(key: string, wait?: Wait): Promise<boolean>;
}

interface IdempotencyDefinition<O = unknown, R = O> extends Definition<Idempotency<O, R>> {
    readonly settings: IdempotencySettings;
}

interface IdempotencyOptions<SO extends Schema | undefined> {
    readonly output?: SO;
    readonly ttlMs?: number | undefined;
    readonly inFlight?: InFlight | undefined;
    readonly fingerprint?: ((input: unknown) => unknown) | undefined;
    readonly timeoutMs?: number | undefined;
    readonly graceMs?: number | undefined;
    readonly codec?: Codec | undefined;
    readonly partition?: string | undefined;
}

type InFlight = "wait" | "refuse";

type Outcome<O> = 
{
    readonly ok: true;
    readonly output: O;
    readonly isReplayed: boolean;
}
 | {
    readonly ok: false;
    readonly why: "in-flight";
    readonly retryAfterMs: number;
}
 | {
    readonly ok: false;
    readonly why: "mismatch";
};

class PermanentError extends Error {
    constructor(message: string, options?: {
        readonly cause?: unknown;
    });
}

interface Refused {
    readonly ok: false;
    readonly refusal: Refusal;
}

interface RunOptions {
    readonly signal?: AbortSignal | undefined;
    readonly timeoutMs?: number | undefined;
    readonly inFlight?: InFlight | undefined;
}

type Stored<O> = {
    readonly state: "in-flight";
    readonly session: string;
    readonly token: bigint;
} | {
    readonly state: "answered";
    readonly output: O;
} | {
    readonly state: "failed";
    readonly error: PermanentError | HoldfastError;
};

function attemptOf(request: object): Attempt<HttpAnswer> | undefined;

function expressIdempotency<Req extends ExpressRequestLike = ExpressRequestLike>(handle: Idempotency, options?: HttpOptions<Req>): (req: Req, res: ExpressResponseLike, next: (error?: unknown) => void) => Promise<void>;

function fastifyIdempotency<Req extends FastifyRequestLike = FastifyRequestLike>(handle: Idempotency, options?: HttpOptions<Req>): (instance: FastifyLike) => Promise<void>;

function honoIdempotency<C extends HonoContextLike = HonoContextLike>(handle: Idempotency, options?: HttpOptions<C>): (c: C, next: () => Promise<void>) => Promise<Response | void>;

function idempotency<SO extends Schema | undefined = undefined>(name: string, options?: IdempotencyOptions<SO>): IdempotencyDefinition<OutputOf<SO>, ReturnOf<SO>>;

function permanent(cause: unknown): PermanentError;

function scopedKey(scope: string, key: string): string;

function unchecked<T>(): Schema<T>;
