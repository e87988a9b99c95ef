/**
 * The process of one node: runs the program that its first message names, until it is told to stop,
 * killed, or left alone.
 */
import { connect, type Holdfast } from "holdfast";
import type { Store } from "holdfast/store";
import type { Json } from "./kit/node.ts";
import { messageOf, Tasks, type FromNode, type Start, type ToNode } from "./kit/wire.ts";
import { PROGRAMS } from "./programs.ts";

const tasks = new Tasks();
const stopped = new AbortController();
let opened: Holdfast | undefined;

function send(message: FromNode): void {
  // Nobody listens any more once the proof is gone; `disconnect` ends this process then.
  if (process.connected) process.send?.(message);
}

async function open(start: Start): Promise<Store> {
  if (start.url === null) throw new TypeError(`Expected ${start.program} to need no store`);
  opened ??= await connect(start.url, start.store);
  return opened.store;
}

async function begin(start: Start): Promise<void> {
  const { name, input } = start;
  try {
    const program = await PROGRAMS[start.program]();
    await program({
      name,
      input,
      signal: stopped.signal,
      open: () => open(start),
      serve: (task, work) => tasks.serve(task, work),
      tell: (event: Json) => send({ kind: "event", event }),
    });
    send({ kind: "ready" });
  } catch (error) {
    send({ kind: "failed", error: messageOf(error) });
  }
}

async function run(no: number, task: string, input: Json): Promise<void> {
  try {
    send({ kind: "answer", no, value: await tasks.run(task, input) });
  } catch (error) {
    send({ kind: "refusal", no, error: messageOf(error) });
  }
}

async function stop(): Promise<void> {
  stopped.abort();
  try {
    await opened?.close();
  } finally {
    process.exit(0);
  }
}

process.on("message", (message: ToNode) => {
  if (message.kind === "start") void begin(message);
  else if (message.kind === "task") void run(message.no, message.task, message.input);
  else void stop();
});
process.on("disconnect", () => process.exit(1));
// An interrupt of the terminal reaches the whole group; the proof decides what becomes of its
// nodes.
process.on("SIGINT", () => {});
