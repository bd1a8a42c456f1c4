// SPDX-License-Identifier: Apache-2.0

package store

import "errors"

var (
	// ErrViewBusy is returned when a view is asked for and as many as allowed are live.
	ErrViewBusy = errors.New("store: too many live views")
	// ErrViewBroken is returned by a view's Section after the store was reset under it.
	ErrViewBroken = errors.New("store: the store was reset under the view")
	// ErrViewClosed is returned by Section after Close.
	ErrViewClosed = errors.New("store: view is closed")
	// ErrViewTaken is returned when a section is asked for twice, or is not part of the view.
	ErrViewTaken = errors.New("store: section was taken already or is not in the view")
	// ErrSectionVersion is returned for a section written by a newer version than this one.
	ErrSectionVersion = errors.New("store: section has an unknown version or mandatory field")
	// ErrSectionCorrupt is returned for bytes that no version wrote.
	ErrSectionCorrupt = errors.New("store: section is damaged")
)
