/**
 * The real Deno kernel, as a process of its own with a connection file of its own. Only the relay talks to it.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import {
  type ConnectionFile,
  executeContent,
  freeConnection,
  fromJson,
  packRequest,
  type Parts,
  takeApart,
} from "../message.ts";
import { exists, sitePackages } from "../paths.ts";
import { cudaEnvironment } from "../platform.ts";
import { type Connection, openWhenListening } from "../zmtp.ts";

const START_LIMIT_MS = 30_000;
/** What the relay keeps of one part of a message; the rest of it is thrown away unread, in bytes. */
const LONGEST_PART = 11 * 1024 * 1024;

/** Code that loads our part inside the kernel. Loading it twice does nothing. */
const LOAD_INSIDE = `await import(${JSON.stringify(new URL("./inside/mod.ts", import.meta.url).href)}); undefined`;

/** Where a message from the kernel comes from. */
export type Channel = "shell" | "control" | "stdin" | "iopub";

/** A request to the kernel that is under way. */
interface Pending {
  reply: (content: Record<string, unknown>) => void;
}

/** The kernel's environment, on top of what is inherited. */
function kernelEnvironment(): Record<string, string> {
  const packages = sitePackages();
  return {
    NO_COLOR: "1",
    TF_CPP_MIN_LOG_LEVEL: "2", // TensorFlow's start-up lines
    DENO_NO_UPDATE_CHECK: "1",
    DENO_V8_FLAGS: [Deno.env.get("DENO_V8_FLAGS"), "--expose-gc-as=__tessera_gc"].filter(Boolean).join(","), // for inside/waiting.ts
    ...(packages && exists(`${packages}/nvidia/cuda_nvcc`) ? cudaEnvironment(packages) : {}),
  };
}

/** A running Deno kernel. */
export class DenoKernel {
  readonly process: Deno.ChildProcess;
  /** Where the kernel says how many presses of Stop it has heard; see `lib/stop.ts`. */
  readonly stopFile: string;
  #folder: string;
  #connection: ConnectionFile;
  #session = randomUUID();
  #sockets: Partial<Record<Channel, Connection>> = {};
  #pending = new Map<string, Pending>();
  /** Takes every message that is no reply to `request()`; the kernel sends no further one until it is done. */
  onMessage: (channel: Channel, parts: Parts) => void | Promise<void> = () => {};

  private constructor(process: Deno.ChildProcess, connection: ConnectionFile, folder: string) {
    this.process = process;
    this.stopFile = `${folder}/presses`;
    this.#connection = connection;
    this.#folder = folder;
  }

  /**
   * Starts the process. It is not ready before `connect()` is done.
   *
   * @param front Jupyter's connection, whose ports are not the kernel's to take.
   */
  static start(front: ConnectionFile): DenoKernel {
    const connection = freeConnection(Object.values(front).filter((value) => typeof value === "number"));
    const folder = Deno.makeTempDirSync({ prefix: "tessera-kernel-" });
    const file = `${folder}/connection.json`;
    Deno.writeTextFileSync(file, JSON.stringify(connection), { mode: 0o600 });
    const process = new Deno.Command(Deno.execPath(), {
      args: ["jupyter", "--kernel", "--conn", file],
      env: { ...kernelEnvironment(), TESSERA_STOP_FILE: `${folder}/presses` },
      detached: true, // Jupyter signals our whole process group; the kernel and what it starts are one of their own
      stdin: "null",
      stdout: "inherit",
      stderr: "inherit",
    }).spawn();
    return new DenoKernel(process, connection, folder);
  }

  /** Waits until the kernel answers and publishes, and loads our part inside it. */
  async connect(): Promise<void> {
    const { iopub_port, shell_port, control_port, stdin_port } = this.#connection;
    const open = (port: number, type: "DEALER" | "SUB") => openWhenListening(port, type, START_LIMIT_MS);
    const [iopub, shell, control, stdin] = await Promise.all([
      open(iopub_port, "SUB"),
      open(shell_port, "DEALER"),
      open(control_port, "DEALER"),
      open(stdin_port, "DEALER"),
    ]);
    let heard = false;
    const onMessage = this.onMessage;
    this.onMessage = () => void (heard = true);
    for (const [channel, socket] of Object.entries({ iopub, shell, control, stdin }) as [Channel, Connection][]) {
      this.#sockets[channel] = socket;
      this.#listen(channel, socket).catch((error) => this.#lost(channel, error));
    }
    // the kernel counts us as a listener only when it has read our frame: ask until it has published something
    for (const until = performance.now() + START_LIMIT_MS; !heard;) {
      if (performance.now() > until) throw new Error("the Deno kernel answers but publishes nothing; start it again");
      await this.request("shell", "kernel_info_request", {});
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
    const { status, evalue } = await this.execute(LOAD_INSIDE);
    if (status !== "ok") throw new Error(`the kernel's own part cannot be loaded: ${evalue}`);
    this.onMessage = onMessage;
  }

  /** A socket closes when the kernel ends, and the relay hears of that; when it does not end, nothing will come any more. */
  async #lost(channel: Channel, error: Error): Promise<void> {
    const over = new Promise<boolean>((resolve) => Deno.unrefTimer(setTimeout(() => resolve(false), 2000)));
    if (await Promise.race([this.process.status.then(() => true), over])) return;
    console.error(`The kernel's ${channel} cannot be read any more (${error.message}); restart the kernel.`);
  }

  async #listen(channel: Channel, socket: Connection): Promise<void> {
    while (true) {
      const parts = takeApart(await socket.receive(LONGEST_PART));
      const pending = this.#pending.get(String(fromJson(parts.parent).msg_id));
      if (pending && channel !== "iopub" && channel !== "stdin") {
        this.#pending.delete(String(fromJson(parts.parent).msg_id));
        pending.reply(fromJson(parts.content));
      } else await this.onMessage(channel, parts);
    }
  }

  /** Sends a request; its id in the kernel. */
  async send(
    channel: Exclude<Channel, "iopub">,
    type: string,
    content: Record<string, unknown>,
    onId?: (id: string) => void,
  ): Promise<string> {
    const { id, frames } = packRequest(this.#connection.key, this.#session, type, content);
    onId?.(id);
    await this.#sockets[channel]?.send(frames);
    return id;
  }

  /** Sends a request and waits for its reply. Never done when the kernel dies meanwhile. */
  request(
    channel: "shell" | "control",
    type: string,
    content: Record<string, unknown>,
    onId?: (id: string) => void,
  ): Promise<Record<string, unknown>> {
    return new Promise((reply, reject) => {
      this.send(channel, type, content, (id) => {
        this.#pending.set(id, { reply });
        onId?.(id);
      }).catch(reject);
    });
  }

  /** Runs code of ours: it leaves no trace in the history and the execution count. */
  execute(code: string): Promise<Record<string, unknown>> {
    return this.request("shell", "execute_request", executeContent(code, true));
  }

  /** Kills the kernel and everything that it has started. */
  kill(): void {
    for (const id of Deno.build.os === "windows" ? [this.process.pid] : [-this.process.pid, this.process.pid]) {
      try {
        Deno.kill(id, "SIGKILL");
      } catch {
        // ended already
      }
    }
  }

  /** Removes its temporary files. */
  forget(): void {
    try {
      Deno.removeSync(this.#folder, { recursive: true });
    } catch {
      // a temporary folder that stays is no reason to fail
    }
  }
}
