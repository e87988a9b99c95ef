/** `holdfast/ports/bus`: the bus port. Its guarantees: README.md beside this file. */
export { Bus, Subscription } from "./bus.ts";
export type { BusOps, BusOptions, BusOverflow, SubscribeOptions } from "./bus.ts";
