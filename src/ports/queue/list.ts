/** Which jobs a list holds. */
import { checkAttributes, type Attributes } from "../../core/attributes.ts";
import { LIMITS } from "../../core/limits.ts";
import { checkInteger, checkText } from "../../core/options.ts";
import type { Wait } from "../../core/signal.ts";
import type { JobFilter } from "../../store/driver.ts";

export interface PageOptions extends Wait {
  /** The `next` of the page before. */
  readonly after?: number | undefined;
  /** 1 to 1,000; default 100. */
  readonly limit?: number | undefined;
}

/**
 * Which jobs a list holds; what is left out is not asked. At most about 10,000 jobs are looked at
 * for one page, which may so be short, or empty, though `next` is there.
 */
export interface ListOptions extends PageOptions {
  /** Those that were added with all of these. */
  readonly attributes?: Attributes | undefined;
  /** Those that were added at that instant of the store's clock or later. */
  readonly fromMs?: number | undefined;
  /** Those that were added before that instant. */
  readonly beforeMs?: number | undefined;
  /** Those whose id begins so. */
  readonly idPrefix?: string | undefined;
}

export const LIST_KEYS: readonly string[] = [
  ...["attributes", "fromMs", "beforeMs", "idPrefix"],
  ...["after", "limit", "signal", "timeoutMs"],
];

export function filterOf(options: ListOptions): JobFilter | undefined {
  const { attributes, fromMs, beforeMs, idPrefix } = options;
  const isAll =
    attributes === undefined &&
    fromMs === undefined &&
    beforeMs === undefined &&
    idPrefix === undefined;
  if (isAll) return undefined;
  return {
    attributes: attributes === undefined ? {} : checkAttributes("attributes", attributes),
    fromMs: fromMs === undefined ? null : checkInteger("fromMs", fromMs),
    beforeMs: beforeMs === undefined ? null : checkInteger("beforeMs", beforeMs),
    idPrefix: idPrefix === undefined ? "" : checkText("idPrefix", idPrefix, LIMITS.idChars),
  };
}
