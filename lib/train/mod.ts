/**
 * Training: a step as one compiled function, and the loop around it.
 *
 * @module
 */
export * from "./fit.ts";
export * from "./optimizer.ts";
export * from "./schedule.ts";
export * from "./step.ts";
