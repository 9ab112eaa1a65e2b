/**
 * Jupyter messages: what they look like, how they are signed and taken apart.
 *
 * Protocol: https://jupyter-client.readthedocs.io/en/stable/messaging.html, version 5.3
 *
 * @module
 */
import { createHmac, randomUUID, timingSafeEqual } from "node:crypto";

/** What a kernel writes on its sockets. Every content is JSON; who reads it checks what it uses. */
export interface Message {
  header: { msg_id: string; msg_type: string };
  parent_header: { msg_id?: string };
  metadata: Record<string, unknown>;
  content: Record<string, unknown>;
}

/** The file by which a client tells a kernel where to listen. */
export interface ConnectionFile {
  transport: "tcp";
  ip: string;
  signature_scheme: "hmac-sha256";
  key: string;
  shell_port: number;
  iopub_port: number;
  stdin_port: number;
  control_port: number;
  hb_port: number;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const DELIMITER = "<IDS|MSG>";

/**
 * Reads a connection file and checks that it stays on this machine.
 *
 * @throws When the file is missing, is not JSON, or names an address other than the loopback.
 */
export function readConnectionFile(path: string): ConnectionFile {
  const connection = JSON.parse(Deno.readTextFileSync(path)) as ConnectionFile;
  if (connection.transport !== "tcp" || connection.ip !== "127.0.0.1") {
    throw new Error(
      `the kernel listens on 127.0.0.1 over tcp only, but the connection file asks for ${connection.transport} on ` +
        `${connection.ip}; start Jupyter without a --ip for kernels`,
    );
  }
  return connection;
}

/**
 * Five ports that are free at this moment, and a fresh key. They lie below those that systems give to outgoing connections
 * (Linux: from 32768): one of these could take a port between now and the kernel's start.
 *
 * @param promised Ports that nobody has taken yet, but somebody will.
 */
export function freeConnection(promised: readonly number[] = []): ConnectionFile {
  const listeners: Deno.Listener[] = [];
  while (listeners.length < 5) {
    const port = 15_000 + Number.parseInt(randomUUID().slice(0, 8), 16) % 17_000;
    if (promised.includes(port)) continue;
    try {
      listeners.push(Deno.listen({ hostname: "127.0.0.1", port }));
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse || error instanceof Deno.errors.PermissionDenied)) throw error;
    }
  }
  const ports = listeners.map((listener) => (listener.addr as Deno.NetAddr).port);
  for (const listener of listeners) listener.close();
  return {
    transport: "tcp",
    ip: "127.0.0.1",
    signature_scheme: "hmac-sha256",
    key: randomUUID(),
    shell_port: ports[0],
    iopub_port: ports[1],
    stdin_port: ports[2],
    control_port: ports[3],
    hb_port: ports[4],
  };
}

/** A message as it travels: its four JSON parts and its buffers as bytes, and before them where a ROUTER sends it. */
export interface Parts {
  identities: Uint8Array[];
  header: Uint8Array;
  parent: Uint8Array;
  metadata: Uint8Array;
  content: Uint8Array;
  buffers: Uint8Array[];
}

/**
 * Takes a message apart, without reading its JSON.
 *
 * @param key What it must be signed with; undefined where the sender is known.
 * @throws When it is no Jupyter message, or its signature is wrong.
 */
export function takeApart(frames: Uint8Array[], key?: string): Parts {
  const start = frames.findIndex((frame) => frame.length === DELIMITER.length && decoder.decode(frame) === DELIMITER);
  if (start < 0 || frames.length < start + 6) throw new Error("this is not a Jupyter message");
  const [signature, header, parent, metadata, content, ...buffers] = frames.slice(start + 1);
  if (key !== undefined) {
    const right = encoder.encode(signatureOf(key, [header, parent, metadata, content]));
    if (signature.length !== right.length || !timingSafeEqual(signature, right)) {
      throw new Error("the message is not signed with this kernel's key");
    }
  }
  return { identities: frames.slice(0, start), header, parent, metadata, content, buffers };
}

/** Puts a message together and signs it. */
export function putTogether(key: string, parts: Omit<Parts, "identities" | "buffers"> & Partial<Parts>): Uint8Array[] {
  const { identities = [], header, parent, metadata, content, buffers = [] } = parts;
  const signature = encoder.encode(signatureOf(key, [header, parent, metadata, content]));
  return [...identities, encoder.encode(DELIMITER), signature, header, parent, metadata, content, ...buffers];
}

function signatureOf(key: string, parts: Uint8Array[]): string {
  const signature = createHmac("sha256", key);
  for (const part of parts) signature.update(part);
  return signature.digest("hex");
}

/** A value as the bytes of its JSON. */
export function toJson(value: unknown): Uint8Array {
  return encoder.encode(JSON.stringify(value));
}

/** A JSON object of a message; throws when it is something else. */
export function fromJson(bytes: Uint8Array): Record<string, unknown> {
  const value: unknown = JSON.parse(decoder.decode(bytes));
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Error("a part is not a JSON object");
  }
  return value as Record<string, unknown>;
}

/** A fresh header. */
export function newHeader(session: string, type: string, username = "tessera"): Record<string, string> {
  return {
    msg_id: randomUUID(),
    session,
    username,
    date: new Date().toISOString(),
    msg_type: type,
    version: "5.3",
  };
}

/** Makes a request: its id and its signed frames. */
export function packRequest(
  key: string,
  session: string,
  type: string,
  content: Record<string, unknown>,
): { id: string; frames: Uint8Array[] } {
  const header = newHeader(session, type);
  const empty = toJson({});
  return {
    id: header.msg_id,
    frames: putTogether(key, { header: toJson(header), parent: empty, metadata: empty, content: toJson(content) }),
  };
}

/** The content of a request to run code; a silent one leaves no trace in the history and the execution count. */
export function executeContent(code: string, silent: boolean): Record<string, unknown> {
  return { code, silent, store_history: !silent, user_expressions: {}, allow_stdin: false, stop_on_error: !silent };
}

/** Takes a message apart and reads it. The signature is not checked: the sender is the kernel that we started ourselves. */
export function unpack(frames: Uint8Array[]): Message {
  const { header, parent, metadata, content } = takeApart(frames);
  return {
    header: fromJson(header) as Message["header"],
    parent_header: fromJson(parent),
    metadata: fromJson(metadata),
    content: fromJson(content),
  };
}
