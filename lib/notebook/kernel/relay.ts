/**
 * Stands between the front end and the Deno kernel, hands requests and outputs on, and mends what the kernel gets wrong:
 * outputs that come after "idle" or in the next cell, errors without words, values that are lost, cells that go on after
 * one has failed.
 *
 * @module
 */
import { type ConnectionFile, executeContent, fromJson, type Parts } from "../message.ts";
import { fullLength } from "../zmtp.ts";
import { Cell } from "./cell.ts";
import type { Channel, DenoKernel } from "./deno_kernel.ts";
import { errorAt, type ErrorOutput, inWords, STOPPED } from "./errors.ts";
import { Fence } from "./fence.ts";
import { FrontEnd, type Request } from "./front_end.ts";
import { MOST_PRINTED, Outputs } from "./outputs.ts";

/** Cells whose late outputs and stack traces are still known. */
const REMEMBERED_CELLS = 2000;
/** After a longer output its memory is given back at once, in bytes: outputs come faster than garbage is collected. */
const LARGE_OUTPUT = 4_000_000;
const collectGarbage = (globalThis as { gc?: () => void }).gc; // the kernelspec asks V8 for it

/** What the process that runs the relay does. */
export interface RelayOptions {
  /** Stop was asked for by a message. */
  onInterrupt(): Promise<void>;
  /** The end was asked for; nothing is sent any more after this. */
  onShutdown(): void;
}

/** A request that the kernel answers by itself. */
interface Forwarded {
  request: Request;
  idle: () => void;
}

/** The relay of one kernel. */
export class Relay {
  #front: FrontEnd;
  #kernel: DenoKernel;
  #options: RelayOptions;
  #outputs: Outputs;
  #fence: Fence;
  #ready: Promise<void>;
  #queue: Request[] = [];
  #working = false;
  #cells = new Map<number, Cell>();
  #cellCount = 0;
  /** By the kernel's ids of their requests. */
  #executing = new Map<string, Cell>();
  #forwarded = new Map<string, Forwarded>();
  #latest: Cell | undefined;
  /** The cell that runs now. */
  running: Cell | undefined;
  /** What has to be over before the next cell may begin: a press of Stop. */
  settled: Promise<void> = Promise.resolve();

  constructor(connection: ConnectionFile, kernel: DenoKernel, options: RelayOptions) {
    this.#kernel = kernel;
    this.#options = options;
    this.#fence = new Fence(kernel);
    this.#front = new FrontEnd(connection, (request) => this.#take(request));
    this.#outputs = new Outputs(this.#front);
    kernel.onMessage = (channel, parts) => this.#fromKernel(channel, parts);
    this.#front.status("starting");
    this.#ready = kernel.connect();
    this.#ready.catch(() => {}); // whoever waits for it hears of it
  }

  /** Done when the kernel can run cells. */
  get ready(): Promise<void> {
    return this.#ready;
  }

