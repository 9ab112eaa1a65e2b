/**
 * Which cell some code belongs to. It is remembered along promises and timers, so that what a timer prints while a later
 * cell runs still belongs to the cell that set it.
 *
 * @module
 */
import { AsyncLocalStorage } from "node:async_hooks";

const storage = new AsyncLocalStorage<number>();
let latest = 0;

/** Everything that follows, and what it starts, belongs to this cell. */
export function enterCell(id: number): void {
  latest = id;
  storage.enterWith(id);
}

/** The cell that the running code belongs to. */
export function currentCell(): number {
  return storage.getStore() ?? latest;
}

/** The cell that began last. */
export function latestCell(): number {
  return latest;
}
