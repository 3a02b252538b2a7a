/** What it costs on this machine that the host reads each step's distance before it decides. */

import { h, put, seconds } from "../dom";
import { Cancelled, engine } from "../engine/client";
import type { Settings } from "../engine/protocol";
import { table } from "./table";

/** Runs of each gate, in turn. */
const ROUNDS = 3;

export function gateCost(settings: () => Settings): HTMLElement {
  const result = h("div", { role: "status" });
  let abort: AbortController | null = null;
  const button = h("button", { type: "button", onclick: () => (abort ? abort.abort() : void measure()) }, "Measure both");

  async function measure(): Promise<void> {
    const wanted = settings();
    abort = new AbortController();
    button.textContent = "Cancel";
    try {
      const { about } = await engine.open(wanted.device);
      const times: Record<"device" | "host", number[]> = { device: [], host: [] };
      let same = true;
      let letters = "";
      // The first run of each is not counted: it makes pipelines and buffers.
      for (let round = -1; round < ROUNDS; round++) {
        for (const gate of ["device", "host"] as const) {
          put(result, round < 0 ? `Warming up, ${gate} gate …` : `Round ${round + 1} of ${ROUNDS}, ${gate} gate …`);
          const made = await engine.call("generate", { settings: { ...wanted, gate }, preview: 0 }, { signal: abort.signal });
          await engine.call("forget", { clips: [made.clip] });
          const decided = made.record.steps.map(({ decision }) => decision).join("");
          same &&= !letters || decided === letters;
          letters = decided;
          if (round >= 0) times[gate].push(made.record.wall_ms / 1e3);
        }
      }
      const median = (values: number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
      const [device, host] = [median(times.device), median(times.host)];
      const extra = (host - device) / wanted.steps;
      put(
        result,
        table(
          ["", "the device decides", "the host decides"],
          [
            [`time of ${wanted.steps} steps, median of ${ROUNDS}`, seconds(device), seconds(host)],
            ["a step more than the other", "", extra > 0 ? seconds(extra) : `none: ${seconds(-extra)} less`],
            ["decisions", letters.length ? `${letters.match(/[FC]/g)?.length ?? 0} computed` : "", same ? "the same" : "they differ"],
          ],
          `What a read-back costs on ${about.describe}`,
        ),
      );
    } catch (error) {
      put(result, error instanceof Cancelled ? "Cancelled." : `It did not work: ${(error as Error).message}`);
    } finally {
      abort = null;
      button.textContent = "Measure both";
    }
  }

  return h(
    "details",
    { class: "card" },
    h("summary", {}, "What does it cost if the host decides?"),
    h(
      "p",
      {},
      "With the host gate, each step's distance travels to the program before the next kernels are queued, and the device waits meanwhile. With the device gate the decision is a number on the device that the kernels look at. Both make the same clip.",
    ),
    button,
    result,
  );
}
