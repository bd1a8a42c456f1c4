// SPDX-License-Identifier: Apache-2.0

package wire

// Limits of the protocol. A server may be configured lower; it tells its own in HELLO.
const (
	// MaxKey and MaxValue are a server's default limits, in bytes.
	MaxKey   = 64 << 10
	MaxValue = 16 << 20
	// MaxFrame limits a request, in bytes without its length field: the largest value and room
	// for keys, lengths and other arguments. A value a little over MaxValue still fits, so that it
	// is answered with an error of its own and the connection lives on.
	MaxFrame = MaxValue + FrameSlack
	// FrameSlack is what a server adds to the largest value it takes to get its frame limit.
	FrameSlack = 2 << 20
	// MaxReply limits a reply, in bytes without its length field.
	MaxReply = 256 << 20
	// MaxArgs limits the arguments of one request.
	MaxArgs = 1 << 20
	// MaxArgsV1 limits the count field of a version 1 request. Its commands take three at most;
	// more are ignored, up to here.
	MaxArgsV1 = 1024
	// MaxHello limits the body of either HELLO, in bytes.
	MaxHello = 4 << 10
	// MaxDepth limits how deep the elements of a Value nest.
	MaxDepth = 16
	// MaxErrorText limits the text of an error frame and of a refused HELLO, in bytes; longer
	// texts are cut.
	MaxErrorText = 1 << 10
	// MaxName limits node ids, cluster ids, client names and addresses in bytes; they have one
	// byte of length.
	MaxName = 255
)
