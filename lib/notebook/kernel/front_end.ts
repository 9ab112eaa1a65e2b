/**
 * The front end's side: JupyterLab, nbclient or our runner, over the five sockets of the connection file that Jupyter made.
 * What is not signed with its key gets no answer.
 *
 * @module
 */
import { randomUUID } from "node:crypto";
import { type ConnectionFile, fromJson, newHeader, putTogether, takeApart, toJson } from "../message.ts";
import type { Connection } from "../zmtp.ts";
import { Heartbeat, Publisher, Router } from "./sockets.ts";

/** A request of the front end. */
export interface Request {
  peer: Connection;
  channel: "shell" | "control" | "stdin";
  type: string;
  header: Uint8Array;
  content: Record<string, unknown>;
}

const NOTHING = toJson({});

/** The front ends that are connected. */
export class FrontEnd {
  #key: string;
  #session = randomUUID();
  #publisher: Publisher;
  #routers: Record<Request["channel"], Router>;

  constructor(connection: ConnectionFile, onRequest: (request: Request) => void) {
    this.#key = connection.key;
    const listen = (channel: Request["channel"], port: number) =>
      new Router(port, (frames, peer) => {
        const request = this.#read(frames, peer, channel);
        if (request) onRequest(request);
      });
    new Heartbeat(connection.hb_port);
    this.#publisher = new Publisher(connection.iopub_port);
    this.#routers = {
      control: listen("control", connection.control_port),
      stdin: listen("stdin", connection.stdin_port),
      shell: listen("shell", connection.shell_port),
    };
  }

  /** What a peer asks; undefined for anything that is no request, or is not signed. */
  #read(frames: Uint8Array[], peer: Connection, channel: Request["channel"]): Request | undefined {
    try {
      const { header, content } = takeApart(frames, this.#key);
      const { msg_type, msg_id } = fromJson(header);
      if (typeof msg_type !== "string" || typeof msg_id !== "string") return undefined;
      return { peer, channel, type: msg_type, header, content: fromJson(content) };
    } catch {
      return undefined;
    }
  }

  /** Answers a request. */
  reply(request: Request, type: string, content: Record<string, unknown>): void {
    const parts = { header: this.#header(type), parent: request.header, metadata: NOTHING, content: toJson(content) };
    request.peer.send(putTogether(this.#key, parts)).catch(() => {}); // it has gone meanwhile
  }

  /** Sends a question to the front end that made a request: to its socket for that, known by the same name. */
  ask(request: Request, type: string, content: Uint8Array): void {
    const peers = [...this.#routers.stdin.peers];
    const same = peers.filter(({ identity }) => identity !== "" && identity === request.peer.identity);
    const frames = putTogether(this.#key, {
      header: this.#header(type),
      parent: request.header,
      metadata: NOTHING,
      content,
    });
    for (const peer of same.length ? same : peers) peer.send(frames).catch(() => {});
  }

  /** Publishes an output; waits while a subscriber has too much to read. */
  async publish(
    type: string,
    content: Record<string, unknown> | Uint8Array,
    parent: Uint8Array,
    { metadata = {}, buffers = [] }: { metadata?: Record<string, unknown>; buffers?: Uint8Array[] } = {},
  ): Promise<void> {
    await this.#publisher.publish(putTogether(this.#key, {
      header: this.#header(type),
      parent,
      metadata: toJson(metadata),
      content: content instanceof Uint8Array ? content : toJson(content),
      buffers,
    }));
  }

  /** Publishes what the kernel is doing. */
  status(execution_state: "starting" | "busy" | "idle", parent: Uint8Array = NOTHING): void {
    this.publish("status", { execution_state }, parent).catch(() => {});
  }

  /** Waits until everything has been sent, but not for ever. */
  async flush(limitMs: number): Promise<void> {
    await Promise.all([this.#publisher, ...Object.values(this.#routers)].map((socket) => socket.flush(limitMs)));
  }

  #header(type: string): Uint8Array {
    return toJson(newHeader(this.#session, type, "kernel"));
  }
}
