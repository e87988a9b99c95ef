/**
 * What went wrong → one clear line and an exit code:
 * 0 it went well · 1 an action or a proof failed · 2 bad usage · 3 the store can't be reached or is
 * misconfigured · 130 a proof was interrupted.
 */
import { isHoldfastError, type ErrorCode } from "holdfast";
import { visible, visibleLines } from "./text.ts";

export const EXIT = { ok: 0, failed: 1, usage: 2, store: 3, interrupted: 130 } as const;

/** The command line itself is wrong. `about` is the command whose help tells more. */
export class UsageError extends Error {
  readonly about: string;
  constructor(message: string, about: string = "") {
    super(message);
    this.name = "UsageError";
    this.about = about;
  }
}

/** An action was understood and could not be done. */
export class ActionError extends Error {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string) {
    super(message);
    this.name = "ActionError";
    this.code = code;
  }
}

/** The store could not be opened, for whatever reason. */
export class OpenError extends Error {
  constructor(cause: unknown) {
    super("The store could not be opened", { cause });
    this.name = "OpenError";
  }
}

const OF_THE_STORE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  "CORRUPT",
  "INCOMPATIBLE",
  "MISCONFIGURED",
  "MOVED",
  "TIMEOUT",
  "UNAVAILABLE",
  "UNSUPPORTED",
]);

/** A name, a limit or a key that the library refused as an argument. */
function isArgumentError(error: unknown): boolean {
  const isPlain = error instanceof RangeError || error instanceof TypeError;
  return isPlain && /^(Expected|Unknown option) /.test(error.message);
}

/** The exit code that the error deserves. */
export function exitCode(error: unknown): number {
  if (error instanceof UsageError || isArgumentError(error)) return EXIT.usage;
  if (error instanceof OpenError) return isArgumentError(error.cause) ? EXIT.usage : EXIT.store;
  if (isHoldfastError(error) && OF_THE_STORE.has(error.code)) return EXIT.store;
  return EXIT.failed;
}

function lineOf(error: unknown): string {
  if (error instanceof OpenError) return lineOf(error.cause);
  if (error instanceof UsageError) {
    return `${error.message} (see: holdfast ${error.about}${error.about === "" ? "" : " "}--help)`;
  }
  if (error instanceof ActionError || isHoldfastError(error))
    return `${error.code}: ${error.message}`;
  if (isArgumentError(error)) return (error as Error).message;
  if (error instanceof Error) {
    return `${error.name}: ${error.message} (this looks like a bug: --verbose shows where)`;
  }
  return `Thrown value: ${String(error)}`;
}

/**
 * The error for people; with `isVerbose` its stack and causes too. Never a URL's credentials, never
 * a control character.
 */
export function failureText(
  error: unknown,
  options: { readonly url?: string | undefined; readonly isVerbose?: boolean | undefined } = {},
): string {
  const lines = [`holdfast: ${visible(lineOf(error))}`];
  if (options.isVerbose === true) {
    for (let cause = error; cause instanceof Error; cause = cause.cause) {
      lines.push(visibleLines(cause.stack ?? String(cause)));
    }
  }
  return `${withoutCredentials(lines.join("\n"), options.url)}\n`;
}

const USER_INFO = /\b([a-z][a-z0-9+.-]*:\/\/)[^\s/?#]*@/gi;
const SECRET_PARAM = /([?&][^=&\s]*(?:pass|pwd|secret|token|key|auth)[^=&\s]*=)[^&\s#]+/gi;

/**
 * The text with the credentials of every URL in it left out, and with those of `url` left out
 * wherever they stand.
 */
export function withoutCredentials(text: string, url?: string): string {
  let out = text;
  for (const secret of secretsOf(url ?? "")) out = out.replaceAll(secret, "***");
  return out.replace(USER_INFO, "$1***@").replace(SECRET_PARAM, "$1***");
}

/** A shorter one would be found in the middle of other words. */
const SHORTEST_SECRET = 4;

/** The passwords that a URL holds, as written and decoded. */
function secretsOf(url: string): string[] {
  const userInfo = /^[a-z][a-z0-9+.-]*:\/\/([^/?#]*)@/i.exec(url)?.[1] ?? "";
  const password = userInfo.slice(userInfo.indexOf(":") + 1);
  const params = [...url.matchAll(SECRET_PARAM)].map(([whole]) => whole.split("=")[1] ?? "");
  return [password, ...params]
    .flatMap((secret) => [secret, decoded(secret)])
    .filter((secret) => secret.length >= SHORTEST_SECRET);
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
