package cmdb

import (
	"context"
	"encoding/json"
	"time"
)

// noteName is where the process that reads the sources writes down how they are, for those that only show it.
const noteName = "cmdb/sources"

// note writes the state of the sources down. What cannot be written now is written with the next change: people are shown
// something older meanwhile.
func (l *leader) note(ctx context.Context) {
	data, err := json.Marshal(l.room.Status())
	if err == nil {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		err = l.room.bus.SaveNote(ctx, noteName, data)
	}
	if err != nil && ctx.Err() == nil {
		l.room.scope.Log().Warn("write down the state of the sources", "err", err)
	}
}

// Follow hears how the sources are from the process that reads them, until ctx ends.
func (r *Room) Follow(ctx context.Context) error {
	return r.bus.FollowNote(ctx, noteName, func(data []byte) {
		var all []SourceStatus
		if err := json.Unmarshal(data, &all); err != nil && len(data) > 0 {
			r.scope.Log().Warn("read the state of the sources", "err", err)
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.heard = all
	})
}

// Shown returns the state of every source: what Follow heard, but in the process that reads them its own.
func (r *Room) Shown() []SourceStatus {
	r.mu.Lock()
	leading, heard := r.leading, r.heard
	r.mu.Unlock()
	if leading || heard == nil {
		return r.Status()
	}
	return heard
}
