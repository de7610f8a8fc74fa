// SPDX-License-Identifier: Apache-2.0

package proctree

import "slices"

// members are those of t that belong to the command.
func (h *hunt) members(t table) table {
	if p := t[h.pid]; p != nil && p.start == h.start {
		h.streams = slices.Concat(h.streams, p.standard()) // it may have others by now
	}
	found := table{}
	next := h.remaining(t)
	for len(next) > 0 {
		h.addRelatives(t, found, next)
		next = h.holders(t, found)
	}
	for pid, p := range found {
		h.known[pid] = p.start
	}
	return found
}

// remaining are those of t that were found before, or are in a session whose
// leader was.
func (h *hunt) remaining(t table) (all []*process) {
	for pid, p := range t {
		if h.known[pid] == p.start || h.leads(t, p.session) {
			all = append(all, p)
		}
	}
	return all
}

// leads tells whether session is one of the command's. It is not if its number
// is the pid of a process that started later: then nobody was left in it.
func (h *hunt) leads(t table, session int) bool {
	start, known := h.leaders[session]
	leader := t[session]
	return known && (leader == nil || leader.start == start)
}

// addRelatives adds next to found, with all children and members of sessions.
func (h *hunt) addRelatives(t, found table, next []*process) {
	children, sessions := map[int][]*process{}, map[int][]*process{}
	for _, p := range t {
		children[p.parent] = append(children[p.parent], p)
		sessions[p.session] = append(sessions[p.session], p)
	}
	for len(next) > 0 {
		p := next[0]
		next = next[1:]
		if found[p.pid] != nil {
			continue
		}
		found[p.pid] = p
		next = append(next, children[p.pid]...)
		if p.session == p.pid {
			h.leaders[p.pid] = p.start
			next = append(next, sessions[p.pid]...)
		}
	}
}

// holders are those who are not in found but have one of the command's own
// streams.
func (h *hunt) holders(t, found table) (all []*process) {
	own := h.ownStreams(t, found)
	for pid, p := range t {
		if len(own) > 0 && found[pid] == nil && slices.ContainsFunc(p.standard(), func(s stream) bool { return own[s] }) {
			all = append(all, p)
		}
	}
	return all
}

// ownStreams are the noted streams that tell who belongs to the command. A
// command can take over a stream of others, as with "exec >/proc/1/fd/1"; so it
// is not the command's own if somebody has it who ran before. And a terminal's
// number is given to the next when all have closed it, perhaps to another
// command's: it tells something only while one of us has it.
func (h *hunt) ownStreams(t, found table) map[stream]bool {
	own := map[stream]bool{}
	for _, s := range h.streams {
		own[s] = !s.terminal()
	}
	if len(own) == 0 {
		return nil
	}
	for pid, p := range t {
		if found[pid] == nil {
			continue
		}
		for _, s := range p.standard() {
			if _, noted := own[s]; noted {
				own[s] = true
			}
		}
	}
	for pid, p := range t {
		if found[pid] == nil && h.elder(p) {
			for _, s := range p.standard() {
				delete(own, s)
			}
		}
	}
	return own
}

// elder tells whether p ran before the command did. The kernel's ticks are
// coarse: a container's first process may start in the same one.
func (h *hunt) elder(p *process) bool {
	return p.start < h.start || p.start == h.start && first(p.pid)
}
