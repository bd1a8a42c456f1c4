// SPDX-License-Identifier: Apache-2.0

// What all scripts share: each check prints a line of TAP, and the test that runs the script reads them.
// Arguments: the mode, plain or cluster, and the nodes' addresses.

import assert from "node:assert/strict";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";

export { assert, pause };

export const mode = process.argv[2];
export const nodes = process.argv.slice(3).map((a) => {
  const [host, port] = a.split(":");
  return { host, port: Number(port) };
});

// checkTime bounds one check, in milliseconds.
const checkTime = 60000;

const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
let checks = 0;
let failures = 0;

export async function check(name, f) {
  checks++;
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error("took too long")), checkTime);
  });
  try {
    await Promise.race([f(), late]);
    console.log(`ok ${checks} - ${name}`);
  } catch (e) {
    failures++;
    console.log(`not ok ${checks} - ${name}: ${String(e.stack ?? e).replaceAll("\n", " | ")}`);
  } finally {
    clearTimeout(timer);
  }
}

// killLeader asks the test to kill the node that leads the slot of a key, and waits until it is dead.
export async function killLeader(key) {
  console.log(`# kill ${key}`);
  const { value } = await answers.next();
  assert.equal(value, "killed");
}

// until tries f until it gives something true.
export async function until(what, f) {
  const end = Date.now() + checkTime / 2;
  for (;;) {
    const v = await f();
    if (v) return v;
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await pause(20);
  }
}

export function end() {
  console.log(`1..${checks}`);
  process.exit(failures === 0 ? 0 : 1);
}
