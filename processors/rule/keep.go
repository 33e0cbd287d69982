package rule

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// meta says how far the saved state as a whole has come.
type meta struct {
	Position int64 `json:"position"`
	// Stored is when the reading there was stored: a replay begins before it.
	Stored time.Time `json:"stored"`
}

const metaName = "meta"

// maxPiece is how large a piece of state may be; see bus.Ownership.SaveState.
const maxPiece = 900_000

// How often states are saved that change with every reading (when a condition was last seen true), and how long
// windows are warmed up at least: so that it is known which of a target's checks answer.
const (
	refreshState = time.Minute
	warmLeast    = waitFor + time.Minute
)

// load takes saved pieces in. It returns up to which position a target's readings were judged, and from when on
// readings must be seen again.
func (w *owner) load(pieces map[string][]byte, now time.Time) (judged func(target string) int64, since time.Time) {
	log := w.room.scope.Log()
	m := meta{Position: -1}
	if data, ok := pieces[metaName]; ok {
		if err := json.Unmarshal(data, &m); err != nil {
			log.Error("read the saved position of the rules", "partition", w.o.Partition, "err", err)
		}
	}
	var positions [256]int64
	for i := range positions {
		positions[i] = -1
	}
	for name, data := range pieces {
		n, isBucket := strings.CutPrefix(name, "b")
		bucket, err := strconv.ParseUint(n, 10, 8)
		if !isBucket || err != nil {
			continue
		}
		p, err := w.desk.Load(data, now)
		if err != nil { // What is pending or firing there is found anew from the readings.
			log.Error("load saved rule states", "partition", w.o.Partition, "bucket", bucket, "err", err)
			continue
		}
		if positions[bucket] = p; p >= w.o.From {
			w.desk.MarkDirty(uint8(bucket))
			w.ahead = true
		}
	}
	if m.Position >= w.o.From {
		w.stored, w.ahead, w.refreshed = m.Stored, true, time.Time{} // All of it is saved again.
	}
	since = now
	if !m.Stored.IsZero() && m.Stored.Before(since) {
		since = m.Stored
	}
	since = since.Add(-max(w.set.reach, warmLeast))
	w.kept = m
	return func(target string) int64 { return max(m.Position, positions[bucketOf(target)]) }, since
}

// save keeps what changed, the buckets before the position that vouches for them.
func (w *owner) save(ctx context.Context, now time.Time) error {
	all := now.Sub(w.refreshed) >= refreshState
	dirty := w.desk.Dirty(all)
	m := meta{Position: w.position, Stored: w.stored}
	if len(dirty) == 0 && !(all && m != w.kept) {
		return nil
	}
	if all {
		w.refreshed = now
	}
	buckets, err := w.desk.Save(dirty, w.position)
	if err != nil {
		return err
	}
	for b, data := range buckets {
		if len(data) > maxPiece { // Some ten thousand instances of a few targets.
			w.room.scope.Log().Error("a bucket of rule states is too large to be saved", "partition", w.o.Partition, "bucket", b, "bytes", len(data))
			continue
		}
		if err := w.o.SaveState(ctx, fmt.Sprintf("b%03d", b), data); err != nil {
			for b := range buckets {
				w.desk.MarkDirty(b)
			}
			return fmt.Errorf("save rule states: %w", err)
		}
	}
	if w.stored.IsZero() {
		return nil
	}
	data, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("save rule states: %w", err)
	}
	if err := w.o.SaveState(ctx, metaName, data); err != nil {
		return fmt.Errorf("save rule states: %w", err)
	}
	w.kept = m
	return nil
}
