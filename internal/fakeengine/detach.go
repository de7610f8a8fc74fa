// SPDX-License-Identifier: Apache-2.0

package fakeengine

import "strings"

// escape looks for the keys that detach a client from a terminal. Like the
// engine, it holds back what may turn out to be the beginning of them.
type escape struct {
	keys []byte // none: nothing detaches
	seen int    // how many of them were typed
}

// pass returns what of p reaches the process, and whether the client is to be
// detached.
func (e *escape) pass(p []byte) ([]byte, bool) {
	if len(e.keys) == 0 {
		return p, false
	}
	var passed []byte
	for _, key := range p {
		if key == e.keys[e.seen] {
			if e.seen++; e.seen == len(e.keys) {
				return passed, true
			}
			continue
		}
		passed = append(passed, e.keys[:e.seen]...)
		passed = append(passed, key)
		e.seen = 0
	}
	return passed, false
}

// detachKeys reads keys as the Engine API writes them, such as "ctrl-a,x". An
// empty text is the engine's choice, ctrl-p ctrl-q.
func detachKeys(text string) (keys []byte, ok bool) {
	if text == "" {
		return []byte{'p' & 0x1f, 'q' & 0x1f}, true
	}
	for _, name := range strings.Split(text, ",") {
		key, ok := detachKey(name)
		if !ok {
			return nil, false
		}
		keys = append(keys, key)
	}
	return keys, true
}

func detachKey(name string) (byte, bool) {
	if len(name) == 1 {
		return name[0], true
	}
	letter, ok := strings.CutPrefix(name, "ctrl-")
	if !ok || len(letter) != 1 || !strings.Contains(`@abcdefghijklmnopqrstuvwxyz[\]^_`, letter) {
		return 0, false
	}
	return letter[0] & 0x1f, true
}
