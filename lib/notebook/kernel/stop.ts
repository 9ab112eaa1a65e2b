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
    const heard = () => this.#heard() !== before;
    const ended = () => this.#relay.running !== cell;
    this.#kernel.process.kill("SIGINT");
    const computing = new Computing(this.#kernel.process.pid);
    if (await within(ANSWER_MS, heard, computing)) {
      const waits = new Computing(this.#kernel.process.pid);
      if (cell && !await within(END_MS, ended, waits) && waits.mostly) await this.#terminate(before, false);
    } else if (cell && !ended()) {
      if (computing.mostly !== false || !await within(PATIENCE_MS, heard)) await this.#terminate(before, true);
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
}

/** Whether a process computes, seen by how often one of its threads runs or wants to. */
class Computing {
  #pid: number;
  #looks = 0;
  #runs = 0;

  constructor(pid: number) {
    this.#pid = pid;
  }

  /** Looks once. */
  look(): void {
    try {
      const threads = [...Deno.readDirSync(`/proc/${this.#pid}/task`)];
      const states = threads.map(({ name }) =>
        Deno.readTextFileSync(`/proc/${this.#pid}/task/${name}/stat`).replace(/^.*\) /s, "")[0]
      );
      this.#looks++;
      if (states.includes("R")) this.#runs++;
    } catch {
      // another system, or a thread that has just ended
    }
  }

  /** Whether it did most of the times; undefined where the system does not say. */
  get mostly(): boolean | undefined {
    return this.#looks === 0 ? undefined : this.#runs > this.#looks / 2;
  }
}

/** Looks again and again until the time is over; whether it came true. */
async function within(ms: number, isTrue: () => boolean, meanwhile?: Computing): Promise<boolean> {
  const until = performance.now() + ms;
  while (!isTrue()) {
    meanwhile?.look();
    if (performance.now() > until) return false;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  return true;
}
