// SPDX-License-Identifier: Apache-2.0

package rdb

import (
	"encoding/binary"
	"errors"
	"hash/crc64"
)

const (
	// Version is that of the format that is written, and the highest that is read.
	Version = 10
	// footerBytes is the length of what is behind a value: version and checksum.
	footerBytes = 10
	// jones is the polynomial of the checksum, its bits reversed.
	jones = 0x95ac9329ac4bc9b5
)

// What may be wrong with a payload.
var (
	// ErrChecksum is returned when the version is unknown or the checksum does not fit.
	ErrChecksum = errors.New("rdb: version or checksum")
	// ErrFormat is returned when the value is none.
	ErrFormat = errors.New("rdb: format")
	// ErrTooBig is returned for a string or an element over Limits.Value.
	ErrTooBig = errors.New("rdb: element too big")
	// ErrTooMany is returned when Limits.Bytes or Limits.Elements are exceeded.
	ErrTooMany = errors.New("rdb: too many elements")
)

// Codec knows the checksum.
type Codec struct{ table *crc64.Table }

// New makes a Codec.
func New() *Codec { return &Codec{table: crc64.MakeTable(jones)} }

// sum is the checksum of Redis: as that of Go, without inverting at either end.
func (c *Codec) sum(b []byte) uint64 { return ^crc64.Update(^uint64(0), c.table, b) }

// Seal appends to a value its version and checksum. payload is all of it.
func (c *Codec) Seal(payload []byte) []byte {
	payload = binary.LittleEndian.AppendUint16(payload, Version)
	return binary.LittleEndian.AppendUint64(payload, c.sum(payload))
}

// Open checks version and checksum, and gives the value, which aliases payload.
func (c *Codec) Open(payload []byte) ([]byte, error) {
	n := len(payload) - footerBytes
	if n < 0 || binary.LittleEndian.Uint16(payload[n:]) > Version || c.sum(payload[:n+2]) != binary.LittleEndian.Uint64(payload[n+2:]) {
		return nil, ErrChecksum
	}
	return payload[:n], nil
}
