// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"cmp"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kvorum/kvorum/tcpd"
)

// card is what other connections may know of a session, and how they end it.
type card struct {
	id          uint64
	addr, laddr string
	born        time.Time
	conn        *tcpd.Conn
	leave       func()
	cmd         atomic.Pointer[command]
	last        atomic.Int64 // nanoseconds behind born
	qbuf        atomic.Int64
	multi       atomic.Int64 // commands of a transaction, -1 outside of one
	subs        [families]atomic.Int64

	mu                    sync.Mutex
	name, libName, libVer string
	user                  string
	proto                 int
	readonly, noEvict     bool
	blocked               blocked
}

func newCard(c *tcpd.Conn, leave func()) *card {
	k := &card{id: c.ID, addr: c.RemoteAddr().String(), laddr: c.LocalAddr().String(), born: time.Now(), conn: c, leave: leave}
	k.multi.Store(-1)
	return k
}

func (k *card) seen(n int) {
	k.last.Store(int64(time.Since(k.born)))
	k.qbuf.Store(int64(n))
}

func (k *card) reset() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.name, k.user, k.proto, k.readonly, k.noEvict = "", defaultUser, 2, false, false
}

// with changes the card.
func (k *card) with(f func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	f()
}

// subscribed tells whether the session gets messages.
func (k *card) subscribed() bool {
	return k.subs[channels].Load()+k.subs[patterns].Load()+k.subs[shardChannels].Load() > 0
}

// kill ends the connection.
func (k *card) kill() {
	k.leave()
	k.conn.Cut()
}

// appendLine words the card as CLIENT LIST does.
func (k *card) appendLine(b []byte) []byte {
	k.mu.Lock()
	defer k.mu.Unlock()
	multi, flags := k.multi.Load(), ""
	for _, f := range []struct {
		letter string
		on     bool
	}{{"P", k.subscribed()}, {"x", multi >= 0}, {"b", k.blocked.on}, {"r", k.readonly}, {"e", k.noEvict}} {
		if f.on {
			flags += f.letter
		}
	}
	flags = cmp.Or(flags, "N")
	cmd := "NULL"
	if c := k.cmd.Load(); c != nil {
		cmd = c.name
	}
	age := time.Since(k.born)
	idle := age - time.Duration(k.last.Load())
	return fmt.Appendf(b, "id=%d addr=%s laddr=%s fd=%d name=%s age=%d idle=%d flags=%s db=0 sub=%d psub=%d ssub=%d multi=%d "+
		"qbuf=%d qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=%d events=r cmd=%s user=%s redir=-1 resp=%d "+
		"lib-name=%s lib-ver=%s\n",
		k.id, k.addr, k.laddr, k.id, k.name, int64(age.Seconds()), max(0, int64(idle.Seconds())), flags,
		k.subs[channels].Load(), k.subs[patterns].Load(), k.subs[shardChannels].Load(), multi,
		k.qbuf.Load(), k.qbuf.Load(), cmd, k.user, k.proto, k.libName, k.libVer)
}

// plainName tells whether a name may stand in CLIENT LIST.
func plainName(b []byte) bool {
	return !strings.ContainsFunc(string(b), func(r rune) bool { return r < '!' || r > '~' })
}