  #take(request: Request): void {
    if (request.channel === "shell") {
      this.#queue.push(request);
      this.#work().catch((error) => console.error("The relay failed:", error));
    } else this.#beside(request).catch(() => {}); // the kernel has ended
  }

  /** Requests that do not wait for the running cell. */
  async #beside(request: Request): Promise<void> {
    if (request.channel === "stdin") {
      if (request.type === "input_reply") await this.#kernel.send("stdin", request.type, request.content);
    } else if (request.type === "interrupt_request") {
      await this.#options.onInterrupt();
      this.#front.reply(request, "interrupt_reply", { status: "ok" });
    } else if (request.type === "shutdown_request") {
      const content = { status: "ok", restart: request.content.restart === true };
      this.#front.reply(request, "shutdown_reply", content);
      await this.#front.publish("shutdown_reply", content, request.header);
      this.#options.onShutdown();
    } else {
      await this.#ready;
      await this.#kernel.send("control", request.type, request.content, (id) => {
        this.#forwarded.set(id, { request, idle: () => {} });
      });
    }
  }

  async #work(): Promise<void> {
    if (this.#working) return;
    this.#working = true;
    try {
      await this.#ready;
      for (let request = this.#queue.shift(); request; request = this.#queue.shift()) {
        if (request.type === "execute_request") await this.#execute(request);
        else await this.#forward(request);
      }
    } finally {
      this.#working = false;
    }
  }

  /** Hands a request on and waits until the kernel is idle again. */
  #forward(request: Request): Promise<void> {
    return new Promise((resolve, reject) => {
      const idle = () => resolve();
      this.#kernel.send("shell", request.type, request.content, (id) => this.#forwarded.set(id, { request, idle }))
        .catch(reject);
    });
  }

  async #execute(request: Request): Promise<void> {
    await this.settled;
    const cell = new Cell(++this.#cellCount, request, this.#cells);
    this.#cells.delete(cell.id - REMEMBERED_CELLS);
    this.#latest = this.running = cell;
    this.#front.status("busy", request.header);
    let reply = await this.#run(cell, cell.source.code);
    cell.executionCount ??= Number(reply.execution_count); // its output "execute_input" may come after the answer
    if (reply.evalue === "Execution failed" && !cell.failure) reply = await this.#explain(cell, reply);
    await this.#fence.pass();
    await this.#outputs.flush();
    this.running = undefined;
    this.#end(cell, reply);
  }

  /** Runs code in place of a cell's. */
  #run(cell: Cell, code: string, again = false): Promise<Record<string, unknown>> {
    const content = {
      ...executeContent(code, false),
      ...cell.request.content,
      code,
      ...(again && { store_history: false }),
    };
    return this.#kernel.request("shell", "execute_request", content, (id) => this.#executing.set(id, cell));
  }

  /** The kernel says no more than that it failed: it was stopped, or has not begun. */
  async #explain(cell: Cell, reply: Record<string, unknown>): Promise<Record<string, unknown>> {
    const { problem } = cell.source;
    if (cell.terminated) {
      const seconds = ((performance.now() - cell.began) / 1000).toFixed(1);
      const head = `AbortError: ${STOPPED}\n${cell.name} was stopped after ${seconds} s, in synchronous code`;
      await this.#fail(cell, errorAt(cell, { ename: "AbortError", evalue: STOPPED, head }));
    } else if (problem) {
      const { message, ...place } = problem;
      await this.#fail(cell, errorAt(cell, { ename: "SyntaxError", evalue: message }, { cell, place }));
    } else if (cell.source.code !== cell.code) {
      const second = await this.#run(cell, cell.code, true); // nothing of it has run: as it was written
      return second.evalue === "Execution failed" && !cell.failure ? await this.#explainImports(cell, second) : second;
    } else return await this.#explainImports(cell, reply);
    return reply;
  }

  /** Before a cell begins, the kernel looks for its packages: the first that is not found is why it has failed. */
  async #explainImports(cell: Cell, reply: Record<string, unknown>): Promise<Record<string, unknown>> {
    const named = cell.code.matchAll(/\b(?:from|import)\s*\(?\s*(["'])((?:npm|jsr|node):.*?)\1/g);
    let message = "the kernel refuses this cell and does not say why";
    for (const { 2: specifier, index } of named) {
      // put together, so that the kernel does not look for it beforehand and fails without a word once more
      const tried = await this.#kernel.execute(`await import(${JSON.stringify(specifier)} + "")`);
      if (tried.status === "ok") continue;
      message = tried.evalue === "Execution failed" ? `${specifier} cannot be imported` : String(tried.evalue);
      const line = cell.code.slice(0, index).split("\n").length;
      const column = index - cell.code.lastIndexOf("\n", index);
      await this.#fail(cell, errorAt(cell, { ename: "TypeError", evalue: message }, { cell, place: { line, column } }));
      return reply;
    }
    await this.#fail(cell, errorAt(cell, { ename: "Error", evalue: message }));
    return reply;
  }

  /** Publishes an error of a cell; the cell has failed. */
  async #fail(cell: Cell, { content, metadata }: ErrorOutput): Promise<void> {
    cell.failure ??= content;
    await this.#outputs.error(cell, content, metadata);
  }

  /** Answers a cell's request; where it has failed, those that wait behind it are not run. */
  #end(cell: Cell, reply: Record<string, unknown>): void {
    const { request, failure } = cell;
    const execution_count = cell.executionCount ?? reply.execution_count;
    if (failure) this.#front.reply(request, "execute_reply", { status: "error", execution_count, ...failure });
    else this.#front.reply(request, "execute_reply", { user_expressions: {}, payload: [], ...reply, execution_count });
    this.#front.status("idle", request.header);
    if (!failure || request.content.stop_on_error === false) return;
    const waiting = this.#queue.filter(({ type }) => type === "execute_request");
    this.#queue = this.#queue.filter((request) => !waiting.includes(request));
    for (const request of waiting) {
      this.#front.status("busy", request.header);
      this.#front.reply(request, "execute_reply", { status: "aborted", execution_count });
      this.#front.status("idle", request.header);
    }
  }

  /** The kernel has ended by itself: the cell that ran says so. */
  async dead(why: string): Promise<void> {
    const cell = this.running;
    if (cell) {
      await this.#outputs.flush();
      await this.#fail(cell, errorAt(cell, { ename: "KernelDied", evalue: why }));
      this.#end(cell, {});
    }
    await this.#front.flush(1000);
  }

  /** Tells the user something that belongs to the running cell. */
  async tell(text: string): Promise<void> {
    if (this.running) await this.#outputs.print(this.running, "stderr", `${text}\n`);
  }

  /** Waits until everything that was sent has gone. */
  async flush(): Promise<void> {
    await this.#front.flush(500);
  }

  async #fromKernel(channel: Channel, parts: Parts): Promise<void> {
    const { msg_type } = fromJson(parts.header);
    const type = String(msg_type);
    const parent = String(fromJson(parts.parent).msg_id);
    if (channel === "iopub") return await this.#published(type, parent, parts);
    const cell = this.#executing.get(parent) ?? this.running;
    if (channel === "stdin") return cell && this.#front.ask(cell.request, type, parts.content);
    const forwarded = this.#forwarded.get(parent);
    if (forwarded) this.#front.reply(forwarded.request, type, fromJson(parts.content));
    if (channel === "control") this.#forwarded.delete(parent);
  }

  async #published(type: string, parent: string, parts: Parts): Promise<void> {
    if (type === "tessera_mark") return this.#fence.passed(Number(fromJson(parts.content).number));
    const forwarded = this.#forwarded.get(parent);
    if (type === "status") {
      if (!forwarded) return; // of a cell: its states are published here
      await this.#front.publish(type, parts.content, forwarded.request.header);
      if (fromJson(parts.content).execution_state !== "idle") return;
      this.#forwarded.delete(parent);
      return forwarded.idle();
    }
    const { tessera: id, ...metadata } = fromJson(parts.metadata);
    const asked = this.#executing.get(parent);
    const cell = this.#cells.get(Number(id)) ?? asked ?? this.#latest;
    if (type === "execute_input") {
      if (!asked || asked.request.content.silent === true || asked.announced) return;
      asked.announced = true;
      asked.executionCount = Number(fromJson(parts.content).execution_count);
      const input = { code: asked.code, execution_count: asked.executionCount };
      return await this.#front.publish(type, input, asked.request.header);
    }
    if (!cell) return;
    if (type === "stream") {
      const { name, text, isStart } = streamOf(parts.content);
      await this.#outputs.print(cell, name, text, isStart);
      if (text.length > LARGE_OUTPUT) collectGarbage?.();
    } else if (type === "error" && fullLength(parts.content) === parts.content.length) {
      await this.#fail(cell, inWords(cell, fromJson(parts.content)));
    } else await this.#outputs.show(cell, type, parts.content, { metadata, buffers: parts.buffers });
  }
}

/** A print; of one that is far too large, its start, which is what was kept. */
function streamOf(content: Uint8Array): { name: string; text: string; isStart: boolean } {
  if (fullLength(content) === content.length) {
    const { name, text } = fromJson(content);
    return { name: String(name), text: String(text), isStart: false };
  }
  const start = new TextDecoder().decode(content.subarray(0, MOST_PRINTED));
  const [head, name] = start.match(/^\{"name":"(\w+)","text":"/) ?? [];
  if (head === undefined) return { name: "stdout", text: "", isStart: true };
  // an escape or a character that was cut in two goes
  const whole = start.slice(head.length).replace(/(?<!\\)(?:\\\\)*\\(?:u[0-9a-f]{0,3})?$/, "").replace(/\uFFFD$/, "");
  return { name, text: JSON.parse(`"${whole}"`), isStart: true };
}
