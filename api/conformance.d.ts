// holdfast/conformance

interface ConformanceOptions {
    readonly test: TestFunction;
    readonly create: () => Promise<Fixture>;
    readonly capabilities: Capabilities;
    readonly seed?: number | undefined;
}

interface Fixture {
    readonly clock?: Clock | undefined;
    open(): Promise<StoreDriver>;
    advance?: ((ms: number) => Promise<void>) | undefined;
    restart?: (() => Promise<void>) | undefined;
    dispose(): Promise<void>;
}

type TestFunction = (name: string, run: () => Promise<void>) => void;

function busConformance(options: ConformanceOptions): void;

function kvConformance(options: ConformanceOptions): void;

function queueConformance(options: ConformanceOptions): void;

function runsConformance(options: ConformanceOptions): void;

function storeConformance(options: ConformanceOptions): void;
