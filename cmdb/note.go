package cmdb

import (
	"context"
	"encoding/json"
	"fmt"
	"time"
)

// noteName is where the process that reads the sources writes down how they are, for those that only show it.
const noteName = "cmdb/sources"

// note writes the state of the sources down when it changed. What cannot be written now is written with the next change:
// people are shown something older meanwhile.
func (l *leader) note(ctx context.Context, changed bool) {
	if !changed {
		return
	}
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

// Shown returns the state of every source as the process that reads them wrote it down last; of that process it is
// Status. Nothing is there before the first process read a source.
func (r *Room) Shown(ctx context.Context) ([]SourceStatus, error) {
	r.mu.Lock()
	leading := r.leading
	r.mu.Unlock()
	if leading {
		return r.Status(), nil
	}
	data, err := r.bus.LoadNote(ctx, noteName)
	if err != nil || data == nil {
		return nil, err
	}
	var all []SourceStatus
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, fmt.Errorf("read the state of the sources: %w", err)
	}
	return all, nil
}
