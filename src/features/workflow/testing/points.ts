/** The instants at which a worker's process may die, and what they are called. */
import type { Claimed, Group, GroupResult, Op } from "../../../store/ops.ts";
import type { TestProcess } from "./process.ts";

/** Told of every such instant; it may have the process die there. */
export type OnPoint = (process: TestProcess, what: string) => void;

const NEVER = new Promise<never>(() => {});

/** Watches what the process commits. */
export function watchCommits(process: TestProcess, onPoint: OnPoint): void {
  process.hooks.before = (groups) => {
    // Before it is known what a claim brings it is no point: it comes again and again.
    const ops = groups.flatMap((group) => group.ops).filter(({ op }) => op !== "queue.claim");
    const what = namesOf(ops);
    if (what !== "") onPoint(process, `before the commit of ${what}`);
  };
  process.hooks.after = (groups, results) => {
    const what = namesOf(groups.flatMap((group, i) => opsThatDid(group, results[i])));
    if (what !== "") onPoint(process, `after the commit of ${what}`);
  };
}

/** Without the claims that brought nothing. */
function opsThatDid({ ops }: Group, result: GroupResult | undefined): readonly Op[] {
  return ops.filter((op, i) => {
    if (op.op !== "queue.claim") return true;
    return result?.ok === true && (result.results[i] as Claimed).jobs.length > 0;
  });
}

function namesOf(ops: readonly Op[]): string {
  return [...new Set(ops.flatMap(nameOf))].join(", ");
}

function nameOf(op: Op): readonly string[] {
  switch (op.op) {
    case "runs.record":
      return op.records.map(({ key }) => key);
    case "queue.settle":
      return [`the run as ${op.outcome}`];
    case "queue.claim":
      return ["a claim"];
    case "queue.configure":
    case "session.open":
    case "session.renew":
    case "session.end":
      return [];
    case "queue.enqueue":
      return [`the start of ${op.id}`];
    case "runs.send":
      return [`the event ${op.event}`];
    default:
      return [op.op];
  }
}

/**
 * What a handler has of its run, with every function that it gives away watched: none is called by
 * a process that is dead, and none gives anything to it.
 */
export function watchRun<R extends object>(run: R, process: TestProcess, onPoint: OnPoint): R {
  const watch = (what: string, work: (...args: unknown[]) => unknown) => {
    return async (...args: unknown[]): Promise<unknown> => {
      await passed(process, () => onPoint(process, `at the call of ${what}`));
      try {
        const value = await work(...args);
        await passed(process, () => onPoint(process, `at the return of ${what}`));
        return value;
      } catch (error) {
        await passed(process, () => onPoint(process, `at the failure of ${what}`));
        throw error;
      }
    };
  };
  const watched = (argument: unknown, name: string): unknown => {
    if (typeof argument === "function") return watch(name, argument as () => unknown);
    const undo = (argument as { readonly undo?: unknown } | null | undefined)?.undo;
    if (typeof undo !== "function") return argument;
    return { ...(argument as object), undo: watch(`the undo of ${name}`, undo as () => unknown) };
  };
  return new Proxy(run, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== "function") return value;
      return (...args: unknown[]): unknown => {
        const name = typeof args[0] === "string" ? `"${args[0]}"` : String(key);
        // What has to be synchronous stays so: its commit is a point of its own.
        const isWatched = typeof args[0] === "string" && key !== "transaction";
        const own = isWatched ? args.map((each) => watched(each, name)) : args;
        return Reflect.apply(value, target, own);
      };
    },
  });
}

/** Resolves if the process lives on. */
async function passed(process: TestProcess, point: () => void): Promise<void> {
  if (!process.isCrashed) point();
  if (process.isCrashed) await NEVER;
}
