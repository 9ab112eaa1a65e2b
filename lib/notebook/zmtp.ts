/**
 * The little of ZeroMQ that Jupyter needs: ZMTP 3.0 with the NULL mechanism over TCP, loopback only. Written out because it
 * is short, and the alternative is a compiled addon.
 *
 * Protocol: https://rfc.zeromq.org/spec/23/
 *
 * @module
 */
import { Buffer } from "node:buffer";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

const MORE = 1;
const LONG = 2;
const COMMAND = 4;
const SUBSCRIBE_TO_ALL = Uint8Array.of(1);
/** A frame that claims to be larger is garbage, or would fill the memory, in bytes. */
const LARGEST_FRAME = 512 * 1024 * 1024;
const MOST_FRAMES = 10_000;

/** What is not kept of a frame is read in pieces of so many bytes. */
const SKIP = 1024 * 1024;

/** In a frame that is longer, another message may stand, see `#takeOut()`, in bytes. */
const SHORT_FRAME = 16 * 1024;
/** How every message of Jupyter's begins, as bytes of ZMTP. No JSON holds them: it has no such bytes below 32. */
const START = Uint8Array.from([MORE, 9, ...encoder.encode("<IDS|MSG>")]);

const fullLengths = new WeakMap<Uint8Array, number>();

/** How long a frame was when it came, in bytes; `receive()` may have kept less. */
export function fullLength(frame: Uint8Array): number {
  return fullLengths.get(frame) ?? frame.length;
}

/** Types of sockets: a client has the first three, a kernel the others. */
export type SocketType = "DEALER" | "SUB" | "REQ" | "ROUTER" | "PUB" | "REP";

/** One connection between two sockets. */
export class Connection {
  #tcp: Deno.TcpConn;
  #pending: Uint8Array = new Uint8Array(0);
  #writing: Promise<void> = Promise.resolve();
  #queued = 0;
  /** Messages that stood inside others. */
  #mixedIn: Uint8Array[][] = [];
  #closed = false;
  /** What the other end calls itself; empty where it has no name. A kernel sends questions to the peer of the same name. */
  identity = "";

  private constructor(tcp: Deno.TcpConn) {
    this.#tcp = tcp;
    tcp.setNoDelay(true);
  }

  /**
   * Connects to a socket on this machine.
   *
   * @param port TCP port of the kernel's socket.
   * @param type Our end: DEALER for requests and replies, SUB for what the kernel publishes.
   * @param identity Our name; a kernel's questions (`input_request`) go to the DEALER of the same name as the request's.
   */
  static async open(port: number, type: "DEALER" | "SUB" | "REQ", identity = ""): Promise<Connection> {
    const connection = await Connection.over(await Deno.connect({ hostname: "127.0.0.1", port }), type, identity);
    if (type === "SUB") await connection.send([SUBSCRIBE_TO_ALL]);
    return connection;
  }

  /**
   * Greets over a TCP connection that is open already; a kernel does so for each that it accepts.
   *
   * @throws When the other end does not speak ZMTP 3 without a password.
   */
  static async over(tcp: Deno.TcpConn, type: SocketType, identity = ""): Promise<Connection> {
    const connection = new Connection(tcp);
    try {
      await connection.#greet(type, identity);
    } catch (error) {
      connection.close();
      throw error;
    }
    return connection;
  }

  async #greet(type: SocketType, identity: string): Promise<void> {
    const greeting = new Uint8Array(64);
    greeting.set([0xff, 0, 0, 0, 0, 0, 0, 0, 0, 0x7f, 3, 0]); // signature, version 3.0
    greeting.set(encoder.encode("NULL"), 12);
    await this.#write(greeting);
    const theirs = await this.#read(64);
    if (theirs[0] !== 0xff || theirs[9] !== 0x7f || theirs[10] < 3) {
      throw new Error("the other end does not speak ZMTP 3");
    }

