// SPDX-License-Identifier: Apache-2.0

import { createRequire } from "node:module";
import { assert, check, end, killLeader, mode, nodes, pause, until } from "./checks.mjs";

const redis = createRequire(import.meta.url)("redis");

// A cluster client is not to try one node for ever.
const socket = { reconnectStrategy: (tries) => (mode === "cluster" && tries > 3 ? new Error("no node there") : 100) };

async function openPlain(i) {
  const c = redis.createClient({ socket: { ...nodes[i % nodes.length], ...socket } });
  c.on("error", () => {}); // the reply of the command tells
  await c.connect();
  return c;
}

async function openCluster() {
  const rootNodes = nodes.map((socket) => ({ socket }));
  const c = redis.createCluster({ rootNodes, defaults: { socket, disableOfflineQueue: true } });
  c.on("error", () => {});
  await c.connect();
  return c;
}

const open = mode === "cluster" ? openCluster : openPlain;
const c = await open(0);

await check("handshake", async () => {
  const one = await openPlain(1);
  assert.equal(await one.ping(), "PONG");
  await one.clientSetName("named");
  assert.equal(await one.clientGetName(), "named");
  await one.quit();
});

await check("strings", async () => {
  assert.equal(await c.set("s", "v", { PX: 60000 }), "OK");
  assert.equal(await c.get("s"), "v");
  assert.equal(await c.get("absent"), null);
  assert.ok((await c.pTTL("s")) > 0);
  assert.equal(await c.set("s", "w", { NX: true }), null);
  assert.equal(await c.append("s", "x"), 2);
  assert.equal(Number(await c.incrByFloat("f", 0.25)), 0.25);
  assert.deepEqual(await c.mGet(["{m}1", "{m}2"]), [null, null]);
});

await check("hashes", async () => {
  assert.equal(await c.hSet("h", { a: "1", b: "2" }), 2);
  assert.deepEqual({ ...(await c.hGetAll("h")) }, { a: "1", b: "2" });
  assert.equal(await c.hIncrBy("h", "a", 4), 5);
});

await check("lists", async () => {
  assert.equal(await c.rPush("l", ["a", "b", "c"]), 3);
  assert.deepEqual(await c.lRange("l", 0, -1), ["a", "b", "c"]);
  assert.equal(await c.lMove("l", "l", "LEFT", "RIGHT"), "a");
});

await check("sets", async () => {
  assert.equal(await c.sAdd("m", ["a", "b"]), 2);
  assert.deepEqual((await c.sMembers("m")).sort(), ["a", "b"]);
});

await check("sorted sets", async () => {
  assert.equal(await c.zAdd("z", [{ score: 1, value: "a" }, { score: 2.5, value: "b" }]), 2);
  assert.deepEqual(await c.zRange("z", 0, -1), ["a", "b"]);
  assert.equal(Number(await c.zScore("z", "b")), 2.5);
  assert.deepEqual((await c.zRangeWithScores("z", 0, -1)).map((e) => `${e.value} ${e.score}`), ["a 1", "b 2.5"]);
});

await check("HyperLogLogs", async () => {
  await c.pfAdd("hll", ["a", "b", "c"]);
  assert.equal(await c.pfCount("hll"), 3);
});

await check("errors", async () => {
  await assert.rejects(c.lPush("s", "x"), /WRONGTYPE/);
});

await check("pipelines", async () => {
  const replies = await Promise.all(Array.from({ length: 1000 }, () => c.incr("n")));
  assert.deepEqual(replies, Array.from({ length: 1000 }, (_, i) => i + 1));
});

await check("transactions", async () => {
  assert.deepEqual(await c.multi().set("{t}a", "1").incr("{t}a").get("{t}a").exec(), ["OK", 2, "2"]);
  const one = await openPlain(0);
  const other = await openPlain(mode === "cluster" ? 0 : 2);
  const led = mode === "cluster" ? await ownKey(one) : "{t}a";
  await one.set(led, "1");
  await one.watch(led);
  await other.set(led, "9");
  await assert.rejects(one.multi().incr(led).exec(), { name: /WatchError|Error/ });
  await one.watch(led);
  assert.deepEqual(await one.multi().incr(led).exec(), [10]);
  await one.quit();
  await other.quit();
});

// ownKey finds a key that the node of a plain client leads.
async function ownKey(one) {
  for (let i = 0; ; i++) {
    try {
      await one.get(`own${i}`);
      return `own${i}`;
    } catch (e) {
      if (!String(e).includes("MOVED")) throw e;
    }
  }
}

await check("publish and subscribe", async () => {
  const sub = await openPlain(1);
  const got = [];
  await sub.subscribe("news", (text, channel) => got.push(`${channel} ${text}`));
  await sub.pSubscribe("n*", (text, channel) => got.push(`n* ${channel} ${text}`));
  const from = await openPlain(2);
  assert.equal(await from.publish("news", "hello"), 2);
  await until("both messages", () => got.length === 2);
  assert.deepEqual(got.sort(), ["n* news hello", "news hello"]);
  await sub.unsubscribe("news");
  await sub.pUnsubscribe("n*");
  assert.equal(await sub.ping(), "PONG");
  await sub.quit();
  await from.quit();
});

await check("blocking", async () => {
  const other = await open(1);
  const waiting = other.blPop("queue", 20);
  await pause(200);
  await c.rPush("queue", "job");
  assert.deepEqual({ ...(await waiting) }, { key: "queue", element: "job" });
  assert.equal(await other.blPop("queue", 0.1), null);
  await other.quit();
});

await check("scan", async () => {
  const want = new Set();
  for (let i = 0; i < 300; i++) want.add(`scan:${i}`);
  await Promise.all([...want].map((k) => c.set(k, "1")));
  const one = await openPlain(1);
  for await (const found of one.scanIterator({ MATCH: "scan:*", COUNT: 50 })) for (const k of [found].flat()) want.delete(k);
  assert.equal(want.size, 0);
  await one.quit();
});

await check("topology", async () => {
  if (mode === "cluster") assert.equal((c.masters ?? c.getMasters()).length, nodes.length);
  const one = await openPlain(1);
  const info = await one.sendCommand(["CLUSTER", "INFO"]);
  assert.match(info, /cluster_slots_assigned:16384/);
  await one.quit();
});

await check("the leader of a key is killed", async () => {
  let acked = 0;
  let last = c;
  const push = async () => {
    try {
      await last.rPush("durable", "x");
      acked++;
      return true;
    } catch { // perhaps done: never counted as such
      if (mode === "cluster") last = await openCluster().catch(() => last); // some versions do not find the next leader
      return false;
    }
  };
  for (let i = 0; i < 50; i++) await push();
  await killLeader("durable");
  await until("writes under the next leader", push);
  for (let i = 0; i < 50; i++) await push();
  assert.ok(acked >= 51);
  const there = await until("a read", () => last.lLen("durable").catch(() => 0));
  assert.ok(there >= acked, `${there} of ${acked} acknowledged`);
});

end();
