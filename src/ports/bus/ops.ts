/** Validated builder of the bus's op. */
import { checkStorable, dataBytes, type Data } from "../../core/codec.ts";
import { HoldfastError } from "../../core/errors.ts";
import { LIMITS } from "../../core/limits.ts";
import { checkName } from "../../core/options.ts";
import type { BusPublish } from "../../store/ops.ts";

/** A topic's name: 1 to 200 printable characters, not beginning with `$`. */
export function checkTopic(topic: unknown): string {
  return checkName("topic", topic);
}

export function publish(topic: string, message: Data): BusPublish {
  checkTopic(topic);
  checkStorable("message", message);
  const bytes = dataBytes(message);
  if (bytes > LIMITS.messageBytes) {
    const text = `Expected a message of at most ${LIMITS.messageBytes} bytes, got ${bytes}: store the bulk and publish its key`;
    const details = { limit: LIMITS.messageBytes, got: bytes };
    throw new HoldfastError("TOO_LARGE", text, { outcome: "not-applied", details });
  }
  return { op: "bus.publish", topic, message };
}
