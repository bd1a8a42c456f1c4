// SPDX-License-Identifier: Apache-2.0

import { createRequire } from "node:module";
import { assert, check, end, killLeader, mode, nodes, pause, until } from "./checks.mjs";

const Redis = createRequire(import.meta.url)("ioredis");

const opened = [];

function open(i, options = {}) {
  const quiet = (c) => {
    c.on("error", () => {}); // the reply of the command tells
    opened.push(c);
    return c;
  };
  if (mode === "cluster") return quiet(new Redis.Cluster(nodes, { redisOptions: options, ...options }));
  return quiet(new Redis({ ...nodes[i % nodes.length], ...options }));
}

const c = open(0);

await check("handshake", async () => {
  assert.equal(await c.ping(), "PONG");
  const one = open(1, { connectionName: "named" });
  if (mode === "plain") assert.equal(await one.client("GETNAME"), "named");
});

await check("RESP3", async () => {
  const three = open(1, { protocol: 3 });
  await three.hset("{r3}h", { a: "1", b: "2" });
  assert.deepEqual({ ...(await three.hgetall("{r3}h")) }, { a: "1", b: "2" });
  assert.equal(Number(await three.zincrby("{r3}z", 1.5, "m")), 1.5);
});

await check("strings", async () => {
  assert.equal(await c.set("s", "v", "PX", 60000), "OK");
  assert.equal(await c.get("s"), "v");
  assert.equal(await c.get("absent"), null);
  assert.ok((await c.pttl("s")) > 0);
  const bytes = Buffer.from([0, 255, 13, 10, 128]);
  await c.set("bytes", bytes);
  assert.deepEqual(await c.getBuffer("bytes"), bytes);
  assert.equal(await c.set("s", "w", "NX"), null);
  assert.equal(await c.set("s", "w", "GET"), "v");
  assert.equal(await c.append("s", "x"), 2);
  assert.equal(await c.incrbyfloat("f", "0.1"), "0.1");
  assert.equal(await c.setbit("b", 7, 1), 0);
  assert.equal(await c.bitcount("b"), 1);
  assert.deepEqual(await c.mget("{m}1", "{m}2"), [null, null]);
});

await check("hashes", async () => {
  assert.equal(await c.hset("h", { a: "1", b: "2" }), 2);
  assert.deepEqual({ ...(await c.hgetall("h")) }, { a: "1", b: "2" });
  assert.deepEqual({ ...(await c.hgetall("none")) }, {});
  assert.equal(await c.hincrby("h", "a", 4), 5);
  assert.deepEqual(await c.hmget("h", "a", "x"), ["5", null]);
});

await check("lists", async () => {
  assert.equal(await c.rpush("l", "a", "b", "c"), 3);
  assert.deepEqual(await c.lrange("l", 0, -1), ["a", "b", "c"]);
  assert.deepEqual(await c.lpop("l", 2), ["a", "b"]);
  assert.equal(await c.lmove("l", "l", "LEFT", "RIGHT"), "c");
});

await check("sets", async () => {
  assert.equal(await c.sadd("m", "a", "b"), 2);
  assert.deepEqual((await c.smembers("m")).sort(), ["a", "b"]);
  assert.equal(await c.sismember("m", "a"), 1);
});

await check("sorted sets", async () => {
  assert.equal(await c.zadd("z", 1, "a", 2.5, "b"), 2);
  assert.deepEqual(await c.zrange("z", 0, -1, "WITHSCORES"), ["a", "1", "b", "2.5"]);
  assert.equal(await c.zscore("z", "b"), "2.5");
  assert.deepEqual(await c.zpopmax("z"), ["b", "2.5"]);
});

await check("HyperLogLogs", async () => {
  assert.equal(await c.pfadd("hll", "a", "b", "c"), 1);
  assert.equal(await c.pfcount("hll"), 3);
});

await check("errors", async () => {
  await assert.rejects(c.lpush("s", "x"), /^ReplyError: WRONGTYPE /);
  await assert.rejects(c.call("NOSUCH", "s"), /unknown command/);
});