    const property = (name: string, value: string) => {
      const bytes = encoder.encode(value);
      return [name.length, ...encoder.encode(name), 0, 0, 0, bytes.length, ...bytes];
    };
    const ready = [5, ...encoder.encode("READY"), ...property("Socket-Type", type), ...property("Identity", identity)];
    await this.#write(Uint8Array.from([COMMAND, ready.length, ...ready]));
    const { flags, body } = await this.#readFrame();
    if (!(flags & COMMAND) || decoder.decode(body.subarray(0, 6)) !== "\x05READY") {
      throw new Error("the other end does not greet as ZMTP 3 does");
    }
    this.identity = propertiesOf(body.subarray(6)).get("identity") ?? "";
  }

  /** Sends one message of several frames; done when the system has taken it. */
  send(frames: Uint8Array[]): Promise<void> {
    const parts: Uint8Array[] = [];
    frames.forEach((frame, index) => {
      const more = index < frames.length - 1 ? MORE : 0;
      if (frame.length < 256) {
        parts.push(Uint8Array.of(more, frame.length));
      } else {
        const header = new Uint8Array(9);
        header[0] = more | LONG;
        new DataView(header.buffer).setBigUint64(1, BigInt(frame.length));
        parts.push(header);
      }
      parts.push(frame);
    });
    const length = parts.reduce((sum, part) => sum + part.length, 0);
    this.#queued += length;
    // in one piece, which is quicker; a long message is not copied for that
    const pieces = length < SKIP / 4 ? [concatenate(parts)] : parts;
    const write = async () => {
      for (const piece of pieces) await this.#write(piece);
    };
    this.#writing = this.#writing.then(write).finally(() => this.#queued -= length);
    this.#writing.catch(() => {}); // whoever waits for it hears of it; others see the connection close
    return this.#writing;
  }

  /** Bytes that were sent and that the system has not taken yet. */
  get queued(): number {
    return this.#queued;
  }

  /** Done when nothing is queued. */
  get drained(): Promise<void> {
    return this.#writing;
  }

  /**
   * Waits for the next message. Throws when the other end has closed the connection, or sends garbage.
   *
   * @param longest Of a longer frame only so many bytes are kept; see `fullLength()`.
   */
  async receive(longest: number = LARGEST_FRAME): Promise<Uint8Array[]> {
    const other = this.#mixedIn.shift();
    if (other) return other;
    const frames: Uint8Array[] = [];
    while (true) {
      const frame = await this.#readFrame(longest);
      if (frame.flags & COMMAND) continue;
      frames.push(frame.body);
      if (!(frame.flags & MORE)) return frames;
      if (frames.length > MOST_FRAMES) throw new Error(`a message of more than ${MOST_FRAMES} frames`);
    }
  }

  close(): void {
    this.#closed = true;
    try {
      this.#tcp.close();
    } catch {
      // closed already
    }
  }

  async #readFrame(longest = LARGEST_FRAME): Promise<{ flags: number; body: Uint8Array }> {
    const flags = (await this.#read(1))[0];
    if (flags & ~(MORE | LONG | COMMAND)) throw new Error(`a frame with flags ${flags}, which ZMTP 3 does not know`);
    const size = await this.#read(flags & LONG ? 8 : 1);
    const length = flags & LONG ? Number(new DataView(size.buffer, size.byteOffset).getBigUint64(0)) : size[0];
    if (length > LARGEST_FRAME) throw new Error(`a frame of ${length} bytes; the largest allowed is ${LARGEST_FRAME}`);
    const body = await this.#takeOut(await this.#read(Math.min(length, longest)));
    if (length > longest) {
      fullLengths.set(body, length);
      for (let left = length - longest; left > 0; left -= SKIP) {
        await this.#takeOut(await this.#read(Math.min(left, SKIP)));
      }
    }
    return { flags, body };
  }

  /**
   * Deno 2.9.6's kernel writes a state ("busy", "idle") into the middle of a long output when the system has not taken that
   * at once: two writers, one connection, no lock. Takes such messages out, and reads what is then missing at the end.
   */
  async #takeOut(body: Uint8Array): Promise<Uint8Array> {
    if (body.length < SHORT_FRAME) return body;
    for (let at = indexOf(body, START); at >= 0; at = indexOf(body, START, at)) {
      const { frames, end } = await this.#framesIn(body, at);
      this.#mixedIn.push(frames);
      const rest = end < body.length ? await this.#read(end - at) : await this.#read(body.length - at);
      body.copyWithin(at, end);
      body.set(rest, body.length - rest.length);
    }
    return body;
  }

  /** The frames of a message that begins inside a body; where it goes on behind the body, the rest is read. */
  async #framesIn(body: Uint8Array, at: number): Promise<{ frames: Uint8Array[]; end: number }> {
    const take = async (length: number): Promise<Uint8Array> => {
      const inside = body.slice(at, at + length);
      at += length;
      return inside.length < length ? concatenate([inside, await this.#read(length - inside.length)]) : inside;
    };
    const frames: Uint8Array[] = [];
    for (let more = true; more;) {
      const [flags] = await take(1);
      const size = await take(flags & LONG ? 8 : 1);
      frames.push(await take(flags & LONG ? Number(new DataView(size.buffer).getBigUint64(0)) : size[0]));
      more = (flags & MORE) !== 0;
    }
    return { frames, end: at };
  }

  /** The next bytes, in memory of their own. A large frame is read straight to where it stays. */
  async #read(length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    let have = Math.min(length, this.#pending.length);
    bytes.set(this.#pending.subarray(0, have));
    this.#pending = this.#pending.subarray(have);
    while (have < length) {
      const straight = length - have >= 65536;
      const part = straight ? bytes.subarray(have) : new Uint8Array(65536);
      const count = await this.#tcp.read(part);
      if (count === null) throw new Error("the other end closed the connection");
      const wanted = Math.min(count, length - have);
      if (!straight) {
        bytes.set(part.subarray(0, wanted), have);
        this.#pending = part.subarray(wanted, count);
      }
      have += wanted;
    }
    return bytes;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    if (this.#closed) throw new Error("the connection is closed");
    for (let sent = 0; sent < bytes.length;) sent += await this.#tcp.write(bytes.subarray(sent));
  }
}

/** Connects as soon as somebody listens on the port; a kernel that starts needs a moment. */
export async function openWhenListening(
  port: number,
  type: "DEALER" | "SUB",
  limitMs: number,
  identity = "",
): Promise<Connection> {
  const until = performance.now() + limitMs;
  while (true) {
    try {
      return await Connection.open(port, type, identity);
    } catch (error) {
      if (performance.now() > until) throw error;
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

/** The properties of a READY command, by their names in small letters. */
function propertiesOf(bytes: Uint8Array): Map<string, string> {
  const properties = new Map<string, string>();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; at < bytes.length;) {
    const name = bytes.subarray(at + 1, at += 1 + bytes[at]);
    if (at + 4 > bytes.length) break;
    const value = bytes.subarray(at + 4, at += 4 + view.getUint32(at));
    // a name is any bytes: each becomes one character, so that no two names become the same
    properties.set(decoder.decode(name).toLowerCase(), String.fromCharCode(...value.subarray(0, 255)));
  }
  return properties;
}

function indexOf(bytes: Uint8Array, pattern: Uint8Array, from = 0): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(pattern, from);
}

function concatenate(parts: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
