/**
 * A Jupyter client in TypeScript, without Python: starts a kernel through its parent process as JupyterLab does, runs
 * cells, presses Stop, and ends it.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import { kernelspec } from "./kernelspec.ts";
import { executeContent, freeConnection, type Message, packRequest, unpack } from "./message.ts";
import { type Connection, openWhenListening } from "./zmtp.ts";

/** What came of one cell. */
export interface CellResult {
  /** Everything the kernel published for the cell: streams, displays, results, errors, in order. */
  messages: Message[];
  /** The kernel's verdict. */
  status: "ok" | "error" | "aborted";
  /** From the request to the reply, in seconds. */
  seconds: number;
}

/** Options of `Kernel.start()`. */
export interface KernelOptions {
  /** The kernel's working folder; relative imports and paths of a notebook start here. */
  cwd: string;
  /** More environment variables. */
  env?: Record<string, string>;
}

const START_LIMIT_MS = 30_000;
const STOP_LIMIT_MS = 5_000;
/** What every kernel writes first. */
const UNSTABLE_WARNING = /^Warning "deno jupyter" is unstable.*\n/;

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** A running kernel. */
export class Kernel {
  #parent: Deno.ChildProcess;
  #key: string;
  #session = randomUUID();
  #shell: Connection;
  #control: Connection;
  #published: Connection;
  #onPublished: (message: Message) => void = () => {};
  #late: Message[] = [];
  #died: Promise<never>;
  #log: { text: string };

  private constructor(
    parent: Deno.ChildProcess,
    key: string,
    sockets: { shell: Connection; control: Connection; published: Connection },
    died: Promise<never>,
    log: { text: string },
  ) {
    this.#parent = parent;
    this.#key = key;
    this.#shell = sockets.shell;
    this.#control = sockets.control;
    this.#published = sockets.published;
    this.#died = died;
    this.#log = log;
  }

  /**
   * Starts a kernel and waits until it answers.
   *
   * @throws When it does not answer within 30 s or ends by itself; the message has what it wrote.
   */
  static async start({ cwd, env = {} }: KernelOptions): Promise<Kernel> {
    const connection = freeConnection();
    const file = Deno.makeTempFileSync({ prefix: "tessera-", suffix: ".json" });
    Deno.writeTextFileSync(file, JSON.stringify(connection));
    const [program, ...args] = kernelspec("linux").argv as string[]; // the same everywhere, also where Jupyter takes another
    const parent = new Deno.Command(program, {
      args: [...args.slice(0, -1), file],
      cwd,
      env,
      stdin: "null",
      stdout: "null",
      stderr: "piped",
    }).spawn();

    const log = { text: "" };
    const logged = keepEnd(parent.stderr, log);
    const died = parent.status.then(async (status): Promise<never> => {
      await Promise.race([logged, pause(200)]);
      const wrote = log.text.replace(UNSTABLE_WARNING, "").trim();
      throw new Error(`the kernel ended by itself (exit ${status.code})${wrote && `; it wrote: ${wrote}`}`);
    });
    died.catch(() => {}); // looked at by whoever waits for the kernel

    const open: Connection[] = [];
    const connect = async (port: number, type: "DEALER" | "SUB"): Promise<Connection> => {
      const socket = await openWhenListening(port, type, START_LIMIT_MS);
      open.push(socket);
      return socket;
    };
    try {
      const sockets = (async () => ({
        published: await connect(connection.iopub_port, "SUB"),
        shell: await connect(connection.shell_port, "DEALER"),
        control: await connect(connection.control_port, "DEALER"),
      }))();
      sockets.catch(() => {});
      const kernel = new Kernel(parent, connection.key, await Promise.race([sockets, died]), died, log);
      await kernel.#listen();
      return kernel;
    } catch (error) {
      for (const socket of open) socket.close();
      endProcess(parent);
      throw error;
    } finally {
      Deno.removeSync(file);
    }
  }

  /** The kernel counts us as a listener only when it has read our frame: ask until it has published something. */
  async #listen(): Promise<void> {
    let heard = false;
    this.#onPublished = () => heard = true;
    (async () => {
      while (true) {
        const message = unpack(await this.#published.receive());
        this.#onPublished(message);
      }
    })().catch(() => {}); // the connection closes when the kernel ends; #died tells
    const until = performance.now() + START_LIMIT_MS;
    while (!heard) {
      if (performance.now() > until) throw new Error("the kernel answers but publishes nothing; start it again");
      await this.#request(this.#shell, "kernel_info_request", {});
      await pause(5);
    }
  }

