// The Hub, played by a server on this machine.
import { createHash } from "node:crypto";

/** The commit that every revision stands for. */
export const COMMIT = "0123456789abcdef0123456789abcdef01234567";
const encoder = new TextEncoder();

/** A Hub with one model, "org/tiny". */
export interface Hub {
  readonly endpoint: string;
  /** Method, path and range of every request. */
  readonly requests: string[];
  /** Contents by path. */
  readonly files: Map<string, Uint8Array<ArrayBuffer>>;
  /** Bytes after which answers with contents break off. */
  breakAfter: number;
  /** What the next requests get instead of an answer. */
  status: number | undefined;
  /** Names whose contents are changed on the way. */
  readonly damaged: Set<string>;
}

/** The name that Git gives to a content. */
export function gitHash(data: Uint8Array): string {
  return createHash("sha1").update(`blob ${data.length}\0`).update(data).digest("hex");
}

function entry(path: string, data: Uint8Array): unknown {
  const lfs = path.endsWith(".safetensors")
    ? { lfs: { oid: createHash("sha256").update(data).digest("hex"), size: data.length, pointerSize: 130 } }
    : {};
  return { type: "file", path, size: data.length, oid: gitHash(data), ...lfs };
}

/** Play the Hub while `body` runs. */
export async function withHub(body: (hub: Hub) => Promise<void>): Promise<void> {
  const server = Deno.serve({ port: 0, hostname: "127.0.0.1", onListen: () => {} }, (request) => {
    const { pathname } = new URL(request.url);
    const range = request.headers.get("range");
    hub.requests.push(`${pathname}${range ? ` ${range}` : ""}`);
    if (hub.status) return new Response("no", { status: hub.status });
    if (pathname.startsWith("/api/models/org/tiny/revision/")) {
      return Response.json({
        _id: "1",
        id: "org/tiny",
        sha: COMMIT,
        private: false,
        gated: false,
        downloads: 0,
        likes: 0,
      });
    }
    if (pathname === `/api/models/org/tiny/tree/${COMMIT}`) {
      return Response.json([...hub.files].map(([path, data]) => entry(path, data)));
    }
    const name = pathname.split(`/org/tiny/resolve/${COMMIT}/`)[1] ?? "";
    const data = hub.files.get(name);
    if (!data) return new Response("", { status: 404 });
    const [, from = "0", to = `${data.length - 1}`] = /bytes=(\d+)-(\d+)/.exec(range ?? "") ?? [];
    const part = data.slice(Number(from), Number(to) + 1);
    if (hub.damaged.has(name)) part.fill(7);
    return new Response(part.slice(0, hub.breakAfter), {
      status: range ? 206 : 200,
      headers: { etag: `"${gitHash(data)}"`, "content-range": `bytes ${from}-${to}/${data.length}` },
    });
  });
  const hub: Hub = {
    endpoint: `http://127.0.0.1:${server.addr.port}`,
    requests: [],
    files: new Map([
      ["config.json", encoder.encode("{}")],
      ["model.safetensors", crypto.getRandomValues(new Uint8Array(50_000))],
      ["pytorch_model.bin", new Uint8Array(10)],
      ["onnx/model.safetensors", new Uint8Array(10)],
      ["README.md", new Uint8Array(10)],
    ]),
    breakAfter: Infinity,
    status: undefined,
    damaged: new Set(),
  };
  try {
    await body(hub);
  } finally {
    await server.shutdown();
  }
}
