/**
 * The kernel's end of Jupyter's five sockets: ROUTER for requests, PUB for outputs, REP for the heartbeat. Each listens on
 * the loopback only. A peer that sends garbage loses its connection and nothing else happens.
 *
 * @module
 */
import { Connection, type SocketType } from "../zmtp.ts";

const GREETING_LIMIT_MS = 10_000;
/** As much may wait for a subscriber that reads slowly, in bytes; then its sender waits too. */
const HIGH_WATER = 8 * 1024 * 1024;
/** A subscriber that takes nothing for this long is given up. */
const STUCK_MS = 30_000;

/** A socket that others connect to. */
class Listening {
  readonly peers: Set<Connection> = new Set();
  #listener: Deno.TcpListener;

  constructor(port: number, type: SocketType, onMessage: (frames: Uint8Array[], peer: Connection) => void) {
    this.#listener = Deno.listen({ hostname: "127.0.0.1", port });
    this.#accept(type, onMessage).catch(() => {}); // ends when it is closed
  }

  async #accept(type: SocketType, onMessage: (frames: Uint8Array[], peer: Connection) => void): Promise<void> {
    for await (const tcp of this.#listener) {
      this.#serve(tcp, type, onMessage).catch(() => {}); // the peer has gone, or what it sent is garbage
    }
  }

  async #serve(
    tcp: Deno.TcpConn,
    type: SocketType,
    onMessage: (frames: Uint8Array[], peer: Connection) => void,
  ): Promise<void> {
    const silent = setTimeout(() => tcp.close(), GREETING_LIMIT_MS);
    const peer = await Connection.over(tcp, type).finally(() => clearTimeout(silent));
    this.peers.add(peer);
    try {
      while (true) onMessage(await peer.receive(), peer);
    } finally {
      this.peers.delete(peer);
      peer.close();
    }
  }

  /** Waits until all that was sent has gone, or the time is over. */
  async flush(limitMs: number): Promise<void> {
    const drained = Promise.allSettled([...this.peers].map((peer) => peer.drained));
    await Promise.race([drained, new Promise((resolve) => Deno.unrefTimer(setTimeout(resolve, limitMs)))]);
  }
}

/** Takes requests; the answer goes to the peer that asked. */
export class Router extends Listening {
  constructor(port: number, onRequest: (frames: Uint8Array[], peer: Connection) => void) {
    super(port, "ROUTER", onRequest);
  }
}

/** Answers each heartbeat with itself. */
export class Heartbeat extends Listening {
  constructor(port: number) {
    super(port, "REP", (frames, peer) => void peer.send(frames).catch(() => {}));
  }
}

/** Publishes to all that have subscribed. */
export class Publisher extends Listening {
  #topics: Map<Connection, Set<string>>;

  constructor(port: number) {
    const topics = new Map<Connection, Set<string>>();
    super(port, "PUB", ([frame], peer) => {
      const topic = String.fromCharCode(...frame.subarray(1, 256));
      const wanted = topics.get(peer) ?? new Set();
      if (frame[0] === 1) wanted.add(topic);
      else if (frame[0] === 0) wanted.delete(topic);
      topics.set(peer, wanted);
    });
    this.#topics = topics;
  }

  /** Sends to all subscribers; waits while one of them has too much to read. */
  async publish(frames: Uint8Array[]): Promise<void> {
    const start = String.fromCharCode(...frames[0].subarray(0, 255));
    for (const peer of this.#topics.keys()) if (!this.peers.has(peer)) this.#topics.delete(peer);
    for (const [peer, topics] of this.#topics) {
      if (![...topics].some((topic) => start.startsWith(topic))) continue;
      peer.send(frames).catch(() => {});
      if (peer.queued > HIGH_WATER) await this.#wait(peer);
    }
  }

  async #wait(peer: Connection): Promise<void> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const stuck = new Promise<void>((resolve) => {
      timer = setTimeout(() => {
        peer.close();
        resolve();
      }, STUCK_MS);
    });
    await Promise.race([peer.drained.catch(() => {}), stuck]);
    clearTimeout(timer);
  }
}
