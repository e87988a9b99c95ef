/** The process's wish to end, as an AbortSignal. */
import { HoldfastError } from "./core/errors.ts";

const signals = new Map<string, AbortSignal>();

/**
 * An AbortSignal that aborts at the first of these operating-system signals (default SIGTERM and
 * SIGINT), so that workers drain. The same names give the same signal. After the first, a second
 * one ends the process as if nobody listened.
 *
 * @example
 * await using worker = hf.open(emails).work(handler, { signal: shutdownSignal() });
 */
export function shutdownSignal(...names: NodeJS.Signals[]): AbortSignal {
  const wanted: NodeJS.Signals[] = names.length === 0 ? ["SIGTERM", "SIGINT"] : names;
  const key = [...new Set(wanted)].sort().join(" ");
  const known = signals.get(key);
  if (known !== undefined) return known;
  const controller = new AbortController();
  const onSignal = (name: NodeJS.Signals): void => {
    for (const each of wanted) process.removeListener(each, onSignal);
    const message = `The process was asked to end by ${name}`;
    controller.abort(new HoldfastError("CLOSED", message, { details: { signal: name } }));
  };
  for (const name of wanted) process.on(name, onSignal);
  signals.set(key, controller.signal);
  return controller.signal;
}
