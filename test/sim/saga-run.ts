/** A run in the hands of a handler that does what its script says. */
import { isHoldfastError } from "../../src/core/errors.ts";
import { permanent, StepError, type Attempt } from "../../src/features/workflow/index.ts";
import type { Kv } from "../../src/ports/kv/index.ts";
import type { Instance, World } from "../../src/sim/index.ts";
import type { Stretch } from "./run-audit.ts";
import type { EventName, Node, Script, StepNode } from "./saga.ts";
import { EFFECT, UNTIL_MS, type SagaRun, type Setting } from "./workflow-setting.ts";

/** A run in the hands of one handler: its script, asked of the library. */
export class Saga {
  readonly #instance: Instance;
  readonly #world: World;
  readonly #setting: Setting;
  readonly #kv: Kv;
  readonly #run: SagaRun;
  readonly #script: Script;
  readonly #stretch: Stretch;
  readonly #token: number;

  constructor(instance: Instance, world: World, setting: Setting, kv: Kv, run: SagaRun) {
    this.#instance = instance;
    this.#world = world;
    this.#setting = setting;
    this.#kv = kv;
    this.#run = setting.wrap(run);
    this.#script = setting.scripts.get(run.id) as Script;
    this.#token = Number(run.token);
    this.#stretch = setting.audit.stretch(run.id, this.#token);
  }

  async run(): Promise<unknown> {
    try {
      return await this.#sequence(this.#script.nodes);
    } catch (error) {
      if (!this.#script.isStubborn || !isStop(error)) throw error;
      // Whatever it still asks for is refused, and its result is nobody's.
      await this.#run.step("never", () => this.#fail("A stopped run did a step")).catch(() => {});
      return "nothing";
    }
  }

  /** A failure of the handler would only be a failed run. */
  #fail(error: unknown): void {
    this.#world.scheduler.fail(error instanceof Error ? error : new Error(String(error)));
  }
  #judge(judge: () => void): void {
    try {
      judge();
    } catch (error) {
      this.#fail(error);
    }
  }

  async #sequence(nodes: readonly Node[]): Promise<unknown[]> {
    const values: unknown[] = [];
    for (const node of nodes) values.push(await this.#node(node));
    return values;
  }

  async #node(node: Node): Promise<unknown> {
    switch (node.kind) {
      case "step":
        return this.#step(node);
      case "sleep":
        await this.#run.sleep(node.name, node.ms);
        this.#judge(() => this.#stretch.slept(node.name));
        return "slept";
      case "wait":
        return this.#wait(node.event, node.timeoutMs);
      case "crash":
        throw new Error(`a bug: ${node.name}`);
      case "race": {
        const sleep = this.#node(node.sleep).then(() => "late");
        sleep.catch(() => {});
        return Promise.race([this.#step(node.step), sleep]);
      }
      case "all":
        return Promise.all(node.branches.map((branch) => this.#sequence(branch)));
      case "settled": {
        const ends = await Promise.allSettled(node.branches.map((each) => this.#sequence(each)));
        return ends.map((end) => {
          if (end.status === "rejected") throw end.reason;
          return end.value;
        });
      }
    }
  }

  async #wait(event: EventName, timeoutMs: number | undefined): Promise<unknown> {
    const value =
      timeoutMs === undefined
        ? await this.#run.waitFor(event)
        : await this.#run.tryWaitFor(event, { timeoutMs });
    this.#judge(() => this.#stretch.got(event, value));
    return event === "ring" ? "waited" : value;
  }

  // ---------------------------------------------------------------- steps

  async #step(node: StepNode): Promise<unknown> {
    const work = (attempt: Attempt): Promise<unknown> => this.#work(node, attempt);
    const undo = (done: unknown, attempt: Attempt): Promise<unknown> =>
      this.#undo(node, done, attempt);
    const backoff = { initialMs: node.retryMs, jitter: "none", factor: 1 } as const;
    const options = {
      retry: { attempts: 4, backoff },
      timeoutMs: node.hangs ? 600 : undefined,
      undo: node.hasUndo ? undo : undefined,
    };
    let value: unknown;
    try {
      value = await this.#run.step(node.name, work, options);
    } catch (error) {
      if (!(error instanceof StepError)) throw error;
      this.#judge(() => this.#stretch.stepFailed(node.key, error.message));
      if (!node.isCaught) throw error;
      return `caught: ${error.message}`;
    }
    this.#judge(() => this.#stretch.step(node.key, value));
    return value;
  }

  #count(what: string): number {
    const { calls } = this.#setting;
    const count = (calls.get(what) ?? 0) + 1;
    calls.set(what, count);
    return count;
  }

  async #work(node: StepNode, attempt: Attempt): Promise<unknown> {
    const { audit, shape } = this.#setting;
    const { random, name } = this.#instance;
    const { id } = this.#run;
    this.#judge(() => audit.called(id, node.key, this.#token));
    const call = this.#count(`${id} ${node.key}`);
    const isDeaf = random.next() < shape.deafShare;
    const forMs = node.hangs && call === 1 ? 60_000 : random.next() * 2 * node.workMs;
    try {
      await this.#instance.sleep(forMs, isDeaf && !node.hangs ? undefined : attempt.signal);
      if (call <= node.failures) {
        const message = `${node.key} is not to be (${call})`;
        throw node.isFatal && node.failures === Infinity ? permanent(message) : new Error(message);
      }
      const value = { nonce: Math.floor(random.next() * 1e15), by: name };
      audit.gave(id, node.key, this.#token, value);
      if (node.hasEffect) return await attempt.complete(value, [this.#kv.op.add(EFFECT, 1)]);
      return value;
    } catch (error) {
      audit.threw(id, node.key, this.#token, (error as Error).message);
      throw error;
    }
  }

  async #undo(node: StepNode, done: unknown, attempt: Attempt): Promise<unknown> {
    const { audit } = this.#setting;
    const { id } = this.#run;
    this.#judge(() => audit.undoing(id, node.key, this.#token, done));
    const call = this.#count(`${id} ${node.key} undo`);
    await this.#instance.sleep((this.#instance.random.next() * node.workMs) / 2, attempt.signal);
    if (call <= node.undoFailures) throw new Error(`${node.key} stays done (${call})`);
    const isStuck = node.isUndoStuck && this.#world.nowMs < UNTIL_MS;
    if (isStuck) throw permanent(`${node.key} stays done until somebody looks`);
    audit.undoHeld(id, node.key, this.#token);
    if (!node.hasEffect || done === undefined) return undefined;
    return attempt.complete(null, [this.#kv.op.add(EFFECT, -1)]);
  }
}

/** The run stops: nothing more of it is done. */
function isStop(error: unknown): boolean {
  return isHoldfastError(error, "CLOSED");
}
