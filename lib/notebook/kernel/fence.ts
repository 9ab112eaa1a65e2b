/**
 * The fence after a cell: its "idle" goes out after its outputs. The kernel answers before its outputs have gone, so after
 * the answer a mark is sent behind them on the same way. When it arrives, everything before it has.
 *
 * @module
 */
import type { DenoKernel } from "./deno_kernel.ts";

/** A mark that does not come by then never will, in milliseconds: something blocks the kernel. */
const LIMIT_MS = 3000;
const ATTEMPTS = 3;

/** Sends marks into a kernel and waits for them. */
export class Fence {
  #kernel: DenoKernel;
  #number = 0;
  #passed: (number: number) => void = () => {};

  constructor(kernel: DenoKernel) {
    this.#kernel = kernel;
  }

  /** Waits until all that the kernel has sent so far has arrived. */
  async pass(): Promise<void> {
    const number = ++this.#number;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const arrived = new Promise<void>((resolve) => this.#passed = (which) => which >= number && resolve());
    const limit = new Promise<void>((resolve) => timer = setTimeout(resolve, LIMIT_MS));
    await Promise.race([this.#send(number).then(() => arrived), limit]);
    clearTimeout(timer);
  }

  /** The first mark after a stopped cell may be stopped with it. */
  async #send(number: number): Promise<void> {
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const { status } = await this.#kernel.execute(`__tessera.mark(${number})`);
      if (status === "ok") return;
    }
  }

  /** A mark has arrived. */
  passed(number: number): void {
    this.#passed(number);
  }
}
