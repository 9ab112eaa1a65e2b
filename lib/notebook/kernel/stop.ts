/**
 * The Stop button. Jupyter interrupts with SIGINT (`interrupt_mode: signal`) or with a message; here both mean the same.
 *
 * The kernel alone would die of SIGINT, and an interrupt request, which ends synchronous code, leaves a kernel wedged that
 * awaits something. So first our part inside the kernel gets the signal: it ends what the cell awaits. When it does not
 * answer, and the kernel is computing, the kernel is in synchronous code, and an interrupt request ends that.
 *
 * @module
 */
import type { DenoKernel } from "./deno_kernel.ts";
import type { Relay } from "./relay.ts";

/** How long a kernel that waits needs at most to hear the signal, in milliseconds. */
const ANSWER_MS = 400;
/** The same where the kernel does not compute: the machine is busy with something else. */
const PATIENCE_MS = 3000;
/** A cell that has not ended by then goes on computing after its await was given up, or waits for what cannot be ended. */
const END_MS = 1500;
/** As much of a core, as a part of one, is computing. */
const COMPUTING = 0.3;

/** Ends what a kernel runs. */
export class Stop {
  #kernel: DenoKernel;
  #relay: Relay;

  constructor(kernel: DenoKernel, relay: Relay) {
    this.#kernel = kernel;
    this.#relay = relay;
  }

  /** Stop was pressed. Done when the kernel has heard of it. */
  press(): Promise<void> {
    const pressed = this.#press().catch((error) => console.error("Stop failed:", error.message));
    this.#relay.settled = Promise.all([this.#relay.settled, pressed]).then(() => {});
    return pressed;
  }

  async #press(): Promise<void> {
    await this.#relay.ready;
    const cell = this.#relay.running;
    const before = this.#heard();
    const start = { at: performance.now(), computed: this.#computed() };
    this.#kernel.process.kill("SIGINT");
    const heard = () => this.#heard() !== before;
    const ended = () => this.#relay.running !== cell;
    const isComputing = () => (this.#computed() - start.computed) / (performance.now() - start.at) > COMPUTING;
    if (await within(ANSWER_MS, heard)) {
      if (cell && !await within(END_MS, ended) && isComputing()) await this.#terminate(before, false);
    } else if (cell && !ended()) {
      const unknown = Number.isNaN(start.computed);
      if (unknown || isComputing() || !await within(PATIENCE_MS, heard)) await this.#terminate(before, true);
    }
    if (!cell || await within(END_MS, ended)) {
      await within(ANSWER_MS, heard); // a press that is still on its way must not stop the next cell
      return;
    }
    await this.#relay.tell(
      "Stop was heard, but this cell waits for something that cannot be ended; press Stop again, or restart the kernel.",
    );
  }

  /** Ends synchronous code. Where it has not heard the signal yet, that will come when there is no loop left to hear it. */
  async #terminate(before: string, unheard: boolean): Promise<void> {
    if (this.#relay.running) this.#relay.running.terminated = true;
    if (unheard) Deno.writeTextFileSync(this.#kernel.stopFile, `${before} ended`);
    await this.#kernel.request("control", "interrupt_request", {});
  }

  /** How many presses the kernel has heard, as it writes it down. */
  #heard(): string {
    try {
      return Deno.readTextFileSync(this.#kernel.stopFile).replace(/ ended$/, "");
    } catch {
      return "0";
    }
  }

  /** How long the kernel has computed so far, in milliseconds; not a number where the system does not say. */
  #computed(): number {
    try {
      const fields = Deno.readTextFileSync(`/proc/${this.#kernel.process.pid}/stat`).replace(/^.*\) /s, "").split(" ");
      return (Number(fields[11]) + Number(fields[12])) * 10; // user and system time, in hundredths of a second
    } catch {
      return NaN;
    }
  }
}

/** Looks again and again until the time is over; whether it came true. */
async function within(ms: number, isTrue: () => boolean): Promise<boolean> {
  const until = performance.now() + ms;
  while (!isTrue()) {
    if (performance.now() > until) return false;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return true;
}
