package subscription

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"kemi.dev/kemi/bus"
)

// ahead is what of a partition was delivered though something before it was not, by position: what is committed ends before
// that, so whoever has the partition next is handed all of it once more. It is kept on the bus, in the state of the group.
type ahead struct {
	own    *bus.Ownership
	opened time.Time
	loaded bool
	known  map[int64]string // The ids of what former owners delivered.
	saved  map[int64]string // As it is on the bus.
}

// stateAhead names the piece of state.
const stateAhead = "ahead"

// clocks is how much the clock of a broker may differ from ours.
const clocks = time.Minute

func newAhead(o *bus.Ownership) ahead { return ahead{own: o, opened: time.Now()} }

// load reads what former owners delivered, before the first event is that they could have had: with most that is never, and it
// costs a look at a quarter of all that is kept as state.
func (a *ahead) load(ctx context.Context, first *item) error {
	if a.loaded || first.stored.After(a.opened.Add(clocks)) {
		return nil
	}
	pieces, err := a.own.LoadState(ctx)
	if err != nil {
		return fmt.Errorf("load what was delivered: %w", err)
	}
	a.loaded = true
	if data := pieces[stateAhead]; data != nil && json.Unmarshal(data, &a.known) != nil {
		a.known = nil // Then it is delivered again.
	}
	a.saved = maps.Clone(a.known)
	return nil
}

// has says whether a former owner delivered an event. In a log that began anew another one is at its position.
func (a *ahead) has(it *item) bool { return a.known[it.position] == it.id }

// save keeps what is delivered by now. What could not be kept is delivered again if this process ends: it may be another's
// already.
func (a *ahead) save(ctx context.Context, now map[int64]string) {
	if maps.Equal(now, a.saved) {
		return
	}
	var data []byte // Nothing is left to be known.
	if len(now) > 0 {
		var err error
		if data, err = json.Marshal(now); err != nil {
			return
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), finishing)
	defer cancel()
	if a.own.SaveState(ctx, stateAhead, data) == nil {
		a.saved = now
	}
}

// remember keeps what of these was delivered after one that was not.
func (p *partition) remember(ctx context.Context, items []item) {
	delivered := map[int64]string{}
	p.mu.Lock()
	waits := false
	for i := range items {
		switch it := &items[i]; {
		case !p.isDone(it.position):
			waits = true
		case waits && p.endpoint.wants(it):
			delivered[it.position] = it.id
		}
	}
	p.mu.Unlock()
	p.ahead.save(ctx, delivered)
}
