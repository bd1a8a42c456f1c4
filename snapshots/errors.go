// SPDX-License-Identifier: Apache-2.0

package snapshots

import "errors"

var (
	// ErrCorrupt is returned, wrapped with the place, for bytes that no writer wrote: cut off,
	// changed, or continued behind the end.
	ErrCorrupt = errors.New("snapshot is damaged")
	// ErrVersion is returned for a file written by a newer version.
	ErrVersion = errors.New("snapshot has an unknown version")
	// ErrTooLarge is returned by writers for a section or header over its limit.
	ErrTooLarge = errors.New("over the limit of the snapshot format")
	// ErrFinished is returned for a call on a Writer or Pending that has ended.
	ErrFinished = errors.New("snapshot was ended already")
	// ErrNotFound is returned for an id that the folder does not hold.
	ErrNotFound = errors.New("no such snapshot")
)
