// SPDX-License-Identifier: Apache-2.0

package resp

// grammar is what Redis 7.0 tells of its commands' arguments: see readGrammar.
const grammar = `acl|cat categoryname/s///?
acl|deluser username/s///*
acl|dryrun username/s command/s arg/s///?*
acl|genpass bits/i///?
acl|getuser username/s
acl|log operation/o///?(count/i reset/t/RESET)
acl|setuser username/s rule/s///?*
append key/k////0 value/s
auth username/s//6.0.0/? password/s
bgsave schedule/t/SCHEDULE/3.2.2/?
bitcount key/k////0 index/b///?(start/i end/i index_unit/o//7.0.0/?(byte/t/BYTE bit/t/BIT))
bitfield key/k////0 operation/o///?*(encoding_offset/b/GET(encoding/s offset/i) write/b(wrap_sat_fail/o/OVERFLOW//?(wrap/t/WRAP sat/t/SAT fail/t/FAIL) write_operation/o(encoding_offset_value/b/SET(encoding/s offset/i value/i) encoding_offset_increment/b/INCRBY(encoding/s offset/i increment/i))))
bitfield_ro key/k////0 encoding_offset/b/GET//?*+(encoding/s offset/i)
bitop operation/s destkey/k////0 key/k///*/1
bitpos key/k////0 bit/i index/b///?(start/i end_index/b///?(end/i index_unit/o//7.0.0/?(byte/t/BYTE bit/t/BIT)))
blmove source/k////0 destination/k////1 wherefrom/o(left/t/LEFT right/t/RIGHT) whereto/o(left/t/LEFT right/t/RIGHT) timeout/d
blmpop timeout/d numkeys/i key/k///*/0 where/o(left/t/LEFT right/t/RIGHT) count/i/COUNT//?
blpop key/k///*/0 timeout/d
brpop key/k///*/0 timeout/d
brpoplpush source/k////0 destination/k////1 timeout/d
bzmpop timeout/d numkeys/i key/k///*/0 where/o(min/t/MIN max/t/MAX) count/i/COUNT//?
bzpopmax key/k///*/0 timeout/d
bzpopmin key/k///*/0 timeout/d
client|caching mode/o(yes/t/YES no/t/NO)
client|kill filter/o(ip:port/s new-format/o///*(client-id/i/ID/2.8.12/? normal_master_slave_pubsub/o/TYPE/2.8.12/?(normal/t/NORMAL master/t/MASTER/3.2.0 slave/t/SLAVE replica/t/REPLICA/5.0.0 pubsub/t/PUBSUB) username/s/USER//? ip:port/s/ADDR//? ip:port/s/LADDR/6.2.0/? yes/no/s/SKIPME//?))
client|list normal_master_replica_pubsub/o/TYPE/5.0.0/?(normal/t/NORMAL master/t/MASTER replica/t/REPLICA pubsub/t/PUBSUB) id/b/ID/6.2.0/?(client-id/i///*)
client|no-evict enabled/o(on/t/ON off/t/OFF)
client|pause timeout/i mode/o//6.2.0/?(write/t/WRITE all/t/ALL)
client|reply on_off_skip/o(on/t/ON off/t/OFF skip/t/SKIP)
client|setname connection-name/s
client|tracking status/o(on/t/ON off/t/OFF) client-id/i/REDIRECT//? prefix/s/PREFIX//?*+ bcast/t/BCAST//? optin/t/OPTIN//? optout/t/OPTOUT//? noloop/t/NOLOOP//?
client|unblock client-id/i timeout_error/o///?(timeout/t/TIMEOUT error/t/ERROR)
cluster|addslots slot/i///*
cluster|addslotsrange start-slot_end-slot/b///*(start-slot/i end-slot/i)
cluster|count-failure-reports node-id/s
cluster|countkeysinslot slot/i
cluster|delslots slot/i///*
cluster|delslotsrange start-slot_end-slot/b///*(start-slot/i end-slot/i)
cluster|failover options/o///?(force/t/FORCE takeover/t/TAKEOVER)
cluster|forget node-id/s
cluster|getkeysinslot slot/i count/i
cluster|keyslot key/s
cluster|meet ip/s port/i cluster_bus_port/i//4.0.0/?
cluster|replicas node-id/s
cluster|replicate node-id/s
cluster|reset hard_soft/o///?(hard/t/HARD soft/t/SOFT)
cluster|set-config-epoch config-epoch/i
cluster|setslot slot/i subcommand/o(node-id/s/IMPORTING node-id/s/MIGRATING node-id/s/NODE stable/t/STABLE)
cluster|slaves node-id/s
command|docs command-name/s///?*
command|info command-name/s///?*
command|list filterby/o/FILTERBY//?(module-name/s/MODULE category/s/ACLCAT pattern/p/PATTERN)
config|get parameter/b///*(parameter/s)
config|set parameter_value/b///*(parameter/s value/s)
copy source/k////0 destination/k////1 destination-db/i/DB//? replace/t/REPLACE//?
decr key/k////0
decrby key/k////0 decrement/i
del key/k///*/0
dump key/k////0
echo message/s
eval script/s numkeys/i key/k///?*/0 arg/s///?*
eval_ro script/s numkeys/i key/k///?*/0 arg/s///?*
evalsha sha1/s numkeys/i key/k///?*/0 arg/s///?*
evalsha_ro sha1/s numkeys/i key/k///?*/0 arg/s///?*
exists key/k///*/0
expire key/k////0 seconds/i condition/o//7.0.0/?(nx/t/NX xx/t/XX gt/t/GT lt/t/LT)
expireat key/k////0 unix-time-seconds/u condition/o//7.0.0/?(nx/t/NX xx/t/XX gt/t/GT lt/t/LT)
expiretime key/k////0
failover target/b/TO//?(host/s port/i force/t/FORCE//?) abort/t/ABORT//? milliseconds/i/TIMEOUT//?
fcall function/s numkeys/i key/k///?*/0 arg/s///?*
fcall_ro function/s numkeys/i key/k///?*/0 arg/s///?*
flushall async/o///?(async/t/ASYNC/4.0.0 sync/t/SYNC/6.2.0)
flushdb async/o///?(async/t/ASYNC/4.0.0 sync/t/SYNC/6.2.0)
function|delete library-name/s
function|flush async/o///?(async/t/ASYNC sync/t/SYNC)
function|list library-name-pattern/s/LIBRARYNAME//? withcode/t/WITHCODE//?
function|load replace/t/REPLACE//? function-code/s
function|restore serialized-value/s policy/o///?(flush/t/FLUSH append/t/APPEND replace/t/REPLACE)
geoadd key/k////0 condition/o//6.2.0/?(nx/t/NX xx/t/XX) change/t/CH/6.2.0/? longitude_latitude_member/b///*(longitude/d latitude/d member/s)
geodist key/k////0 member1/s member2/s unit/o///?(m/t/M km/t/KM ft/t/FT mi/t/MI)
geohash key/k////0 member/s///*
geopos key/k////0 member/s///*
georadius key/k////0 longitude/d latitude/d radius/d unit/o(m/t/M km/t/KM ft/t/FT mi/t/MI) withcoord/t/WITHCOORD//? withdist/t/WITHDIST//? withhash/t/WITHHASH//? count/b///?(count/i/COUNT any/t/ANY/6.2.0/?) order/o///?(asc/t/ASC desc/t/DESC) key/k/STORE//?/1 key/k/STOREDIST//?/2
georadius_ro key/k////0 longitude/d latitude/d radius/d unit/o(m/t/M km/t/KM ft/t/FT mi/t/MI) withcoord/t/WITHCOORD//? withdist/t/WITHDIST//? withhash/t/WITHHASH//? count/b///?(count/i/COUNT any/t/ANY/6.2.0/?) order/o///?(asc/t/ASC desc/t/DESC)
georadiusbymember key/k////0 member/s radius/d unit/o(m/t/M km/t/KM ft/t/FT mi/t/MI) withcoord/t/WITHCOORD//? withdist/t/WITHDIST//? withhash/t/WITHHASH//? count/b///?(count/i/COUNT any/t/ANY//?) order/o///?(asc/t/ASC desc/t/DESC) key/k/STORE//?/1 key/k/STOREDIST//?/2
georadiusbymember_ro key/k////0 member/s radius/d unit/o(m/t/M km/t/KM ft/t/FT mi/t/MI) withcoord/t/WITHCOORD//? withdist/t/WITHDIST//? withhash/t/WITHHASH//? count/b///?(count/i/COUNT any/t/ANY//?) order/o///?(asc/t/ASC desc/t/DESC)
geosearch key/k////0 from/o(member/s/FROMMEMBER longitude_latitude/b/FROMLONLAT(longitude/d latitude/d)) by/o(circle/b(radius/d/BYRADIUS unit/o(m/t/M km/t/KM ft/t/FT mi/t/MI)) box/b(width/d/BYBOX height/d unit/o(m/t/M km/t/KM ft/t/FT mi/t/MI))) order/o///?(asc/t/ASC desc/t/DESC) count/b///?(count/i/COUNT any/t/ANY//?) withcoord/t/WITHCOORD//? withdist/t/WITHDIST//? withhash/t/WITHHASH//?
geosearchstore destination/k////0 source/k////1 from/o(member/s/FROMMEMBER longitude_latitude/b/FROMLONLAT(longitude/d latitude/d)) by/o(circle/b(radius/d/BYRADIUS unit/o(m/t/M km/t/KM ft/t/FT mi/t/MI)) box/b(width/d/BYBOX height/d unit/o(m/t/M km/t/KM ft/t/FT mi/t/MI))) order/o///?(asc/t/ASC desc/t/DESC) count/b///?(count/i/COUNT any/t/ANY//?) storedist/t/STOREDIST//?
get key/k////0
getbit key/k////0 offset/i
getdel key/k////0
getex key/k////0 expiration/o///?(seconds/i/EX milliseconds/i/PX unix-time-seconds/u/EXAT unix-time-milliseconds/u/PXAT persist/t/PERSIST)
getrange key/k////0 start/i end/i
getset key/k////0 value/s
hdel key/k////0 field/s///*
hello arguments/b///?(protover/i username_password/b/AUTH//?(username/s password/s) clientname/s/SETNAME//?)
hexists key/k////0 field/s
hget key/k////0 field/s
hgetall key/k////0
hincrby key/k////0 field/s increment/i
hincrbyfloat key/k////0 field/s increment/d
hkeys key/k////0
hlen key/k////0
hmget key/k////0 field/s///*
hmset key/k////0 field_value/b///*(field/s value/s)
hrandfield key/k////0 options/b///?(count/i withvalues/t/WITHVALUES//?)
hscan key/k////0 cursor/i pattern/p/MATCH//? count/i/COUNT//?
hset key/k////0 field_value/b///*(field/s value/s)
hsetnx key/k////0 field/s value/s
hstrlen key/k////0 field/s
hvals key/k////0
incr key/k////0
incrby key/k////0 increment/i
incrbyfloat key/k////0 increment/d
info section/s///?*
keys pattern/p
latency|graph event/s
latency|histogram command/s///?*
latency|history event/s
latency|reset event/s///?*
lcs key1/k////0 key2/k////0 len/t/LEN//? idx/t/IDX//? len/i/MINMATCHLEN//? withmatchlen/t/WITHMATCHLEN//?
lindex key/k////0 index/i
linsert key/k////0 where/o(before/t/BEFORE after/t/AFTER) pivot/s element/s
llen key/k////0
lmove source/k////0 destination/k////1 wherefrom/o(left/t/LEFT right/t/RIGHT) whereto/o(left/t/LEFT right/t/RIGHT)
lmpop numkeys/i key/k///*/0 where/o(left/t/LEFT right/t/RIGHT) count/i/COUNT//?
lolwut version/i/VERSION//?
lpop key/k////0 count/i//6.2.0/?
lpos key/k////0 element/s rank/i/RANK//? num-matches/i/COUNT//? len/i/MAXLEN//?
lpush key/k////0 element/s///*
lpushx key/k////0 element/s///*
lrange key/k////0 start/i stop/i
lrem key/k////0 count/i element/s
lset key/k////0 index/i element/s
ltrim key/k////0 start/i stop/i
memory|usage key/k////0 count/i/SAMPLES//?
mget key/k///*/0
migrate host/s port/i key_or_empty_string/o(key/k////0 empty_string/t) destination-db/i timeout/i copy/t/COPY/3.0.0/? replace/t/REPLACE/3.0.0/? authentication/o///?(password/s/AUTH/4.0.7/? username_password/b/AUTH2/6.0.0/?(username/s password/s)) key/k/KEYS/3.0.6/?*/1
module|load path/s arg/s///?*
module|loadex path/s configs/b/CONFIG//?*+(name/s value/s) args/b/ARGS//?*(arg/s)
module|unload name/s
move key/k////0 db/i
mset key_value/b///*(key/k////0 value/s)
msetnx key_value/b///*(key/k////0 value/s)
object|encoding key/k////0
object|freq key/k////0
object|idletime key/k////0
object|refcount key/k////0
persist key/k////0
pexpire key/k////0 milliseconds/i condition/o//7.0.0/?(nx/t/NX xx/t/XX gt/t/GT lt/t/LT)
pexpireat key/k////0 unix-time-milliseconds/u condition/o//7.0.0/?(nx/t/NX xx/t/XX gt/t/GT lt/t/LT)
pexpiretime key/k////0
pfadd key/k////0 element/s///?*
pfcount key/k///*/0
pfdebug subcommand/s key/k////0
pfmerge destkey/k////0 sourcekey/k///*/1
ping message/s///?
psetex key/k////0 milliseconds/i value/s
psubscribe pattern/b///*(pattern/p)
psync replicationid/s offset/i
pttl key/k////0
publish channel/s message/s
pubsub|channels pattern/p///?
pubsub|numsub channel/s///?*
pubsub|shardchannels pattern/p///?
pubsub|shardnumsub shardchannel/s///?*
punsubscribe pattern/p///?*
rename key/k////0 newkey/k////1
renamenx key/k////0 newkey/k////1
replicaof args/o(host-port/b(host/s port/i) no-one/b(no/t/NO one/t/ONE))
restore key/k////0 ttl/i serialized-value/s replace/t/REPLACE/3.0.0/? absttl/t/ABSTTL/5.0.0/? seconds/i/IDLETIME/5.0.0/? frequency/i/FREQ/5.0.0/?
restore-asking key/k////0 ttl/i serialized-value/s replace/t/REPLACE/3.0.0/? absttl/t/ABSTTL/5.0.0/? seconds/i/IDLETIME/5.0.0/? frequency/i/FREQ/5.0.0/?
rpop key/k////0 count/i//6.2.0/?
rpoplpush source/k////0 destination/k////1
rpush key/k////0 element/s///*
rpushx key/k////0 element/s///*
sadd key/k////0 member/s///*
scan cursor/i pattern/p/MATCH//? count/i/COUNT//? type/s/TYPE/6.0.0/?
scard key/k////0
script|debug mode/o(yes/t/YES sync/t/SYNC no/t/NO)
script|exists sha1/s///*
script|flush async/o//6.2.0/?(async/t/ASYNC sync/t/SYNC)
script|load script/s
sdiff key/k///*/0
sdiffstore destination/k////0 key/k///*/1
select index/i
set key/k////0 value/s condition/o//2.6.12/?(nx/t/NX xx/t/XX) get/t/GET/6.2.0/? expiration/o///?(seconds/i/EX/2.6.12 milliseconds/i/PX/2.6.12 unix-time-seconds/u/EXAT/6.2.0 unix-time-milliseconds/u/PXAT/6.2.0 keepttl/t/KEEPTTL/6.0.0)
setbit key/k////0 offset/i value/i
setex key/k////0 seconds/i value/s
setnx key/k////0 value/s
setrange key/k////0 offset/i value/s
shutdown nosave_save/o///?(nosave/t/NOSAVE save/t/SAVE) now/t/NOW/7.0.0/? force/t/FORCE/7.0.0/? abort/t/ABORT/7.0.0/?
sinter key/k///*/0
sintercard numkeys/i key/k///*/0 limit/i/LIMIT//?
sinterstore destination/k////0 key/k///*/1
sismember key/k////0 member/s
slaveof args/o(host-port/b(host/s port/i) no-one/b(no/t/NO one/t/ONE))
slowlog|get count/i///?
smembers key/k////0
smismember key/k////0 member/s///*
smove source/k////0 destination/k////1 member/s
sort key/k////0 pattern/p/BY//?/1 offset_count/b/LIMIT//?(offset/i count/i) pattern/p/GET//?*+/1 order/o///?(asc/t/ASC desc/t/DESC) sorting/t/ALPHA//? destination/k/STORE//?/2
sort_ro key/k////0 pattern/p/BY//?/1 offset_count/b/LIMIT//?(offset/i count/i) pattern/p/GET//?*+/1 order/o///?(asc/t/ASC desc/t/DESC) sorting/t/ALPHA//?
spop key/k////0 count/i//3.2.0/?
spublish shardchannel/s message/s
srandmember key/k////0 count/i//2.6.0/?
srem key/k////0 member/s///*
sscan key/k////0 cursor/i pattern/p/MATCH//? count/i/COUNT//?
ssubscribe shardchannel/s///*
strlen key/k////0
subscribe channel/s///*
substr key/k////0 start/i end/i
sunion key/k///*/0
sunionstore destination/k////0 key/k///*/1
sunsubscribe shardchannel/s///?*
swapdb index1/i index2/i
touch key/k///*/0
ttl key/k////0
type key/k////0
unlink key/k///*/0
unsubscribe channel/s///?*
wait numreplicas/i timeout/i
watch key/k///*/0
xack key/k////0 group/s id/s///*
xadd key/k////0 nomkstream/t/NOMKSTREAM/6.2.0/? trim/b///?(strategy/o(maxlen/t/MAXLEN minid/t/MINID/6.2.0) operator/o///?(equal/t/= approximately/t/~) threshold/s count/i/LIMIT/6.2.0/?) id_or_auto/o(auto_id/t/* id/s) field_value/b///*(field/s value/s)
xautoclaim key/k////0 group/s consumer/s min-idle-time/s start/s count/i/COUNT//? justid/t/JUSTID//?
xclaim key/k////0 group/s consumer/s min-idle-time/s id/s///* ms/i/IDLE//? unix-time-milliseconds/u/TIME//? count/i/RETRYCOUNT//? force/t/FORCE//? justid/t/JUSTID//? id/s/LASTID//?
xdel key/k////0 id/s///*
xgroup|create key/k////0 groupname/s id/o(id/s new_id/t/$) mkstream/t/MKSTREAM//? entries_read/i/ENTRIESREAD//?
xgroup|createconsumer key/k////0 groupname/s consumername/s
xgroup|delconsumer key/k////0 groupname/s consumername/s
xgroup|destroy key/k////0 groupname/s
xgroup|setid key/k////0 groupname/s id/o(id/s new_id/t/$) entries_read/i/ENTRIESREAD//?
xinfo|consumers key/k////0 groupname/s
xinfo|groups key/k////0
xinfo|stream key/k////0 full/b/FULL//?(count/i/COUNT//?)
xlen key/k////0
xpending key/k////0 group/s filters/b///?(min-idle-time/i/IDLE/6.2.0/? start/s end/s count/i consumer/s///?)
xrange key/k////0 start/s end/s count/i/COUNT//?
xread count/i/COUNT//? milliseconds/i/BLOCK//? streams/b/STREAMS(key/k///*/0 id/s///*)
xreadgroup group_consumer/b/GROUP(group/s consumer/s) count/i/COUNT//? milliseconds/i/BLOCK//? noack/t/NOACK//? streams/b/STREAMS(key/k///*/0 id/s///*)
xrevrange key/k////0 end/s start/s count/i/COUNT//?
xsetid key/k////0 last-id/s entries_added/i/ENTRIESADDED/7.0.0/? max_deleted_entry_id/s/MAXDELETEDID/7.0.0/?
xtrim key/k////0 trim/b(strategy/o(maxlen/t/MAXLEN minid/t/MINID/6.2.0) operator/o///?(equal/t/= approximately/t/~) threshold/s count/i/LIMIT/6.2.0/?)
zadd key/k////0 condition/o//3.0.2/?(nx/t/NX xx/t/XX) comparison/o//6.2.0/?(gt/t/GT lt/t/LT) change/t/CH/3.0.2/? increment/t/INCR/3.0.2/? score_member/b///*(score/d member/s)
zcard key/k////0
zcount key/k////0 min/d max/d
zdiff numkeys/i key/k///*/0 withscores/t/WITHSCORES//?
zdiffstore destination/k////0 numkeys/i key/k///*/1
zincrby key/k////0 increment/i member/s
zinter numkeys/i key/k///*/0 weight/i/WEIGHTS//?* aggregate/o/AGGREGATE//?(sum/t/SUM min/t/MIN max/t/MAX) withscores/t/WITHSCORES//?
zintercard numkeys/i key/k///*/0 limit/i/LIMIT//?
zinterstore destination/k////0 numkeys/i key/k///*/1 weight/i/WEIGHTS//?* aggregate/o/AGGREGATE//?(sum/t/SUM min/t/MIN max/t/MAX)
zlexcount key/k////0 min/s max/s
zmpop numkeys/i key/k///*/0 where/o(min/t/MIN max/t/MAX) count/i/COUNT//?
zmscore key/k////0 member/s///*
zpopmax key/k////0 count/i///?
zpopmin key/k////0 count/i///?
zrandmember key/k////0 options/b///?(count/i withscores/t/WITHSCORES//?)
zrange key/k////0 start/s stop/s sortby/o//6.2.0/?(byscore/t/BYSCORE bylex/t/BYLEX) rev/t/REV/6.2.0/? offset_count/b/LIMIT/6.2.0/?(offset/i count/i) withscores/t/WITHSCORES//?
zrangebylex key/k////0 min/s max/s offset_count/b/LIMIT//?(offset/i count/i)
zrangebyscore key/k////0 min/d max/d withscores/t/WITHSCORES/2.0.0/? offset_count/b/LIMIT//?(offset/i count/i)
zrangestore dst/k////0 src/k////1 min/s max/s sortby/o///?(byscore/t/BYSCORE bylex/t/BYLEX) rev/t/REV//? offset_count/b/LIMIT//?(offset/i count/i)
zrank key/k////0 member/s
zrem key/k////0 member/s///*
zremrangebylex key/k////0 min/s max/s
zremrangebyrank key/k////0 start/i stop/i
zremrangebyscore key/k////0 min/d max/d
zrevrange key/k////0 start/i stop/i withscores/t/WITHSCORES//?
zrevrangebylex key/k////0 max/s min/s offset_count/b/LIMIT//?(offset/i count/i)
zrevrangebyscore key/k////0 max/d min/d withscores/t/WITHSCORES//? offset_count/b/LIMIT//?(offset/i count/i)
zrevrank key/k////0 member/s
zscan key/k////0 cursor/i pattern/p/MATCH//? count/i/COUNT//?
zscore key/k////0 member/s
zunion numkeys/i key/k///*/0 weight/i/WEIGHTS//?* aggregate/o/AGGREGATE//?(sum/t/SUM min/t/MIN max/t/MAX) withscores/t/WITHSCORES//?
zunionstore destination/k////0 numkeys/i key/k///*/1 weight/i/WEIGHTS//?* aggregate/o/AGGREGATE//?(sum/t/SUM min/t/MIN max/t/MAX)
`
