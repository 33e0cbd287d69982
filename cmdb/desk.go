package cmdb

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmdb/source"
	"kemi.dev/kemi/internal/conf"
)

// desk decides what is published. It knows what runs, which is what is on the bus, and what each source says.
type desk struct {
	running map[string]*event.Target
	feeds   []*feed
}

// feed is one source as the desk sees it.
type feed struct {
	name string
	// good is what was accepted last.
	good []source.Found
	// next is what the source says now; pending until it is accepted.
	next    []source.Found
	pending bool
	// read: the source has given a valid answer since the start.
	read bool
	// gone: no source of this name is configured any more; its targets are what is left of it.
	gone bool
	// problems of the last answer, its own or with other sources.
	problems conf.Problems
	held     *shrink
	// accepted is the shrink that people agreed to.
	accepted string
	status   SourceStatus
}

// decision is what the desk wants to be done.
type decision struct {
	publish []*event.Target
	remove  []*event.Target
	// changed are the sources whose state is not what it was.
	changed []SourceStatus
}

// canary is the built-in target of event/canary.go, as if a source named "kemi" had found it.
const canaryOrigin = "kemi"

func newDesk(names []string, canaryEvery time.Duration, now time.Time) *desk {
	d := &desk{running: map[string]*event.Target{}}
	canary := &event.Target{
		ID: event.CanaryTarget, Class: event.CanaryClass, Address: "kemi", Team: "default", Lifecycle: event.Active,
		Source: "built in", Checks: []event.Check{{Name: event.CanaryClass, Kind: event.CanaryClass, Every: canaryEvery}},
	}
	built := d.feed(canaryOrigin, now)
	built.answer([]source.Found{{Target: canary}}, nil)
	for _, name := range names {
		d.feed(name, now)
	}
	return d
}

func (d *desk) feed(name string, now time.Time) *feed {
	for _, f := range d.feeds {
		if f.name == name {
			return f
		}
	}
	f := &feed{name: name, status: SourceStatus{Name: name, State: StateWaiting, Message: "not read yet", Since: now}}
	d.feeds = append(d.feeds, f)
	return f
}

// load takes over what was published before the start; each source begins with what it had said then.
func (d *desk) load(targets []*event.Target, now time.Time) {
	for _, t := range targets {
		configured := slices.ContainsFunc(d.feeds, func(f *feed) bool { return f.name == t.Origin && !f.gone })
		f := d.feed(t.Origin, now)
		f.gone = !configured
		f.good = append(f.good, source.Found{Target: t, Refs: source.RefsOf(t)})
		d.running[t.ID] = t
	}
}

// answer takes what a source says now.
func (f *feed) answer(found []source.Found, problems conf.Problems) {
	if f.problems = once(problems); len(problems) > 0 {
		f.next, f.pending = nil, false
		return
	}
	for _, one := range found {
		one.Target.Origin = f.name
		one.Target.Version = one.Target.ComputeVersion()
	}
	f.next, f.pending, f.read = found, true, true
}

// settle accepts what can be accepted of what the sources say, and decides what that changes.
func (d *desk) settle(now time.Time) decision {
	d.dropGone()
	for _, f := range d.feeds {
		if f.pending {
			f.problems = nil // They were with other sources, which may have changed.
		}
	}
	blocked := map[*feed]bool{}
	var w *whole
	for {
		w = merge(d.parts(blocked), false)
		if !d.blockProblems(w, blocked) && !d.blockShrinks(w, blocked, now) {
			break
		}
	}
	for _, f := range d.feeds {
		if f.pending && !blocked[f] {
			f.good, f.next, f.pending = f.next, nil, false
			f.held, f.accepted, f.problems = nil, "", nil
		}
		// What another source has taken over is its own from now on, and does not come back when it lets go of it.
		f.good = slices.DeleteFunc(f.good, func(one source.Found) bool { return w.found[one.Target.ID].Target != one.Target })
	}
	out := d.diff(w, now)
	for _, f := range d.feeds {
		if f.judge(now) {
			out.changed = append(out.changed, f.status)
		}
	}
	d.feeds = slices.DeleteFunc(d.feeds, func(f *feed) bool { return f.gone && f.read && len(f.good) == 0 })
	return out
}

