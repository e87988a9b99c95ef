// holdfast/ports/bus

class Bus {
    #private;
    readonly store: Store;
    readonly partitionName: string;
    readonly op: BusOps;
    constructor(store: Store, options?: BusOptions);
    partition(name: string): Bus;
    publish(topic: string, message: unknown, wait?: Wait): Promise<void>;
    subscribe<T = unknown>(topic: string, options?: SubscribeOptions): Subscription<T>;
    listen<T = unknown>(topic: string, listen: (message: T) => void): () => void;
}

interface BusOps {
    publish(topic: string, message: unknown): Placed<BusPublish>;
}

interface BusOptions {
    readonly partition?: string | undefined;
    readonly codec?: Codec | undefined;
}

type BusOverflow = "drop-oldest" | "drop-newest";

interface SubscribeOptions {
    readonly signal?: AbortSignal | undefined;
    readonly buffer?: number | undefined;
    readonly overflow?: BusOverflow | undefined;
}

class Subscription<T = unknown> implements AsyncIterableIterator<T> {
    #private;
    constructor(listen: (deliver: (message: T) => void, end: () => void) => () => void, options: SubscribeOptions);
    get dropped(): number;
    next(): Promise<IteratorResult<T>>;
    return(): Promise<IteratorResult<T>>;
    close(): void;
    [Symbol.asyncIterator](): this;
}