  #request(socket: Connection, type: string, content: Record<string, unknown>): Promise<Message> {
    const { id, frames } = packRequest(this.#key, this.#session, type, content);
    return this.#replyTo(socket, id, frames);
  }

  async #replyTo(socket: Connection, id: string, frames: Uint8Array[]): Promise<Message> {
    await socket.send(frames);
    const reply = async () => {
      while (true) {
        const frames = await socket.receive().catch(async (error) => {
          await Promise.race([this.#died, pause(1000)]); // closed because the kernel ended: that says more
          throw error;
        });
        const message = unpack(frames);
        if (message.parent_header.msg_id === id) return message;
      }
    };
    return await Promise.race([reply(), this.#died]);
  }

  /** What the kernel says about its language; the content of a notebook's `language_info`. */
  async languageInfo(): Promise<Record<string, unknown>> {
    const { content } = await this.#request(this.#shell, "kernel_info_request", {});
    return content.language_info as Record<string, unknown>;
  }

  /**
   * Runs one cell. The kernel's parent process says "idle" only after the cell's outputs: then all of them are here. An error
   * output says in its metadata where it is: `{ tessera: { cell, line, column } }`.
   *
   * @param code The cell's source.
   * @throws When the kernel dies meanwhile.
   */
  async execute(code: string): Promise<CellResult> {
    const { id, frames } = packRequest(this.#key, this.#session, "execute_request", executeContent(code, false));
    const messages: Message[] = [];
    let idle: () => void;
    const isIdle = new Promise<void>((resolve) => idle = resolve);
    this.#onPublished = (message) => {
      const { msg_type } = message.header;
      if (message.parent_header.msg_id !== id) this.#late.push(message);
      else if (msg_type === "status") message.content.execution_state === "idle" && idle();
      else if (msg_type !== "execute_input") messages.push(message);
    };

    const start = performance.now();
    const reply = await this.#replyTo(this.#shell, id, frames);
    const seconds = (performance.now() - start) / 1000;
    if (reply.content.ename === "KernelDied") await this.#died;
    await Promise.race([isIdle, this.#died]);
    this.#onPublished = (message) => this.#late.push(message);
    return { messages, status: reply.content.status as CellResult["status"], seconds };
  }

  /**
   * What cells published after they had ended, by a timer or a promise that nobody awaits, in order; each is given once. An
   * error among them has failed its cell, whose number its metadata have.
   */
  takeLate(): Message[] {
    const shown = new Set(["stream", "display_data", "update_display_data", "execute_result", "error"]);
    return this.#late.splice(0).filter(({ header }) => shown.has(header.msg_type));
  }

  /** Presses Stop, the way JupyterLab does: SIGINT to the kernel's parent process. */
  interrupt(): void {
    this.#parent.kill("SIGINT");
  }

  /** The process id of the kernel's parent process. */
  get pid(): number {
    return this.#parent.pid;
  }

  /** What the process wrote on stderr so far (the last 2,000 characters). */
  get log(): string {
    return this.#log.text;
  }

  /** Ends the kernel; what it runs is lost. */
  async shutdown(): Promise<void> {
    const asked = this.#request(this.#control, "shutdown_request", { restart: false }).catch(() => {});
    await Promise.race([asked, pause(500)]);
    for (const socket of [this.#shell, this.#control, this.#published]) socket.close();
    endProcess(this.#parent);
    const ended = await Promise.race([this.#parent.status, pause(STOP_LIMIT_MS)]);
    if (!ended) this.#parent.kill("SIGKILL");
    await this.#parent.status;
  }
}

/** Reads a stream to its end and keeps the last 2,000 characters. */
async function keepEnd(stream: ReadableStream<Uint8Array>, log: { text: string }): Promise<void> {
  const decoder = new TextDecoder();
  for await (const part of stream) log.text = (log.text + decoder.decode(part, { stream: true })).slice(-2000);
}

function endProcess(process: Deno.ChildProcess): void {
  try {
    process.kill("SIGTERM");
  } catch {
    // ended already
  }
}
