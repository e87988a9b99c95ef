/**
 * The payment service as a process of its own. Started by `payment.ts`, never by hand; killed like
 * any other process of the sale, and started again on the same file and port.
 */
import { listen } from "./payment-server.ts";
import { PAYMENT_VARIABLE, READY, STOP } from "./settings.ts";
import type { PaymentPlace, PaymentSettings } from "./settings.ts";

async function main(settings: PaymentSettings): Promise<void> {
  const stopped = new Promise<unknown>((resolve) => {
    process.on("SIGINT", () => {});
    process.on("SIGTERM", resolve);
    process.on("message", (message) => message === STOP && resolve(message));
    // The sale is gone, whatever became of it: so is this service.
    process.on("disconnect", () => resolve("disconnect"));
  });
  const { port, isNew, close } = await listen(settings);
  process.send?.({ port, isNew } satisfies PaymentPlace);
  process.send?.(READY);
  await stopped;
  await close();
}

await main(JSON.parse(process.env[PAYMENT_VARIABLE] ?? "") as PaymentSettings);
if (process.connected) process.disconnect();
