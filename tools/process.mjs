/** Where the repository is, and how its tools start other programs. */
import { spawn } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The repository's root folder. */
export const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Where tools keep what can be made again; git ignores it. */
export const cache = join(root, ".cache");

/**
 * Whether the module with this URL is the program that was started.
 * @param {string} url
 */
export function isMain(url) {
  const started = process.argv[1];
  return (
    started !== undefined && existsSync(started) && realpathSync(started) === fileURLToPath(url)
  );
}

/**
 * The path of a program that a development dependency brings.
 * @param {string} name
 */
export function bin(name) {
  return join(root, "node_modules", ".bin", name);
}

/**
 * Runs a program in the root folder and resolves with its exit code (a signal counts as 1). With
 * `limitMs`, it and all that it started are killed when that time is over.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{
 *   readonly cwd?: string,
 *   readonly env?: NodeJS.ProcessEnv,
 *   readonly limitMs?: number,
 * }} [options]
 * @returns {Promise<number>}
 */
export function run(command, args, { limitMs, ...options } = {}) {
  return new Promise((resolve, reject) => {
    // A group of its own, so that a worker in an endless loop ends with the rest.
    const detached = limitMs !== undefined;
    const child = spawn(command, args, { cwd: root, stdio: "inherit", ...options, detached });
    const kill = () => {
      if (child.pid === undefined || child.exitCode !== null) return;
      process.kill(-child.pid, "SIGKILL");
    };
    const interrupt = () => process.exit(1);
    const expire = () => {
      console.error(`Killed after ${limitMs} ms: ${command} ${args.join(" ")}`);
      kill();
    };
    const timer = detached ? setTimeout(expire, limitMs) : undefined;
    if (detached) {
      process.once("exit", kill);
      process.once("SIGINT", interrupt);
      process.once("SIGTERM", interrupt);
    }
    child.on("error", reject);
    child.on("close", (code) => {
      clearTimeout(timer);
      process.off("exit", kill);
      process.off("SIGINT", interrupt);
      process.off("SIGTERM", interrupt);
      resolve(code ?? 1);
    });
  });
}

/**
 * Runs a program and resolves with its exit code and what it printed on both streams.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {{ readonly cwd?: string, readonly env?: NodeJS.ProcessEnv, readonly timeout?: number }}
 * [options]
 * @returns {Promise<{ code: number, output: string }>}
 */
export function capture(command, args, options = {}) {
  let output = "";
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
      ...options,
    });
    child.stdout.on("data", (chunk) => (output += chunk));
    child.stderr.on("data", (chunk) => (output += chunk));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? 1, output }));
  });
}