await check("pipelines", async () => {
  const p = c.pipeline();
  for (let i = 0; i < 1000; i++) p.incr("n");
  const replies = await p.exec();
  assert.equal(replies.length, 1000);
  assert.deepEqual(replies[999], [null, 1000]);
  await Promise.all(Array.from({ length: 500 }, (_, i) => c.set(`many${i}`, i)));
  assert.equal(await c.get("many499"), "499");
});

await check("transactions", async () => {
  assert.deepEqual(await c.multi().set("{t}a", "1").incr("{t}a").get("{t}a").exec(), [[null, "OK"], [null, 2], [null, "2"]]);
  if (mode === "cluster") return; // a cluster client has no connection of its own to watch with
  await c.watch("{t}a");
  await open(2).set("{t}a", "9");
  assert.equal(await c.multi().incr("{t}a").exec(), null);
  await c.watch("{t}a");
  assert.deepEqual(await c.multi().incr("{t}a").exec(), [[null, 10]]);
});

await check("publish and subscribe", async () => {
  const sub = open(1);
  const got = [];
  sub.on("message", (channel, text) => got.push(`${channel} ${text}`));
  sub.on("pmessage", (pattern, channel, text) => got.push(`${pattern} ${channel} ${text}`));
  await sub.subscribe("news");
  await sub.psubscribe("n*");
  assert.equal(await open(2).publish("news", "hello"), 2);
  await until("both messages", () => got.length === 2);
  assert.deepEqual(got.sort(), ["n* news hello", "news hello"]);
  await sub.unsubscribe("news");
  await sub.punsubscribe("n*");
});

await check("blocking", async () => {
  const waiting = open(1).blpop("queue", 20);
  await pause(200);
  await c.rpush("queue", "job");
  assert.deepEqual(await waiting, ["queue", "job"]);
  assert.equal(await open(1).blpop("queue", 0.1), null);
});

await check("scan", async () => {
  const want = new Set();
  for (let i = 0; i < 300; i++) want.add(`scan:${i}`);
  await Promise.all([...want].map((k) => c.set(k, "1")));
  const one = mode === "cluster" ? c.nodes("master")[0] : c;
  for await (const keys of one.scanStream({ match: "scan:*", count: 50 })) for (const k of keys) want.delete(k);
  assert.equal(want.size, 0);
  const fields = Object.fromEntries(Array.from({ length: 300 }, (_, i) => [`f${i}`, "v"]));
  await c.hset("wide", fields);
  let n = 0;
  for await (const page of c.hscanStream("wide", { count: 50 })) n += page.length / 2;
  assert.equal(n, 300);
});

await check("events of keys", async () => {
  const sub = new Redis(nodes[2]);
  opened.push(sub);
  const got = [];
  sub.on("message", (_, text) => got.push(text));
  await c.config("SET", "notify-keyspace-events", "KA");
  await sub.subscribe("__keyspace@0__:watched");
  await until("an event", async () => {
    await c.set("watched", "1");
    return got.includes("set");
  });
});

await check("topology", async () => {
  if (mode === "cluster") assert.equal(c.nodes("master").length, nodes.length);
  const slots = await new Redis(nodes[1]).cluster("SLOTS");
  let covered = 0;
  for (const [first, last] of slots) covered += last - first + 1;
  assert.equal(covered, 16384);
});

await check("the leader of a key is killed", async () => {
  let acked = 0;
  const push = async () => {
    try {
      await c.rpush("durable", "x");
      acked++;
      return true;
    } catch {
      return false; // perhaps done: never counted as such
    }
  };
  for (let i = 0; i < 50; i++) await push();
  await killLeader("durable");
  await until("writes under the next leader", push);
  for (let i = 0; i < 50; i++) await push();
  assert.ok(acked >= 51);
  const there = await until("a read", () => c.llen("durable").catch(() => 0));
  assert.ok(there >= acked, `${there} of ${acked} acknowledged`);
});

for (const one of opened) one.disconnect();
end();
