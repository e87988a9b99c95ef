/**
 * The writer's thread: it owns the connection that writes, so that waiting for the disk or for the
 * lock never blocks the event loop of the program. Requests are answered in the order of their
 * coming; what nobody waits for (checkpoints) comes after the answer.
 *
 * While it waits for the lock the thread sleeps for real (`Atomics.wait`), in steps of a fraction
 * of a millisecond, which timers can't do; requests that come meanwhile wait in its queue, as they
 * would have to anyway.
 *
 * A caller who awaits one commit after another comes back within the time that waking a thread
 * takes (30 to 50 us). So after an answer the thread stays awake for a moment, as long as that paid
 * lately: see `attention.ts`.
 */
import { parentPort, receiveMessageOnPort, workerData } from "node:worker_threads";
import { systemClock } from "../../core/clock.ts";
import { errorToData } from "../../core/errors.ts";
import { invariant } from "../../core/invariant.ts";
import { loadSqlite } from "./database.ts";
import type { ConnectionSettings } from "./database.ts";
import { Attention } from "./attention.ts";
import { LocalExecutor } from "./executor.ts";
import type { Foreign } from "./foreign.ts";
import { detach, packCommitted, thrownToData, unpack } from "./messages.ts";
import type { Reply, Request } from "./messages.ts";
import { openWriting } from "./open.ts";
import type { Committed } from "./writer.ts";

invariant(parentPort !== null, "the writer's thread was started as a thread");
const port = parentPort;
const settings = workerData as ConnectionSettings;
const sleeper = new Int32Array(new SharedArrayBuffer(4));

function reply(message: Reply): void {
  port.postMessage(message);
}

function pause(ms: number): undefined {
  Atomics.wait(sleeper, 0, 0, ms);
  return undefined;
}

function onForeign(foreign: Foreign): void {
  reply([0, "foreign", detach(foreign)]);
}

async function answer(executor: LocalExecutor, request: Request): Promise<void> {
  const [id, call] = request;
  try {
    switch (call) {
      case "commit":
        replyCommitted(id, await executor.commitOnly(unpack(request[2])));
        return executor.tidy();
      case "import":
        return replyCommitted(id, await executor.import(request[2], request[3]));
      case "seal":
        return replyCommitted(id, await executor.seal(request[2], request[3]));
      case "watch":
        return executor.watch(request[2]);
      case "durability":
        return reply([id, "value", await executor.durability()]);
      case "stats":
        return reply([id, "value", await executor.stats()]);
      case "close":
        await executor.close();
        return reply([id, "value", null]);
    }
  } catch (error) {
    reply([id, "error", thrownToData(error)]);
  }
}

function replyCommitted(id: number, committed: Committed): void {
  reply([id, "committed", packCommitted(committed)]);
}

async function start(): Promise<void> {
  try {
    const host = { clock: systemClock, pause, onForeign };
    const opened = await openWriting(await loadSqlite(), settings, host);
    if ("refusal" in opened) return reply([0, "ready", errorToData(opened.refusal)]);
    const executor = new LocalExecutor(opened.writer, systemClock, onForeign);
    const attention = new Attention(systemClock, () => receiveMessageOnPort(port)?.message);
    port.on("message", (first: Request) => {
      void attention.serve(first, (request) => answer(executor, request));
    });
    reply([0, "ready", null]);
  } catch (error) {
    reply([0, "error", thrownToData(error)]);
  }
}

void start();
