// The service worker: the page works without a connection once it was loaded. The build puts in which files there are.

const KEPT = `steep-page-${__VERSION__}`;
const WEIGHTS = "steep-weights";
const FILES = __FILES__;

self.addEventListener("install", (event) => {
  self.skipWaiting();
  event.waitUntil(caches.open(KEPT).then((cache) => cache.addAll(FILES)));
});

self.addEventListener("activate", (event) => {
  const old = (names) => names.filter((name) => name.startsWith("steep-page-") && name !== KEPT);
  const clean = caches.keys().then((names) => Promise.all(old(names).map((name) => caches.delete(name))));
  event.waitUntil(Promise.all([clean, self.clients.claim()]));
});

// The document is asked for anew where there is a connection, so that a new version is seen. All other files have names
// that change with their content, so that a kept one is the right one.
self.addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method !== "GET" || !request.url.startsWith(self.registration.scope)) return;
  if (request.mode === "navigate") {
    event.respondWith(fetch(request).catch(() => kept(new URL("./", self.registration.scope).href)));
  } else {
    event.respondWith(kept(request).then((response) => response ?? fetch(request)));
  }
});

async function kept(request) {
  const options = { ignoreVary: true };
  const page = await caches.open(KEPT);
  return (await page.match(request, options)) ?? (await (await caches.open(WEIGHTS)).match(request, options));
}
