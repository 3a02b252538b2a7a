/** The model's files: fetched once, told about as they come, and kept by the browser. */

import calibrationUrl from "../../../models/moving-mnist-32.teacache.json?url";
import weightsUrl from "../../../models/moving-mnist-32.safetensors?url";

/** What records call the model. */
export const MODEL = "moving-mnist-32";

/** The cache that holds them; the service worker reads it too. */
const KEPT = "steep-weights";

export interface Progress {
  loaded: number;
  /** null where the host does not say. */
  total: number | null;
  /** Whether the browser had them already. */
  kept: boolean;
}

export interface Files {
  weights: Uint8Array;
  calibration: string;
  /** Keeps those that came from the host. Tells why the browser could not, or null. */
  keep: () => Promise<string | null>;
}

export async function files(tell: (progress: Progress) => void): Promise<Files> {
  const store = await open();
  const [weights, calibration] = await Promise.all([
    bytes(weightsUrl, store, tell),
    bytes(calibrationUrl, store, () => {}),
  ]);
  const keep = async () => {
    for (const [url, { content, type }] of store.fetched) await put(url, content, type, store);
    return store.refused;
  };
  return { weights, calibration: new TextDecoder().decode(calibration), keep };
}

interface Store {
  cache: Cache | null;
  refused: string | null;
  /** What came from the host, by its address. */
  fetched: Map<string, { content: Uint8Array; type: string }>;
}

/** Browsers refuse storage in private windows, in frames of other sites and where the visitor says so. */
async function open(): Promise<Store> {
  try {
    return { cache: await caches.open(KEPT), refused: null, fetched: new Map() };
  } catch (error) {
    return { cache: null, refused: String(error), fetched: new Map() };
  }
}

async function bytes(url: string, store: Store, tell: (progress: Progress) => void): Promise<Uint8Array> {
  const kept = await store.cache?.match(url).catch(() => undefined);
  if (kept) {
    const all = new Uint8Array(await kept.arrayBuffer());
    tell({ loaded: all.length, total: all.length, kept: true });
    return all;
  }
  const response = await fetch(url).catch(() => {
    throw new Error(`the model's file could not be fetched: no connection, and this browser has not kept it`);
  });
  const type = response.headers.get("content-type") ?? "";
  // Some hosts answer with a page where there is no file.
  if (!response.ok || !response.body || type.startsWith("text/html")) {
    throw new Error(`the model's file could not be fetched: the host answers ${response.status} ${type}`);
  }
  const length = Number(response.headers.get("content-length"));
  // A compressed answer says how long it is compressed.
  const total = length > 0 && !response.headers.get("content-encoding") ? length : null;
  const parts: Uint8Array[] = [];
  let loaded = 0;
  for (const reader = response.body.getReader(); ; ) {
    const { done, value } = await reader.read();
    if (done) break;
    parts.push(value);
    loaded += value.length;
    tell({ loaded, total, kept: false });
  }
  const all = new Uint8Array(await new Blob(parts as BlobPart[]).arrayBuffer());
  store.fetched.set(url, { content: all, type });
  return all;
}

/** Keeps a file, in place of the one that an earlier version of the page kept. Addresses name their content. */
async function put(url: string, content: Uint8Array, type: string, store: Store): Promise<void> {
  if (!store.cache) return;
  try {
    const extension = (address: string) => address.slice(address.lastIndexOf("."));
    for (const old of await store.cache.keys()) {
      if (extension(old.url) === extension(url)) await store.cache.delete(old);
    }
    await store.cache.put(url, new Response(content as BodyInit, { headers: { "content-type": type } }));
  } catch (error) {
    store.refused = String(error);
  }
}
