#!/usr/bin/env node
/** The command `holdfast`: the process's own part (streams, signals, exit code) around `run`. */
import { run } from "./run.ts";

// `holdfast ... | head`: whoever read has enough. That is no failure, and nothing to talk about.
for (const stream of [process.stdout, process.stderr]) {
  stream.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") throw error;
    process.exit(0);
  });
}

function flush(stream: NodeJS.WriteStream): Promise<void> {
  return new Promise((resolve) => void stream.write("", () => resolve()));
}

function interrupt(): AbortSignal {
  const interrupted = new AbortController();
  // Once: a second interrupt ends the process at once.
  process.once("SIGINT", () => interrupted.abort(new Error("Interrupted")));
  process.once("SIGTERM", () => interrupted.abort(new Error("Terminated")));
  return interrupted.signal;
}

async function main(): Promise<void> {
  const code = await run(process.argv.slice(2), {
    env: process.env,
    out: (text) => void process.stdout.write(text),
    err: (text) => void process.stderr.write(text),
    columns: process.stdout.isTTY ? process.stdout.columns : undefined,
    isErrTerminal: process.stderr.isTTY,
    interrupt,
  });
  // Pipes are written behind our back: all of it must be out before the process ends.
  await Promise.all([flush(process.stdout), flush(process.stderr)]);
  process.exit(code);
}

void main();
