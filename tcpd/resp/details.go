// SPDX-License-Identifier: Apache-2.0

package resp

// details is what Redis 7.0 tells of its commands: see readDetails.
const details = `acl 6.0.0 server - slow -
acl|cat 6.0.0 server noscript,loading,stale slow -
acl|deluser 6.0.0 server admin,noscript,loading,stale admin,slow,dangerous -
acl|dryrun 7.0.0 server admin,noscript,loading,stale admin,slow,dangerous -
acl|genpass 6.0.0 server noscript,loading,stale slow -
acl|getuser 6.0.0 server admin,noscript,loading,stale admin,slow,dangerous -
acl|help 6.0.0 server loading,stale slow -
acl|list 6.0.0 server admin,noscript,loading,stale admin,slow,dangerous -
acl|load 6.0.0 server admin,noscript,loading,stale admin,slow,dangerous -
acl|log 6.0.0 server admin,noscript,loading,stale admin,slow,dangerous -
acl|save 6.0.0 server admin,noscript,loading,stale admin,slow,dangerous -
acl|setuser 6.0.0 server admin,noscript,loading,stale admin,slow,dangerous -
acl|users 6.0.0 server admin,noscript,loading,stale admin,slow,dangerous -
acl|whoami 6.0.0 server noscript,loading,stale slow -
append 2.0.0 string write,denyoom,fast write,string,fast - RW,insert@1@0/1/0
asking 3.0.0 cluster fast fast,connection -
auth 1.0.0 connection noscript,loading,stale,fast,no_auth,allow_busy fast,connection -
bgrewriteaof 1.0.0 server admin,noscript,no_async_loading admin,slow,dangerous -
bgsave 1.0.0 server admin,noscript,no_async_loading admin,slow,dangerous -
bitcount 2.6.0 bitmap readonly read,bitmap,slow - RO,access@1@0/1/0
bitfield 3.2.0 bitmap write,denyoom write,bitmap,slow - RW,access,update,variable_flags@1@0/1/0
bitfield_ro 6.0.0 bitmap readonly,fast read,bitmap,fast - RO,access@1@0/1/0
bitop 2.6.0 bitmap write,denyoom write,bitmap,slow - OW,update@2@0/1/0 RO,access@3@-1/1/0
bitpos 2.8.7 bitmap readonly read,bitmap,slow - RO,access@1@0/1/0
blmove 6.2.0 list write,denyoom,noscript,blocking write,list,slow,blocking - RW,access,delete@1@0/1/0 RW,insert@2@0/1/0
blmpop 7.0.0 list write,blocking,movablekeys write,list,slow,blocking - RW,access,delete@2@#
blpop 2.0.0 list write,noscript,blocking write,list,slow,blocking - RW,access,delete@1@-2/1/0
brpop 2.0.0 list write,noscript,blocking write,list,slow,blocking - RW,access,delete@1@-2/1/0
brpoplpush 2.2.0 list write,denyoom,noscript,blocking write,list,slow,blocking - RW,access,delete@1@0/1/0 RW,insert@2@0/1/0
bzmpop 7.0.0 sorted-set write,blocking,movablekeys write,sortedset,slow,blocking - RW,access,delete@2@#
bzpopmax 5.0.0 sorted-set write,noscript,blocking,fast write,sortedset,fast,blocking - RW,access,delete@1@-2/1/0
bzpopmin 5.0.0 sorted-set write,noscript,blocking,fast write,sortedset,fast,blocking - RW,access,delete@1@-2/1/0
client 2.4.0 connection - slow -
client|caching 6.0.0 connection noscript,loading,stale slow,connection -
client|getname 2.6.9 connection noscript,loading,stale slow,connection -
client|getredir 6.0.0 connection noscript,loading,stale slow,connection -
client|help 5.0.0 connection loading,stale slow,connection -
client|id 5.0.0 connection noscript,loading,stale slow,connection -
client|info 6.2.0 connection noscript,loading,stale slow,connection nondeterministic_output
client|kill 2.4.0 connection admin,noscript,loading,stale admin,slow,dangerous,connection -
client|list 2.4.0 connection admin,noscript,loading,stale admin,slow,dangerous,connection nondeterministic_output
client|no-evict 7.0.0 connection admin,noscript,loading,stale admin,slow,dangerous,connection -
client|pause 2.9.50 connection admin,noscript,loading,stale admin,slow,dangerous,connection -
client|reply 3.2.0 connection noscript,loading,stale slow,connection -
client|setname 2.6.9 connection noscript,loading,stale slow,connection -
client|tracking 6.0.0 connection noscript,loading,stale slow,connection -
client|trackinginfo 6.2.0 connection noscript,loading,stale slow,connection -
client|unblock 5.0.0 connection admin,noscript,loading,stale admin,slow,dangerous,connection -
client|unpause 6.2.0 connection admin,noscript,loading,stale admin,slow,dangerous,connection -
cluster 3.0.0 cluster - slow -
cluster|addslots 3.0.0 cluster admin,stale,no_async_loading admin,slow,dangerous -
cluster|addslotsrange 7.0.0 cluster admin,stale,no_async_loading admin,slow,dangerous -
cluster|bumpepoch 3.0.0 cluster admin,stale,no_async_loading admin,slow,dangerous nondeterministic_output
cluster|count-failure-reports 3.0.0 cluster admin,stale admin,slow,dangerous nondeterministic_output
cluster|countkeysinslot 3.0.0 cluster stale slow -
cluster|delslots 3.0.0 cluster admin,stale,no_async_loading admin,slow,dangerous -
cluster|delslotsrange 7.0.0 cluster admin,stale,no_async_loading admin,slow,dangerous -
cluster|failover 3.0.0 cluster admin,stale,no_async_loading admin,slow,dangerous -
cluster|flushslots 3.0.0 cluster admin,stale,no_async_loading admin,slow,dangerous -
cluster|forget 3.0.0 cluster admin,stale,no_async_loading admin,slow,dangerous -
cluster|getkeysinslot 3.0.0 cluster stale slow nondeterministic_output
cluster|help 5.0.0 cluster loading,stale slow -
cluster|info 3.0.0 cluster stale slow nondeterministic_output
cluster|keyslot 3.0.0 cluster stale slow -
cluster|links 7.0.0 cluster stale slow nondeterministic_output
cluster|meet 3.0.0 cluster admin,stale,no_async_loading admin,slow,dangerous -
cluster|myid 3.0.0 cluster stale slow -
cluster|nodes 3.0.0 cluster stale slow nondeterministic_output
cluster|replicas 5.0.0 cluster admin,stale admin,slow,dangerous nondeterministic_output
cluster|replicate 3.0.0 cluster admin,stale,no_async_loading admin,slow,dangerous -
cluster|reset 3.0.0 cluster admin,noscript,stale admin,slow,dangerous -
cluster|saveconfig 3.0.0 cluster admin,stale,no_async_loading admin,slow,dangerous -
cluster|set-config-epoch 3.0.0 cluster admin,stale,no_async_loading admin,slow,dangerous -
cluster|setslot 3.0.0 cluster admin,stale,no_async_loading admin,slow,dangerous -
cluster|shards 7.0.0 cluster stale slow nondeterministic_output
cluster|slaves 3.0.0 cluster admin,stale admin,slow,dangerous nondeterministic_output
cluster|slots 3.0.0 cluster stale slow nondeterministic_output
command 2.8.13 server loading,stale slow,connection nondeterministic_output_order
command|count 2.8.13 server loading,stale slow,connection -
command|docs 7.0.0 server loading,stale slow,connection nondeterministic_output_order
command|getkeys 2.8.13 server loading,stale slow,connection -
command|getkeysandflags 7.0.0 server loading,stale slow,connection -
command|help 5.0.0 server loading,stale slow,connection -
command|info 2.8.13 server loading,stale slow,connection nondeterministic_output_order
command|list 7.0.0 server loading,stale slow,connection nondeterministic_output_order
config 2.0.0 server - slow -
config|get 2.0.0 server admin,noscript,loading,stale admin,slow,dangerous -
config|help 5.0.0 server loading,stale slow -
config|resetstat 2.0.0 server admin,noscript,loading,stale admin,slow,dangerous -
config|rewrite 2.8.0 server admin,noscript,loading,stale admin,slow,dangerous -
config|set 2.0.0 server admin,noscript,loading,stale admin,slow,dangerous request_policy:all_nodes,response_policy:all_succeeded
copy 6.2.0 generic write,denyoom keyspace,write,slow - RO,access@1@0/1/0 OW,update@2@0/1/0
dbsize 1.0.0 server readonly,fast keyspace,read,fast request_policy:all_shards,response_policy:agg_sum
debug 1.0.0 server admin,noscript,loading,stale admin,slow,dangerous -
decr 1.0.0 string write,denyoom,fast write,string,fast - RW,access,update@1@0/1/0
decrby 1.0.0 string write,denyoom,fast write,string,fast - RW,access,update@1@0/1/0
del 1.0.0 generic write keyspace,write,slow request_policy:multi_shard,response_policy:agg_sum RM,delete@1@-1/1/0
discard 2.0.0 transactions noscript,loading,stale,fast,allow_busy fast,transaction -
dump 2.6.0 generic readonly keyspace,read,slow nondeterministic_output RO,access@1@0/1/0
echo 1.0.0 connection loading,stale,fast fast,connection -
eval 2.6.0 scripting noscript,stale,skip_monitor,no_mandatory_keys,movablekeys slow,scripting - RW,access,update@2@#
eval_ro 7.0.0 scripting readonly,noscript,stale,skip_monitor,no_mandatory_keys,movablekeys slow,scripting - RO,access@2@#
evalsha 2.6.0 scripting noscript,stale,skip_monitor,no_mandatory_keys,movablekeys slow,scripting - RW,access,update@2@#
evalsha_ro 7.0.0 scripting readonly,noscript,stale,skip_monitor,no_mandatory_keys,movablekeys slow,scripting - RO,access@2@#
exec 1.2.0 transactions noscript,loading,stale,skip_slowlog slow,transaction -
exists 1.0.0 generic readonly,fast keyspace,read,fast request_policy:multi_shard,response_policy:agg_sum RO@1@-1/1/0
expire 1.0.0 generic write,fast keyspace,write,fast - RW,update@1@0/1/0
expireat 1.2.0 generic write,fast keyspace,write,fast - RW,update@1@0/1/0
expiretime 7.0.0 generic readonly,fast keyspace,read,fast - RO,access@1@0/1/0
failover 6.2.0 server admin,noscript,stale admin,slow,dangerous -
fcall 7.0.0 scripting noscript,stale,skip_monitor,no_mandatory_keys,movablekeys slow,scripting - RW,access,update@2@#
fcall_ro 7.0.0 scripting readonly,noscript,stale,skip_monitor,no_mandatory_keys,movablekeys slow,scripting - RO,access@2@#
flushall 1.0.0 server write keyspace,write,slow,dangerous request_policy:all_shards,response_policy:all_succeeded
flushdb 1.0.0 server write keyspace,write,slow,dangerous request_policy:all_shards,response_policy:all_succeeded
function 7.0.0 scripting - slow -
function|delete 7.0.0 scripting write,noscript write,slow,scripting request_policy:all_shards,response_policy:all_succeeded
function|dump 7.0.0 scripting noscript slow,scripting -
function|flush 7.0.0 scripting write,noscript write,slow,scripting request_policy:all_shards,response_policy:all_succeeded
function|help 7.0.0 scripting loading,stale slow,scripting -
function|kill 7.0.0 scripting noscript,allow_busy slow,scripting request_policy:all_shards,response_policy:one_succeeded
function|list 7.0.0 scripting noscript slow,scripting nondeterministic_output_order
function|load 7.0.0 scripting write,denyoom,noscript write,slow,scripting request_policy:all_shards,response_policy:all_succeeded
function|restore 7.0.0 scripting write,denyoom,noscript write,slow,scripting request_policy:all_shards,response_policy:all_succeeded
function|stats 7.0.0 scripting noscript,allow_busy slow,scripting nondeterministic_output,request_policy:all_shards,response_policy:special
geoadd 3.2.0 geo write,denyoom write,geo,slow - RW,update@1@0/1/0
geodist 3.2.0 geo readonly read,geo,slow - RO,access@1@0/1/0
geohash 3.2.0 geo readonly read,geo,slow - RO,access@1@0/1/0
geopos 3.2.0 geo readonly read,geo,slow - RO,access@1@0/1/0
georadius 3.2.0 geo write,denyoom,movablekeys write,geo,slow - RO,access@1@0/1/0 OW,update@STORE:6@0/1/0 OW,update@STOREDIST:6@0/1/0
georadius_ro 3.2.10 geo readonly read,geo,slow - RO,access@1@0/1/0
georadiusbymember 3.2.0 geo write,denyoom,movablekeys write,geo,slow - RO,access@1@0/1/0 OW,update@STORE:5@0/1/0 OW,update@STOREDIST:5@0/1/0
georadiusbymember_ro 3.2.10 geo readonly read,geo,slow - RO,access@1@0/1/0
geosearch 6.2.0 geo readonly read,geo,slow - RO,access@1@0/1/0
geosearchstore 6.2.0 geo write,denyoom write,geo,slow - OW,update@1@0/1/0 RO,access@2@0/1/0
get 1.0.0 string readonly,fast read,string,fast - RO,access@1@0/1/0
getbit 2.2.0 bitmap readonly,fast read,bitmap,fast - RO,access@1@0/1/0
getdel 6.2.0 string write,fast write,string,fast - RW,access,delete@1@0/1/0
getex 6.2.0 string write,fast write,string,fast - RW,access,update@1@0/1/0
getrange 2.4.0 string readonly read,string,slow - RO,access@1@0/1/0
getset 1.0.0 string write,denyoom,fast write,string,fast - RW,access,update@1@0/1/0
hdel 2.0.0 hash write,fast write,hash,fast - RW,delete@1@0/1/0
hello 6.0.0 connection noscript,loading,stale,fast,no_auth,allow_busy fast,connection -
hexists 2.0.0 hash readonly,fast read,hash,fast - RO@1@0/1/0
hget 2.0.0 hash readonly,fast read,hash,fast - RO,access@1@0/1/0
hgetall 2.0.0 hash readonly read,hash,slow nondeterministic_output_order RO,access@1@0/1/0
hincrby 2.0.0 hash write,denyoom,fast write,hash,fast - RW,access,update@1@0/1/0
hincrbyfloat 2.6.0 hash write,denyoom,fast write,hash,fast - RW,access,update@1@0/1/0
hkeys 2.0.0 hash readonly read,hash,slow nondeterministic_output_order RO,access@1@0/1/0
hlen 2.0.0 hash readonly,fast read,hash,fast - RO@1@0/1/0
hmget 2.0.0 hash readonly,fast read,hash,fast - RO,access@1@0/1/0
hmset 2.0.0 hash write,denyoom,fast write,hash,fast - RW,update@1@0/1/0
hrandfield 6.2.0 hash readonly read,hash,slow nondeterministic_output RO,access@1@0/1/0
hscan 2.8.0 hash readonly read,hash,slow nondeterministic_output RO,access@1@0/1/0
hset 2.0.0 hash write,denyoom,fast write,hash,fast - RW,update@1@0/1/0
hsetnx 2.0.0 hash write,denyoom,fast write,hash,fast - RW,insert@1@0/1/0
hstrlen 3.2.0 hash readonly,fast read,hash,fast - RO@1@0/1/0
hvals 2.0.0 hash readonly read,hash,slow nondeterministic_output_order RO,access@1@0/1/0
incr 1.0.0 string write,denyoom,fast write,string,fast - RW,access,update@1@0/1/0
incrby 1.0.0 string write,denyoom,fast write,string,fast - RW,access,update@1@0/1/0
incrbyfloat 2.6.0 string write,denyoom,fast write,string,fast - RW,access,update@1@0/1/0
info 1.0.0 server loading,stale slow,dangerous nondeterministic_output,request_policy:all_shards,response_policy:special
keys 1.0.0 generic readonly keyspace,read,slow,dangerous request_policy:all_shards,nondeterministic_output_order
lastsave 1.0.0 server loading,stale,fast admin,fast,dangerous nondeterministic_output
latency 2.8.13 server - slow -
latency|doctor 2.8.13 server admin,noscript,loading,stale admin,slow,dangerous nondeterministic_output,request_policy:all_nodes,response_policy:special
latency|graph 2.8.13 server admin,noscript,loading,stale admin,slow,dangerous nondeterministic_output,request_policy:all_nodes,response_policy:special
latency|help 2.8.13 server loading,stale slow -
latency|histogram 7.0.0 server admin,noscript,loading,stale admin,slow,dangerous nondeterministic_output,request_policy:all_nodes,response_policy:special
latency|history 2.8.13 server admin,noscript,loading,stale admin,slow,dangerous nondeterministic_output,request_policy:all_nodes,response_policy:special
latency|latest 2.8.13 server admin,noscript,loading,stale admin,slow,dangerous nondeterministic_output,request_policy:all_nodes,response_policy:special
latency|reset 2.8.13 server admin,noscript,loading,stale admin,slow,dangerous request_policy:all_nodes,response_policy:all_succeeded
lcs 7.0.0 string readonly read,string,slow - RO,access@1@1/1/0
lindex 1.0.0 list readonly read,list,slow - RO,access@1@0/1/0
linsert 2.2.0 list write,denyoom write,list,slow - RW,insert@1@0/1/0
llen 1.0.0 list readonly,fast read,list,fast - RO@1@0/1/0
lmove 6.2.0 list write,denyoom write,list,slow - RW,access,delete@1@0/1/0 RW,insert@2@0/1/0
lmpop 7.0.0 list write,movablekeys write,list,slow - RW,access,delete@1@#
lolwut 5.0.0 server readonly,fast read,fast -
lpop 1.0.0 list write,fast write,list,fast - RW,access,delete@1@0/1/0
lpos 6.0.6 list readonly read,list,slow - RO,access@1@0/1/0
lpush 1.0.0 list write,denyoom,fast write,list,fast - RW,insert@1@0/1/0
lpushx 2.2.0 list write,denyoom,fast write,list,fast - RW,insert@1@0/1/0
lrange 1.0.0 list readonly read,list,slow - RO,access@1@0/1/0
lrem 1.0.0 list write write,list,slow - RW,delete@1@0/1/0
lset 1.0.0 list write,denyoom write,list,slow - RW,update@1@0/1/0
ltrim 1.0.0 list write write,list,slow - RW,delete@1@0/1/0
memory 4.0.0 server - slow -
memory|doctor 4.0.0 server - slow nondeterministic_output,request_policy:all_shards,response_policy:special
memory|help 4.0.0 server loading,stale slow -
memory|malloc-stats 4.0.0 server - slow nondeterministic_output,request_policy:all_shards,response_policy:special
memory|purge 4.0.0 server - slow request_policy:all_shards,response_policy:all_succeeded
memory|stats 4.0.0 server - slow nondeterministic_output,request_policy:all_shards,response_policy:special
memory|usage 4.0.0 server readonly read,slow - RO@2@0/1/0
mget 1.0.0 string readonly,fast read,string,fast request_policy:multi_shard RO,access@1@-1/1/0
migrate 2.6.0 generic write,movablekeys keyspace,write,slow,dangerous nondeterministic_output RW,access,delete@3@0/1/0 RW,access,delete,incomplete@KEYS:-2@-1/1/0
module 4.0.0 server - slow -
module|help 5.0.0 server loading,stale slow -
module|list 4.0.0 server admin,noscript admin,slow,dangerous nondeterministic_output_order
module|load 4.0.0 server admin,noscript,no_async_loading admin,slow,dangerous -
module|loadex 7.0.0 server admin,noscript,no_async_loading admin,slow,dangerous -
module|unload 4.0.0 server admin,noscript,no_async_loading admin,slow,dangerous -
monitor 1.0.0 server admin,noscript,loading,stale admin,slow,dangerous -
move 1.0.0 generic write,fast keyspace,write,fast - RW,access,update@1@0/1/0
mset 1.0.1 string write,denyoom write,string,slow request_policy:multi_shard,response_policy:all_succeeded OW,update@1@-1/2/0
msetnx 1.0.1 string write,denyoom write,string,slow request_policy:multi_shard,response_policy:agg_min OW,insert@1@-1/2/0
multi 1.2.0 transactions noscript,loading,stale,fast,allow_busy fast,transaction -
object 2.2.3 generic - slow -
object|encoding 2.2.3 generic readonly keyspace,read,slow nondeterministic_output RO@2@0/1/0
object|freq 4.0.0 generic readonly keyspace,read,slow nondeterministic_output RO@2@0/1/0
object|help 6.2.0 generic loading,stale keyspace,slow -
object|idletime 2.2.3 generic readonly keyspace,read,slow nondeterministic_output RO@2@0/1/0
object|refcount 2.2.3 generic readonly keyspace,read,slow nondeterministic_output RO@2@0/1/0
persist 2.2.0 generic write,fast keyspace,write,fast - RW,update@1@0/1/0
pexpire 2.6.0 generic write,fast keyspace,write,fast - RW,update@1@0/1/0
pexpireat 2.6.0 generic write,fast keyspace,write,fast - RW,update@1@0/1/0
pexpiretime 7.0.0 generic readonly,fast keyspace,read,fast - RO,access@1@0/1/0
pfadd 2.8.9 hyperloglog write,denyoom,fast write,hyperloglog,fast - RW,insert@1@0/1/0
pfcount 2.8.9 hyperloglog readonly read,hyperloglog,slow - RW,access@1@-1/1/0
pfdebug 2.8.9 hyperloglog write,denyoom,admin write,hyperloglog,admin,slow,dangerous - RW,access@2@0/1/0
pfmerge 2.8.9 hyperloglog write,denyoom write,hyperloglog,slow - RW,access,insert@1@0/1/0 RO,access@2@-1/1/0
pfselftest 2.8.9 hyperloglog admin hyperloglog,admin,slow,dangerous -
ping 1.0.0 connection fast fast,connection request_policy:all_shards,response_policy:all_succeeded
psetex 2.6.0 string write,denyoom write,string,slow - OW,update@1@0/1/0
psubscribe 2.0.0 pubsub pubsub,noscript,loading,stale pubsub,slow -
psync 2.8.0 server admin,noscript,no_async_loading,no_multi admin,slow,dangerous -
pttl 2.6.0 generic readonly,fast keyspace,read,fast nondeterministic_output RO,access@1@0/1/0
publish 2.0.0 pubsub pubsub,loading,stale,fast pubsub,fast -
pubsub 2.8.0 pubsub - slow -
pubsub|channels 2.8.0 pubsub pubsub,loading,stale pubsub,slow -
pubsub|help 6.2.0 pubsub loading,stale slow -
pubsub|numpat 2.8.0 pubsub pubsub,loading,stale pubsub,slow -
pubsub|numsub 2.8.0 pubsub pubsub,loading,stale pubsub,slow -
pubsub|shardchannels 7.0.0 pubsub pubsub,loading,stale pubsub,slow -
pubsub|shardnumsub 7.0.0 pubsub pubsub,loading,stale pubsub,slow -
punsubscribe 2.0.0 pubsub pubsub,noscript,loading,stale pubsub,slow -
quit 1.0.0 connection noscript,loading,stale,fast,no_auth,allow_busy fast,connection -
randomkey 1.0.0 generic readonly keyspace,read,slow request_policy:all_shards,nondeterministic_output
readonly 3.0.0 cluster loading,stale,fast fast,connection -
readwrite 3.0.0 cluster loading,stale,fast fast,connection -
rename 1.0.0 generic write keyspace,write,slow - RW,access,delete@1@0/1/0 OW,update@2@0/1/0
renamenx 1.0.0 generic write,fast keyspace,write,fast - RW,access,delete@1@0/1/0 OW,insert@2@0/1/0
replconf 3.0.0 server admin,noscript,loading,stale,allow_busy admin,slow,dangerous -
replicaof 5.0.0 server admin,noscript,stale,no_async_loading admin,slow,dangerous -
reset 6.2.0 connection noscript,loading,stale,fast,no_auth,allow_busy fast,connection -
restore 2.6.0 generic write,denyoom keyspace,write,slow,dangerous - OW,update@1@0/1/0
restore-asking 3.0.0 server write,denyoom,asking keyspace,write,slow,dangerous - OW,update@1@0/1/0
role 2.8.12 server noscript,loading,stale,fast admin,fast,dangerous -
rpop 1.0.0 list write,fast write,list,fast - RW,access,delete@1@0/1/0
rpoplpush 1.2.0 list write,denyoom write,list,slow - RW,access,delete@1@0/1/0 RW,insert@2@0/1/0
rpush 1.0.0 list write,denyoom,fast write,list,fast - RW,insert@1@0/1/0
rpushx 2.2.0 list write,denyoom,fast write,list,fast - RW,insert@1@0/1/0
sadd 1.0.0 set write,denyoom,fast write,set,fast - RW,insert@1@0/1/0
save 1.0.0 server admin,noscript,no_async_loading,no_multi admin,slow,dangerous -
scan 2.8.0 generic readonly keyspace,read,slow nondeterministic_output,request_policy:special
scard 1.0.0 set readonly,fast read,set,fast - RO@1@0/1/0
script 2.6.0 scripting - slow -
script|debug 3.2.0 scripting noscript slow,scripting -
script|exists 2.6.0 scripting noscript slow,scripting request_policy:all_shards,response_policy:agg_logical_and
script|flush 2.6.0 scripting noscript slow,scripting request_policy:all_nodes,response_policy:all_succeeded
script|help 5.0.0 scripting loading,stale slow,scripting -
script|kill 2.6.0 scripting noscript,allow_busy slow,scripting request_policy:all_shards,response_policy:one_succeeded
script|load 2.6.0 scripting noscript,stale slow,scripting request_policy:all_nodes,response_policy:all_succeeded
sdiff 1.0.0 set readonly read,set,slow nondeterministic_output_order RO,access@1@-1/1/0
sdiffstore 1.0.0 set write,denyoom write,set,slow - OW,update@1@0/1/0 RO,access@2@-1/1/0
select 1.0.0 connection loading,stale,fast fast,connection -
set 1.0.0 string write,denyoom write,string,slow - RW,access,update,variable_flags@1@0/1/0
setbit 2.2.0 bitmap write,denyoom write,bitmap,slow - RW,access,update@1@0/1/0
setex 2.0.0 string write,denyoom write,string,slow - OW,update@1@0/1/0
setnx 1.0.0 string write,denyoom,fast write,string,fast - OW,insert@1@0/1/0
setrange 2.2.0 string write,denyoom write,string,slow - RW,update@1@0/1/0
shutdown 1.0.0 server admin,noscript,loading,stale,no_multi,allow_busy admin,slow,dangerous -
sinter 1.0.0 set readonly read,set,slow nondeterministic_output_order RO,access@1@-1/1/0
sintercard 7.0.0 set readonly,movablekeys read,set,slow - RO,access@1@#
sinterstore 1.0.0 set write,denyoom write,set,slow - RW,update@1@0/1/0 RO,access@2@-1/1/0
sismember 1.0.0 set readonly,fast read,set,fast - RO@1@0/1/0
slaveof 1.0.0 server admin,noscript,stale,no_async_loading admin,slow,dangerous -
slowlog 2.2.12 server - slow -
slowlog|get 2.2.12 server admin,loading,stale admin,slow,dangerous request_policy:all_nodes,nondeterministic_output
slowlog|help 6.2.0 server loading,stale slow -
slowlog|len 2.2.12 server admin,loading,stale admin,slow,dangerous request_policy:all_nodes,response_policy:agg_sum,nondeterministic_output
slowlog|reset 2.2.12 server admin,loading,stale admin,slow,dangerous request_policy:all_nodes,response_policy:all_succeeded
smembers 1.0.0 set readonly read,set,slow nondeterministic_output_order RO,access@1@0/1/0
smismember 6.2.0 set readonly,fast read,set,fast - RO,access@1@0/1/0
smove 1.0.0 set write,fast write,set,fast - RW,access,delete@1@0/1/0 RW,insert@2@0/1/0
sort 1.0.0 generic write,denyoom,movablekeys write,set,sortedset,list,slow,dangerous - RO,access@1@0/1/0 RO,access@?@? OW,update@?@?
sort_ro 7.0.0 generic readonly,movablekeys read,set,sortedset,list,slow,dangerous - RO,access@1@0/1/0 RO,access@?@?
spop 1.0.0 set write,fast write,set,fast nondeterministic_output RW,access,delete@1@0/1/0
spublish 7.0.0 pubsub pubsub,loading,stale,fast pubsub,fast - not_key@1@0/1/0
srandmember 1.0.0 set readonly read,set,slow nondeterministic_output RO,access@1@0/1/0
srem 1.0.0 set write,fast write,set,fast - RW,delete@1@0/1/0
sscan 2.8.0 set readonly read,set,slow nondeterministic_output RO,access@1@0/1/0
ssubscribe 7.0.0 pubsub pubsub,noscript,loading,stale pubsub,slow - not_key@1@-1/1/0
strlen 2.2.0 string readonly,fast read,string,fast - RO@1@0/1/0
subscribe 2.0.0 pubsub pubsub,noscript,loading,stale pubsub,slow -
substr 1.0.0 string readonly read,string,slow - RO,access@1@0/1/0
sunion 1.0.0 set readonly read,set,slow nondeterministic_output_order RO,access@1@-1/1/0
sunionstore 1.0.0 set write,denyoom write,set,slow - OW,update@1@0/1/0 RO,access@2@-1/1/0
sunsubscribe 7.0.0 pubsub pubsub,noscript,loading,stale pubsub,slow - not_key@1@-1/1/0
swapdb 4.0.0 server write,fast keyspace,write,fast,dangerous -
sync 1.0.0 server admin,noscript,no_async_loading,no_multi admin,slow,dangerous -
time 2.6.0 server loading,stale,fast fast nondeterministic_output
touch 3.2.1 generic readonly,fast keyspace,read,fast request_policy:multi_shard,response_policy:agg_sum RO@1@-1/1/0
ttl 1.0.0 generic readonly,fast keyspace,read,fast nondeterministic_output RO,access@1@0/1/0
type 1.0.0 generic readonly,fast keyspace,read,fast - RO@1@0/1/0
unlink 4.0.0 generic write,fast keyspace,write,fast request_policy:multi_shard,response_policy:agg_sum RM,delete@1@-1/1/0
unsubscribe 2.0.0 pubsub pubsub,noscript,loading,stale pubsub,slow -
unwatch 2.2.0 transactions noscript,loading,stale,fast,allow_busy fast,transaction -
wait 3.0.0 generic noscript slow,connection request_policy:all_shards,response_policy:agg_min
watch 2.2.0 transactions noscript,loading,stale,fast,allow_busy fast,transaction - RO@1@-1/1/0
xack 5.0.0 stream write,fast write,stream,fast - RW,update@1@0/1/0
xadd 5.0.0 stream write,denyoom,fast write,stream,fast nondeterministic_output RW,update@1@0/1/0
xautoclaim 6.2.0 stream write,fast write,stream,fast nondeterministic_output RW,delete@1@0/1/0
xclaim 5.0.0 stream write,fast write,stream,fast nondeterministic_output RW,update@1@0/1/0
xdel 5.0.0 stream write,fast write,stream,fast - RW,delete@1@0/1/0
xgroup 5.0.0 stream - slow -
xgroup|create 5.0.0 stream write,denyoom write,stream,slow - RW,insert@2@0/1/0
xgroup|createconsumer 6.2.0 stream write,denyoom write,stream,slow - RW,insert@2@0/1/0
xgroup|delconsumer 5.0.0 stream write write,stream,slow - RW,delete@2@0/1/0
xgroup|destroy 5.0.0 stream write write,stream,slow - RW,delete@2@0/1/0
xgroup|help 5.0.0 stream loading,stale stream,slow -
xgroup|setid 5.0.0 stream write write,stream,slow - RW,update@2@0/1/0
xinfo 5.0.0 stream - slow -
xinfo|consumers 5.0.0 stream readonly read,stream,slow nondeterministic_output RO,access@2@0/1/0
xinfo|groups 5.0.0 stream readonly read,stream,slow - RO,access@2@0/1/0
xinfo|help 5.0.0 stream loading,stale stream,slow -
xinfo|stream 5.0.0 stream readonly read,stream,slow - RO,access@2@0/1/0
xlen 5.0.0 stream readonly,fast read,stream,fast - RO@1@0/1/0
xpending 5.0.0 stream readonly read,stream,slow nondeterministic_output RO,access@1@0/1/0
xrange 5.0.0 stream readonly read,stream,slow - RO,access@1@0/1/0
xread 5.0.0 stream readonly,blocking,movablekeys read,stream,slow,blocking - RO,access@STREAMS:1@-1/1/2
xreadgroup 5.0.0 stream write,blocking,movablekeys write,stream,slow,blocking - RO,access@STREAMS:4@-1/1/2
xrevrange 5.0.0 stream readonly read,stream,slow - RO,access@1@0/1/0
xsetid 5.0.0 stream write,denyoom,fast write,stream,fast - RW,update@1@0/1/0
xtrim 5.0.0 stream write write,stream,slow nondeterministic_output RW,delete@1@0/1/0
zadd 1.2.0 sorted-set write,denyoom,fast write,sortedset,fast - RW,update@1@0/1/0
zcard 1.2.0 sorted-set readonly,fast read,sortedset,fast - RO@1@0/1/0
zcount 2.0.0 sorted-set readonly,fast read,sortedset,fast - RO,access@1@0/1/0
zdiff 6.2.0 sorted-set readonly,movablekeys read,sortedset,slow - RO,access@1@#
zdiffstore 6.2.0 sorted-set write,denyoom,movablekeys write,sortedset,slow - OW,update@1@0/1/0 RO,access@2@#
zincrby 1.2.0 sorted-set write,denyoom,fast write,sortedset,fast - RW,access,update@1@0/1/0
zinter 6.2.0 sorted-set readonly,movablekeys read,sortedset,slow - RO,access@1@#
zintercard 7.0.0 sorted-set readonly,movablekeys read,sortedset,slow - RO,access@1@#
zinterstore 2.0.0 sorted-set write,denyoom,movablekeys write,sortedset,slow - OW,update@1@0/1/0 RO,access@2@#
zlexcount 2.8.9 sorted-set readonly,fast read,sortedset,fast - RO,access@1@0/1/0
zmpop 7.0.0 sorted-set write,movablekeys write,sortedset,slow - RW,access,delete@1@#
zmscore 6.2.0 sorted-set readonly,fast read,sortedset,fast - RO,access@1@0/1/0
zpopmax 5.0.0 sorted-set write,fast write,sortedset,fast - RW,access,delete@1@0/1/0
zpopmin 5.0.0 sorted-set write,fast write,sortedset,fast - RW,access,delete@1@0/1/0
zrandmember 6.2.0 sorted-set readonly read,sortedset,slow nondeterministic_output RO,access@1@0/1/0
zrange 1.2.0 sorted-set readonly read,sortedset,slow - RO,access@1@0/1/0
zrangebylex 2.8.9 sorted-set readonly read,sortedset,slow - RO,access@1@0/1/0
zrangebyscore 1.0.5 sorted-set readonly read,sortedset,slow - RO,access@1@0/1/0
zrangestore 6.2.0 sorted-set write,denyoom write,sortedset,slow - OW,update@1@0/1/0 RO,access@2@0/1/0
zrank 2.0.0 sorted-set readonly,fast read,sortedset,fast - RO,access@1@0/1/0
zrem 1.2.0 sorted-set write,fast write,sortedset,fast - RW,delete@1@0/1/0
zremrangebylex 2.8.9 sorted-set write write,sortedset,slow - RW,delete@1@0/1/0
zremrangebyrank 2.0.0 sorted-set write write,sortedset,slow - RW,delete@1@0/1/0
zremrangebyscore 1.2.0 sorted-set write write,sortedset,slow - RW,delete@1@0/1/0
zrevrange 1.2.0 sorted-set readonly read,sortedset,slow - RO,access@1@0/1/0
zrevrangebylex 2.8.9 sorted-set readonly read,sortedset,slow - RO,access@1@0/1/0
zrevrangebyscore 2.2.0 sorted-set readonly read,sortedset,slow - RO,access@1@0/1/0
zrevrank 2.0.0 sorted-set readonly,fast read,sortedset,fast - RO,access@1@0/1/0
zscan 2.8.0 sorted-set readonly read,sortedset,slow nondeterministic_output RO,access@1@0/1/0
zscore 1.2.0 sorted-set readonly,fast read,sortedset,fast - RO,access@1@0/1/0
zunion 6.2.0 sorted-set readonly,movablekeys read,sortedset,slow - RO,access@1@#
zunionstore 2.0.0 sorted-set write,denyoom,movablekeys write,sortedset,slow - OW,update@1@0/1/0 RO,access@2@#
`
