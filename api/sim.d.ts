// holdfast/sim

const CALM: FaultPlan;

interface CommitEvent {
    readonly node: string;
    readonly groups: readonly Group[];
    readonly results: readonly GroupResult[];
}

type Cut = "both" | "requests" | "replies";

interface FaultPlan {
    readonly minDelayMs: number;
    readonly maxDelayMs: number;
    readonly slowRate: number;
    readonly slowMs: number;
    readonly timeoutMs: number;
    readonly refusedRate: number;
    readonly lostRequestRate: number;
    readonly lostReplyRate: number;
    readonly resetShare: number;
    readonly lateRenewalRate: number;
    readonly lateRenewalMs: number;
    readonly lostHintRate: number;
    readonly doubleHintRate: number;
    readonly lateHintRate: number;
    readonly lateHintMs: number;
    readonly brokenWatchRate: number;
    readonly commitsInFlight: number;
    readonly crashEveryMs: number;
    readonly downMs: number;
    readonly pauseEveryMs: number;
    readonly pauseMs: number;
    readonly suspendEveryMs: number;
    readonly suspendMs: number;
    readonly cutEveryMs: number;
    readonly cutMs: number;
    readonly wallJumpEveryMs: number;
    readonly wallJumpMs: number;
    readonly storeJumpEveryMs: number;
    readonly storeJumpMs: number;
    readonly driftRatio: number;
    readonly skewMs: number;
    readonly lagRate: number;
    readonly lagMs: number;
}

interface Instance {
    readonly name: string;
    readonly index: number;
    readonly boot: number;
    readonly clock: Clock;
    readonly random: Random;
    open(options?: Omit<StoreOptions, "clock" | "random">): Promise<Store>;
    driver(): StoreDriver;
    sleep(ms: number, signal?: AbortSignal): Promise<void>;
    log(text: string): void;
}

class Network {
    #private;
    readonly scheduler: Scheduler;
    readonly chance: Chance;
    readonly onCommit: (event: CommitEvent) => void;
    constructor(options: NetworkOptions);
    get plan(): FaultPlan;
    cut(node: SimNode, way: Cut): void;
    join(node: SimNode): void;
    lossOfRequest(node: SimNode): string | undefined;
    lossOfReply(node: SimNode): string | undefined;
    isDeaf(node: SimNode): boolean;
    delayMs(): number;
}

type Program = (instance: Instance, world: World) => Promise<void>;

class Scheduler {
    #private;
    readonly trace: Trace;
    constructor(options: SchedulerOptions);
    get nowMs(): number;
    get planned(): number;
    at(options: PlannedOptions, run: () => void): Planned;
    again(event: Planned, atMs: number): void;
    note(node: string, kind: string, label: string, detail?: () => string): void;
    fail(error: unknown): void;
    run(untilMs: number, isDone?: () => boolean): Promise<boolean>;
}

class SimNode implements Owner {
    #private;
    readonly name: string;
    constructor(options: NodeOptions);
    get epoch(): number;
    get state(): "down" | "up" | "paused" | "suspended";
    get isHalted(): boolean;
    isAlive(epoch: number): boolean;
    boot(): Clock;
    crash(): void;
    onDeath(tell: () => void): () => void;
    pause(): number;
    suspend(): number;
    resume(halt?: number): void;
    hold(event: Planned): void;
    wallMs(): number;
    monotonicMs(): number;
    leftMs(dueMs: number): number;
    jumpWall(byMs: number): void;
    drawLagMs(): number;
}

class SimulationError extends Error {
    readonly seed: number;
    readonly plan: FaultPlan;
    readonly timeline: readonly string[];
    readonly traceHash: string;
    readonly replay: string;
    constructor(world: World, replay: string, cause: unknown);
}

interface SimulationOptions {
    readonly seed: number;
    readonly nodes?: number | undefined;
    readonly faults?: "swarm" | "none" | Partial<FaultPlan> | undefined;
    readonly untilMs?: number | undefined;
    readonly healMs?: number | undefined;
    readonly maxEvents?: number | undefined;
    readonly always?: ((world: World, event: CommitEvent) => void) | undefined;
    readonly onStep?: ((world: World, instance: string) => void) | undefined;
    readonly isDone?: ((world: World) => boolean) | undefined;
    readonly describeRest?: ((world: World) => string) | undefined;
    readonly finally?: ((world: World) => void) | undefined;
    readonly state?: ((clock: Clock) => MemoryState) | undefined;
    readonly replay?: string | undefined;
}

interface SimulationResult {
    readonly seed: number;
    readonly plan: FaultPlan;
    readonly traceHash: string;
    readonly events: number;
    readonly virtualMs: number;
}

class Trace {
    #private;
    add(event: Traced, draws: number): void;
    note(line: Traced): void;
    get count(): number;
    get hash(): string;
    lines(max: number): string[];
}

interface Traced {
    readonly timeMs: number;
    readonly node: string;
    readonly kind: string;
    readonly label: string;
    readonly detail?: (() => string) | undefined;
}

class World {
    #private;
    readonly seed: number;
    readonly plan: FaultPlan;
    readonly scheduler: Scheduler;
    readonly state: MemoryState;
    readonly network: Network;
    constructor(program: Program, options: WorldOptions);
    get nodes(): readonly SimNode[];
    get nowMs(): number;
    get hasEnded(): boolean;
    get unfinished(): readonly string[];
    start(node: SimNode): void;
    heal(): void;
}

function describePlan(plan: FaultPlan): string;

function simulate(program: Program, options: SimulationOptions): Promise<SimulationResult>;
