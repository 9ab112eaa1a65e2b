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

/** What is read at a time of what is short, in bytes. */
const PART = 65536;

/** What is not kept of a frame is read in pieces of so many bytes. */
const SKIP = 1024 * 1024;

/** How the JSON of Jupyter's frames begins. */
const BRACE = 0x7b;

const DELIMITER = encoder.encode("<IDS|MSG>");
/** How every message of Jupyter's begins, as bytes of ZMTP. No JSON holds them: it has no such bytes below 32. */
const START = Uint8Array.from([MORE, DELIMITER.length, ...DELIMITER]);

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
    return this.#mixedIn.shift() ?? await this.#message([], longest);
  }

  /** Reads one message into `frames`, to its last frame. */
  async #message(frames: Uint8Array[], longest: number): Promise<Uint8Array[]> {
    for (let begun = false;;) {
      const frame = await this.#readFrame(longest, begun);
      if (frame.flags & COMMAND) continue;
      frames.push(frame.body);
      begun ||= Buffer.compare(frame.body, DELIMITER) === 0;
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

  /** @param begun Whether the message has had its delimiter: the next one is another message's. */
  async #readFrame(longest = LARGEST_FRAME, begun = false): Promise<{ flags: number; body: Uint8Array }> {
    const flags = (await this.#take(1, longest, begun))[0];
    if (flags & ~(MORE | LONG | COMMAND)) throw new Error(`a frame with flags ${flags}, which ZMTP 3 does not know`);
    const mayBeMixed = begun || (flags & MORE) !== 0;
    const size = await this.#take(flags & LONG ? 8 : 1, longest, mayBeMixed);
    const length = flags & LONG ? Number(new DataView(size.buffer, size.byteOffset).getBigUint64(0)) : size[0];
    if (length > LARGEST_FRAME) throw new Error(`a frame of ${length} bytes; the largest allowed is ${LARGEST_FRAME}`);
    const kept = Math.min(length, longest);
    const body = await this.#take(kept, longest, mayBeMixed, kept < length || (flags & MORE) !== 0);
    if (kept < length) {
      fullLengths.set(body, length);
      const goesOnWithJson = (flags & MORE) !== 0 || body[0] === BRACE;
      for (let left = length - kept; left > 0; left -= SKIP) {
        await this.#take(Math.min(left, SKIP), longest, mayBeMixed, left > SKIP || goesOnWithJson);
      }
    }
    return { flags, body };
  }

  /**
   * The next bytes of a message. Deno 2.9.6's kernel writes a state ("busy", "idle") into the middle of an output when the
   * system has not taken that at once: two writers, one connection, no lock. Such a message may begin at any byte; it is
   * taken out, and comes behind the one in which it stood.
   *
   * @param goesOn Whether more bytes are sure to come, for a beginning that these bytes may end with.
   */
  async #take(length: number, longest: number, mayBeMixed: boolean, goesOn = true): Promise<Uint8Array> {
    const bytes = await this.#read(length);
    for (let at = 0; mayBeMixed;) {
      at = await this.#startIn(bytes, at, goesOn || bytes[0] === BRACE);
      if (at < 0) break;
      this.#pending = concatenate([bytes.subarray(at), this.#pending]);
      const other: Uint8Array[] = [];
      if (this.#mixedIn.push(other) > MOST_FRAMES) throw new Error(`a message with ${MOST_FRAMES} others inside`);
      await this.#message(other, longest);
      bytes.set(await this.#read(length - at), at);
      at = Math.max(0, at - START.length + 1); // a beginning that was cut by it
    }
    return bytes;
  }

  /** Where another message begins in these bytes, perhaps with its last byte only; -1 where none does. */
  async #startIn(bytes: Uint8Array, from: number, goesOn: boolean): Promise<number> {
    const whole = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).indexOf(START, from);
    if (whole >= 0) return whole;
    const cut = bytes.lastIndexOf(START[0]), inside = bytes.length - cut;
    if (cut < from || inside >= START.length || !goesOn) return -1;
    if (Buffer.compare(bytes.subarray(cut), START.subarray(0, inside)) !== 0) return -1;
    // byte by byte, since after a byte that is not as expected none need come
    for (let next = inside; next < START.length; next++) {
      while (this.#pending.length <= next - inside) await this.#fill();
      if (this.#pending[next - inside] !== START[next]) return -1;
    }
    return cut;
  }

  /** The next bytes, in memory of their own. A large frame is read straight to where it stays. */
  async #read(length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    for (let have = 0;;) {
      const taken = Math.min(length - have, this.#pending.length);
      bytes.set(this.#pending.subarray(0, taken), have);
      this.#pending = this.#pending.subarray(taken);
      have += taken;
      if (have === length) return bytes;
      if (length - have < PART) await this.#fill();
      else have += await this.#receiveInto(bytes.subarray(have));
    }
  }

  /** Waits for bytes, at least one, and puts them behind those that are pending. */
  async #fill(): Promise<void> {
    const part = new Uint8Array(PART);
    const count = await this.#receiveInto(part);
    const came = part.subarray(0, count);
    this.#pending = this.#pending.length ? concatenate([this.#pending, came]) : came;
  }

  async #receiveInto(part: Uint8Array): Promise<number> {
    const count = await this.#tcp.read(part);
    if (count === null) throw new Error("the other end closed the connection");
    return count;
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

function concatenate(parts: Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
