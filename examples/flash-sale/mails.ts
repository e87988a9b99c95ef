/**
 * Sends the mails that wait. The post office is the store itself: that a mail was sent is one
 * commit with the completion of its job, so that it is sent exactly once.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Holdfast } from "holdfast";
import type { Completion, Job } from "holdfast/jobs";
import { attemptKey, PREFIX } from "./books.ts";
import type { Mail } from "./books.ts";
import { CARELESS_MS } from "./careless.ts";

export function sendMail(hf: Holdfast, mail: Mail, job: Job): Promise<Completion> {
  return job.complete(null, [sent(hf, mail, job)]);
}

/** Sends it, and says so later. */
export async function sendMailCarelessly(hf: Holdfast, mail: Mail, job: Job): Promise<void> {
  await hf.commit([sent(hf, mail, job)]);
  await sleep(CARELESS_MS);
}

function sent(hf: Holdfast, mail: Mail, { token, delivery }: Job): ReturnType<typeof hf.kv.op.put> {
  const attempt = { token, attempt: delivery };
  return hf.kv.op.put(attemptKey(PREFIX.mail, mail.order, mail.kind, attempt), mail);
}
