/**
 * A Jupyter client without any help: it starts a kernel by a command, as a kernelspec has it, and sends what it is told to,
 * also what is wrong. For the stock Deno kernel and for ours.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import { kernelspec } from "../../lib/notebook/kernelspec.ts";
import { type ConnectionFile, freeConnection, type Message, packRequest, unpack } from "../../lib/notebook/message.ts";
import { Connection, openWhenListening } from "../../lib/notebook/zmtp.ts";

/** How the two kernels are started; the last argument is the connection file. */
export const COMMANDS = {
  stock: [Deno.execPath(), "jupyter", "--kernel", "--conn"],
  ours: (kernelspec().argv as string[]).slice(0, -1),
};

const START_LIMIT_MS = 30_000;

/** A kernel and its client. */
export class RawClient {
  readonly connection: ConnectionFile;
  readonly process: Deno.ChildProcess;
  readonly session: string = randomUUID();
  /** Everything the kernel has published, in order. */
  readonly published: Message[] = [];
  #sockets!: Record<"shell" | "control" | "stdin" | "iopub", Connection>;
  #replies = new Map<string, (message: Message) => void>();
  /** Questions of the kernel (`input_request`). */
  onQuestion: (message: Message) => void = () => {};
  #changed: () => void = () => {};

  private constructor(process: Deno.ChildProcess, connection: ConnectionFile) {
    this.process = process;
    this.connection = connection;
  }

  /** Starts a kernel; ready when it answers and publishes. */
  static async start(command: string[], cwd: string, env: Record<string, string> = {}): Promise<RawClient> {
    const connection = freeConnection();
    const file = Deno.makeTempFileSync({ prefix: "tessera-raw-", suffix: ".json" });
    Deno.writeTextFileSync(file, JSON.stringify(connection));
    const process = new Deno.Command(command[0], {
      args: [...command.slice(1), file],
      cwd,
      env: { NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1", ...env },
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const client = new RawClient(process, connection);
    await client.#connect();
    Deno.removeSync(file);
    return client;
  }

  async #connect(): Promise<void> {
    const { iopub_port, shell_port, control_port, stdin_port } = this.connection;
    const open = (port: number, type: "DEALER" | "SUB") =>
      openWhenListening(port, type, START_LIMIT_MS, type === "SUB" ? "" : this.session);
    const iopub = await open(iopub_port, "SUB");
    const [shell, control, stdin] = [
      await open(shell_port, "DEALER"),
      await open(control_port, "DEALER"),
      await open(stdin_port, "DEALER"),
    ];
    this.#sockets = { iopub, shell, control, stdin };
    for (const [channel, socket] of Object.entries(this.#sockets)) this.#listen(channel, socket).catch(() => {});
    while (this.published.length === 0) {
      await this.request("shell", "kernel_info_request", {});
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  async #listen(channel: string, socket: Connection): Promise<void> {
    while (true) {
      const message = unpack(await socket.receive());
      if (channel === "iopub") this.published.push(message);
      else if (channel === "stdin") this.onQuestion(message);
      else this.#replies.get(message.parent_header.msg_id ?? "")?.(message);
      this.#changed();
    }
  }

  /** Sends a request; gives its id and the promise of its reply. */
  send(
    channel: "shell" | "control" | "stdin",
    type: string,
    content: Record<string, unknown>,
    key: string = this.connection.key,
  ): { id: string; reply: Promise<Message> } {
    const { id, frames } = packRequest(key, this.session, type, content);
    const reply = new Promise<Message>((resolve) => this.#replies.set(id, resolve));
    this.#sockets[channel].send(frames).catch(() => {}); // it may have died
    return { id, reply };
  }

  /** Sends a request and waits for the reply. */
  async request(channel: "shell" | "control", type: string, content: Record<string, unknown>): Promise<Message> {
    return await this.send(channel, type, content).reply;
  }

  /** Runs a cell: its reply, and what was published for it until the kernel was idle again. */
  async execute(code: string, more: Record<string, unknown> = {}): Promise<{ reply: Message; messages: Message[] }> {
    const content = {
      code,
      silent: false,
      store_history: true,
      user_expressions: {},
      allow_stdin: false,
      stop_on_error: true,
    };
    const { id, reply } = this.send("shell", "execute_request", { ...content, ...more });
    const its = () => this.published.filter(({ parent_header }) => parent_header.msg_id === id);
    const answer = await reply;
    await this.until(() => its().some(({ content }) => content.execution_state === "idle"));
    return { reply: answer, messages: its().filter(({ header }) => !/^(status|execute_input)$/.test(header.msg_type)) };
  }

  /** Waits until something is true; looks whenever a message has come. */
  async until(isTrue: () => boolean): Promise<void> {
    while (!isTrue()) await new Promise<void>((resolve) => this.#changed = resolve);
  }

  /** Another connection to one of the kernel's sockets. */
  async another(channel: "shell" | "iopub"): Promise<Connection> {
    return channel === "shell"
      ? await Connection.open(this.connection.shell_port, "DEALER")
      : await Connection.open(this.connection.iopub_port, "SUB");
  }

  /** Closes all connections, as a front end that vanishes. */
  vanish(): void {
    for (const socket of Object.values(this.#sockets)) socket.close();
  }

  /** Ends the kernel. */
  async end(): Promise<void> {
    this.vanish();
    try {
      this.process.kill("SIGTERM");
    } catch {
      // ended already
    }
    const impatience = setTimeout(() => this.process.kill("SIGKILL"), 3000);
    await this.process.status;
    clearTimeout(impatience);
  }
}
