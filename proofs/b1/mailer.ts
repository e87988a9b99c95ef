/**
 * A worker process that sends mail. The broken one completes the job as soon as the sending has
 * begun.
 */
import type { Link } from "../kit/node.ts";
import { Poster } from "./http.ts";
import { emails, type Mail, type MailerInput } from "./mail.ts";

export async function mailer(link: Link): Promise<void> {
  const { sinkPort, concurrency, isBroken } = link.input as unknown as MailerInput;
  const store = await link.open();
  const poster = new Poster(sinkPort, { "x-worker": link.name });
  // A killed process takes its connections along.
  link.signal.addEventListener("abort", () => poster.destroy(), { once: true });

  const send = async (mail: Mail, signal?: AbortSignal): Promise<void> => {
    const status = await poster.post("/mail", mail, signal);
    if (status !== 202)
      throw new Error(`Expected the sink to take ${mail.id}, it answered ${status}`);
  };
  store.handle(emails).work(
    async (mail, job) => {
      if (!isBroken) return send(mail, job.signal);
      send(mail).catch(() => {});
    },
    { concurrency },
  );
  link.serve("session", async () => (await store.session()).id);
}