// dropGone has the sources that are no longer configured say that they have nothing, once every configured source has
// been read: until then their targets may turn up elsewhere.
func (d *desk) dropGone() {
	for _, f := range d.feeds {
		if !f.gone && !f.read {
			return
		}
	}
	for _, f := range d.feeds {
		if f.gone && !f.read {
			f.answer(nil, nil)
		}
	}
}

func (d *desk) parts(blocked map[*feed]bool) []part {
	parts := make([]part, len(d.feeds))
	for i, f := range d.feeds {
		if f.pending && !blocked[f] {
			parts[i] = part{origin: f.name, found: f.next}
		} else {
			parts[i] = part{origin: f.name, found: f.good, yields: f.gone || f.pending || !f.read || len(f.problems) > 0}
		}
	}
	return parts
}

// blockProblems keeps sources from bringing in what does not go together. It reports whether it changed anything.
func (d *desk) blockProblems(w *whole, blocked map[*feed]bool) bool {
	if len(w.problems) == 0 {
		return false
	}
	var all conf.Problems
	for _, i := range slices.Sorted(maps.Keys(w.problems)) {
		all = append(all, w.problems[i]...)
	}
	before := len(blocked)
	for i, problems := range w.problems {
		if f := d.feeds[i]; f.pending && !blocked[f] {
			blocked[f], f.problems = true, once(problems)
		}
	}
	if len(blocked) > before {
		return true
	}
	// Those with the problem did not change, so the change of another brought it about.
	for _, f := range d.feeds {
		if f.pending && !blocked[f] && f.name != canaryOrigin {
			blocked[f], f.problems = true, once(all)
		}
	}
	return len(blocked) > before
}

// diff compares what is wanted with what runs.
func (d *desk) diff(w *whole, now time.Time) (out decision) {
	updated := now.UTC().Truncate(time.Millisecond)
	for _, id := range slices.Sorted(maps.Keys(w.found)) {
		t := w.found[id].Target
		old := d.running[id]
		if old != nil && old.Version == t.Version && old.Origin == t.Origin {
			t.Updated = old.Updated
			d.running[id] = t
			continue
		}
		if old != nil && !updated.After(old.Updated) {
			// The clock was put back: a later version must not look older, nor be one that was there before.
			updated = old.Updated.Add(time.Millisecond)
		}
		t.Updated = updated
		out.publish = append(out.publish, t)
	}
	for _, id := range slices.Sorted(maps.Keys(d.running)) {
		if _, wanted := w.found[id]; !wanted {
			out.remove = append(out.remove, d.running[id])
		}
	}
	return out
}

// stored notes that targets are on the bus.
func (d *desk) stored(targets []*event.Target) {
	for _, t := range targets {
		d.running[t.ID] = t
	}
}

// removed notes that targets are no longer on the bus.
func (d *desk) removed(targets []*event.Target) {
	for _, t := range targets {
		delete(d.running, t.ID)
	}
}

// judge works out the status of the source; true when it is another than before.
func (f *feed) judge(now time.Time) bool {
	next := SourceStatus{Name: f.name, Targets: len(f.good), State: StateOK, Problems: f.problems}
	switch {
	case len(f.problems) > 0:
		next.State = StateInvalid
		next.Message = fmt.Sprintf("%s; what ran before goes on", f.problems[0])
		if n := len(f.problems); n > 1 {
			next.Message = fmt.Sprintf("%d problems, the first: %s", n, next.Message)
		}
	case f.held != nil:
		next.State, next.Shrink, next.Lost = StateHeld, f.held.token, f.held.lost
		next.Message = f.held.reason
	case !f.read:
		next.State, next.Message = StateWaiting, "not read yet"
	}
	next.Since = now
	if cmp.Or(cmp.Compare(next.State, f.status.State), cmp.Compare(next.Message, f.status.Message), cmp.Compare(next.Shrink, f.status.Shrink)) == 0 {
		next.Since = f.status.Since
		f.status = next
		return false
	}
	f.status = next
	return true
}
