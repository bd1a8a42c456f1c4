// SPDX-License-Identifier: Apache-2.0

package resp

import (
	"context"

	"github.com/kvorum/kvorum/fsm"
)

// EVAL and its like are rows of the data table: the router runs them. SCRIPT is about this node's cache of scripts.

// Scripts is what this package needs of *shard.Scripts.
type Scripts interface {
	// Load keeps a script here and tells the other nodes; bad is the reply when it is none.
	Load(ctx context.Context, body []byte) (sha string, bad *fsm.Result)
	Exists(sha []byte) bool
	// Flush forgets all, here and on the other nodes.
	Flush(ctx context.Context)
	// Kill ends the scripts that run here, and tells whether there was one.
	Kill() bool
}

func scriptCommand() row {
	const f = flagNoScript
	return container("script", f, nil,
		local("debug", 3, f, runScriptDebug),
		local("exists", -3, f, runScriptExists),
		local("flush", -2, f, runScriptFlush),
		local("help", 2, f|flagLoading|flagStale, help("SCRIPT", []string{
			"DEBUG NO",
			"    Accepted: there is no debugger.",
			"EXISTS <sha1> [<sha1> ...]",
			"    Return information about the existence of the scripts in this node's cache.",
			"FLUSH [ASYNC|SYNC]",
			"    Flush the caches of scripts of all nodes.",
			"KILL",
			"    End the scripts that run on this node; nothing of them is applied.",
			"LOAD <script>",
			"    Load a script into the caches of all nodes without executing it.",
		})),
		local("kill", 2, f|flagAllowBusy, runScriptKill),
		local("load", 3, f|flagStale, runScriptLoad),
	).in("scripting")
}

// textNoScripts answers where there are no scripts.
const textNoScripts = "ERR scripts are not available on this node"

func runScriptLoad(ctx context.Context, s *session, args [][]byte) fsm.Result {
	if s.h.cfg.Scripts == nil {
		return fail(textNoScripts)
	}
	sha, bad := s.h.cfg.Scripts.Load(ctx, args[0])
	if bad != nil {
		return *bad
	}
	return bulk(sha)
}

func runScriptExists(_ context.Context, s *session, args [][]byte) fsm.Result {
	out := make([]fsm.Result, len(args))
	for i, sha := range args {
		out[i] = fsm.Int(0)
		if s.h.cfg.Scripts != nil && s.h.cfg.Scripts.Exists(sha) {
			out[i] = fsm.Int(1)
		}
	}
	return fsm.Array(out)
}

func runScriptFlush(ctx context.Context, s *session, args [][]byte) fsm.Result {
	if len(args) > 1 || len(args) == 1 && !is(args[0], "SYNC") && !is(args[0], "ASYNC") {
		return fail("ERR SCRIPT FLUSH only support SYNC|ASYNC option")
	}
	if s.h.cfg.Scripts != nil {
		s.h.cfg.Scripts.Flush(ctx)
	}
	return fsm.OK()
}

func runScriptKill(_ context.Context, s *session, _ [][]byte) fsm.Result {
	if s.h.cfg.Scripts == nil || !s.h.cfg.Scripts.Kill() {
		return fail("NOTBUSY No scripts in execution right now.")
	}
	return fsm.OK()
}

// runScriptDebug knows no debugger.
func runScriptDebug(_ context.Context, _ *session, args [][]byte) fsm.Result {
	switch {
	case is(args[0], "NO"):
		return fsm.OK()
	case is(args[0], "YES"), is(args[0], "SYNC"):
		return fail("ERR scripts cannot be debugged here")
	}
	return fail("ERR Use SCRIPT DEBUG YES/SYNC/NO")
}
