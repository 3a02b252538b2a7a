/** A run's settings, and how the address of the page holds them. */

import type { DeviceName, Settings } from "./engine/protocol";

export const DEFAULTS: Settings = {
  class: 6,
  seed: 0,
  steps: 50,
  guidance: 3,
  cache: "tea:0.1:identity",
  gate: "device",
  device: "auto",
  time: 1,
};

export const LIMITS = {
  class: { min: 0, max: 9, step: 1 },
  seed: { min: 0, max: 4294967295, step: 1 },
  steps: { min: 2, max: 250, step: 1 },
  guidance: { min: 1, max: 10, step: 0.1 },
  time: { min: 0, max: 20, step: 1 },
} as const;

type Numeric = keyof typeof LIMITS;

/** The settings of an address such as `#/generate?class=6&seed=0`. What is missing or makes no sense is the default. */
export function read(query: URLSearchParams): Settings {
  const settings = { ...DEFAULTS };
  for (const name of Object.keys(LIMITS) as Numeric[]) {
    const text = query.get(name);
    if (text) settings[name] = within(name, Number(text));
  }
  settings.cache = query.get("cache") ?? DEFAULTS.cache;
  settings.gate = query.get("gate") === "host" ? "host" : "device";
  const device = query.get("device");
  if (device === "wgpu" || device === "cpu") settings.device = device as DeviceName;
  return settings;
}

export function write(settings: Settings): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(settings)) query.set(name, String(value));
  // A colon may stand in a fragment, and reads better.
  return `#/generate?${query.toString().replaceAll("%3A", ":")}`;
}

/** The nearest number that is allowed. */
export function within(name: Numeric, value: number): number {
  const { min, max, step } = LIMITS[name];
  if (!Number.isFinite(value)) return DEFAULTS[name];
  const near = Math.min(max, Math.max(min, value));
  return step === 1 ? Math.round(near) : Math.round(near / step) * step;
}

/** The threshold of a policy such as `tea:0.1:identity`, where its syntax has one. */
export function threshold(cache: string, syntax: string): number | null {
  if (!syntax.includes("THRESHOLD")) return null;
  const value = Number.parseFloat(cache.split(":")[1] ?? "");
  return Number.isFinite(value) ? value : null;
}

/** The same policy with another threshold. Modifiers behind a plus sign stay. */
export function withThreshold(cache: string, value: number): string {
  return cache.replace(/^(\w+:)[0-9.eE-]*/, `$1${value}`);
}
